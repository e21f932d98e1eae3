package sd

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
)

// openKit opens the pipeline of a kit until the end of the test.
func openKit(t testing.TB, k golden.Kit, dev compute.Device) *Pipeline {
	t.Helper()
	p, err := OpenFS(t.Context(), k.Model, k.Name, dev, Options{})
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

// TestGolden compares whole sampling runs with those of diffusers, given their noise: the latents after every
// evaluation of the network, and the picture.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		p := openKit(t, k, dev)
		runs := k.Names("run_")
		if len(runs) == 0 {
			t.Skip("the kit has no goldens/run_*.safetensors")
		}
		if _, slow := dev.(*ref.Device); testing.Short() || slow && k.Name != "tiny-random" { // whose networks the goldens of their packages hold
			t.Logf("with -short, and on the reference device: only %s of %d runs", runs[0], len(runs))
			runs = runs[:1]
		}
		for _, name := range runs {
			t.Run(name, func(t *testing.T) { checkRun(t, p, k.Load(t, name)) })
		}
	})
}

// checkRun repeats the run of a golden file.
func checkRun(t *testing.T, p *Pipeline, want golden.File) {
	ctx, meta := t.Context(), want.Metadata
	steps, err := strconv.Atoi(meta["steps"])
	if err != nil {
		t.Fatalf("metadata: steps: %v", err)
	}
	guidance, err := strconv.ParseFloat(meta["guidance_scale"], 64)
	if err != nil {
		t.Fatalf("metadata: guidance_scale: %v", err)
	}
	plan, err := sampler.FromDiffusers(meta["scheduler"], []byte(meta["scheduler_config"]), steps, 0)
	if err != nil {
		t.Fatal(err)
	}
	if recorded := len(want.Names("latents.")); recorded != len(plan.Evals) {
		t.Fatalf("the plan has %d evaluations, the golden %d", len(plan.Evals), recorded)
	}
	timesteps := want.Tensor(t, "timesteps").Float32
	noise := want.Tensor(t, "noise").ChannelsLast()
	batch, height, width := noise.Shape[0], noise.Shape[1], noise.Shape[2]

	request := Request{Prompt: meta["positive"], NegativePrompt: meta["negative"], Guidance: new(guidance), ClipSkip: 1}
	c, err := p.encode(ctx, &pass{request: request, plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	run, err := p.newSampling(ctx, job{plan: plan, cond: c, batch: batch, height: height, width: width}, noise.Float32, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := run.close(); err != nil {
			t.Error(err)
		}
	}()
	var latents []float32
	worst := 0.0
	for i := range plan.Evals {
		e := &plan.Evals[i]
		if e.Noise.Kind != sampler.NoNoise {
			t.Fatalf("evaluation %d draws noise, which the golden does not hold", i)
		}
		// Interpolated timesteps are float32 in diffusers.
		if at := float64(timesteps[i]); math.Abs(e.Timestep-at) > 1e-6*at {
			t.Errorf("evaluation %d is at timestep %v, want %v", i, e.Timestep, at)
		}
		if _, err := run.evaluate(ctx, e); err != nil {
			t.Fatal(err)
		}
		if latents, err = run.latents(); err != nil {
			t.Fatal(err)
		}
		name := "latents." + strconv.Itoa(i)
		worst = max(worst, golden.Check(t, name, latents, want.Tensor(t, name)))
	}

	scale := p.networks.VAE.Config().ScaleFactor()
	request.Height, request.Width, request.BatchSize = scale*height, scale*width, batch
	levels := checkPictures(t, p, request, latents, want.Tensor(t, "image").ChannelsLast())
	t.Logf("worst relative error of the latents of %d evaluations: %.2g; pictures: %.3f/255", len(plan.Evals), worst, levels)
}

// checkPictures decodes latents and compares the pictures with those of the golden, [N,H,W,3] in [-1,1]. It returns the
// greatest difference in 1/255, of which rounding to 8 bits alone makes up to a half.
func checkPictures(t *testing.T, p *Pipeline, r Request, latents []float32, want golden.Tensor) float64 {
	t.Helper()
	images, err := p.decode(t.Context(), r, latents)
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != want.Shape[0] {
		t.Fatalf("%d pictures, want %d", len(images), want.Shape[0])
	}
	level := func(v float32) float64 { return 255 * min(max(float64(v)/2+0.5, 0), 1) }
	height, width, greatest := want.Shape[1], want.Shape[2], 0.0
	for n, img := range images {
		if size := img.Bounds().Size(); size.X != width || size.Y != height {
			t.Fatalf("picture %d has %d×%d pixels, want %d×%d", n, size.X, size.Y, width, height)
		}
		worst, at := 0.0, 0
		for i, v := range want.Sample(n).Float32 {
			pixel, channel := i/3, i%3
			if d := math.Abs(float64(img.Pix[4*pixel+channel]) - level(v)); d > worst {
				worst, at = d, i
			}
		}
		greatest = max(greatest, worst)
		if worst > 1 {
			t.Errorf("picture %d differs by %.3f/255 in channel %d of pixel %d, %d, want at most 1/255",
				n, worst, at%3, at/3%width, at/3/width)
		}
	}
	return greatest
}

// TestGoldenTokens compares the tokens of the prompts that the goldens were made with.
func TestGoldenTokens(t *testing.T) {
	for _, k := range golden.Kits(t) {
		t.Run(k.Name, func(t *testing.T) {
			p := openKit(t, k, ref.New())
			want := k.Load(t, "clip")
			var prompts []string
			if err := json.Unmarshal([]byte(want.Metadata["prompts"]), &prompts); err != nil {
				t.Fatalf("metadata: prompts: %v", err)
			}
			ids := want.Tensor(t, "input_ids")
			for i, prompt := range prompts {
				chunks := chunk(t, p.networks.Tokenizer, prompt)
				if row := ids.Sample(i).Int32(); len(chunks) != 1 || !slices.Equal(chunks[0], row) {
					t.Errorf("%q is %v, want %v", prompt, chunks, row)
				}
			}
		})
	}
}

// TestGoldensCovered says which golden files no test reads yet.
func TestGoldensCovered(t *testing.T) {
	for _, k := range golden.Kits(t) {
		var open []string
		for _, name := range k.Names("") {
			if name != "clip" && name != "unet" && name != "vae" && !strings.HasPrefix(name, "run_") {
				open = append(open, name)
			}
		}
		if len(open) > 0 {
			t.Logf("%s: not covered yet: %s", k.Name, strings.Join(open, ", "))
		}
	}
}

// TestSingleFile makes the same picture from a folder and from one file with the original names.
func TestSingleFile(t *testing.T) {
	kit := filepath.Join(golden.Root(t), "testdata", "tiny-random")
	folder := filepath.Join(kit, "model")
	for _, d := range golden.Devices {
		t.Run(d.Name, func(t *testing.T) {
			dev, err := d.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			generate := func(path string, o weights.Options) *Result {
				p, err := Open(t.Context(), path, dev, Options{Weights: o})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				result, err := p.Generate(t.Context(), Request{Prompt: "portrait of a man", NegativePrompt: "glasses", Steps: 2, Seed: 7})
				if err != nil {
					t.Fatal(err)
				}
				return result
			}
			want := generate(folder, weights.Options{})
			got := generate(filepath.Join(kit, "tiny-random-ldm.safetensors"), weights.Options{Config: folder})
			if !slices.Equal(got.Pictures[0].Image.Pix, want.Pictures[0].Image.Pix) {
				t.Error("the pictures differ")
			}
		})
	}
}
