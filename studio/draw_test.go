package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// draws makes a studio with the tiny model and a machine that works.
func draws(t *testing.T) *Server {
	t.Helper()
	lib, err := library.Open(library.Options{DataDir: t.TempDir(), Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, machine := openQueue(t), work.NewMachine(dev, lib, work.Options{Dir: t.TempDir()})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Work(ctx, jobs.Worker{Name: "test", Handlers: machine.Handlers()}) }()
	t.Cleanup(func() {
		stop()
		<-ended
		machine.Close()
		dev.Close()
	})
	return newServer(t, Options{Queue: q, Library: lib, Machine: machine})
}

// until waits for a job to end.
func until(t *testing.T, s *Server, id string) jobs.Job {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	for ctx.Err() == nil {
		if j, _ := s.options.Queue.Job(id); j.State.Ended() {
			return j
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the job does not end")
	return jobs.Job{}
}

// TestDraw draws as a browser without JavaScript does, shows the picture, reads its settings back and draws over it.
func TestDraw(t *testing.T) {
	s := draws(t)
	form := url.Values{"prompt": {"portrait of a woman, red hair"}, "width": {"64"}, "height": {"64"}, "steps": {"2"}, "cfg": {"5"}, "count": {"2"}, "seed": {"7"}, "sampler": {"Euler a"}}
	got := ask(s, "POST", "/draw", form.Encode(), "Accept", "text/html")
	page := got.Header().Get("Location")
	if got.Code != http.StatusSeeOther || !strings.HasPrefix(page, "/draw?job=") {
		t.Fatalf("%d %q %s", got.Code, page, got.Body)
	}
	id := strings.TrimPrefix(page, "/draw?job=")
	if j := until(t, s, id); j.State != jobs.Done || j.Title != "portrait of a woman, red hair" {
		t.Fatalf("%+v", j)
	}
	shown := ask(s, "GET", page+"&file=1.png", "").Body.String()
	for _, want := range []string{`src="/api/v1/jobs/` + id + `/files/1.png"`, "64 × 64 px", `id="shown-seed">8<`, "Steps: 2, Sampler: Euler a", `>portrait of a woman, red hair</textarea>`, "64 × 64 · 2 pictures · seed 7"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	file := ask(s, "GET", "/api/v1/jobs/"+id+"/files/1.png", "").Body.Bytes()
	if img, err := png.Decode(bytes.NewReader(file)); err != nil || img.Bounds().Dx() != 64 {
		t.Fatalf("the picture: %v", err)
	}

	var read struct{ Values values }
	got = ask(s, "POST", "/draw/read", string(file))
	if err := json.Unmarshal(got.Body.Bytes(), &read); err != nil || got.Code != http.StatusOK {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	for name, want := range map[string]string{"prompt": "portrait of a woman, red hair", "seed": "8", "steps": "2", "cfg": "5", "sampler": "Euler a", "width": "64", "count": "1", "hires": "", "hires_scale": "2"} {
		if read.Values[name] != want {
			t.Errorf("read %s %q, want %q", name, read.Values[name], want)
		}
	}

	image, err := s.api.Store(newRequest(t), "picture", file)
	if err != nil {
		t.Fatal(err)
	}
	form.Set("image", image)
	form.Set("strength", "0,5")
	form.Set("count", "1")
	got = ask(s, "POST", "/draw", form.Encode(), "Accept", "application/json")
	var added api.Job
	if err := json.Unmarshal(got.Body.Bytes(), &added); err != nil || got.Code != http.StatusCreated {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if j := until(t, s, added.ID); j.State != jobs.Done {
		t.Fatalf("drawing over it: %+v", j)
	}
	info, err := work.ReadInfo(t.Context(), s.options.Queue, added.ID)
	if err != nil || !strings.Contains(info.Pictures[0].Infotext, "Denoising strength: 0.5") {
		t.Errorf("%+v, %v", info, err)
	}
	if page := ask(s, "GET", "/draw", "").Body.String(); !strings.Contains(page, `data-before="/api/v1/`+image+`"`) {
		t.Error("the page does not show what was drawn over")
	}
}

func newRequest(t *testing.T) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDrawFaults says what is wrong beside each control, to people and to programs, and keeps what was typed.
func TestDrawFaults(t *testing.T) {
	s := newServer(t, Options{})
	form := url.Values{"prompt": {"a cat"}, "width": {"100"}, "steps": {"many"}, "cfg": {"NaN"}, "count": {"0x1"}, "seed": {"7.5"}, "checkpoint": {"none of ours"}}.Encode()
	got := ask(s, "POST", "/draw", form, "Accept", "application/json")
	var p api.Problem
	if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil || got.Code != http.StatusUnprocessableEntity {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	faulty := make(map[string]string)
	for _, e := range p.Errors {
		faulty[e.Field] = e.Detail
	}
	for _, name := range []string{"steps", "cfg", "count", "seed", "checkpoint"} {
		if faulty[name] == "" {
			t.Errorf("nothing is said of %s: %v", name, faulty)
		}
	}
	page := ask(s, "POST", "/draw", form, "Accept", "text/html")
	if body := page.Body.String(); page.Code != http.StatusUnprocessableEntity || !strings.Contains(body, ">a cat</textarea>") || !strings.Contains(body, `value="many"`) || !strings.Contains(body, `aria-invalid="true"`) {
		t.Errorf("%d %s", page.Code, body)
	}
	if got := ask(s, "POST", "/draw", "prompt=a&width=100", "Accept", "application/json"); !strings.Contains(got.Body.String(), `"field":"width"`) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(s, "GET", "/draw", "").Body.String(); !strings.Contains(got, `value="100"`) {
		t.Error("what was typed is lost")
	}
	for _, body := range []string{"no picture", "\x89PNG\r\n\x1a\n", ""} {
		if got := ask(s, "POST", "/draw/read", body); got.Code/100 == 5 {
			t.Errorf("reading %q: %d %s", body, got.Code, got.Body)
		}
	}
}

// TestControls brings every control's value to a request and back.
func TestControls(t *testing.T) {
	lib := openLibrary(t)
	full := values{
		"prompt": "a <b>", "negative": "c", "vae": "None", "width": "512", "height": "768", "count": "3", "batch": "2", "seed": "9", "variation": "0.25", "variation_seed": "5",
		"sampler": "DPM++ SDE", "schedule": "Karras", "steps": "30", "cfg": "6.5", "clip_skip": "2", "refiner": "on", "refiner_checkpoint": "other", "refiner_at": "0.6",
		"image": "inputs/" + strings.Repeat("0", 64) + "/image", "mask": "inputs/" + strings.Repeat("1", 64) + "/mask", "inpaint": "on", "strength": "0.4", "resize_mode": string(sd.CropAndResize),
		"mask_blur": "8", "masked_content": string(sd.FillContent), "only_masked": "on", "soft": "on",
		"hires": "on", "hires_upscaler": "Lanczos", "hires_scale": "1.5", "hires_steps": "10", "hires_strength": "0.3", "faces": "on", "face_strength": "0.2", "face_prompt": "f", "tiled_vae": "on",
		"x_axis": "Seed", "x_values": "1-3", "y_axis": "CFG Scale", "y_values": "4, 7", "z_axis": "Size", "z_values": "512x768",
	}
	for _, c := range controls {
		if c.name != "checkpoint" && full[c.name] == "" {
			t.Errorf("%s is not tried", c.name)
		}
	}
	for _, without := range [][]string{{"x_axis", "x_values", "y_axis", "y_values", "z_axis", "z_values"}, {"mask", "inpaint", "mask_blur", "masked_content", "only_masked", "soft"}} { // a masked picture is not enlarged
		v := maps.Clone(full)
		for _, name := range without {
			delete(v, name)
		}
		d, f := v.draw(lib)
		if len(f) > 0 {
			t.Fatal(f)
		}
		back := valuesOf(d)
		for _, c := range controls {
			if want, tried := v[c.name]; tried && back[c.name] != want {
				t.Errorf("%s is %q, want %q", c.name, back[c.name], want)
			}
		}
	}
	if d, f := preset().draw(lib); len(f) > 0 || d.Request.Hires != nil || d.Request.Faces != nil || d.Request.Strength != nil || d.Request.Inpaint != nil {
		t.Errorf("the preset is %+v, %v", d, f)
	}
}

// TestFollow keeps a stream of events open through a run of the real handlers.
func TestFollow(t *testing.T) {
	s := draws(t)
	mark := s.api.Mark()
	got := ask(s, "POST", "/draw", "prompt=a&width=64&height=64&steps=3&seed=1", "Accept", "application/json")
	var added api.Job
	if err := json.Unmarshal(got.Body.Bytes(), &added); err != nil {
		t.Fatalf("%s", got.Body)
	}
	until(t, s, added.ID)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	r, w := io.Pipe()
	go func() {
		s.ServeHTTP(piped{make(http.Header), w}, request(t, ctx, "/events?after="+mark))
		w.Close()
	}()
	defer r.Close()
	var text []byte
	for some := make([]byte, 4096); !bytes.Contains(text, []byte(`"state":"done"`)) || !bytes.Contains(text, []byte(`"name":"0.png"`)); {
		n, err := r.Read(some)
		if text = append(text, some[:n]...); err != nil {
			t.Fatalf("the events are %s", text)
		}
	}
}

func request(t *testing.T, ctx context.Context, path string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// piped is a browser's end.
type piped struct {
	header http.Header
	*io.PipeWriter
}

func (p piped) Header() http.Header { return p.header }
func (p piped) WriteHeader(int)     {}
func (p piped) Flush()              {}
