package sd

import (
	"slices"
	"testing"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/sampler"
)

// TestNoiseLayout compares the noise of a batch with that of the generators: every picture has its own, seeded one
// higher than the one before and going on from draw to draw, and makes [C,H,W] at a time.
func TestNoiseLayout(t *testing.T) {
	const seed, batch, channels, pixels = 1234, 3, 4, 35
	for source, generator := range map[NoiseSource]func(uint64) rng.Source{
		NV:  func(seed uint64) rng.Source { return rng.NewPhilox(seed) },
		CPU: func(seed uint64) rng.Source { return rng.NewTorch(seed) },
	} {
		n, err := newNoise(Request{Noise: source, Seed: seed, BatchSize: batch}, channels, pixels, 1, 8, &sampler.Plan{})
		if err != nil {
			t.Fatal(err)
		}
		var streams []rng.Source
		for i := range batch {
			streams = append(streams, generator(seed+uint64(i)))
		}
		got, want := make([]float32, batch*pixels*channels), make([]float32, channels*pixels)
		for draw := range 3 {
			if draw == 0 {
				n.draw(got)
			} else if !n.fill(got, sampler.Noise{Kind: sampler.Draw}) {
				t.Fatal("nothing was drawn")
			}
			for i, stream := range streams {
				stream.Normal(want)
				for at := range want {
					c, pixel := at/pixels, at%pixels
					if have := got[(i*pixels+pixel)*channels+c]; have != want[at] {
						t.Fatalf("%s: draw %d, picture %d, channel %d, pixel %d is %v, want %v", source, draw, i, c, pixel, have, want[at])
					}
				}
			}
		}
		if n.fill(got, sampler.Noise{}) {
			t.Errorf("%s: noise was drawn where none is wanted", source)
		}
	}
}

// TestNoiseOfSteps makes noise for a sampler that cuts a Brownian path.
func TestNoiseOfSteps(t *testing.T) {
	plan, err := sampler.New(sampler.Config{Sampler: sampler.DPMPPSDE, Steps: 4})
	if err != nil {
		t.Fatal(err)
	}
	const channels, pixels = 4, 4096
	n, err := newNoise(Request{Noise: NV, Seed: 7, BatchSize: 1}, channels, pixels, 1, 8, plan)
	if err != nil {
		t.Fatal(err)
	}
	drawn := make([]float32, channels*pixels)
	fills := 0
	for _, e := range plan.Evals {
		if !n.fill(drawn, e.Noise) {
			continue
		}
		fills++
		var sum, squares float64
		for _, v := range drawn {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean, variance := sum/float64(len(drawn)), squares/float64(len(drawn))
		// Five standard errors of 16384 normal numbers.
		if mean < -0.04 || mean > 0.04 || variance < 0.945 || variance > 1.055 {
			t.Errorf("step %d: mean %.3f and variance %.3f, want 0 and 1", e.Step, mean, variance)
		}
	}
	if fills == 0 {
		t.Error("no step wants noise")
	}
}

// TestLatentsLayout turns pictures channels first and last: the value says channel and pixel.
func TestLatentsLayout(t *testing.T) {
	first := []float32{0, 1, 10, 11, 20, 21}
	last := []float32{0, 10, 20, 1, 11, 21}
	got := make([]float32, 6)
	if channelsFirst(got, last, 3); !slices.Equal(got, first) {
		t.Errorf("channels first %v, want %v", got, first)
	}
	if channelsLast(got, first, 3); !slices.Equal(got, last) {
		t.Errorf("channels last %v, want %v", got, last)
	}
}

// TestNoiseOfBatch compares the noise of four pictures with that of each alone, with all that changes noise.
func TestNoiseOfBatch(t *testing.T) {
	const channels, height, width = 4, 6, 5
	for _, r := range []Request{
		{Seed: 5},
		{Seed: 5, Noise: CPU, SamplerOptions: SamplerOptions{ENSD: 31337}},
		{Seed: 5, Variation: Variation{Seed: 9, Strength: 0.3}, ResizeFrom: Size{Width: 64, Height: 32}},
	} {
		plan, err := sampler.New(sampler.Config{Sampler: sampler.DPMPPSDE, Steps: 2})
		if err != nil {
			t.Fatal(err)
		}
		r.BatchSize = 4
		var draws [3][]float32
		of := func(r Request) (all [3][]float32) {
			n, err := newNoise(r, channels, height, width, 8, plan)
			if err != nil {
				t.Fatal(err)
			}
			for k := range all {
				all[k] = make([]float32, r.BatchSize*channels*height*width)
			}
			n.draw(all[0])
			n.draw(all[1])
			n.fill(all[2], plan.Evals[0].Noise)
			return all
		}
		for i := range r.BatchSize {
			single := r
			single.BatchSize = 1
			single.Seed, single.Variation.Seed = r.seeds(i)
			for k, one := range of(single) {
				draws[k] = append(draws[k], one...)
			}
		}
		for k, batch := range of(r) {
			if !slices.Equal(batch, draws[k]) {
				t.Errorf("%+v: draw %d of a batch is not those of its pictures", r, k)
			}
		}
	}
}

// TestNoiseAllocates checks that no draw but the first makes anything.
func TestNoiseAllocates(t *testing.T) {
	n, err := newNoise(Request{Noise: NV, BatchSize: 2, Variation: Variation{Strength: 0.5}}, 4, 8, 8, 8, &sampler.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	drawn := make([]float32, 2*4*8*8)
	n.draw(drawn)
	if allocations := testing.AllocsPerRun(5, func() { n.draw(drawn) }); allocations != 0 {
		t.Errorf("a draw allocates %v times", allocations)
	}
}
