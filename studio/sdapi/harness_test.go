package sdapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/sdapi"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// studio is a server over a queue and a library of its own.
type studio struct {
	testing.TB
	queue   *jobs.Queue
	library *library.Library
	server  *httptest.Server
	dir     string // of data
}

// newStudio makes a server. Without handlers a machine works with the tiny model.
func newStudio(t testing.TB, o sdapi.Options, handlers map[string]jobs.Handler) *studio {
	t.Helper()
	s := &studio{TB: t, dir: t.TempDir()}
	var err error
	if s.queue, err = jobs.Open(t.Context(), jobs.Options{Dir: t.TempDir(), Heartbeat: 40 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.queue.Close() })
	s.write("styles.csv", "name,prompt,negative_prompt\noil,\"oil painting of {prompt}\",photo\n")
	s.library, err = library.Open(library.Options{DataDir: s.dir, Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	if handlers == nil {
		dev, err := cpu.Open(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		machine := work.NewMachine(dev, s.library, work.Options{Dir: t.TempDir()})
		t.Cleanup(func() { machine.Close(); dev.Close() })
		handlers, o.Unload = machine.Handlers(), machine.Unload
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.queue.Work(ctx, jobs.Worker{Name: "test", Handlers: handlers})
	}()
	t.Cleanup(func() { stop(); <-done })
	o.Queue, o.Library = s.queue, s.library
	api, err := sdapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(api)
	t.Cleanup(s.server.Close)
	return s
}

// write puts a file into the folder of data.
func (s *studio) write(name, text string) {
	s.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o666)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// ask sends a request; a body that is no string is sent as JSON.
func (s *studio) ask(method, path string, body any) (status int, answer []byte) {
	s.Helper()
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(s.Context(), method, s.server.URL+path, sent)
	if err != nil {
		s.Fatal(err)
	}
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		s.Fatal(err)
	}
	return response.StatusCode, answer
}

// get reads an answer, which must be 200, into a value.
func (s *studio) get(path string, into any) {
	s.Helper()
	status, answer := s.ask("GET", path, nil)
	s.read(path, status, answer, into)
}

// post likewise.
func (s *studio) post(path string, body, into any) {
	s.Helper()
	status, answer := s.ask("POST", path, body)
	s.read(path, status, answer, into)
}

func (s *studio) read(path string, status int, answer []byte, into any) {
	s.Helper()
	if status != http.StatusOK {
		s.Fatalf("%s: %d %.500s", path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		s.Fatalf("%s: %v in %.500s", path, err, answer)
	}
}

// drawn is an answer with pictures.
type drawn struct {
	Images     []string
	Parameters map[string]any
	Info       string
	info       map[string]any
}

// draw asks for pictures.
func (s *studio) draw(path string, body any) (d drawn) {
	s.Helper()
	s.post(path, body, &d)
	if err := json.Unmarshal([]byte(d.Info), &d.info); err != nil {
		s.Fatalf("info is no JSON in a text: %v", err)
	}
	return d
}

// sizes are those of the pictures.
func (s *studio) sizes(d drawn) (all []image.Point) {
	s.Helper()
	for _, text := range d.Images {
		all = append(all, s.picture(text).Bounds().Size())
	}
	return all
}

func (s *studio) picture(text string) image.Image {
	s.Helper()
	file, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.Fatalf("%v in %.60q", err, text)
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		s.Fatal(err)
	}
	return img
}

// noted is what info says was left.
func (d drawn) noted() (all []string) {
	notes, _ := d.info["notes"].([]any)
	for _, one := range notes {
		all = append(all, fmt.Sprint(one))
	}
	return all
}

// sample is a picture's file in base64.
func sample(width, height int) string {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = byte(i) | 0xc0
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// painter draws without a model: tiny pictures of one colour, at once or when it is let go.
type painter struct {
	held chan struct{} // nil does not wait
	most int           // pictures of a job; 0 is all
	seen chan work.Draw
}

func (p painter) handlers() map[string]jobs.Handler {
	return map[string]jobs.Handler{work.DrawKind: p.draw, work.UpscaleKind: p.upscale}
}

func (p painter) draw(ctx context.Context, t *jobs.Task) error {
	var d work.Draw
	if err := json.Unmarshal(t.Job.Request, &d); err != nil {
		return err
	}
	if p.seen != nil {
		p.seen <- d
	}
	if p.held != nil {
		t.Report(jobs.Progress{Stage: "drawing", Done: 3, Total: 4, Left: 2 * time.Second})
		t.Preview([]byte("\x89PNG\r\n\x1a\npreview"))
		select {
		case <-p.held:
		case <-ctx.Done():
		}
	}
	r := d.Request
	info := work.Info{Request: r, Checkpoint: tinyportrait.Name}
	infotext := fmt.Sprintf("%s\nNegative prompt: %s\nSteps: %d, Sampler: %s, CFG scale: %v, Seed: %d, Size: %dx%d, Model hash: 0123456789, Model: tiny, Version: test", r.Prompt, r.NegativePrompt, r.Steps, r.Sampler, *r.Guidance, r.Seed, r.Width, r.Height)
	pictures := max(d.Count, 1) * max(r.BatchSize, 1)
	if p.most > 0 {
		pictures = min(pictures, p.most)
	}
	for i := range pictures {
		info.Pictures = append(info.Pictures, work.Drawn{File: fmt.Sprint(i, ".png"), Seed: r.Seed + int64(i), Infotext: infotext, Width: 8, Height: 8})
	}
	return p.save(context.WithoutCancel(ctx), t, info)
}

func (p painter) upscale(ctx context.Context, t *jobs.Task) error {
	var u work.Upscale
	if err := json.Unmarshal(t.Job.Request, &u); err != nil {
		return err
	}
	var info work.Info
	for i := range u.Pictures {
		info.Pictures = append(info.Pictures, work.Drawn{File: fmt.Sprint(i, ".png"), Width: 8, Height: 8})
	}
	return p.save(ctx, t, info)
}

func (p painter) save(ctx context.Context, t *jobs.Task, info work.Info) error {
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := t.Save(ctx, "info.json", bytes.NewReader(text)); err != nil {
		return err
	}
	for i, one := range info.Pictures {
		img := image.NewNRGBA(image.Rect(0, 0, one.Width, one.Height))
		for at := range img.Pix {
			img.Pix[at] = 255
		}
		img.Set(0, 0, color.NRGBA{byte(i), 0, 0, 255})
		var b bytes.Buffer
		if err := (sd.Picture{Image: img, Seed: one.Seed, Infotext: one.Infotext}).Encode(&b); err != nil {
			return err
		}
		if err := t.Save(ctx, one.File, &b); err != nil {
			return err
		}
	}
	return nil
}

func escape(path string) string { return url.QueryEscape(path) }

// drawing leaves a test out of short runs, in which a model draws too slowly.
func drawing(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out in short runs: the tiny model draws for it")
	}
}
