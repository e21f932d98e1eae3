// Package hub brings models of the Hugging Face Hub into the local cache and says where they are.
//
//	client, err := hub.New()
//	if err != nil { … }
//	path, err := client.Snapshot(ctx, "stable-diffusion-v1-5/stable-diffusion-v1-5")
//	if err != nil { … }
//	ckpt, err := weights.Open(path, weights.Options{})
//
// The cache has the layout of the huggingface_hub library and obeys its environment variables, so that models are
// shared with Python programs in both directions. Only what a Stable Diffusion 1.x pipeline needs is fetched:
// configurations, the tokenizer and one set of safetensors weights. Downloads continue where they
// broke off and are compared with the hashes the Hub publishes.
//
// The package uploads nothing, sends nothing but the requests for the files, and prints nothing.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
)

// DefaultEndpoint is the Hub's own address, where HF_ENDPOINT names no mirror.
const DefaultEndpoint = "https://huggingface.co"

// aliases are repositories that are gone, with the copies that survive.
var aliases = map[string]string{"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}

// Client downloads snapshots. Its fields may be changed before the first use; New fills them from the environment.
// It is safe for concurrent use. Clients and programs that want the same file, Python's included, fetch it once.
type Client struct {
	// Endpoint is the server: DefaultEndpoint or a mirror, without a slash at the end.
	Endpoint string
	// Cache is the folder that holds models--OWNER--NAME folders.
	Cache string
	// Token authorises access to private and gated repositories; "" asks anonymously. It is sent to
	// Endpoint's host and nowhere else.
	Token string
	// Offline answers from the cache alone.
	Offline bool
	// Variant chooses among weight files as weights.Options.Variant does; "" means the plain ones.
	Variant string
	// Progress, if not nil, is told how far a snapshot is, some ten times a second, from the goroutine
	// that downloads.
	Progress func(Progress)
	// HTTP sends the requests. Its CheckRedirect is not used.
	HTTP *http.Client
	// Retries is how often a request that fails for a passing reason (connection lost, server overloaded) is repeated
	// without progress, with growing pauses or those that the server asks for.
	Retries int

	pause time.Duration // before the first repetition, doubled each time
	stall time.Duration // after which a silent connection counts as lost
}

// Progress is the state of a download.
type Progress struct {
	File    string        // being fetched, as named in the repository
	Done    int64         // bytes of the snapshot that are here, cached ones included
	Total   int64         // bytes of the snapshot, 0 while it is unknown
	Rate    float64       // bytes per second from the network since the start
	Left    time.Duration // until the end at that rate, 0 while it is unknown
	Waiting string        // for whom or why nothing moves, "" if it does; told when a wait begins and when it ends
}

// New reads the environment as the huggingface_hub library does: HF_ENDPOINT, HF_HUB_CACHE (else HF_HOME/hub, else
// ~/.cache/huggingface/hub), HF_TOKEN (else the file HF_TOKEN_PATH, else HF_HOME/token), HF_HUB_OFFLINE.
func New() (*Client, error) {
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("hub: no home folder for the cache; set HF_HOME: %w", err)
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	c := &Client{
		Endpoint: strings.TrimRight(firstSet("HF_ENDPOINT", DefaultEndpoint), "/"),
		Cache:    firstSet("HF_HUB_CACHE", firstSet("HUGGINGFACE_HUB_CACHE", filepath.Join(home, "hub"))),
		Token:    firstSet("HF_TOKEN", firstSet("HUGGING_FACE_HUB_TOKEN", "")),
		HTTP:     &http.Client{Transport: transport()},
		Retries:  5,
	}
	switch strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		c.Offline = true
	}
	if c.Token == "" {
		path := firstSet("HF_TOKEN_PATH", filepath.Join(home, "token"))
		token, err := openfile.ReadFile(path, maxSmallBytes)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("hub: token: %w", err)
		}
		c.Token = strings.TrimSpace(string(token))
	}
	return c, nil
}

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	return t
}

func firstSet(variable, otherwise string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return otherwise
}

// repo is a parsed model name.
type repo struct{ id, revision string }

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)
var revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$`)

// IsID reports whether s has the form of a Hub name, OWNER/NAME or OWNER/NAME@REVISION, and does not end like a
// weight file's name. A relative path to a folder can have it too: look for that first.
func IsID(s string) bool {
	switch strings.ToLower(filepath.Ext(s)) {
	case ".safetensors", ".ckpt", ".pt", ".bin":
		return false
	}
	_, err := parse(s)
	return err == nil
}

func parse(s string) (repo, error) {
	id, revision, given := strings.Cut(s, "@")
	if !given {
		revision = "main"
	}
	if !idPattern.MatchString(id) || strings.Contains(id, "..") || strings.Contains(id, "--") ||
		!revisionPattern.MatchString(revision) || checkListed(revision) != nil || checkPortable(revision) != nil || checkPortable(id) != nil || strings.Contains(revision, "..") {
		return repo{}, fmt.Errorf("hub: %.200q is not a model name; want OWNER/NAME or OWNER/NAME@REVISION", s)
	}
	return repo{id, revision}, nil
}

// Snapshot returns the local path of a model, OWNER/NAME[@REVISION], after downloading what is missing: a diffusers
// folder (or, for repositories that hold nothing but one safetensors file, that file), to be opened with
// weights.Open. The revision is a branch, tag or commit; without one it is main.
//
// When the server cannot be reached, or in offline mode, a snapshot that was completed earlier
// is returned. A download that was interrupted by ctx or otherwise is continued by the next call.
func (c *Client) Snapshot(ctx context.Context, name string) (path string, err error) {
	r, err := parse(name)
	if err != nil {
		return "", err
	}
	original := r
	if alias, ok := aliases[r.id]; ok {
		r.id = alias
	}
	if c.Offline {
		for _, candidate := range []repo{r, original} {
			if path, ok := c.cached(candidate); ok {
				return path, nil
			}
		}
		return "", fmt.Errorf("hub: %s is not in the cache (%s): %w; unset HF_HUB_OFFLINE to download it", name, c.Cache, ErrOffline)
	}
	if _, err := c.base(); err != nil {
		return "", err
	}
	d := &download{client: c, repo: r, start: time.Now()}
	info, err := d.info(ctx)
	if err != nil {
		var status *StatusError
		if !errors.As(err, &status) && ctx.Err() == nil {
			for _, candidate := range []repo{r, original} {
				if path, ok := c.cached(candidate); ok {
					return path, nil
				}
			}
		}
		return "", err
	}
	return d.fetch(ctx, info)
}
