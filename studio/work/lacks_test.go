package work_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// choosy has the machine work as one of several, which leaves what it cannot do.
func (s *studio) choosy(name string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.queue.Work(ctx, s.machine.Worker(name))
	}()
	s.Cleanup(sync.OnceFunc(func() { cancel(); <-done }))
}

// TestLacks leaves jobs to a machine that has their checkpoint or upscaler. They wait, and say for what, until there is one.
func TestLacks(t *testing.T) {
	s := newStudio(t)
	s.choosy("poor")
	var waiting []jobs.Job
	for says, r := range map[string]work.Request{
		`checkpoint "rare"`: work.Draw{Request: small("a man", 1), Checkpoint: "rare"}, `checkpoint "gone"`: work.Train{Name: "me", Checkpoint: "gone"},
		`checkpoint "other"`: work.Draw{Request: sd.Request{Width: 64, Height: 64, Steps: 1, Refiner: &sd.Refiner{Checkpoint: "other"}}},
		`upscaler "sharp"`:   work.Upscale{Pictures: []string{s.stored(patterned(8, 8), "")}, Upscaler: "sharp"},
	} {
		j := s.until(s.submit(r).ID, func(j jobs.Job) bool { return j.Waits != "" || j.State.Ended() })
		if j.State != jobs.Pending || j.Waits != "a worker with the "+says {
			t.Errorf("%s: the job is %s, waits for %q: %s", says, j.State, j.Waits, j.Error)
		}
		waiting = append(waiting, j)
	}
	s.done(s.submit(work.Draw{Request: small("a man", 1)}).ID) // behind them
	rich := s.another()
	data := t.TempDir()
	s.check(os.CopyFS(filepath.Join(data, "models", "Stable-diffusion", "rare"), os.DirFS(filepath.Join("..", "..", "testdata", "tiny-variant", "model"))))
	lib, err := library.Open(library.Options{DataDir: data, Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	s.check(err)
	rich.machine = s.machineWith(lib)
	rich.choosy("rich")
	for _, j := range waiting {
		if strings.Contains(j.Waits, "rare") {
			if j = s.done(j.ID); !strings.HasPrefix(j.Worker, "rich") || j.Waits != "" || j.Attempt != 1 {
				t.Errorf("the job is %+v", j)
			}
		}
	}
}
