package sd

import (
	"context"
	"errors"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
)

// tinyRandom is the folder of the smallest model with a tokenizer of its own.
func tinyRandom(t testing.TB) string {
	return filepath.Join(golden.Root(t), "testdata", "tiny-random", "model")
}

// openTiny opens it on a device of its own until the end of the test.
func openTiny(t testing.TB, dev compute.Device) *Pipeline {
	t.Helper()
	return openTinyWith(t, dev, Options{})
}

func openTinyWith(t testing.TB, dev compute.Device, o Options) *Pipeline {
	t.Helper()
	p, err := Open(t.Context(), tinyRandom(t), dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func generate(t testing.TB, p *Pipeline, r Request) *Result {
	t.Helper()
	result, err := p.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// small is a request that does not take long; change edits it.
func small(change func(r *Request)) Request {
	r := Request{Prompt: "portrait of a man", NegativePrompt: "glasses", Width: 40, Height: 24, Steps: 2, Seed: 11}
	if change != nil {
		change(&r)
	}
	return r
}

// difference is the greatest difference of two pictures, of 255.
func difference(a, b *image.NRGBA) int {
	if a.Rect != b.Rect {
		return 255
	}
	worst := 0
	for i := range a.Pix {
		worst = max(worst, int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
	}
	return worst
}

// TestBatchIsSingles makes pictures together and alone, with every sort of noise. Devices may round differently in
// batches; that is not worth more than one level.
func TestBatchIsSingles(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		p := openKit(t, k, dev)
		for _, c := range []struct {
			sampler sampler.Sampler
			noise   NoiseSource
		}{{sampler.DPMPP2M, NV}, {sampler.Euler, CPU}, {sampler.EulerA, NV}, {sampler.DPMPPSDE, CPU}, {sampler.LCM, NV}} {
			request := small(func(r *Request) { r.Sampler, r.Noise = c.sampler, c.noise })
			batch := request
			batch.BatchSize = 2
			together := generate(t, p, batch)
			if len(together.Pictures) != 2 || together.Pictures[0].Seed != 11 || together.Pictures[1].Seed != 12 {
				t.Fatalf("%s: pictures %+v, want two with seeds 11 and 12", c.sampler, together.Pictures)
			}
			for i := range 2 {
				alone := request
				alone.Seed += int64(i)
				one := generate(t, p, alone)
				if d := difference(together.Pictures[i].Image, one.Pictures[0].Image); d > 1 {
					t.Errorf("%s: picture %d of a batch differs from itself alone by %d/255", c.sampler, i, d)
				}
				if together.Pictures[i].Infotext != one.Pictures[0].Infotext {
					t.Errorf("%s: infotext %d is\n%s\nin a batch and\n%s\nalone", c.sampler, i, together.Pictures[i].Infotext, one.Pictures[0].Infotext)
				}
			}
			if difference(together.Pictures[0].Image, together.Pictures[1].Image) == 0 {
				t.Errorf("%s: two seeds make one picture", c.sampler)
			}
		}
	})
}

// TestWhatMatters changes one field of a request and looks whether the picture changes.
func TestWhatMatters(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	p := openTiny(t, openCPU(t))
	four := func(change func(r *Request)) Request { // two steps are the same in many samplers
		return small(func(r *Request) {
			r.Steps = 4
			change(r)
		})
	}
	base := generate(t, p, four(func(*Request) {})).Pictures[0].Image
	for _, c := range []struct {
		name    string
		changes bool
		change  func(r *Request)
	}{
		{"nothing", false, func(*Request) {}},
		{"defaults spelled out", false, func(r *Request) {
			r.Guidance, r.Sampler, r.Noise, r.BatchSize, r.ClipSkip = new(7.5), sampler.DPMPP2M, NV, 1, 1
		}},
		{"tiles that hold all", false, func(r *Request) { r.TiledVAE = true }},
		{"seed", true, func(r *Request) { r.Seed++ }},
		{"prompt", true, func(r *Request) { r.Prompt = "portrait of a woman" }},
		{"negative prompt", true, func(r *Request) { r.NegativePrompt = "" }},
		{"a second chunk", true, func(r *Request) { r.Prompt += strings.Repeat(", very long hair", 30) }},
		{"guidance", true, func(r *Request) { r.Guidance = new(4.0) }},
		{"sampler", true, func(r *Request) { r.Sampler = sampler.Euler }},
		{"spacing", true, func(r *Request) { r.Spacing = sampler.Exponential }},
		{"steps", true, func(r *Request) { r.Steps = 5 }},
		{"clip skip", true, func(r *Request) { r.ClipSkip = 2 }},
		{"noise", true, func(r *Request) { r.Noise = CPU }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := difference(base, generate(t, p, four(c.change)).Pictures[0].Image)
			if changed := d != 0; changed != c.changes {
				t.Errorf("the pictures differ by %d/255", d)
			}
		})
	}
}

// TestGuidance shows what guidance means: at 1, or between equal prompts, the other prompt has no say.
func TestGuidance(t *testing.T) {
	p := openTiny(t, openCPU(t))
	one := generate(t, p, small(func(r *Request) { r.Guidance, r.NegativePrompt = new(1.0), "glasses" })).Pictures[0].Image
	other := generate(t, p, small(func(r *Request) { r.Guidance, r.NegativePrompt = new(1.0), strings.Repeat("hat, ", 60) })).Pictures[0].Image
	equal := generate(t, p, small(func(r *Request) { r.Guidance, r.NegativePrompt = new(9.0), r.Prompt })).Pictures[0].Image
	if d := difference(one, other); d != 0 {
		t.Errorf("at guidance 1 the negative prompt makes a difference of %d/255", d)
	}
	if d := difference(one, equal); d > 1 {
		t.Errorf("guidance between equal prompts makes a difference of %d/255", d)
	}
}

func TestSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	p := openTiny(t, openCPU(t))
	for _, size := range []image.Point{{8, 8}, {72, 40}, {8, 104}, {64, 64}} {
		request := small(func(r *Request) { r.Width, r.Height = size.X, size.Y })
		if got := generate(t, p, request).Pictures[0].Image.Bounds().Size(); got != size {
			t.Errorf("%v pixels, want %v", got, size)
		}
	}
	if got, want := generate(t, p, small(func(r *Request) { r.Width, r.Height = 0, 0 })).Pictures[0].Image.Bounds().Size(), (image.Point{64, 64}); got != want {
		t.Errorf("by default %v pixels, want the model's %v", got, want)
	}
	tiled := generate(t, p, small(func(r *Request) { r.Width, r.Height, r.TiledVAE = 136, 72, true })).Pictures[0].Image
	whole := generate(t, p, small(func(r *Request) { r.Width, r.Height = 136, 72 })).Pictures[0].Image
	if tiled.Rect != whole.Rect || difference(tiled, whole) == 0 {
		t.Errorf("tiled %v, whole %v, differing by %d/255", tiled.Rect, whole.Rect, difference(tiled, whole))
	}
}

func TestSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	p := openTiny(t, openCPU(t))
	request := small(func(r *Request) { r.Steps, r.BatchSize, r.Sampler = 3, 2, sampler.Heun })
	n := 0
	for step, err := range p.Steps(t.Context(), request) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Index != n || step.Total != 3 || step.Last() != (n == 2) {
			t.Errorf("step %d of %d, last: %t; want %d of 3", step.Index, step.Total, step.Last(), n)
		}
		latents, shape, err := step.Latents()
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{2, 4, 3, 5}; !slices.Equal(shape, want) || len(latents) != 2*4*3*5 {
			t.Errorf("%d latents of shape %v, want %v", len(latents), shape, want)
		}
		previews, err := step.Preview(t.Context(), FullVAE)
		if err != nil {
			t.Fatal(err)
		}
		if len(previews) != 2 || previews[1].Bounds().Size() != (image.Point{40, 24}) {
			t.Errorf("%d previews of %v", len(previews), previews[1].Bounds())
		}
		if step.Last() {
			result, err := step.Result(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range result.Pictures {
				if d := difference(result.Pictures[i].Image, previews[i]); d > 1 {
					t.Errorf("the last preview of picture %d differs from it by %d/255", i, d)
				}
			}
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d steps, want 3", n)
	}
	for step, err := range p.Steps(t.Context(), request) {
		if err != nil || step.Index != 0 {
			t.Fatal(step, err)
		}
		break
	}
	generate(t, p, request) // the pipeline is as good as before
}

func TestCancel(t *testing.T) {
	p := openTiny(t, openCPU(t))
	stop := errors.New("the user has seen enough")
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stop)
		if _, err := p.Generate(ctx, small(nil)); !errors.Is(err, stop) {
			t.Errorf("the error is %v, want %v", err, stop)
		}
		if _, err := Open(ctx, tinyRandom(t), ref.New(), Options{}); !errors.Is(err, stop) {
			t.Errorf("Open returns %v, want %v", err, stop)
		}
	})
	t.Run("between steps", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var last error
		n := 0
		for _, err := range p.Steps(ctx, small(func(r *Request) { r.Steps = 10 })) {
			if last = err; err == nil {
				n++
				cancel(stop)
			}
		}
		if n != 1 || !errors.Is(last, stop) {
			t.Errorf("%d steps and then %v, want 1 and %v", n, last, stop)
		}
	})
	generate(t, p, small(nil)) // the pipeline is as good as before
}

// TestGoroutines uses one pipeline from several goroutines.
func TestGoroutines(t *testing.T) {
	p := openTiny(t, openCPU(t))
	want := make([]*image.NRGBA, 4)
	request := func(i int) Request {
		return small(func(r *Request) { r.Seed, r.Width = int64(i), 8*i+16 })
	}
	for i := range want {
		want[i] = generate(t, p, request(i)).Pictures[0].Image
	}
	var all sync.WaitGroup
	for i := range want {
		all.Go(func() {
			result, err := p.Generate(t.Context(), request(i))
			if err != nil {
				t.Error(err)
			} else if d := difference(result.Pictures[0].Image, want[i]); d != 0 {
				t.Errorf("picture %d differs by %d/255", i, d)
			}
		})
	}
	all.Wait()
}

// TestManyShapes makes more programs than a pipeline keeps.
func TestManyShapes(t *testing.T) {
	p := openTiny(t, openCPU(t))
	first := generate(t, p, small(nil)).Pictures[0].Image
	for i := range maxCompiled {
		generate(t, p, small(func(r *Request) { r.Width, r.Height, r.Steps = 8+8*i, 8, 1 }))
	}
	if n := p.cache.Usage().Programs; n > maxCompiled {
		t.Errorf("%d programs are kept, want at most %d", n, maxCompiled)
	}
	if d := difference(generate(t, p, small(nil)).Pictures[0].Image, first); d != 0 {
		t.Errorf("the picture made again differs by %d/255", d)
	}
}

func TestClosed(t *testing.T) {
	p, err := Open(t.Context(), tinyRandom(t), ref.New(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("Close returns %v", err)
		}
	}
	if _, err := p.Generate(t.Context(), small(nil)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("the error is %v, want one that says closed", err)
	}
}

// TestNew makes a pipeline of a checkpoint that somebody else goes on using.
func TestNew(t *testing.T) {
	ckpt, err := weights.Open(tinyRandom(t), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	want := generate(t, openTiny(t, openCPU(t)), small(nil)).Pictures[0]
	for range 2 {
		p, err := New(t.Context(), ckpt, ref.New(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := generate(t, p, small(nil)).Pictures[0]
		if difference(got.Image, want.Image) != 0 || got.Infotext != want.Infotext {
			t.Errorf("another picture than Open's: %s", got.Infotext)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "notes.safetensors")
	if err := os.WriteFile(text, []byte("this is no checkpoint"), 0o600); err != nil {
		t.Fatal(err)
	}
	portrait := filepath.Join(folder, "portrait")
	for _, k := range golden.Kits(t) {
		if k.Name == "tiny-portrait" {
			if err := os.CopyFS(portrait, k.Model); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, path string
		options    weights.Options
		say        []string
	}{
		{"nothing there", filepath.Join(folder, "none.safetensors"), weights.Options{}, []string{"none.safetensors", ".safetensors file or a diffusers folder"}},
		{"another kind of file", text, weights.Options{}, []string{"notes.safetensors"}},
		{"an empty folder", t.TempDir(), weights.Options{}, []string{}},
		{"text encoder of another model", tinyRandom(t), weights.Options{TextEncoder: portrait}, []string{"32", "64", "different models"}},
		{"single file without its shapes", filepath.Join(tinyRandom(t), "..", "tiny-random-ldm.safetensors"), weights.Options{}, []string{"conv_in.weight"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Open(t.Context(), c.path, ref.New(), Options{Weights: c.options})
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(folder, "none"), ref.New(), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v, want fs.ErrNotExist in it", err)
	}
}

func openCPU(t *testing.T) compute.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}
