package sd

import (
	"fmt"
	"image"
	"iter"
	"testing"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sampler"
)

// TestStepsAllocateNothing counts what the Go heap sees of steps after the first ones, on the device made for speed.
func TestStepsAllocateNothing(t *testing.T) {
	for _, r := range []Request{
		{Sampler: sampler.DPMPP2M}, {Sampler: sampler.Heun}, {Sampler: sampler.EulerA}, {Sampler: sampler.DDIMCFGPP},
		{Sampler: sampler.Euler, Speed: Speed{MinUncond: 100, DeepCache: DeepCache{Interval: 2}, TokenMerging: 0.5}},
		{Sampler: sampler.DPMPP2M, Inpaint: &Inpaint{}}, {Sampler: sampler.DDIM, Inpaint: &Inpaint{}}, {Sampler: sampler.Heun, Inpaint: &Inpaint{Soft: &Soft{}}},
	} {
		t.Run(fmt.Sprintf("%s %+v %+v", r.Sampler, r.Speed, r.Inpaint), func(t *testing.T) {
			dev, err := cpu.Open(cpu.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			next, stop := iter.Pull2(openTiny(t, dev).Steps(t.Context(), small(func(in *Request) {
				in.Sampler, in.Speed, in.Steps = r.Sampler, r.Speed, 20
				if r.Inpaint != nil {
					in.Image, in.Strength, in.Inpaint = pngOf(t, photo(40, 24)), new(1.0), new(*r.Inpaint)
					in.Inpaint.Mask = pngOf(t, maskOf(40, 24, image.Rect(0, 0, 16, 24)))
				}
			})))
			defer stop()
			step := func() {
				if _, err, ok := next(); err != nil || !ok {
					t.Fatal(err, ok)
				}
			}
			for range 3 { // the arena and the workers come into being
				step()
			}
			if n := testing.AllocsPerRun(10, step); n != 0 {
				t.Errorf("%v allocations a step, want none", n)
			}
		})
	}
}

// TestUnconditionalOutput draws with a sampler that renoises with what the network sees without the prompt. At this scale
// its guided output is that of the prompt alone, so that between equal prompts nothing but DDIM is left.
func TestUnconditionalOutput(t *testing.T) {
	p := openTiny(t, openCPU(t))
	draw := func(s sampler.Sampler, guidance float64, negative string) Request {
		return small(func(r *Request) { r.Sampler, r.Guidance, r.NegativePrompt, r.Steps = s, &guidance, negative, 6 })
	}
	plain := generate(t, p, draw(sampler.DDIM, 1, "")).Pictures[0].Image
	equal := generate(t, p, draw(sampler.DDIMCFGPP, 12.5, draw("", 0, "").Prompt)).Pictures[0].Image
	other := generate(t, p, draw(sampler.DDIMCFGPP, 12.5, "glasses")).Pictures[0].Image
	if d := difference(plain, equal); d > 1 {
		t.Errorf("between equal prompts CFG++ differs from DDIM by %d/255", d)
	}
	if difference(plain, other) < 2 {
		t.Error("the output without the prompt has no say")
	}
}

// TestAdaptiveSteps compares a run that chooses its own steps with one of many small ones, and counts as it goes.
func TestAdaptiveSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p := openTiny(t, dev)
	adaptive := small(func(r *Request) { r.Sampler, r.Eta = sampler.DPMAdaptive, new(0.0) })
	steps := 0
	for step, err := range p.Steps(t.Context(), adaptive) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Index != steps || step.Total <= step.Index {
			t.Fatalf("step %d of %d comes after %d steps", step.Index, step.Total, steps)
		}
		if steps++; !step.Last() {
			continue
		}
		got, err := step.Result(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fine := generate(t, p, small(func(r *Request) { r.Steps = 60 })).Pictures[0].Image
		coarse := generate(t, p, small(func(r *Request) { r.Steps = 6 })).Pictures[0].Image
		if d, limit := difference(got.Pictures[0].Image, fine), difference(coarse, fine); 2*d > limit {
			t.Errorf("after %d steps of its own the picture is off by %d/255, after 6 of DPM++ 2M by %d/255", steps, d, limit)
		}
	}
	if steps < 4 {
		t.Errorf("%d steps", steps)
	}
}
