package sd

import (
	"image"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/esrgan"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
)

// twoPasses are requests that enlarge, of latents, of pixels, by a model, and from a picture.
func twoPasses(t testing.TB) map[string]Request {
	t.Helper()
	with := func(h Hires) Request { return small(func(r *Request) { r.Hires = &h }) }
	return map[string]Request{
		"latents":            with(Hires{}),
		"pixels":             with(Hires{Upscaler: Lanczos, Strength: new(0.5), Scale: 1.5}),
		"model":              with(Hires{Upscaler: "compact-x2", Width: 64, Height: 56, Steps: 3, Sampler: sampler.EulerA}),
		"picture":            small(func(r *Request) { r.Image = snapshot(t) }),
		"both":               small(func(r *Request) { r.Image, r.Hires = snapshot(t), &Hires{Upscaler: "Latent (bicubic)"} }),
		"larger":             with(Hires{Upscaler: Nearest, Strength: new(0.0)}),
		"larger, of latents": with(Hires{Strength: new(0.0), Scale: 1.5}),
	}
}

func openWithUpscalers(t testing.TB) *Pipeline {
	t.Helper()
	return openTinyWith(t, openCPU(t.(*testing.T)), Options{UpscalerDirs: []string{filepath.Join(golden.Root(t), "esrgan", "testdata")}})
}

// TestPassesOfBatch makes four pictures together and alone. Devices may round differently in batches.
func TestPassesOfBatch(t *testing.T) {
	p := openWithUpscalers(t)
	for name, r := range twoPasses(t) {
		t.Run(name, func(t *testing.T) {
			batch := r
			batch.BatchSize = 4
			together := generate(t, p, batch).Pictures
			for i, one := range together {
				r.Seed = 11 + int64(i)
				alone := generate(t, p, r).Pictures[0]
				if d := difference(one.Image, alone.Image); d > 1 || one.Infotext != alone.Infotext {
					t.Errorf("picture %d of a batch differs from itself alone by %d/255, its text is\n%s\nalone\n%s", i, d, one.Infotext, alone.Infotext)
				}
			}
			if difference(together[0].Image, together[1].Image) == 0 {
				t.Error("two seeds make one picture")
			}
		})
	}
}

// TestPassesMemory compares what is announced with what is held.
func TestPassesMemory(t *testing.T) {
	for name, r := range twoPasses(t) {
		p := openWithUpscalers(t)
		want, err := p.Memory(r)
		if err != nil {
			t.Fatal(err)
		}
		generate(t, p, r)
		got := p.cache.Usage().MemoryReport
		if name == "model" { // which is closed by then
			m, err := esrgan.Estimate(filepath.Join(p.upscalerDirs[0], "compact-x2.safetensors"), p.device, esrgan.Options{}, image.Pt(64, 56))
			if err != nil || m.Params == 0 {
				t.Fatal(m, err)
			}
			got = compute.MemoryReport{Params: got.Params + m.Params, Arena: max(got.Arena, m.Arena), Worker: max(got.Worker, m.Worker)}
		}
		if got != want {
			t.Errorf("%s: %+v is held, %+v was announced", name, got, want)
		}
	}
}

// TestHiresColours gives an enlarged picture the colours of the one that the first pass began with.
func TestHiresColours(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for _, strength := range []float64{0, 0.5} {
		r := small(func(r *Request) { r.Image, r.Hires = snapshot(t), &Hires{Strength: &strength} })
		plain := generate(t, p, r).Pictures[0].Image
		r.ColorCorrection = true
		begun, err := r.picture(t.Context(), p.Side())
		if err != nil {
			t.Fatal(err)
		}
		want := canvas.Recolour(plain, p.resize(begun, image.Pt(r.Width, r.Height), JustResize))
		if d := difference(generate(t, p, r).Pictures[0].Image, want); d > 0 {
			t.Errorf("strength %v: the picture differs by %d/255", strength, d)
		}
	}
}

// TestOnlyEnlarged draws nothing anew: the picture is the first pass's, made larger and brought through the VAE. The second pass's sampler has
// no say, even one that could make no step.
func TestOnlyEnlarged(t *testing.T) {
	p := openTiny(t, openCPU(t))
	first := generate(t, p, small(nil)).Pictures[0].Image
	whole := image.Rect(0, 0, 80, 48)
	r := small(func(r *Request) { r.Width, r.Height = 80, 48 })
	latents, err := p.encodePictures(t.Context(), r, []*image.NRGBA{picture.Resample(first, whole.Max, whole, picture.Lanczos, 4)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.decode(t.Context(), r, latents)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []sampler.Sampler{"", sampler.DDIM, sampler.DPMFast} {
		var last *Result
		n := 0
		for step, err := range p.Steps(t.Context(), small(func(r *Request) { r.Hires = &Hires{Upscaler: Lanczos, Strength: new(0.0), Steps: 9, Sampler: s} })) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; step.Total != 2 {
				t.Errorf("%q: %d steps are announced, want 2", s, step.Total)
			}
			if step.Last() {
				if last, err = step.Result(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := last.Pictures[0]
		if n != 2 || got.Image.Rect != whole || difference(got.Image, want[0]) > 0 {
			t.Errorf("%q: %d steps, a picture of %v that differs", s, n, got.Image.Rect)
		}
		again, left, err := FromInfotext(infotext.Parse(got.Infotext))
		if err != nil || len(left) > 0 || !strings.Contains(got.Infotext, "Denoising strength: 0, ") {
			t.Fatalf("left %v, %v, of\n%s", left, err, got.Infotext)
		}
		if d := difference(generate(t, p, again).Pictures[0].Image, got.Image); d > 0 {
			t.Errorf("%q: from its text the picture differs by %d/255", s, d)
		}
	}
}

// TestPassSteps counts the steps of both passes as one run, with pictures of the size of each.
func TestPassSteps(t *testing.T) {
	p := openTiny(t, openCPU(t))
	n := 0
	for step, err := range p.Steps(t.Context(), small(func(r *Request) { r.Hires = &Hires{Steps: 3} })) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Index != n || step.Total != 5 {
			t.Errorf("step %d of %d, want %d of 5", step.Index, step.Total, n)
		}
		want := image.Pt(40, 24)
		if n >= 2 {
			want = image.Pt(80, 48)
		}
		pictures, err := step.Preview(t.Context(), FullVAE)
		if err != nil || pictures[0].Rect.Size() != want {
			t.Errorf("step %d: %v, %v; want %v", n, pictures[0].Rect, err, want)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d steps, want 5", n)
	}
}

// TestHiresPrompt changes what only the second pass is told.
func TestHiresPrompt(t *testing.T) {
	p := openTiny(t, openCPU(t))
	draw := func(h Hires) *image.NRGBA {
		return generate(t, p, small(func(r *Request) { r.Hires = &h })).Pictures[0].Image
	}
	base := draw(Hires{})
	for name, h := range map[string]Hires{
		"prompt": {Prompt: "a dog"}, "negative prompt": {NegativePrompt: "a dog"}, "guidance": {Guidance: new(2.0)}, "sampler": {Sampler: sampler.EulerA},
		"strength": {Strength: new(0.5)}, "upscaler": {Upscaler: Nearest}, "steps": {Steps: 3},
	} {
		if difference(base, draw(h)) == 0 {
			t.Errorf("%s: the picture stays the same", name)
		}
	}
	if d := difference(base, draw(Hires{Prompt: small(nil).Prompt, Scale: 2, Upscaler: "Latent", Strength: new(0.7), Steps: 2})); d > 0 {
		t.Errorf("defaults spelled out change the picture by %d/255", d)
	}
}

// TestHiresAllocatesNothing counts what steps of the second pass allocate, on the device made for speed.
func TestHiresAllocatesNothing(t *testing.T) {
	p := openTiny(t, openCPU(t))
	next, stop := iter.Pull2(p.Steps(t.Context(), small(func(r *Request) { r.Hires = &Hires{Steps: 20} })))
	defer stop()
	step := func() {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err, ok)
		}
	}
	for range 2 + 3 {
		step()
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations a step, want none", n)
	}
}
