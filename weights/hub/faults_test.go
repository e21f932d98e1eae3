package hub

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// waits collects what a client says it waits for.
func waits(c *Client) func() []string {
	var mu sync.Mutex
	var said []string
	c.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Waiting != "" {
			said = append(said, p.Waiting)
		}
	}
	return func() []string { mu.Lock(); defer mu.Unlock(); return said }
}

func assertContent(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v, are not the content", path, len(got), err)
	}
}

// TestTwoAtOnce has several clients, which lock files as several programs would, fetch one model into one cache.
func TestTwoAtOnce(t *testing.T) {
	for _, noRange := range []bool{false, true} {
		h, content := one(t)
		h.noRange = noRange
		h.cut["m.safetensors"] = 70_000 // so that a file is half done
		cache, send := t.TempDir(), h.content.Config.Handler
		told := make(chan struct{})
		tell := sync.OnceFunc(func() { close(told) })
		h.content.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select { // the first is at it until another has come
			case <-told:
			case <-time.After(10 * time.Second):
				t.Errorf("ranges %v: nobody was told that another fetches it", !noRange)
			}
			send.ServeHTTP(w, r)
		})
		var group sync.WaitGroup
		for range 4 {
			c := h.client(t)
			c.Cache, c.pause = cache, 100*time.Millisecond
			c.Progress = func(p Progress) {
				if strings.Contains(p.Waiting, fmt.Sprint("process ", os.Getpid())) {
					tell()
				}
			}
			group.Go(func() {
				path, err := c.Snapshot(t.Context(), survivor)
				if err != nil {
					t.Error(err)
					return
				}
				assertContent(t, path, content)
			})
		}
		group.Wait()
		if h.gets["m.safetensors"] != 2 {
			t.Errorf("ranges %v: the file was asked for %d times, want once and once more after the cut", !noRange, h.gets["m.safetensors"])
		}
	}
}

// TestWhatWasThere finds a blob and a partial file whose content is not what their names promise.
func TestWhatWasThere(t *testing.T) {
	for _, tt := range []struct {
		name, suffix string
		content      []byte
	}{
		{"a corrupt blob", "", bytes.Repeat([]byte("x"), 100_000)},
		{"a corrupt beginning", ".incomplete", bytes.Repeat([]byte("x"), 50_000)},
		{"a corrupt whole", ".incomplete", bytes.Repeat([]byte("x"), 100_000)},
		{"too much", ".incomplete", bytes.Repeat([]byte("x"), 100_001)},
	} {
		h, content := one(t)
		c := h.client(t)
		blobs := filepath.Join(c.folder(repo{survivor, "main"}), "blobs")
		err := errors.Join(os.MkdirAll(blobs, 0o777), os.WriteFile(filepath.Join(blobs, etag("m.safetensors", content)+tt.suffix), tt.content, 0o666))
		if err != nil {
			t.Fatal(err)
		}
		path, err := c.Snapshot(t.Context(), survivor)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		assertContent(t, path, content)
	}
}

func TestRangeRefused(t *testing.T) {
	h, content := one(t)
	h.cut["m.safetensors"], h.refuse = 40_000, true
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	assertContent(t, path, content)
}

// TestCutForEver has every answer end early.
func TestCutForEver(t *testing.T) {
	for _, tt := range []struct {
		name    string
		noRange bool
		always  int
	}{{"at the same byte", true, 70_000}, {"after a drop", false, 1}} {
		h, _ := one(t)
		h.noRange, h.always = tt.noRange, tt.always
		c := h.client(t)
		said := waits(c)
		if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "connection lost") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if n := h.gets["m.safetensors"]; n < 3 || n > 4 { // the first attempt may count as progress
			t.Errorf("%s: asked %d times with two retries", tt.name, n)
		}
		if s := said(); len(s) < 2 || !strings.Contains(s[0], "trying again in") {
			t.Errorf("%s: said %q", tt.name, s)
		}
	}
}

// TestDrip has a server send a byte now and then, for ever.
func TestDrip(t *testing.T) {
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, api := range []bool{true, false} {
		h, _ := one(t)
		if api {
			h.Server.Config.Handler = http.HandlerFunc(drip)
		} else {
			h.content.Config.Handler = http.HandlerFunc(drip)
		}
		c := h.client(t)
		c.stall, c.Retries = 100*time.Millisecond, 1
		if _, err := c.Snapshot(t.Context(), survivor); !errors.Is(err, errSilent) {
			t.Errorf("API %v: %v", api, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header string
		min    time.Duration
		fails  bool
	}{{"1", time.Second, false}, {"3600", 0, true}, {"soon", 0, false}} {
		h, _ := one(t)
		h.busy, h.wait = 1, tt.header
		c := h.client(t)
		said := waits(c)
		start := time.Now()
		_, err := c.Snapshot(t.Context(), survivor)
		if d := time.Since(start); (err != nil) != tt.fails || d < tt.min {
			t.Errorf("Retry-After %s: %v after %v", tt.header, err, d)
		}
		if s := said(); !tt.fails && (len(s) != 1 || !strings.Contains(s[0], "503")) {
			t.Errorf("Retry-After %s: said %q", tt.header, s)
		}
	}
	date := http.Header{"Retry-After": {time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)}}
	if d := retryAfter(date); d < 50*time.Second || d > time.Minute {
		t.Errorf("a date in a minute is %v", d)
	}
}

// TestFailuresThatStay are not tried again.
func TestFailuresThatStay(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	listener.Close()
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	defer unknown.Close()
	circle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }))
	defer circle.Close()
	for name, endpoint := range map[string]string{
		"nobody listens": closed, "a certificate of nobody": unknown.URL, "redirections in a circle": circle.URL,
		"no address": "huggingface.co", "another scheme": "ftp://huggingface.co", "no host": "https://",
	} {
		c := &Client{Endpoint: endpoint, Cache: t.TempDir(), HTTP: &http.Client{}, Retries: 5, pause: time.Minute}
		said := waits(c)
		if _, err := c.Snapshot(t.Context(), survivor); err == nil || len(said()) != 0 {
			t.Errorf("%s: %v, said %q", name, err, said())
		}
	}
}

// TestSecrets looks for a password and a signature in everything that can be printed.
func TestSecrets(t *testing.T) {
	const password, signature = "pa55word", "X-Amz-Signature=51gnature"
	h, _ := one(t)
	h.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/resolve/") && r.Method == http.MethodGet {
			http.Redirect(w, r, h.content.URL+"/m.safetensors?"+signature, http.StatusFound)
			return
		}
		h.serve(w, r)
	})
	h.content.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	secret := func(s string) bool { return strings.Contains(s, "55word") || strings.Contains(s, "51gnature") }
	host := strings.TrimPrefix(h.URL, "http://")
	for name, endpoint := range map[string]string{
		"connection lost": "http://user:" + password + "@" + host,
		"nobody listens":  "http://user:" + password + "@127.0.0.1:1",
		"not found":       "http://user:" + password + "@" + host + "/nowhere",
		"no address":      "http://user:" + password + "@ho st",
		"no scheme":       "user:" + password + "@" + host,
	} {
		c := h.client(t)
		c.Endpoint = endpoint
		said := waits(c)
		_, err := c.Snapshot(t.Context(), survivor)
		if err == nil || secret(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		if s := fmt.Sprint(said()); secret(s) {
			t.Errorf("%s: said %s", name, s)
		}
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"con.safetensors", "NUL.safetensors", "Com1.x.safetensors", "lpt¹.safetensors", "aux .safetensors", "a\nb.safetensors", "gnp\u202esrotenasfet.safetensors",
		"\x1b[2J.safetensors", "a?.safetensors", "a\u200b.safetensors", strings.Repeat("x", 256) + ".safetensors",
	} {
		h := newFakeHub(t, map[string][]byte{name: []byte("x")})
		c := h.client(t)
		_, err := c.Snapshot(t.Context(), survivor)
		if err == nil || !strings.Contains(err.Error(), "lists a file named") || strings.ContainsAny(err.Error(), "\n\u202e\x1b\u200b") {
			t.Errorf("%q: %v", name, err)
		}
		if entries, _ := os.ReadDir(c.Cache); len(entries) != 0 {
			t.Errorf("%q: wrote %v", name, entries)
		}
	}
	for _, good := range []string{"console.safetensors", "com.safetensors", "Bär v1.5 (final).safetensors", "コン.safetensors"} {
		if err := checkPortable(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, id := range []string{"a/b\n", "a/b@nul", "a/b@x/con.y", "a/b@x.", "a/b.", "a/b\u202e", "a/b@\u202e"} {
		if IsID(id) {
			t.Errorf("%q is a name", id)
		}
	}
}

// TestLinksThatLeadNowhere has the system take symbolic links and not follow them.
func TestLinksThatLeadNowhere(t *testing.T) {
	symlink = func(_, name string) error { return os.WriteFile(name, nil, 0o666) }
	defer func() { symlink = os.Symlink }()
	h, content := one(t)
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	assertContent(t, path, content)
}
