package work_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// heartbeat is such that no worker that is slow is taken to be gone.
const heartbeat = 400 * time.Millisecond

// studio is a queue, a library and a machine that draws with the tiny model.
type studio struct {
	*testing.T
	queue   *jobs.Queue
	library *library.Library
	machine *work.Machine
	data    string       // the library's folder
	options work.Options // of further machines
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	s := &studio{T: t, data: t.TempDir()}
	var err error
	if s.queue, err = jobs.Open(t.Context(), jobs.Options{Dir: t.TempDir(), Heartbeat: heartbeat}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.check(s.queue.Close()) })
	s.library, err = library.Open(library.Options{DataDir: s.data, Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	s.check(err)
	return s.another()
}

// another is a machine of its own on the same queue.
func (s *studio) another() *studio {
	s.Helper()
	other := *s
	other.options.Dir = s.TempDir()
	other.machine = other.machineWith(s.library)
	return &other
}

// machineWith is a machine with a library.
func (s *studio) machineWith(l *library.Library) *work.Machine {
	s.Helper()
	dev, err := cpu.Open(cpu.Options{})
	s.check(err)
	s.Cleanup(func() { s.check(dev.Close()) })
	m := work.NewMachine(dev, l, s.options)
	s.Cleanup(func() { s.check(m.Close()) })
	return m
}

func (s *studio) check(err error) {
	s.Helper()
	if err != nil {
		s.Error(err)
	}
}

// work has the machine work until the test, or stop, ends it.
func (s *studio) work(name string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.queue.Work(ctx, jobs.Worker{Name: name, Handlers: s.machine.Handlers()})
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	s.Cleanup(stop)
	return stop
}

func (s *studio) submit(r work.Request) jobs.Job {
	s.Helper()
	j, err := work.Submit(s.Context(), s.queue, jobs.Job{}, r)
	if err != nil {
		s.Fatal(err)
	}
	return j
}

// until waits for a job to be as wanted.
func (s *studio) until(id string, as func(jobs.Job) bool) jobs.Job {
	s.Helper()
	ctx, stop := context.WithTimeout(s.Context(), 2*time.Minute)
	defer stop()
	changes := s.queue.Changes(ctx)
	if j, _ := s.queue.Job(id); as(j) {
		return j
	}
	for j := range changes {
		if j.ID == id && as(j) {
			return j
		}
	}
	j, _ := s.queue.Job(id)
	s.Fatalf("job %s stays %+v", id, j)
	return j
}

func (s *studio) done(id string) jobs.Job {
	s.Helper()
	j := s.until(id, func(j jobs.Job) bool { return j.State.Ended() })
	if j.State != jobs.Done {
		s.Fatalf("job %s is %s: %s", id, j.State, j.Error)
	}
	return j
}

// result reads a result of a job.
func (s *studio) result(id, name string) []byte {
	s.Helper()
	r, err := s.queue.Result(s.Context(), id, name)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	s.check(err)
	return data
}

// names are the results of a job, sorted.
func names(j jobs.Job) (names []string) {
	for _, f := range j.Files {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// small is a request that the tiny model draws in a moment.
func small(prompt string, steps int) sd.Request {
	return sd.Request{Prompt: prompt, Width: 64, Height: 64, Steps: steps, Seed: 7}
}

// TestDraw draws two batches of two with previews, and compares them with what sd draws.
func TestDraw(t *testing.T) {
	s := newStudio(t)
	request := small("portrait of a woman, red hair", 3)
	request.BatchSize = 2
	previews, changes := make(chan []byte, 1), s.queue.Changes(t.Context())
	j := s.submit(work.Draw{Request: request, Count: 2})
	go func() {
		for change := range changes {
			if p := s.queue.Preview(change.ID); p != nil {
				select {
				case previews <- p:
				default:
				}
			}
		}
	}()
	s.work("a")
	j = s.done(j.ID)
	if want := []string{"0.png", "1.png", "2.png", "3.png", "info.json"}; !slices.Equal(names(j), want) {
		t.Fatalf("the results are %q, want %q", names(j), want)
	}
	info, err := work.ReadInfo(t.Context(), s.queue, j.ID)
	s.check(err)
	if len(info.Pictures) != 4 || info.Checkpoint != tinyportrait.Name || info.Request.Steps != 3 || info.Request.Sampler == "" {
		t.Errorf("the info is %+v", info)
	}
	dev, err := cpu.Open(cpu.Options{})
	s.check(err)
	defer dev.Close()
	pipe, err := sd.OpenFS(t.Context(), tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{})
	s.check(err)
	defer pipe.Close()
	request.Seed += 2
	want, err := pipe.Generate(t.Context(), request)
	s.check(err)
	for i, p := range want.Pictures {
		data := s.result(j.ID, fmt.Sprintf("%d.png", 2+i))
		img, err := png.Decode(bytes.NewReader(data))
		s.check(err)
		got := image.NewNRGBA(img.Bounds())
		draw.Draw(got, got.Rect, img, image.Point{}, draw.Src)
		if !bytes.Equal(got.Pix, p.Image.Pix) {
			t.Errorf("picture %d is another than sd draws with its seed", 2+i)
		}
		text, err := infotext.Read(bytes.NewReader(data))
		s.check(err)
		if text.String() != infotext.Parse(p.Infotext).String() || info.Pictures[2+i].Seed != p.Seed || info.Pictures[2+i].Infotext != p.Infotext {
			t.Errorf("picture %d says\n%s\nwant\n%s", 2+i, text, p.Infotext)
		}
	}
	select {
	case p := <-previews:
		if c, err := jpeg.DecodeConfig(bytes.NewReader(p)); err != nil || c.Width != 16 || c.Height != 8 {
			t.Errorf("a preview is %+v, %v; want two pictures of 8 pixels", c, err)
		}
	case <-time.After(time.Second):
		t.Error("no preview")
	}
	if p := j.Progress; p.Done != p.Total || p.Done != 6 {
		t.Logf("the last progress that the record has is %+v", p) // what comes too quickly is left out
	}
}

// TestDrawRefused wants requests that cannot be to be told, at once or as the job's error, by their fields.
func TestDrawRefused(t *testing.T) {
	s := newStudio(t)
	for _, d := range []work.Draw{
		{Count: -1}, {Count: 1 << 20}, {Save: "elsewhere"}, {Image: "job/x/result/0.png"}, {LoRAs: []string{"inputs/../x"}},
		{Request: sd.Request{BatchSize: 1000}}, {Request: sd.Request{Width: 7}}, {Request: sd.Request{Steps: 1 << 20}}, {Mask: "inputs/" + strings.Repeat("a", 64) + "/mask"},
	} {
		if _, err := work.Submit(t.Context(), s.queue, jobs.Job{}, d); err == nil {
			t.Errorf("%+v is taken", d)
		}
	}
	s.work("a")
	for says, d := range map[string]work.Draw{
		"no checkpoint \"none\"": {Request: small("a", 1), Checkpoint: "none"},
		"Lora not found":         {Request: small("<lora:nobody:1>", 1)},
	} {
		j := s.submit(d)
		j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() })
		if j.State != jobs.Failed || !strings.Contains(j.Error, says) {
			t.Errorf("the job is %s: %s; want %q", j.State, j.Error, says)
		}
	}
	data, err := json.Marshal(map[string]any{"request": 7})
	s.check(err)
	j, err := s.queue.Submit(t.Context(), jobs.Job{Kind: work.DrawKind, Request: data})
	s.check(err)
	if j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() }); j.State != jobs.Failed {
		t.Errorf("nonsense is %s", j.State)
	}
}

// TestDrawInterrupted ends jobs in the middle, each in its way.
func TestDrawInterrupted(t *testing.T) {
	s := newStudio(t)
	s.work("a")
	for _, c := range []struct {
		wish  jobs.Wish
		state jobs.State
		want  func(files []string) bool
	}{
		{jobs.Interrupt, jobs.Done, func(files []string) bool { return slices.Equal(files, []string{"0-incomplete.png", "info.json"}) }},
		{jobs.Finish, jobs.Done, func(files []string) bool { return slices.Equal(files, []string{"0.png", "info.json"}) }},
		{jobs.Cancel, jobs.Cancelled, func(files []string) bool { return len(files) == 0 }},
		{jobs.Skip, jobs.Done, func(files []string) bool { return slices.Equal(files, []string{"1.png", "info.json"}) }},
	} {
		t.Run(string(c.wish), func(t *testing.T) {
			count, steps := 100, 200 // so many that it is in the midst of the first picture when it is heard of
			if c.wish == jobs.Skip {
				count = 2
			}
			j := s.submit(work.Draw{Request: small("a man", steps), Count: count})
			s.until(j.ID, func(j jobs.Job) bool { return j.Progress.Done > 0 })
			if _, err := s.queue.Ask(t.Context(), j.ID, c.wish); err != nil {
				t.Fatal(err)
			}
			j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() })
			if j.State != c.state || !c.want(names(j)) {
				t.Errorf("the job is %s with %q: %s", j.State, names(j), j.Error)
			}
			if c.wish == jobs.Interrupt || c.wish == jobs.Finish {
				if !j.Partial {
					t.Error("nobody can tell that there should be more")
				}
				info, err := work.ReadInfo(t.Context(), s.queue, j.ID)
				if err != nil || len(info.Pictures) != 1 || info.Incomplete != (c.wish == jobs.Interrupt) {
					t.Errorf("the info is %+v, %v", info, err)
				}
			}
		})
	}
}
