package work_test

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// collect runs a collector, which tells a log, until the test, or stop, ends it.
func (s *studio) collect(l *library.Library, log slog.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := work.Collect(ctx, s.queue, l, slog.New(log)); err != context.Canceled {
			s.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	s.Cleanup(stop)
	return stop
}

// outputs are the files among the outputs that are written whole, by their paths below them.
func outputs(t *testing.T, dir string) (names []string) {
	t.Helper()
	root := filepath.Join(dir, "outputs")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				name, _ := filepath.Rel(root, path)
				names = append(names, filepath.ToSlash(name))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// await waits for something to be so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not so: %s", what)
		}
	}
}

// TestCollect saves what was drawn before and after it began, once, whatever was saved before; and what was not asked for not at all.
func TestCollect(t *testing.T) {
	s := newStudio(t)
	s.work("a")
	before := s.submit(work.Draw{Request: small("before", 1), Count: 2, Save: library.Txt2Img})
	s.submit(work.Draw{Request: small("not to be saved", 1)})
	s.done(before.ID)
	stop := s.collect(s.library, slog.DiscardHandler)
	after := s.submit(work.Draw{Request: small("after", 1), Save: library.Img2Img})
	s.done(after.ID)
	three := func() bool { return len(outputs(t, s.data)) == 3 }
	await(t, "three pictures are saved", three)
	day := time.Now().Format(time.DateOnly)
	want := []string{"img2img-images/" + day + "/00000-7.png", "txt2img-images/" + day + "/00000-7.png", "txt2img-images/" + day + "/00001-8.png"}
	if got := outputs(t, s.data); !slices.Equal(got, want) {
		t.Errorf("saved are %q, want %q", got, want)
	}
	saved, err := s.library.Saved(before.ID)
	if err != nil || !strings.HasSuffix(filepath.ToSlash(saved["1.png"]), want[2]) {
		t.Errorf("what is known to be saved is %q, %v", saved, err)
	}
	if err := work.Collect(t.Context(), s.queue, s.library, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("a second collector at the same time: %v", err)
	}
	stop()
	if half, _ := filepath.Glob(filepath.Join(s.data, "outputs", "*", "*", ".*")); len(half) > 0 {
		t.Errorf("half written, and left: %q", half)
	}
	// Whoever begins again knows what is done: what somebody deletes does not come back, and what is there does not come twice.
	s.check(os.Remove(saved["0.png"]))
	stop = s.collect(s.library, slog.DiscardHandler)
	last := s.submit(work.Draw{Request: small("last", 1), Save: library.Txt2Img})
	s.done(last.ID)
	await(t, "the last one is saved", func() bool { saved, _ := s.library.Saved(last.ID); return len(saved) == 1 })
	if got := outputs(t, s.data); len(got) != 3 || slices.Contains(got, want[1]) {
		t.Errorf("saved are %q", got)
	}
	s.check(s.queue.Remove(t.Context(), last.ID))
	await(t, "what was saved of a removed job is forgotten", func() bool { saved, _ := s.library.Saved(last.ID); return len(saved) == 0 })
	stop()
}
