package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// file is one of the queue's, stored so long ago.
func file(name string, size uint64, ago time.Duration) *jetstream.ObjectInfo {
	return &jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: name}, Size: size, ModTime: now.Add(-ago)}
}

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// TestRetention removes what is old or too large, and nothing that somebody needs.
func TestRetention(t *testing.T) {
	job := func(id string, s State, ago time.Duration, inputs ...string) Job {
		return Job{ID: id, State: s, Finished: now.Add(-ago), Inputs: inputs}
	}
	all := []Job{
		{ID: "waits", State: Pending, Inputs: []string{"inputs/w"}}, {ID: "runs", State: Running, Inputs: []string{"inputs/r"}},
		job("month", Done, 31*day, "inputs/m", "inputs/w"), job("failed", Failed, 40*day), job("portrait", Done, 50*day, "inputs/p"),
		job("week", Done, 7*day, "inputs/k"), job("yesterday", Cancelled, day), job("now", Done, time.Minute),
	}
	files := []*jetstream.ObjectInfo{
		file("job/runs/kept/x", 900, 60*day), file("job/month/result/0.png", 100, 31*day), file("job/portrait/result/cv.png", 100, 50*day),
		file("job/week/result/0.png", 100, 7*day), file("job/now/result/0.png", 100, time.Minute), file("job/nobody/result/0.png", 1, 2*time.Hour), file("job/coming/result/0.png", 1, time.Minute),
		file("inputs/w", 1, 60*day), file("inputs/r", 1, 60*day), file("inputs/m", 1, 60*day), file("inputs/p", 1, 60*day), file("inputs/k", 1, 60*day),
		file("inputs/form", 1, 60*day), file("inputs/unclaimed", 1, 2*day), file("inputs/fresh", 1, time.Hour), file("pages/draw.json", 1, 60*day),
	}
	for name, c := range map[string]struct {
		Retention
		jobs, files string
	}{
		"nothing":        {Retention{}, "", "job/nobody/result/0.png"},
		"age":            {Retention{Age: 30 * day}, "failed month", "job/nobody/result/0.png"},
		"age and inputs": {Retention{Age: 30 * day, Inputs: "inputs/"}, "failed month", "inputs/m inputs/unclaimed job/nobody/result/0.png"},
		"bytes":          {Retention{Bytes: 1150}, "failed month week", "job/nobody/result/0.png"},
		"few bytes":      {Retention{Bytes: 1, Inputs: "inputs/"}, "failed month week yesterday", "inputs/k inputs/m inputs/unclaimed job/nobody/result/0.png"},
	} {
		stay, surplus := c.Retention.jobs(all, files, []string{"portrait"}, now)
		var ids []string
		for _, j := range surplus {
			ids = append(ids, j.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != c.jobs {
			t.Errorf("%s: removed are %q, want %q", name, got, c.jobs)
		}
		names := c.Retention.names(stay, files, []string{"inputs/form"}, now)
		slices.Sort(names)
		// Files of jobs that are removed go with these.
		names = slices.DeleteFunc(names, func(name string) bool { id, _ := jobOf(name); return slices.Contains(ids, id) })
		if got := strings.Join(names, " "); got != c.files {
			t.Errorf("%s: files removed are %q, want %q", name, got, c.files)
		}
	}
}

// TestInputsGo removes the photos of a job with it, but for those that another job needs, or that somebody is about to need.
func TestInputsGo(t *testing.T) {
	q, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	put := func(name string) {
		t.Helper()
		if _, err := q.Put(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	has := func(name string) bool {
		t.Helper()
		f, err := q.Get(t.Context(), name)
		if err == nil {
			f.Close()
		}
		return err == nil
	}
	for _, name := range []string{"inputs/face", "inputs/shared", "inputs/again"} {
		put(name)
	}
	a, err := q.Submit(t.Context(), Job{Kind: "portrait", Inputs: []string{"inputs/face", "inputs/shared", "inputs/again"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Submit(t.Context(), Job{Kind: "portrait", Inputs: []string{"inputs/shared"}})
	if err != nil {
		t.Fatal(err)
	}
	if there, err := q.Has(t.Context(), "inputs/again"); !there || err != nil { // whoever asks may be about to submit a job that needs it
		t.Fatal(there, err)
	}
	if err := q.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if has("inputs/face") || !has("inputs/shared") || !has("inputs/again") {
		t.Errorf("after the first is gone: face %t, shared %t, again %t", has("inputs/face"), has("inputs/shared"), has("inputs/again"))
	}
	if err := q.Remove(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if has("inputs/shared") {
		t.Error("a photo that no job needs is kept")
	}
	// What was stored for nobody goes in time, and with it the marks of what was removed.
	q.mirror.settle(time.Now())
	files, err := q.files.List(t.Context(), jetstream.ListObjectsShowDeleted())
	if err != nil {
		t.Fatal(err)
	}
	if names := (Retention{Inputs: "inputs/"}).names(nil, files, nil, time.Now().Add(2*day)); fmt.Sprint(names) != "[inputs/again]" {
		t.Errorf("idle are %q", names)
	}
}

// TestTidy removes an old job with its files, and leaves no mark of it.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Heartbeat: 40 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	changes := q.Changes(ctx)
	old, err := q.Submit(t.Context(), Job{Kind: "draw"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Work(ctx, Worker{Name: "here", Handlers: map[string]Handler{"draw": func(ctx context.Context, task *Task) error {
			return task.Save(ctx, "0.png", strings.NewReader("x"))
		}}})
	}()
	for j := range changes {
		if j.State.Ended() {
			break
		}
	}
	stop()
	<-done
	if err := q.Tidy(t.Context(), Retention{Age: time.Nanosecond, Needs: func(context.Context) (ids, names []string) { return []string{old.ID}, nil }}); err != nil {
		t.Fatal(err)
	}
	if len(q.Jobs()) != 1 {
		t.Fatal("a job that somebody needs is removed")
	}
	if err := q.Tidy(t.Context(), Retention{Age: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	files, err := q.files.List(t.Context(), jetstream.ListObjectsShowDeleted())
	if len(q.Jobs()) != 0 || err != nil || len(files) != 1 || !files[0].Deleted {
		t.Errorf("left are %v and %v, %v", q.Jobs(), files, err)
	}
	if err := q.unmark(t.Context(), files, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if files, err := q.files.List(t.Context(), jetstream.ListObjectsShowDeleted()); len(files) != 0 {
		t.Errorf("marks are left: %v, %v", files, err)
	}
	// Half a file, whose writer was killed, is gone when the folder is opened again.
	if _, err := q.conn.Request("$O."+fileBucket+".C.half", []byte("half a photo"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = Open(t.Context(), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if info, err := q.stream.Info(t.Context()); err != nil || info.State.Msgs != 0 {
		t.Errorf("%d messages are left, %v", info.State.Msgs, err)
	}
}
