package train

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// drawn is a batch of two samples of 16×24 latents, filled in by n from one stream.
func drawn(n Noise, latent float32) Batch {
	b := Batch{Samples: 2, Height: 16, Width: 24}
	b.Latents = slices.Repeat([]float32{latent}, 2*16*24*4)
	n.draw(&b, 4, stream(1, batchStream, 2, 3))
	return b
}

// moments are mean and standard deviation.
func moments(v []float32) (mean, deviation float64) {
	for _, x := range v {
		mean += float64(x) / float64(len(v))
	}
	for _, x := range v {
		deviation += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
	}
	return mean, math.Sqrt(deviation)
}

func TestNoise(t *testing.T) {
	plain := drawn(Noise{}, 1)
	if mean, deviation := moments(plain.Noise); math.Abs(mean) > 0.1 || math.Abs(deviation-1) > 0.1 || plain.Perturbed != nil {
		t.Errorf("plain noise has mean %.3f and deviation %.3f, want 0 and 1", mean, deviation)
	}
	if again := drawn(Noise{}, 1); !slices.Equal(again.Noise, plain.Noise) || !slices.Equal(again.Timesteps, plain.Timesteps) {
		t.Error("the same stream gives other noise")
	}

	// shifts are what a channel of a sample has gained over plain noise, which must be the same everywhere.
	shifts := func(n Noise, latent float32) (all []float64) {
		b := drawn(n, latent)
		for i := range 2 * 4 {
			at := i/4*16*24*4 + i%4
			shift := float64(b.Noise[at]) - float64(plain.Noise[at])
			for p := range 16 * 24 {
				if d := float64(b.Noise[at+4*p]) - float64(plain.Noise[at+4*p]); math.Abs(d-shift) > 1e-5 {
					t.Fatalf("%+v: channel %d gains %g in one place and %g in another", n, i, shift, d)
				}
			}
			all = append(all, shift)
		}
		return all
	}
	offset := shifts(Noise{NoiseOffset: 0.1}, 1)
	if m := slices.Max(offset) - slices.Min(offset); m < 0.05 || m > 1 {
		t.Errorf("noise_offset 0.1 gives shifts %v", offset)
	}
	for i, s := range shifts(Noise{NoiseOffset: 0.1, AdaptiveNoiseScale: 0.05}, -2) { // 0.1 + 0.05·|-2|
		if math.Abs(s-2*offset[i]) > 1e-5 {
			t.Errorf("adaptive: channel %d gains %g, want %g", i, s, 2*offset[i])
		}
	}
	for i, s := range shifts(Noise{NoiseOffset: 0.1, AdaptiveNoiseScale: -0.1}, 2) { // never below 0
		if s != 0 {
			t.Errorf("adaptive with a negative scale: channel %d gains %g, want 0", i, s)
		}
	}

	multires := drawn(Noise{MultiresNoiseIterations: 6, MultiresNoiseDiscount: 0.5}, 1)
	if _, deviation := moments(multires.Noise); math.Abs(deviation-1) > 1e-3 {
		t.Errorf("multires noise has deviation %v, want 1", deviation)
	}
	// neighbours is the correlation of pixels side by side: that of the coarse layers.
	neighbours := func(v []float32) (sum float64) {
		for i := range len(v) - 4 {
			sum += float64(v[i]) * float64(v[i+4]) / float64(len(v))
		}
		return sum
	}
	if a, b := neighbours(plain.Noise), neighbours(multires.Noise); math.Abs(a) > 0.05 || b < 0.06 {
		t.Errorf("neighbours correlate by %.3f in plain noise and %.3f in multires noise, want about 0 and clearly more", a, b)
	}

	ip := drawn(Noise{IPNoiseGamma: 0.5}, 1)
	if !slices.Equal(ip.Noise, plain.Noise) {
		t.Error("ip_noise_gamma changes what is to be predicted")
	}
	if _, deviation := moments(ip.Perturbed); math.Abs(deviation-math.Sqrt(1.25)) > 0.1 {
		t.Errorf("perturbed noise has deviation %.3f, want √1.25", deviation)
	}
}

func TestTimesteps(t *testing.T) {
	for _, c := range []struct {
		n         Noise
		low, high int // that occur
	}{
		{Noise{}, 0, 999}, {Noise{MinTimestep: 100, MaxTimestep: 103}, 100, 102}, {Noise{MinTimestep: 998}, 998, 999},
		{Noise{MinTimestep: 500, MaxTimestep: 400}, 400, 400},
	} {
		steps := c.n.timesteps(20000, stream(1))
		if low, high := slices.Min(steps), slices.Max(steps); low != c.low || high != c.high {
			t.Errorf("%+v: timesteps from %d to %d, want %d to %d", c.n, low, high, c.low, c.high)
		}
	}
}

// TestEnlarge compares with PyTorch's interpolate(mode="bilinear", align_corners=False) of 0, 1 to four pixels.
func TestEnlarge(t *testing.T) {
	b := Batch{Samples: 1, Height: 1, Width: 4, Noise: make([]float32, 4)}
	enlarge(&b, 1, []float32{0, 1}, 1, 2, 2)
	if want := []float32{0, 0.5, 1.5, 2}; !slices.Equal(b.Noise, want) {
		t.Errorf("twice the enlarged 0, 1 is %v, want %v", b.Noise, want)
	}
}

func TestNoiseErrors(t *testing.T) {
	for _, c := range []struct {
		n   Noise
		say string
	}{
		{Noise{MinTimestep: -1}, "Noise.MinTimestep is -1"}, {Noise{MaxTimestep: 1001}, "Noise.MaxTimestep is 1001"},
		{Noise{MultiresNoiseIterations: 65}, "Noise.MultiresNoiseIterations is 65"}, {Noise{NoiseOffset: math.Inf(1)}, "Noise.NoiseOffset is +Inf"},
		{Noise{AdaptiveNoiseScale: 0.1}, "Noise.NoiseOffset is 0, want a number such as 0.05, to which Noise.AdaptiveNoiseScale"},
	} {
		if err := c.n.Check(); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: error %v, want %q in it", c.n, err, c.say)
		}
	}
}

// TestShrink averages a mask of 4×2 pixels to 2×1 latents.
func TestShrink(t *testing.T) {
	if got, want := shrink([]float32{0, 1, 1, 1, 1, 0, 1, 1}, 1, 2, 2), []float32{0.5, 1}; !slices.Equal(got, want) {
		t.Errorf("the mask is %v, want %v", got, want)
	}
	if got, want := shrink(nil, 1, 2, 2), []float32{1, 1}; !slices.Equal(got, want) {
		t.Errorf("without a mask it is %v, want %v", got, want)
	}
}
