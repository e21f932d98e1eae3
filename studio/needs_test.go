package studio

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// TestNeeds names what people need of the queue: the job that a portrait is shown from, and the picture in the form of the room Draw.
func TestNeeds(t *testing.T) {
	s, _, q := tinyStudio(t)
	p, err := s.projects.add()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.projects.change(p.ID, func(p *project) error { p.Jobs = []string{"OLD", "LAST"}; return nil }); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	stored, err := work.PutInput(t.Context(), q, "image", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Put(t.Context(), formFile, strings.NewReader(`{"prompt": "a man", "image": "`+stored+`"}`)); err != nil {
		t.Fatal(err)
	}
	ids, names := s.Needs(t.Context())
	if !slices.Equal(ids, []string{"LAST"}) || !slices.Equal(names, []string{stored}) {
		t.Errorf("needed are the jobs %q and the files %q", ids, names)
	}
}

// TestThumbsGo removes the small pictures of a job with it.
func TestThumbsGo(t *testing.T) {
	s, _, q := tinyStudio(t)
	j, err := q.Submit(t.Context(), jobs.Job{Kind: "portrait"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second comes from the folder
		if _, err := s.smallResult(t.Context(), j.ID, b.Bytes(), 32); err != nil {
			t.Fatal(err)
		}
	}
	path := s.thumbs.path(j.ID, b.Bytes(), 32)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := q.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the small picture stays")
		}
	}
}

// TestQueueWaits shows in the room Queue what a job waits for.
func TestQueueWaits(t *testing.T) {
	s, _, q := tinyStudio(t)
	if _, err := q.Submit(t.Context(), jobs.Job{Kind: "draw", Title: "rare"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Work(ctx, jobs.Worker{
			Name: "poor", Handlers: map[string]jobs.Handler{"draw": func(context.Context, *jobs.Task) error { return nil }},
			Lacks: func(jobs.Job) string { return `a worker with the checkpoint "rare <1>"` },
		})
	}()
	defer func() { stop(); <-done }()
	untilSays(t, s, "/queue", "waits for a worker with the checkpoint &#34;rare &lt;1&gt;&#34;", 20*time.Second)
	post(t, s, "/queue/jobs/"+q.Jobs()[0].ID, url.Values{"do": {"cancel"}})
}
