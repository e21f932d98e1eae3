package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// FuzzBodies sends bodies, and paths made of them, to every endpoint: nothing is the server's fault, everything is answered in JSON, and jobs that
// were taken are such as a worker can read.
//
//	go test ./studio/api -run '^$' -fuzz FuzzBodies -fuzztime 100000x
func FuzzBodies(f *testing.F) {
	q, s, _ := open(f)
	job, err := q.Submit(f.Context(), jobs.Job{Kind: "sum"})
	if err != nil {
		f.Fatal(err)
	}
	seeds, err := filepath.Glob(filepath.Join("testdata", "bodies", "*.json"))
	if err != nil || len(seeds) < 6 {
		f.Fatal(seeds, err)
	}
	for _, name := range seeds {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for at := range endpoints {
			f.Add(uint8(at), text)
		}
	}
	for at := range endpoints {
		f.Add(uint8(at), []byte(`../../..`))
		f.Add(uint8(at), []byte("a\x00b%2f..\n"))
	}
	f.Fuzz(func(t *testing.T, at uint8, body []byte) {
		to := endpoints[int(at)%len(endpoints)]
		target := Prefix + strings.NewReplacer("JOB", job.ID, "*", escape(string(body[:min(len(body), 200)]))).Replace(to.path)
		r, err := http.NewRequestWithContext(t.Context(), to.method, target, strings.NewReader(string(body)))
		if err != nil {
			t.Skip(err) // no server gets it
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		switch answer := w.Body.String(); {
		case w.Code >= 500 || w.Code < 200:
			t.Errorf("%s %s with %.500q: %d %.500s", to.method, target, body, w.Code, answer)
		case strings.HasPrefix(w.Header().Get("Content-Type"), "application/") && strings.HasSuffix(w.Header().Get("Content-Type"), "json") && !json.Valid([]byte(answer)):
			t.Errorf("%s %s answers no JSON: %.500s", to.method, target, answer)
		}
		for _, j := range q.Jobs() {
			if j.ID == job.ID {
				continue
			}
			if !json.Valid(j.Request) {
				t.Errorf("a job asks for %.500q", j.Request)
			}
			if err := q.Remove(t.Context(), j.ID); err != nil {
				t.Error(fmt.Errorf("%s: %w", j.ID, err))
			}
		}
	})
}
