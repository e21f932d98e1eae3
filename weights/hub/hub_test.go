package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/weights"
)

const (
	survivor = "stable-diffusion-v1-5/stable-diffusion-v1-5"
	tiny     = "../../testdata/tiny-random/model"
	commit   = "0123456789abcdef0123456789abcdef01234567"
)

// fakeHub imitates the Hub's three endpoints: the description of a revision, resolve, and a content
// server on another host to which large files are redirected.
type fakeHub struct {
	*httptest.Server
	content *httptest.Server
	id      string
	files   map[string][]byte
	token   string // required if not empty
	sha     string

	mu       sync.Mutex
	requests []string
	gets     map[string]int
	cut      map[string]int  // serve only so many bytes of the file, once
	corrupt  map[string]bool // serve other bytes than promised
	noRange  bool            // ignore Range
	refuse   bool            // answer Range with 416
	always   int             // serve only so many bytes of every answer
	busy     int             // answer so many requests with 503
	wait     string          // Retry-After of those
	leaked   string          // Authorization as the content server saw it
}

func newFakeHub(t *testing.T, files map[string][]byte) *fakeHub {
	t.Helper()
	h := &fakeHub{id: survivor, files: files, sha: commit, gets: map[string]int{}, cut: map[string]int{}, corrupt: map[string]bool{}}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	h.content = httptest.NewServer(http.HandlerFunc(h.serveContent))
	t.Cleanup(h.Server.Close)
	t.Cleanup(h.content.Close)
	return h
}

func (h *fakeHub) client(t *testing.T) *Client {
	t.Helper()
	return &Client{Endpoint: h.URL, Cache: t.TempDir(), HTTP: h.Server.Client(), Retries: 2, pause: time.Millisecond, stall: 5 * time.Second}
}

func isLarge(name string) bool { return strings.HasSuffix(name, ".safetensors") }

func etag(name string, content []byte) string {
	if isLarge(name) {
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
	return hex.EncodeToString(sum[:])
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	busy := h.busy > 0
	h.busy--
	h.mu.Unlock()
	if busy {
		w.Header().Set("Retry-After", h.wait)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		w.Header().Set("X-Error-Message", "Invalid username or password.")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/models/"+h.id+"/revision/"); ok {
		if rest != "main" && rest != commit && rest != "refs%2Fpr%2F1" {
			w.Header().Set("X-Error-Code", "RevisionNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		type sibling struct {
			Name string `json:"rfilename"`
			Size int    `json:"size"`
		}
		var siblings []sibling
		for name, content := range h.files {
			siblings = append(siblings, sibling{name, len(content)})
		}
		json.NewEncoder(w).Encode(map[string]any{"sha": h.sha, "siblings": siblings})
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/"+h.id+"/resolve/"+commit+"/")
	content, known := h.files[name]
	if !ok || !known {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if isLarge(name) {
		w.Header().Set("X-Linked-Etag", `"`+etag(name, content)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
		w.Header().Set("Location", h.content.URL+"/"+name)
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+etag(name, content)+`"`)
	h.send(w, r, name, content)
}

func (h *fakeHub) serveContent(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	if a := r.Header.Get("Authorization"); a != "" {
		h.leaked = a
	}
	h.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	h.send(w, r, name, h.files[name])
}

func (h *fakeHub) send(w http.ResponseWriter, r *http.Request, name string, content []byte) {
	h.mu.Lock()
	cut, isCut := h.cut[name]
	if h.always > 0 {
		cut, isCut = h.always, true
	}
	if r.Method == http.MethodGet {
		delete(h.cut, name)
		h.gets[name]++
		h.requests = append(h.requests, strings.TrimSpace("content "+name+" "+r.Header.Get("Range")))
	}
	if h.corrupt[name] {
		content = bytes.Repeat([]byte{'x'}, len(content))
	}
	if h.noRange {
		r.Header.Del("Range")
	}
	refuse := h.refuse && r.Header.Get("Range") != ""
	h.mu.Unlock()
	if refuse {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	if isCut && r.Method == http.MethodGet {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (h *fakeHub) saw(t *testing.T, request string) bool {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.requests, request)
}

// tinyFiles is the tiny model as a repository, beside files nobody needs.
func tinyFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{
		"README.md": []byte("read me"), "unet/diffusion_pytorch_model.bin": []byte("pickle"), "safety_checker/model.safetensors": []byte("unneeded"),
		"v1-5-pruned.safetensors": []byte("unneeded"), "vae/diffusion_pytorch_model.fp16.safetensors": []byte("other variant"),
	}
	root := os.DirFS(tiny)
	for _, name := range []string{"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
		"tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"} {
		f, err := root.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if files[name], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestSnapshot(t *testing.T) {
	h := newFakeHub(t, tinyFiles(t))
	h.token = "hf_secret"
	c := h.client(t)
	c.Token = "hf_secret"
	var seen []Progress
	c.Progress = func(p Progress) { seen = append(seen, p) }

	path, err := c.Snapshot(t.Context(), "runwayml/stable-diffusion-v1-5")
	if err != nil {
		t.Fatal(err)
	}
	repoDir := filepath.Join(c.Cache, "models--stable-diffusion-v1-5--stable-diffusion-v1-5")
	if want := filepath.Join(repoDir, "snapshots", commit); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if ref, _ := os.ReadFile(filepath.Join(repoDir, "refs", "main")); string(ref) != commit {
		t.Errorf("ref %q", ref)
	}
	name := "unet/diffusion_pytorch_model.safetensors"
	if target, err := os.Readlink(filepath.Join(path, name)); err == nil {
		if want := filepath.Join("..", "..", "..", "blobs", etag(name, h.files[name])); target != want {
			t.Errorf("link to %s, want %s", target, want)
		}
	}
	for _, unneeded := range []string{"README.md", "unet/diffusion_pytorch_model.bin", "safety_checker", "v1-5-pruned.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"} {
		if _, err := os.Lstat(filepath.Join(path, unneeded)); err == nil {
			t.Errorf("%s was fetched", unneeded)
		}
	}
	if h.leaked != "" {
		t.Errorf("the content server was sent %q", h.leaked)
	}
	last := seen[len(seen)-1]
	if last.Done != last.Total || last.Total < 7_000_000 || last.Rate <= 0 {
		t.Errorf("last progress %+v", last)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i].Done < seen[i-1].Done || seen[i].Total != seen[0].Total {
			t.Errorf("progress went from %+v to %+v", seen[i-1], seen[i])
		}
	}

	ckpt, err := weights.Open(path, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	for _, kind := range weights.Kinds {
		if !ckpt.Has(kind) {
			t.Errorf("no %s", kind)
		}
	}

	requests := len(h.requests)
	if again, err := c.Snapshot(t.Context(), survivor); err != nil || again != path {
		t.Errorf("second time %s, %v", again, err)
	}
	if n := len(h.requests) - requests; n != 1 {
		t.Errorf("the second time took %d requests, want 1", n)
	}

	c.Offline = true
	for _, name := range []string{survivor, "runwayml/stable-diffusion-v1-5", survivor + "@" + commit} {
		if again, err := c.Snapshot(t.Context(), name); err != nil || again != path {
			t.Errorf("offline %s: %s, %v", name, again, err)
		}
	}
	if n := len(h.requests) - requests; n != 1 {
		t.Errorf("offline mode asked the server")
	}
	_, err = c.Snapshot(t.Context(), "other/model")
	if !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("offline, not cached: %v", err)
	}

	c.Offline = false
	h.Server.Close()
	if again, err := c.Snapshot(t.Context(), survivor); err != nil || again != path {
		t.Errorf("server gone: %s, %v", again, err)
	}
}

func TestVariant(t *testing.T) {
	h := newFakeHub(t, tinyFiles(t))
	c := h.client(t)
	c.Variant = "fp16"
	path, err := c.Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(path, "vae/diffusion_pytorch_model.fp16.safetensors")); string(b) != "other variant" {
		t.Errorf("the variant has content %q", b)
	}
	if _, err := os.Stat(filepath.Join(path, "vae/diffusion_pytorch_model.safetensors")); err == nil {
		t.Error("the plain file was fetched too")
	}
}

func TestShards(t *testing.T) {
	files := tinyFiles(t)
	whole := files["unet/diffusion_pytorch_model.safetensors"]
	delete(files, "unet/diffusion_pytorch_model.safetensors")
	files["unet/a.safetensors"], files["unet/b.safetensors"], files["unet/c.safetensors"] = whole[:10], whole[10:], []byte("unneeded")
	files["unet/diffusion_pytorch_model.safetensors.index.json"] = []byte(`{"weight_map":{"x":"a.safetensors","y":"b.safetensors","z":"a.safetensors"}}`)
	h := newFakeHub(t, files)
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if _, err := os.Stat(filepath.Join(path, "unet", name+".safetensors")); (err == nil) != want {
			t.Errorf("shard %s: %v", name, err)
		}
	}
}

func TestSingleFileRepository(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"dreamy.safetensors": []byte("weights"), "README.md": nil})
	c := h.client(t)
	path, err := c.Snapshot(t.Context(), survivor)
	if err != nil || filepath.Base(path) != "dreamy.safetensors" {
		t.Errorf("path %s, %v", path, err)
	}
	c.Offline = true
	if again, err := c.Snapshot(t.Context(), survivor); err != nil || again != path {
		t.Errorf("offline %s, %v", again, err)
	}
}

func TestComponentRepository(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"config.json": []byte("{}"), "diffusion_pytorch_model.safetensors": []byte("weights"), "diffusion_pytorch_model.bin": nil})
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil || filepath.Base(path) != commit {
		t.Fatalf("path %s, %v", path, err)
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); err != nil {
		t.Error(err)
	}
}

// TestHalfSnapshot asks for a commit of which half was fetched when the connection ended: offline it is none, until it is whole.
func TestHalfSnapshot(t *testing.T) {
	h := newFakeHub(t, tinyFiles(t))
	c := h.client(t)
	c.Retries = 0
	h.corrupt["vae/diffusion_pytorch_model.safetensors"] = true
	name := survivor + "@" + commit
	if _, err := c.Snapshot(t.Context(), name); err == nil {
		t.Fatal("a corrupt file is fetched")
	}
	if entries, err := os.ReadDir(c.snapshotDir(repo{survivor, commit}, commit)); err != nil || len(entries) == 0 {
		t.Fatalf("nothing of the snapshot is there: %v", err)
	}
	c.Offline = true
	if path, err := c.Snapshot(t.Context(), name); !errors.Is(err, ErrOffline) {
		t.Errorf("half of it is %s, %v", path, err)
	}
	c.Offline, h.corrupt = false, nil
	path, err := c.Snapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c.Offline = true
	if again, err := c.Snapshot(t.Context(), name); err != nil || again != path {
		t.Errorf("the whole is %s, %v, want %s", again, err, path)
	}
}

// one is a repository of a single 100-kB file, so that a test can watch one download.
func one(t *testing.T) (h *fakeHub, content []byte) {
	t.Helper()
	content = bytes.Repeat([]byte("0123456789"), 10_000)
	return newFakeHub(t, map[string][]byte{"m.safetensors": content}), content
}

func TestResume(t *testing.T) {
	for _, tt := range []struct {
		name    string
		noRange bool
		request string
	}{
		{"with ranges", false, "content m.safetensors bytes=40000-"},
		{"server ignores ranges", true, "content m.safetensors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, content := one(t)
			h.cut["m.safetensors"] = 40_000
			h.noRange = tt.noRange
			c := h.client(t)
			c.Retries = 0
			if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "run again") {
				t.Fatalf("cut download: %v", err)
			}
			partial, err := filepath.Glob(filepath.Join(c.Cache, "*", "blobs", "*.incomplete"))
			if err != nil || len(partial) != 1 {
				t.Fatalf("partial files %v, %v", partial, err)
			}
			if info, err := os.Stat(partial[0]); err != nil || info.Size() != 40_000 {
				t.Fatalf("partial file %v, %v", info, err)
			}
			if _, err := os.Stat(filepath.Join(c.folder(repo{survivor, "main"}), "refs", "main")); err == nil {
				t.Error("the ref leads to half a snapshot")
			}
			path, err := c.Snapshot(t.Context(), survivor)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
				t.Error("content differs")
			}
			if !tt.noRange && !h.saw(t, tt.request) {
				t.Errorf("requests %q lack %q", h.requests, tt.request)
			}
			if left, _ := filepath.Glob(filepath.Join(c.Cache, "*", "blobs", "*.incomplete")); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	h, content := one(t)
	h.busy = 2
	h.cut["m.safetensors"] = 99_999
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Error("content differs")
	}
	if h.gets["m.safetensors"] != 2 {
		t.Errorf("%d downloads, want 2", h.gets["m.safetensors"])
	}
	h, _ = one(t)
	h.busy = 100
	_, err = h.client(t).Snapshot(t.Context(), survivor)
	if status, ok := errors.AsType[*StatusError](err); !ok || status.Code != 503 || len(h.requests) != 3 {
		t.Errorf("busy server: %v after %d requests, want 3", err, len(h.requests))
	}
}

func TestWrongHash(t *testing.T) {
	for _, files := range []map[string][]byte{{"m.safetensors": []byte("large")}, {"config.json": []byte("{}"), "model.safetensors": []byte("large")}} {
		h := newFakeHub(t, files)
		for name := range files {
			h.corrupt[name] = true
		}
		c := h.client(t)
		_, err := c.Snapshot(t.Context(), survivor)
		if !errors.Is(err, ErrHash) {
			t.Errorf("error %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(c.Cache, "*", "blobs", "*")); len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
		h.corrupt = map[string]bool{}
		if _, err := c.Snapshot(t.Context(), survivor); err != nil {
			t.Errorf("after a wrong hash: %v", err)
		}
	}
}

func TestStall(t *testing.T) {
	h, _ := one(t)
	release := make(chan struct{})
	defer close(release)
	h.content.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write([]byte("0123456789"))
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	c := h.client(t)
	c.stall, c.Retries = 50*time.Millisecond, 0
	if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "connection lost") {
		t.Errorf("silent server: %v", err)
	}
}

func TestCancel(t *testing.T) {
	h, _ := one(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	c := h.client(t)
	c.Progress = func(Progress) { cancel(errors.New("enough")) }
	h.content.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write([]byte("0123456789"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	if _, err := c.Snapshot(ctx, survivor); err == nil || err.Error() != "enough" {
		t.Errorf("error %v", err)
	}
}

func TestRefusals(t *testing.T) {
	h, _ := one(t)
	c := h.client(t)
	for _, tt := range []struct {
		name, id, token, serverToken string
		want                         []string
	}{
		{"no token", survivor, "", "hf_right", []string{"401", "HF_TOKEN", "Invalid username"}},
		{"wrong token", survivor, "hf_wrong", "hf_right", []string{"401", "not accepted"}},
		{"no such model", "nobody/nothing", "", "", []string{"404", "nobody/nothing"}},
		{"no such revision", survivor + "@v9", "", "", []string{"404", `"v9"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.Token, h.token = tt.token, tt.serverToken
			_, err := c.Snapshot(t.Context(), tt.id)
			if _, ok := errors.AsType[*StatusError](err); !ok {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hf_") {
				t.Errorf("error %q shows the token", err)
			}
		})
	}
	gated := &StatusError{Code: 403, Repo: survivor, endpoint: DefaultEndpoint}
	if !strings.Contains(gated.Error(), "accept the model's conditions at https://huggingface.co/"+survivor) {
		t.Errorf("gated: %v", gated)
	}
}

func TestHostileServer(t *testing.T) {
	for _, name := range []string{"../../x.safetensors", "/etc/x.safetensors", `unet\..\..\x.safetensors`, "c:x.safetensors", "unet/../../x.json", "a//b", ""} {
		h := newFakeHub(t, map[string][]byte{name: []byte("x"), "m.safetensors": []byte("y")})
		c := h.client(t)
		if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "leads out of the cache") {
			t.Errorf("%q: %v", name, err)
		}
		if entries, _ := os.ReadDir(c.Cache); len(entries) != 0 {
			t.Errorf("%q: wrote %v", name, entries)
		}
	}
	h, _ := one(t)
	h.sha = "../../../../tmp/x"
	if _, err := h.client(t).Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "not a commit hash") {
		t.Errorf("commit: %v", err)
	}
	files := tinyFiles(t)
	delete(files, "unet/diffusion_pytorch_model.safetensors")
	files["unet/diffusion_pytorch_model.safetensors.index.json"] = []byte(`{"weight_map":{"x":"../../../x.safetensors"}}`)
	if _, err := newFakeHub(t, files).client(t).Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "plain name") {
		t.Errorf("index: %v", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"m.safetensors","size":3}]}`, commit)
			return
		}
		w.Header().Set("ETag", `"../../../../evil"`)
		w.Write([]byte("abc"))
	}))
	defer server.Close()
	c := &Client{Endpoint: server.URL, Cache: t.TempDir(), HTTP: server.Client()}
	if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "gives no hash") {
		t.Errorf("ETag: %v", err)
	}
}

func TestNothingUsable(t *testing.T) {
	for want, files := range map[string]map[string][]byte{
		"no weights":     {"unet/model.onnx": nil, "model_index.json": nil},
		"several models": {"a.safetensors": nil, "b.safetensors": nil},
	} {
		if _, err := newFakeHub(t, files).client(t).Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestWithoutSymlinks(t *testing.T) {
	symlink = func(string, string) error { return errors.New("not permitted") }
	defer func() { symlink = os.Symlink }()
	h, content := one(t)
	path, err := h.client(t).Snapshot(t.Context(), survivor)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(content)) {
		t.Errorf("%v, %v", info, err)
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, content, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(from, to); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(to); !bytes.Equal(got, content) {
		t.Error("the copy differs")
	}
}

func TestUnwritableCache(t *testing.T) {
	h, _ := one(t)
	c := h.client(t)
	file := filepath.Join(c.Cache, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	c.Cache = file
	if _, err := c.Snapshot(t.Context(), survivor); err == nil || !strings.Contains(err.Error(), "HF_HUB_CACHE") {
		t.Errorf("error %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	home := t.TempDir()
	check := func(what string, test func(c *Client) bool) {
		t.Helper()
		c, err := New()
		if err != nil {
			t.Fatal(err)
		}
		if !test(c) {
			t.Errorf("%s: %+v", what, c)
		}
	}
	check("defaults", func(c *Client) bool {
		return c.Endpoint == DefaultEndpoint && !c.Offline && strings.HasSuffix(c.Cache, filepath.Join(".cache", "huggingface", "hub"))
	})
	t.Setenv("XDG_CACHE_HOME", home)
	check("XDG_CACHE_HOME", func(c *Client) bool { return c.Cache == filepath.Join(home, "huggingface", "hub") })
	t.Setenv("HF_HOME", home)
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("HF_HOME", func(c *Client) bool { return c.Cache == filepath.Join(home, "hub") && c.Token == "hf_file" })
	t.Setenv("HF_HUB_CACHE", filepath.Join(home, "elsewhere"))
	t.Setenv("HF_TOKEN", "hf_variable")
	t.Setenv("HF_ENDPOINT", "https://mirror.example/")
	t.Setenv("HF_HUB_OFFLINE", "yes")
	check("all", func(c *Client) bool {
		return c.Cache == filepath.Join(home, "elsewhere") && c.Token == "hf_variable" && c.Endpoint == "https://mirror.example" && c.Offline
	})
	t.Setenv("HF_HUB_OFFLINE", "0")
	check("HF_HUB_OFFLINE=0", func(c *Client) bool { return !c.Offline })
}

func TestIsID(t *testing.T) {
	for s, want := range map[string]bool{
		survivor: true, "a/b": true, "a/b@main": true, "a/b@refs/pr/1": true, "Lykon/dreamshaper-8": true, "a/b@" + commit: true,
		"": false, "a": false, "a/b/c": false, "../b": false, "a/..": false, "a/b@../x": false, "a/b@": false, "a/b@/x": false, "a--b/c": false,
		`a\b`: false, "a/b@x/../y": false, "/a/b": false, "./a": false,
	} {
		if got := IsID(s); got != want {
			t.Errorf("IsID(%q) = %v", s, got)
		}
	}
}
