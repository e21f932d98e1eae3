package sd

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// snapshot is a picture's file.
func snapshot(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, gradient()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestImageGolden begins runs of diffusers in their midst, at the noise and the clean latents that make what they had come to,
// and compares what follows. Methods that remember earlier steps cannot be begun so.
func TestImageGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		p := openKit(t, k, dev)
		for _, name := range k.Names("run_") {
			if !slices.Contains([]string{"run_euler", "run_euler_karras", "run_ddim", "run_heun"}, name) {
				continue
			}
			t.Run(name, func(t *testing.T) { checkTail(t, p, k.Load(t, name)) })
		}
	})
}

// checkTail repeats the second half of the run of a golden file as image to image.
func checkTail(t *testing.T, p *Pipeline, want golden.File) {
	meta := want.Metadata
	steps, err1 := strconv.Atoi(meta["steps"])
	guidance, err2 := strconv.ParseFloat(meta["guidance_scale"], 64)
	plan, err3 := sampler.FromDiffusers(meta["scheduler"], []byte(meta["scheduler_config"]), steps, 0.5)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	first := len(want.Names("latents.")) - len(plan.Evals)
	if first < 1 || plan.Start.Latent == 0 {
		t.Fatalf("%d evaluations, start %+v: this is no image to image", len(plan.Evals), plan.Start)
	}
	before := want.Tensor(t, fmt.Sprintf("latents.%d", first-1)).ChannelsLast()
	clean, noise := make([]float32, len(before.Float32)), make([]float32, len(before.Float32))
	for i, v := range before.Float32 {
		clean[i] = float32(i%5) - 2
		noise[i] = float32((float64(v) - plan.Start.Latent*float64(clean[i])) / plan.Start.Noise)
	}
	request := Request{Prompt: meta["positive"], NegativePrompt: meta["negative"], Guidance: &guidance, ClipSkip: 1}
	c, err := p.encode(t.Context(), &pass{request: request, plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	shape := before.Shape
	run, err := p.newSampling(t.Context(), job{plan: plan, cond: c, batch: shape[0], height: shape[1], width: shape[2]}, noise, clean)
	if err != nil {
		t.Fatal(err)
	}
	defer run.close()
	for i := range plan.Evals {
		if _, err := run.evaluate(t.Context(), &plan.Evals[i]); err != nil {
			t.Fatal(err)
		}
		latents, err := run.latents()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("latents.%d", first+i)
		golden.Check(t, name, latents, want.Tensor(t, name))
	}
}

// TestStrength draws anew next to nothing, half and all of a picture.
func TestStrength(t *testing.T) {
	p := openTiny(t, openCPU(t))
	draw := func(strength float64) []float32 {
		r := small(func(r *Request) {
			r.Image, r.Strength, r.Steps, r.Sampler, r.Guidance = snapshot(t), &strength, 4, sampler.Euler, new(1.0)
		})
		var last []float32
		n := 0
		for step, err := range p.Steps(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			if last, _, err = step.Latents(); err != nil {
				t.Fatal(err)
			}
			n = step.Total
		}
		if want := int(min(strength, 0.999)*4) + 1; n != want {
			t.Errorf("strength %v takes %d steps, want %d", strength, n, want)
		}
		return last
	}
	none, half, all := draw(0), draw(0.5), draw(1)
	little, much := golden.Compare(half, none).Relative, golden.Compare(all, none).Relative
	if !(little > 0 && little < much) {
		t.Errorf("half is %v away from none, all %v", little, much)
	}
}

// TestImageSize takes the picture's shape where no size is given.
func TestImageSize(t *testing.T) {
	p := openTiny(t, openCPU(t)) // its side is the shorter one
	c, err := p.course(t.Context(), Request{Image: snapshot(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.request; len(c.passes) != 1 || r.Height != p.Side() || r.Width != (p.Side()*5/3+4)/8*8 {
		t.Errorf("%d×%d, %d passes, %v; want 5:3 on %d", r.Width, r.Height, len(c.passes), err, p.Side())
	}
}

// TestPassErrors wants fields, values and mends told before the work.
func TestPassErrors(t *testing.T) {
	p := openTiny(t, openCPU(t))
	second := func(h Hires) Request { return small(func(r *Request) { r.Hires = &h }) }
	from := func(change func(r *Request)) Request {
		return small(func(r *Request) { r.Image = snapshot(t); change(r) })
	}
	for _, c := range []struct {
		r     Request
		field string
		says  string
	}{
		{from(func(r *Request) { r.Image = []byte("GIF89a") }), "Request.Image", "cannot be read"},
		{from(func(r *Request) { r.Image = []byte{} }), "", ""},
		{from(func(r *Request) { r.Strength = new(1.25) }), "Request.Strength", "0 to 1"},
		{from(func(r *Request) { r.Strength = new(-0.25) }), "Request.Strength", "0 to 1"},
		{from(func(r *Request) { r.ResizeMode = "Shrink" }), "Request.ResizeMode", "Crop and resize"},
		{from(func(r *Request) { r.NoiseMultiplier = new(-1.0) }), "Request.NoiseMultiplier", "0 to 10"},
		{from(func(r *Request) { r.ExtraNoise = -1 }), "Request.ExtraNoise", "0 to"},
		{from(func(r *Request) { r.Width = -64 }), "Request.Width", "multiple of 8"},
		{from(func(r *Request) { r.Width = 20000 }), "Request.Width", "4096"},
		{second(Hires{Scale: 0.5}), "Request.Hires.Scale", "1 to 8"},
		{second(Hires{Width: 20000}), "Request.Hires.Width", "4096"},
		{second(Hires{Height: -8}), "Request.Hires.Height", "multiple of 8"},
		{second(Hires{Strength: new(2.0)}), "Request.Hires.Strength", "0 to 1"},
		{second(Hires{Steps: -1}), "Request.Hires.Steps", "1 to"},
		{second(Hires{Sampler: "magic"}), "Request.Hires.Sampler", "DPM++ 2M"},
		{second(Hires{Guidance: new(1e9)}), "Request.Hires.Guidance", "1000"},
		{second(Hires{Prompt: "\xff"}), "Request.Hires.Prompt", "UTF-8"},
		{second(Hires{Upscaler: "4x-Nobody"}), "Request.Hires.Upscaler", "Latent (nearest-exact), None, Lanczos, Nearest"},
		{small(func(r *Request) { r.Width, r.Hires = 4096, &Hires{} }), "Request.Hires.Scale", "8192×48"},
	} {
		_, err := p.Memory(c.r)
		if c.field == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != c.field || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %s and %q", err, c.field, c.says)
		}
	}
	_, err := p.Memory(second(Hires{Upscaler: "4x-Nobody"}))
	if e, ok := errors.AsType[*NoUpscalerError](err); !ok || e.Name != "4x-Nobody" || !slices.Equal(e.Known, p.Upscalers()) {
		t.Errorf("%#v", err)
	}
}

// TestPictureMemory reads the picture that a request begins with in the memory that its decoder takes, and little besides.
func TestPictureMemory(t *testing.T) {
	const side = 1200
	r := Request{Image: pngOf(t, image.NewNRGBA(image.Rect(0, 0, side, side)))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := r.picture(t.Context(), 64); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*side*side*5/4 {
		t.Errorf("%d bytes for a picture of %d", took, 4*side*side)
	}
}
