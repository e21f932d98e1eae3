package sd

import (
	"image"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
)

// TestDiffusersPictures repeats runs of diffusers' image-to-image and inpainting pipelines, see testdata/diffusers/make.py, with requests
// of the same picture, seed and evaluations. Of inpainting it is one of a checkpoint made for it: with others diffusers mixes what the mask
// keeps into noisy latents, and the web UI, whose rule is ours, into the estimate of the clean ones. By DDIM none can be compared, since
// the web UI begins with the noise of the timestep before.
func TestDiffusersPictures(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: whole runs")
	}
	for _, kind := range []string{"img2img", "inpaint"} {
		t.Run(kind, func(t *testing.T) {
			want := golden.LoadFile(t, filepath.Join("testdata", "diffusers", kind+".safetensors"))
			number := func(key string) float64 {
				x, err := strconv.ParseFloat(want.Metadata[key], 64)
				if err != nil {
					t.Fatalf("metadata: %s: %v", key, err)
				}
				return x
			}
			r := Request{
				Prompt: want.Metadata["prompt"], NegativePrompt: want.Metadata["negative_prompt"], Guidance: new(number("guidance_scale")),
				Steps: int(number("steps")), Seed: int64(number("seed")), Noise: CPU, Sampler: sampler.Euler, Spacing: sampler.Karras,
				Image: pngOf(t, pictureOf(want.Tensor(t, "picture"))),
			}
			r.Strength = new(number("strength") - 1/number("steps")) // of which the web UI makes one evaluation more
			p := openTiny(t, openCPU(t))
			if kind == "inpaint" {
				extra := want.Tensor(t, "conv_in.weight").Float32
				p = nineChannels(t, func() float32 { x := extra[0]; extra = extra[1:]; return x })
				mask := want.Tensor(t, "mask")
				r.Inpaint = &Inpaint{Blur: new(0.0), Mask: pngOf(t, pictureOf(mask))}
			}
			checkPass(t, p, r, want)
		})
	}
}

// checkPass compares the latents after each evaluation of the only pass of a request, which mixes nothing into them.
func checkPass(t *testing.T, p *Pipeline, r Request, want golden.File) {
	c, err := p.course(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	one := c.passes[0]
	if err := p.encodeAll(t.Context(), c.passes); err != nil {
		t.Fatal(err)
	}
	one.source.mask = nil
	run, err := p.start(t.Context(), one, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := run.close(); err != nil {
			t.Error(err)
		}
	}()
	if recorded := len(want.Names("latents.")); recorded != len(one.plan.Evals) {
		t.Fatalf("the plan has %d evaluations, the golden %d", len(one.plan.Evals), recorded)
	}
	worst := 0.0
	for i := range one.plan.Evals {
		if _, err := run.evaluate(t.Context(), &one.plan.Evals[i]); err != nil {
			t.Fatal(err)
		}
		latents, err := run.latents()
		if err != nil {
			t.Fatal(err)
		}
		name := "latents." + strconv.Itoa(i)
		worst = max(worst, golden.Check(t, name, latents, want.Tensor(t, name)))
	}
	t.Logf("worst relative error of the latents of %d evaluations: %.2g", len(one.plan.Evals), worst)
}

// pictureOf is a picture of [H,W,3] or, in greys, [H,W] numbers of 0 to 255.
func pictureOf(x golden.Tensor) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, x.Shape[1], x.Shape[0]))
	pixels := x.Shape[0] * x.Shape[1]
	channels := len(x.Float32) / pixels
	for i := range pixels {
		for c := range 3 {
			img.Pix[4*i+c] = uint8(x.Float32[channels*i+c%channels])
		}
		img.Pix[4*i+3] = 255
	}
	return img
}
