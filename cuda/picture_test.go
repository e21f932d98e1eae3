package cuda

import (
	"math"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// TestPicture draws a picture of 64×64 pixels in two steps with a tiny model, in half precision on a simulated card, and compares it
// with the CPU's.
func TestPicture(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes half a minute for a picture")
	}
	want := draw(t, cpuDevice(t))
	start := time.Now()
	have := draw(t, opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{})(t))
	var difference, size float64
	for i := range want {
		difference += (float64(have[i]) - float64(want[i])) * (float64(have[i]) - float64(want[i]))
		size += float64(want[i]) * float64(want[i])
	}
	e := math.Sqrt(difference / size)
	if t.Logf("in %.1f s, relative error %.2g", time.Since(start).Seconds(), e); !(e <= 2e-2) {
		t.Errorf("the picture is off by %.2g of its size, want at most 2e-2", e)
	}
}

func cpuDevice(t *testing.T) compute.Device {
	dev, err := cpu.Open(cpu.Options{})
	check(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

// draw is the pixels of a picture.
func draw(t *testing.T, dev compute.Device) []uint8 {
	t.Helper()
	for _, kit := range golden.Kits(t) {
		if kit.Name != "tiny-random" {
			continue
		}
		pipeline, err := sd.New(t.Context(), kit.Open(t), dev, sd.Options{})
		check(t, err)
		defer func() { check(t, pipeline.Close()) }()
		result, err := pipeline.Generate(t.Context(), sd.Request{Prompt: "a red fox", Width: 64, Height: 64, Steps: 2, Sampler: sampler.Euler, Seed: 7})
		check(t, err)
		return result.Pictures[0].Image.Pix
	}
	t.Fatal("there is no tiny model")
	return nil
}
