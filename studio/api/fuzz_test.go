package api

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/studio/jobs"
)

// endpoint is one that takes a body, or a path that strangers make.
type endpoint struct{ method, path string }

// endpoints are all of them, with "*" for what a body of the fuzzer says.
var endpoints = []endpoint{
	{"POST", "jobs"}, {"PATCH", "jobs/JOB"}, {"PATCH", "jobs/*"}, {"POST", "inputs/a.png"}, {"POST", "inputs/*"}, {"GET", "inputs/*/*"}, {"GET", "jobs?state=*&kind=*&limit=*"}, {"GET", "jobs/JOB/files/*"},
	{"GET", "jobs/*/preview"}, {"DELETE", "jobs/*"}, {"POST", "refresh"},
}

// stranger sends requests to a server of its own.
type stranger struct {
	queue  *jobs.Queue
	server *Server
	job    string   // the ID of a job that is there
	seeds  [][]byte // bodies as they should be
}

func newStranger(t testing.TB) *stranger {
	t.Helper()
	q, s, _ := open(t)
	job, err := q.Submit(t.Context(), jobs.Job{Kind: "sum"})
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join("testdata", "bodies", "*.json"))
	if err != nil || len(names) < 6 {
		t.Fatal(names, err)
	}
	all := &stranger{queue: q, server: s, job: job.ID}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.seeds = append(all.seeds, text)
	}
	return all
}

// send sends a body, and paths made of it, to an endpoint: what comes of it is not the server's fault, and answered in JSON, and jobs that were
// taken are such as a worker can read. The status is 0 where no server would get the request.
func (s *stranger) send(t *testing.T, to endpoint, body []byte) (status int) {
	target := Prefix + strings.NewReplacer("JOB", s.job, "*", escape(string(body[:min(len(body), 200)]))).Replace(to.path)
	r, err := http.NewRequestWithContext(t.Context(), to.method, target, strings.NewReader(string(body)))
	if err != nil {
		return 0
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	switch answer := w.Body.String(); {
	case w.Code >= 500 || w.Code < 200:
		t.Errorf("%s %s with %.500q: %d %.500s", to.method, target, body, w.Code, answer)
	case strings.HasPrefix(w.Header().Get("Content-Type"), "application/") && strings.HasSuffix(w.Header().Get("Content-Type"), "json") && !json.Valid([]byte(answer)):
		t.Errorf("%s %s answers no JSON: %.500s", to.method, target, answer)
	}
	for _, j := range s.queue.Jobs() {
		if j.ID == s.job {
			continue
		}
		if !json.Valid(j.Request) {
			t.Errorf("a job asks for %.500q", j.Request)
		}
		if err := s.queue.Remove(t.Context(), j.ID); err != nil {
			t.Error(fmt.Errorf("%s: %w", j.ID, err))
		}
	}
	return w.Code
}

// Which requests TestBodies sends: some in CI, 100,000 before a release, in parts if need be.
var (
	requests = flag.Int("requests", 600, "how many requests TestBodies sends")
	from     = flag.Int("from", 0, "the seed of its first")
)

// TestBodies sends to every endpoint what is nearly as it should be.
//
//	go test ./studio/api -run TestBodies -timeout 2h -args -requests 100000
func TestBodies(t *testing.T) {
	s, statuses := newStranger(t), make(map[int]int)
	for seed := *from; seed < *from+*requests; seed++ {
		statuses[s.send(t, endpoints[seed%len(endpoints)], s.nearly(uint64(seed)))]++
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d requests to %d endpoints, by status: %v", *requests, len(endpoints), statuses)
}

// odd are the values of strangers.
var odd = []any{
	nil, true, 0, -1, 7, 0.5, 1e18, json.Number("1e400"), json.Number("9223372036854775808"), "", "x", "3", "\x00", "../../etc/passwd", "<lora:x:1>", "((a:1.2", strings.Repeat("(", 300),
	[]any{}, []any{1, "x"}, map[string]any{}, map[string]any{"kind": "draw"}, "draw", "train", "cancel", "pending", "inputs/" + strings.Repeat("0", 64) + "/a.png",
}

// nearly is a body of a seed: one that should be, with values, or bytes, that should not, the same of the same seed.
func (s *stranger) nearly(seed uint64) []byte {
	d := rand.New(rand.NewPCG(seed, 1))
	body := slices.Clone(s.seeds[d.IntN(len(s.seeds))])
	switch d.IntN(6) {
	case 0:
		return body[:d.IntN(len(body)+1)]
	case 1:
		for range 1 + d.IntN(6) {
			body[d.IntN(len(body))] = byte(d.IntN(256))
		}
		return body
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		panic(err) // the seeds are JSON
	}
	if text, err := json.Marshal(shaken(d, v)); err == nil {
		return text
	}
	return []byte(`{"priority": 1e400, "kind": [1`) // a number beyond all
}

// shaken is a value of which some parts are others, or gone.
func shaken(d *rand.Rand, v any) any {
	if d.IntN(12) == 0 {
		return odd[d.IntN(len(odd))]
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if v[name] = shaken(d, v[name]); d.IntN(16) == 0 {
				delete(v, name)
			}
		}
		if d.IntN(16) == 0 {
			v["x"] = odd[d.IntN(len(odd))]
		}
	case []any:
		for i := range v {
			v[i] = shaken(d, v[i])
		}
		for range d.IntN(3) * d.IntN(2) {
			v = append(v, odd[d.IntN(len(odd))])
		}
		return v
	}
	return v
}

// FuzzBodies does so with bytes of any kind too. Building it takes a while: the queue's server is instrumented with the rest.
//
//	go test ./studio/api -run '^$' -fuzz FuzzBodies -fuzztime 100000x
func FuzzBodies(f *testing.F) {
	s := newStranger(f)
	for at := range endpoints {
		for _, text := range s.seeds {
			f.Add(uint8(at), text)
		}
		f.Add(uint8(at), []byte(`../../..`))
		f.Add(uint8(at), []byte("a\x00b%2f..\n"))
	}
	f.Fuzz(func(t *testing.T, at uint8, body []byte) { s.send(t, endpoints[int(at)%len(endpoints)], body) })
}
