package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const maxInfoBytes = 64 << 20 // of the list of a repository's files

// modelInfo is the part of the Hub's description of a repository that is used here.
type modelInfo struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
		Size int64  `json:"size"`
	} `json:"siblings"`
}

// info asks which commit a revision is and what files it has.
func (c *Client) info(ctx context.Context, r repo) (modelInfo, error) {
	var info modelInfo
	address := c.Endpoint + "/api/models/" + r.id + "/revision/" + url.PathEscape(r.revision) + "?blobs=true"
	err := c.retry(ctx, func() (progressed bool, err error) {
		response, err := c.send(ctx, http.MethodGet, address, r, nil)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxInfoBytes))
		if err != nil {
			return false, &passingError{err}
		}
		if err := json.Unmarshal(body, &info); err != nil {
			return false, fmt.Errorf("hub: %s: not the Hub's answer: %w", address, err)
		}
		return true, nil
	})
	if err != nil {
		return modelInfo{}, err
	}
	if !isHex(info.SHA, 40) {
		return modelInfo{}, fmt.Errorf("hub: %s: commit %.80q is not a commit hash", address, info.SHA)
	}
	return info, nil
}

// blob is what the Hub says about one file of a commit.
type blob struct {
	etag string // SHA-256 of the content for large files, git's SHA-1 for small ones
	size int64
}

func (c *Client) resolveURL(r repo, commit, file string) string {
	parts := strings.Split(file, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return c.Endpoint + "/" + r.id + "/resolve/" + commit + "/" + strings.Join(parts, "/")
}

// head asks for a file's hash and size. Large files are answered with a redirection to a content server, which
// is not followed: the description is in the redirecting answer.
func (c *Client) head(ctx context.Context, r repo, commit, file string) (blob, error) {
	var b blob
	err := c.retry(ctx, func() (bool, error) {
		response, err := c.send(ctx, http.MethodHead, c.resolveURL(r, commit, file), r, nil)
		if err != nil {
			return false, err
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
func (c *Client) get(ctx context.Context, r repo, commit, file string, offset int64) (*http.Response, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return c.send(ctx, http.MethodGet, c.resolveURL(r, commit, file), r, header)
}

// send makes one request and turns answers that are none into errors: *StatusError, or *passingError for those
// worth repeating. The token goes to the endpoint's host only, whatever redirections say.
func (c *Client) send(ctx context.Context, method, address string, r repo, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, fmt.Errorf("hub: %w; check HF_ENDPOINT", err)
	}
	maps.Copy(request.Header, header)
	home := request.URL
	request.Header.Set("User-Agent", "atelier-hub/1")
	request.Header.Set("Accept-Encoding", "identity") // sizes and ranges are of the file itself
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := *c.HTTP
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 10:
			return errors.New("too many redirections")
		case home.Scheme == "https" && next.URL.Scheme != "https":
			return errors.New("redirection from https to " + next.URL.Scheme)
		case method == http.MethodHead && next.Response.Header.Get("X-Linked-Etag") != "":
			return http.ErrUseLastResponse // this answer is the description; the next one would be of the content server
		case next.URL.Scheme == home.Scheme && next.URL.Host == home.Host:
			return nil
		}
		next.Header.Del("Authorization")
		next.Header.Del("Referer")
		return nil
	}
	response, err := client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, &passingError{fmt.Errorf("hub: %w", err)}
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	status := &StatusError{
		Code: response.StatusCode, URL: address, Repo: r.id, Revision: r.revision, Token: c.Token != "", endpoint: c.Endpoint,
		Reason: response.Header.Get("X-Error-Code"), Message: response.Header.Get("X-Error-Message"),
	}
	if status.Code >= 500 || status.Code == http.StatusTooManyRequests || status.Code == http.StatusRequestTimeout {
		return nil, &passingError{status}
	}
	return nil, status
}

// StatusError is the server's refusal.
type StatusError struct {
	Code           int // HTTP status
	URL            string
	Repo, Revision string
	Token          bool   // a token was sent
	Reason         string // the Hub's X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo
	Message        string // the Hub's X-Error-Message

	endpoint string
}

// Error says what was refused and what to do about it.
func (e *StatusError) Error() string {
	said := ""
	if e.Message != "" {
		said = fmt.Sprintf(" (%.300q)", e.Message)
	}
	return fmt.Sprintf("hub: %s: %d %s%s; %s", e.URL, e.Code, http.StatusText(e.Code), said, e.mend())
}

func (e *StatusError) mend() string {
	switch {
	case e.Code == http.StatusUnauthorized && !e.Token:
		return fmt.Sprintf("there is no public model %s: check the name, or, if it is private or gated, make a token at %s/settings/tokens and set HF_TOKEN", e.Repo, e.endpoint)
	case e.Code == http.StatusUnauthorized:
		return fmt.Sprintf("the token is not accepted or there is no model %s: check the name, and HF_TOKEN against %s/settings/tokens", e.Repo, e.endpoint)
	case e.Code == http.StatusForbidden:
		return fmt.Sprintf("accept the model's conditions at %s/%s with the account the token belongs to, and let the token read gated models", e.endpoint, e.Repo)
	case e.Code == http.StatusNotFound && e.Reason == "RevisionNotFound":
		return fmt.Sprintf("%s has no revision %q: leave @%s out for main", e.Repo, e.Revision, e.Revision)
	case e.Code == http.StatusNotFound:
		return fmt.Sprintf("check the name %s at %s", e.Repo, e.endpoint)
	}
	return "try again later"
}

// passingError marks a failure that may be gone at the next try.
type passingError struct{ error }

// Unwrap is the failure.
func (e *passingError) Unwrap() error { return e.error }

// retry repeats try while it fails for passing reasons: c.Retries times in a row without progress, with pauses
// that double.
func (c *Client) retry(ctx context.Context, try func() (progressed bool, err error)) error {
	pause, left := c.pause, c.Retries
	if pause == 0 {
		pause = time.Second
	}
	first := pause
	for {
		progressed, err := try()
		var passing *passingError
		if err == nil || !errors.As(err, &passing) {
			return err
		}
		if progressed {
			pause, left = first, c.Retries
		}
		if left--; left < 0 {
			return passing.error
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
	}
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
