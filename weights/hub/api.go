package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/invalid"
)

const maxInfoBytes = 64 << 20 // bounds the list of a repository's files

// modelInfo is the part of the Hub's description of a repository that is used here.
type modelInfo struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
		Size int64  `json:"size"`
	} `json:"siblings"`
}

// base is the endpoint, without what is not to be printed if it is at fault.
func (c *Client) base() (*url.URL, error) {
	base, err := url.Parse(c.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("hub: %w", invalid.Field("Client.Endpoint", nil, "an address like %s; check HF_ENDPOINT", DefaultEndpoint))
	}
	return base, nil
}

// info asks which commit a revision is and what files it has.
func (d *download) info(ctx context.Context) (modelInfo, error) {
	var info modelInfo
	address := d.client.Endpoint + "/api/models/" + d.repo.id + "/revision/" + url.PathEscape(d.repo.revision) + "?blobs=true"
	err := d.retry(ctx, func() (progressed bool, err error) {
		attempt, cancel := context.WithTimeoutCause(ctx, d.client.patience(), errSilent)
		defer cancel()
		response, err := d.send(attempt, http.MethodGet, address, nil)
		if err != nil {
			return false, again(ctx, err)
		}
		defer response.Body.Close()
		body, err := bounded(response.Body, maxInfoBytes)
		if err != nil {
			return false, again(ctx, connectionError(attempt, response.Request.URL, err))
		}
		if err := json.Unmarshal(body, &info); err != nil {
			return false, fmt.Errorf("hub: %s: not the Hub's answer: %w", public(response.Request.URL), err)
		}
		return true, nil
	})
	if err != nil {
		return modelInfo{}, err
	}
	if !isHex(info.SHA, 40) {
		return modelInfo{}, fmt.Errorf("hub: %s: commit %.80q is not a commit hash", d.repo.id, info.SHA)
	}
	return info, nil
}

// blob is what the Hub says about one file of a commit.
type blob struct {
	etag string // SHA-256 of the content for large files, git's SHA-1 for small ones
	size int64
}

func (d *download) resolveURL(file string) string {
	parts := strings.Split(file, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return d.client.Endpoint + "/" + d.repo.id + "/resolve/" + d.commit + "/" + strings.Join(parts, "/")
}

// head asks for a file's hash and size. Large files are answered with a redirection to a content server, which
// is not followed: the description is in the redirecting answer.
func (d *download) head(ctx context.Context, file string) (blob, error) {
	var b blob
	err := d.retry(ctx, func() (bool, error) {
		attempt, cancel := context.WithTimeoutCause(ctx, d.client.patience(), errSilent)
		defer cancel()
		response, err := d.send(attempt, http.MethodHead, d.resolveURL(file), nil)
		if err != nil {
			return false, again(ctx, err)
		}
		response.Body.Close()
		etag := response.Header.Get("X-Linked-Etag")
		if etag == "" {
			etag = response.Header.Get("ETag")
		}
		b.etag = strings.ToLower(strings.Trim(strings.TrimPrefix(etag, "W/"), `"`))
		b.size = response.ContentLength
		if linked := response.Header.Get("X-Linked-Size"); linked != "" {
			if b.size, err = strconv.ParseInt(linked, 10, 64); err != nil {
				return false, fmt.Errorf("hub: %s: size %.40q is not a number", file, linked)
			}
		}
		if !isHex(b.etag, 40) && !isHex(b.etag, 64) || b.size < 0 {
			return false, fmt.Errorf("hub: %s: the server gives no hash and size for it (ETag %.80q, %d bytes); check HF_ENDPOINT", file, b.etag, b.size)
		}
		return true, nil
	})
	return b, err
}

// get requests a file's bytes from offset on.
func (d *download) get(ctx context.Context, file string, offset int64) (*http.Response, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return d.send(ctx, http.MethodGet, d.resolveURL(file), header)
}

// send makes one request and turns answers that are none into errors: *StatusError, or *passingError for those
// worth repeating. The token goes to the endpoint's host only, whatever redirections say.
func (d *download) send(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	base, err := d.client.base()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, fmt.Errorf("hub: no address can be made for %s; check HF_ENDPOINT", d.repo.id) // err would show the endpoint's password
	}
	maps.Copy(request.Header, header)
	request.Header.Set("User-Agent", "atelier-hub/1")
	request.Header.Set("Accept-Encoding", "identity") // sizes and ranges are of the file itself
	if d.client.Token != "" {
		request.Header.Set("Authorization", "Bearer "+d.client.Token)
	}
	client := *d.client.HTTP
	client.CheckRedirect = followFrom(request)
	response, err := client.Do(request)
	if err != nil {
		return nil, connectionError(ctx, request.URL, err)
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	status := &StatusError{
		Code: response.StatusCode, URL: public(request.URL), Repo: d.repo.id, Revision: d.repo.revision, Token: d.client.Token != "", endpoint: public(base),
		Reason: response.Header.Get("X-Error-Code"), Message: response.Header.Get("X-Error-Message"),
	}
	if status.passes() {
		return nil, &passingError{status, retryAfter(response.Header)}
	}
	return nil, status
}

// followFrom says which redirections of a request are followed, and with what.
func followFrom(request *http.Request) func(next *http.Request, via []*http.Request) error {
	home := request.URL
	return func(next *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 10:
			return fmt.Errorf("%w: more than 10", errRedirect)
		case home.Scheme == "https" && next.URL.Scheme != "https":
			return fmt.Errorf("%w: from https to %s", errRedirect, next.URL.Scheme)
		case request.Method == http.MethodHead && next.Response.Header.Get("X-Linked-Etag") != "":
			return http.ErrUseLastResponse // this answer is the description; the next one would be of the content server
		case next.URL.Scheme == home.Scheme && next.URL.Host == home.Host:
			return nil
		}
		next.Header.Del("Authorization")
		next.Header.Del("Referer")
		return nil
	}
}

// errSilent is the cause of giving up a request that is not answered, or by drops.
var errSilent = errors.New("the server sends next to nothing")

// again makes a failure repeatable that is one of an attempt's own time limit, and not of the caller's.
func again(ctx context.Context, err error) error {
	if errors.Is(err, errSilent) && ctx.Err() == nil {
		return &passingError{error: fmt.Errorf("hub: connection lost: %w", err)}
	}
	return err
}

// patience is how long an answer may take that is not a file's content, and how long the content may stand still.
func (c *Client) patience() time.Duration {
	if c.stall > 0 {
		return c.stall
	}
	return time.Minute
}

// maxRetryAfter is the longest that a server is left alone because it asks for it.
const maxRetryAfter = 5 * time.Minute

// retry repeats try while it fails for passing reasons: c.Retries times in a row without progress, with pauses
// that double, or are as long as the server asks for. Each pause is told.
func (d *download) retry(ctx context.Context, try func() (progressed bool, err error)) error {
	first := d.client.pause
	if first == 0 {
		first = time.Second
	}
	pause, failures := first, 0
	for {
		progressed, err := try()
		passing, ok := errors.AsType[*passingError](err)
		if !ok {
			return err
		}
		if progressed {
			pause, failures = first, 0
		}
		if failures++; failures > d.client.Retries || passing.after > maxRetryAfter {
			return passing.error
		}
		wait := max(pause, passing.after)
		d.say(fmt.Sprintf("%v; trying again in %v (%d of %d)", passing.error, wait.Round(time.Millisecond), failures, d.client.Retries))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		d.say("")
		pause = min(2*pause, time.Minute)
	}
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
