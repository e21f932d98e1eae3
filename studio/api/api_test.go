package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// enlarge is a request for a job, which nobody does here.
var enlarge = `{"pictures": ["inputs/` + strings.Repeat("0", 64) + `/a.png"]}`

// open makes a server over a queue and a library of the test's own.
func open(t testing.TB) (*jobs.Queue, *Server, *httptest.Server) {
	t.Helper()
	q, err := jobs.Open(t.Context(), jobs.Options{Dir: t.TempDir(), Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := library.Open(library.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Queue: q, Library: lib})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q, s, h
}

// ask sends a request and reads its answer's JSON.
func ask(t *testing.T, method, url, body string, into any) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if into != nil {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			t.Errorf("%s %s: %v", method, url, err)
		}
	}
	return answer.StatusCode
}

func TestJobs(t *testing.T) {
	q, _, h := open(t)
	base := h.URL + Prefix + "jobs"
	var job Job
	if status := ask(t, "POST", base, `{"kind": "upscale", "title": "larger", "request": `+enlarge+`}`, &job); status != http.StatusCreated || job.State != jobs.Pending {
		t.Fatalf("%d %+v", status, job)
	}
	var again Job
	if status := ask(t, "GET", base+"/"+job.ID, "", &again); status != http.StatusOK || !strings.Contains(string(again.Request), "a.png") {
		t.Errorf("%d %+v", status, again)
	}
	var other Job
	ask(t, "POST", base, `{"kind": "upscale", "request": `+enlarge+`}`, &other)
	if status := ask(t, "PATCH", base+"/"+other.ID, `{"before": "`+job.ID+`"}`, nil); status != http.StatusOK || q.Jobs()[0].ID != other.ID {
		t.Errorf("moving: %d %v", status, q.Jobs())
	}
	if status := ask(t, "PATCH", base+"/"+job.ID, `{"wish": "cancel"}`, &job); status != http.StatusOK || job.State != jobs.Cancelled {
		t.Errorf("cancelling: %d %v", status, job.State)
	}
	if status := ask(t, "PATCH", base+"/"+job.ID, `{"state": "pending"}`, &job); status != http.StatusOK || job.State != jobs.Pending {
		t.Errorf("trying again: %d %v", status, job.State)
	}
	var list struct {
		Jobs  []Job
		Total int
	}
	if status := ask(t, "GET", base+"?state=pending&limit=1", "", &list); status != http.StatusOK || list.Total != 2 || len(list.Jobs) != 1 || list.Jobs[0].Request != nil {
		t.Errorf("%d %+v", status, list)
	}
	if status := ask(t, "DELETE", base+"/"+job.ID, "", nil); status != http.StatusNoContent {
		t.Errorf("removing: %d", status)
	}
	if status := ask(t, "GET", base+"/"+job.ID, "", nil); status != http.StatusNotFound {
		t.Errorf("what was removed: %d", status)
	}
}

func TestProblems(t *testing.T) {
	q, _, h := open(t)
	j, err := q.Submit(t.Context(), jobs.Job{Kind: "sum"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"POST", "jobs", `{"kind": "upscale", "request": {"pictures": ["../x"]}}`, 422, "Upscale.Pictures[0]"},
		{"POST", "jobs", `{"kind": "draw", "request": {"request": {"width": 7}, "n_iter": 1}}`, 422, "Request.Width"},
		{"POST", "jobs", `{"kind": "draw", "request": {"request": {"width": "wide"}}}`, 400, "request.request.width"},
		{"POST", "jobs", `{"kind": "draw", "request": {"prompt": "a cat"}}`, 400, "request"},
		{"POST", "jobs", `{"kind": "draw", "request": 7}`, 400, "request"},
		{"POST", "jobs", `{"kind": "dance", "request": []}`, 422, "kind"},
		{"POST", "jobs", `{"kind": "draw"}`, 400, "request"},
		{"POST", "jobs", `{"kind": 7}`, 400, "kind"},
		{"POST", "jobs", `{"kind": "draw", "requests": []}`, 400, ""},
		{"POST", "jobs", `{"kind": "draw"} {}`, 400, ""},
		{"POST", "jobs", ``, 400, ""},
		{"POST", "jobs", `{"kind": "upscale", "request": {}, "title": "` + strings.Repeat("x", 2000) + `"}`, 422, "title"},
		{"PATCH", "jobs/" + j.ID, `{}`, 422, ""},
		{"PATCH", "jobs/" + j.ID, `{"wish": "dance"}`, 422, "wish"},
		{"PATCH", "jobs/" + j.ID, `{"state": "done"}`, 422, "state"},
		{"PATCH", "jobs/" + j.ID, `{"wish": "skip"}`, 409, ""},
		{"PATCH", "jobs/" + j.ID, `{"wish": "skip", "before": ""}`, 422, ""},
		{"PATCH", "jobs/none", `{"wish": "cancel"}`, 404, ""},
		{"PATCH", "jobs/%2e%2e", `{"wish": "cancel"}`, 404, ""},
		{"GET", "jobs?limit=x", "", 400, "limit"},
		{"GET", "jobs/" + j.ID + "/files/0.png", "", 404, ""},
		{"GET", "jobs/" + j.ID + "/files/..%2f..%2fetc%2fpasswd", "", 404, ""},
		{"GET", "jobs/" + j.ID + "/preview", "", 404, ""},
		{"GET", "jobs/none/events", "", 404, ""},
		{"GET", "nothing", "", 404, ""},
		{"POST", "inputs/a.png", "", 422, "body"},
		{"POST", "inputs/..", "x", 404, ""},
		{"POST", "inputs/" + strings.Repeat("x", 2000), "x", 422, "name"},
		{"GET", "inputs/..%2fx/y", "", 404, ""},
		{"GET", "inputs/" + strings.Repeat("0", 64) + "/y", "", 404, ""},
	} {
		var p Problem
		status := ask(t, test.method, h.URL+Prefix+test.path, test.body, &p)
		if status != test.status || p.Status != status || p.Title == "" || p.Detail == "" || test.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != test.field) {
			t.Errorf("%s %s %.60s: %d %+v, want %d for %q", test.method, test.path, test.body, status, p, test.status, test.field)
		}
	}
}

// TestResults serves what jobs leave, so that a browser runs none of it.
func TestResults(t *testing.T) {
	q, _, h := open(t)
	j, err := q.Submit(t.Context(), jobs.Job{Kind: "sum"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	worked, changes := make(chan error), q.Changes(ctx)
	go func() {
		worked <- q.Work(ctx, jobs.Worker{Name: "test", Handlers: map[string]jobs.Handler{"sum": func(ctx context.Context, task *jobs.Task) error {
			for _, name := range []string{"0.png", "report.html", "a b/ü.safetensors", "evil.svg"} {
				if err := task.Save(ctx, name, strings.NewReader(name)); err != nil {
					return err
				}
			}
			return nil
		}}})
	}()
	for j := range changes {
		if j.State.Ended() {
			break
		}
	}
	var shown Job
	ask(t, "GET", h.URL+Prefix+"jobs/"+j.ID, "", &shown)
	if len(shown.Files) != 4 {
		t.Fatalf("%+v", shown)
	}
	for _, f := range shown.Files {
		answer, err := http.Get(h.URL + f.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil || string(body) != f.Name {
			t.Errorf("%s: %q, %v", f.URL, body, err)
		}
		kind, policy := answer.Header.Get("Content-Type"), answer.Header.Get("Content-Security-Policy")
		attached := strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment")
		if kind != "image/png" && !attached && !(strings.HasPrefix(kind, "text/html") && strings.HasPrefix(policy, "sandbox")) {
			t.Errorf("%s is %s, attached %v, under %q", f.Name, kind, attached, policy)
		}
	}
	stop()
	<-worked
}

// listen reads events of a stream until it has seen some.
func listen(t *testing.T, url, last string, n int) (names, ids []string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	name := ""
	for len(names) < n && lines.Scan() {
		switch key, value, _ := strings.Cut(lines.Text(), ": "); key {
		case "id":
			ids = append(ids, value)
		case "event":
			name = value
		case "data":
			var job struct{ ID, Title string }
			if err := json.Unmarshal([]byte(value), &job); err != nil {
				t.Fatal(err)
			}
			names = append(names, name+" "+job.Title)
		}
	}
	if len(names) < n {
		t.Fatalf("only %q came", names)
	}
	return names, ids
}

// TestEvents goes on where a stream broke, with what happened meanwhile and nothing twice.
func TestEvents(t *testing.T) {
	q, s, h := open(t)
	url := h.URL + Prefix + "events"
	submit := func(title string) jobs.Job {
		j, err := q.Submit(t.Context(), jobs.Job{Kind: "sum", Title: title})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	settle := func(n int64) {
		t.Helper()
		for range 500 {
			if _, now, _, _ := s.feed.since(0); now >= n {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the feed does not follow")
	}
	a := submit("a")
	settle(1)
	names, ids := listen(t, url, "", 1)
	if names[0] != "job a" {
		t.Errorf("at first: %q", names)
	}
	submit("b")
	settle(2)
	if _, err := q.Ask(t.Context(), a.ID, jobs.Cancel); err != nil {
		t.Fatal(err)
	}
	settle(3)
	if names, _ = listen(t, url, ids[0], 2); fmt.Sprint(names) != "[job b job a]" {
		t.Errorf("after the break: %q", names)
	}
	if err := q.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	settle(4)
	mark := s.Mark()
	if names, _ = listen(t, url, ids[0], 2); fmt.Sprint(names) != "[job b removed ]" {
		t.Errorf("after the removal: %q", names)
	}
	submit("c")
	names, _ = listen(t, url+"?after="+mark, "", 1)
	if names[0] == "removed " { // a removal may be one change or two
		names, _ = listen(t, url+"?after="+mark, "", 2)
	}
	if names[len(names)-1] != "job c" {
		t.Errorf("after the page: %q", names)
	}
	for _, strange := range []string{"other-1", "x", s.feed.epoch + "--1"} {
		if names, _ = listen(t, url, strange, 3); fmt.Sprint(names) != "[reset  job b job c]" {
			t.Errorf("after %q: %q", strange, names)
		}
	}
}

// TestFeed keeps what it must, and no more.
func TestFeed(t *testing.T) {
	f := newFeed()
	for i := range 3 * maxKept {
		f.add(fmt.Sprint(i))
		f.add("busy")
	}
	if len(f.changes) > 5*maxKept || len(f.last) > 2*maxKept {
		t.Errorf("it keeps %d changes of %d jobs", len(f.changes), len(f.last))
	}
	if _, _, ok, _ := f.since(1); ok {
		t.Error("somebody who was away for long is told nothing of it")
	}
	ids, now, ok, _ := f.since(f.number - 4)
	if !ok || now != f.number || len(ids) != 3 || ids[2] != "busy" {
		t.Errorf("the last changes are %v, %v", ids, ok)
	}
}

// TestDeaf is a browser that never reads, on a connection that holds little: nothing waits for it and nothing is kept for it, others hear what
// there is to hear, and in the end it is given up.
func TestDeaf(t *testing.T) {
	q, s, _ := open(t)
	s.patience = 300 * time.Millisecond
	left := make(chan struct{})
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		if r.Header.Get("User-Agent") == "deaf" {
			close(left)
		}
	}))
	h.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		c.(*net.TCPConn).SetWriteBuffer(4 << 10)
		return ctx
	}
	h.Start()
	defer h.Close()
	conn, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %sevents HTTP/1.1\r\nHost: x\r\nUser-Agent: deaf\r\n\r\n", Prefix)
	long := strings.Repeat("x", 900)
	began := runtime.NumGoroutine()
	change := func() {
		j, err := q.Submit(t.Context(), jobs.Job{Kind: "sum", Title: long})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 300 {
		change()
	}
	if got := runtime.NumGoroutine(); got > began+20 {
		t.Errorf("%d goroutines wait for a browser that does not read, %d did before", got, began)
	}
	if names, _ := listen(t, h.URL+Prefix+"events?after="+s.feed.mark(1), "", 1); names[0] == "" {
		t.Error("others hear nothing")
	}
	for end := time.After(time.Minute); ; change() { // until more waits for it than the systems' buffers hold
		select {
		case <-left:
			return
		case <-end:
			t.Fatal("it is not given up")
		default:
		}
	}
}

// TestInputs stores a picture under a name that leads nowhere, once, and serves it so that a browser runs none of it.
func TestInputs(t *testing.T) {
	_, _, h := open(t)
	for name, file := range map[string]string{"a%20b.png": "\x89PNG\r\n\x1a\n", "..%2f..%2fx.svg": "<svg/>"} {
		var stored struct{ Name string }
		if status := ask(t, "POST", h.URL+Prefix+"inputs/"+name, file, &stored); status != http.StatusCreated {
			t.Fatalf("%s: %d", name, status)
		}
		if strings.Contains(stored.Name, "..") || strings.Count(stored.Name, "/") != 2 {
			t.Errorf("%s is stored as %q", name, stored.Name)
		}
		answer, err := http.Get(h.URL + Prefix + strings.ReplaceAll(stored.Name, " ", "%20"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if kind := answer.Header.Get("Content-Type"); err != nil || string(body) != file || kind != "image/png" && kind != "application/octet-stream" {
			t.Errorf("%s: %d %q is %s", stored.Name, answer.StatusCode, body, kind)
		}
	}
}

func TestLists(t *testing.T) {
	_, _, h := open(t)
	for _, name := range []string{"checkpoints", "loras", "embeddings", "vaes", "upscalers", "styles"} {
		var list []model
		if status := ask(t, "GET", h.URL+Prefix+name, "", &list); status != http.StatusOK || list == nil || name == "upscalers" && len(list) < 5 {
			t.Errorf("%s: %d %v", name, status, list)
		}
	}
	var samplers struct{ Samplers, Schedules []string }
	if status := ask(t, "GET", h.URL+Prefix+"samplers", "", &samplers); status != http.StatusOK || samplers.Samplers[0] != "DPM++ 2M" || len(samplers.Schedules) < 5 {
		t.Errorf("%d %v", status, samplers)
	}
}
