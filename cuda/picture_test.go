package cuda

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// TestPicture draws a picture of 64×64 pixels in two steps with a tiny model, and another from it, in half precision on a simulated card,
// and compares them with the CPU's.
func TestPicture(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes half a minute for pictures")
	}
	timed(t)
	want := draw(t, cpuDevice(t), nil)
	have := draw(t, device(t, Options{Precision: compute.PrecisionFP16})(t), want[0])
	for i, name := range []string{"from text", "from a picture"} {
		var difference, size float64
		for j, w := range want[i].Image.Pix {
			d := float64(have[i].Image.Pix[j]) - float64(w)
			difference, size = difference+d*d, size+float64(w)*float64(w)
		}
		e := math.Sqrt(difference / size)
		if t.Logf("%s: relative error %.2g", name, e); !(e <= 2e-2) {
			t.Errorf("the picture %s is off by %.2g of its size, want at most 2e-2", name, e)
		}
	}
}

func cpuDevice(t *testing.T) compute.Device {
	dev, err := cpu.Open(cpu.Options{})
	check(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

// draw is a picture from a prompt, and one from a picture: from that one, or from the given.
func draw(t *testing.T, dev compute.Device, from *sd.Picture) (pictures []*sd.Picture) {
	t.Helper()
	pipeline, err := sd.New(t.Context(), tinyRandom(t).Open(t), dev, sd.Options{})
	check(t, err)
	defer func() { check(t, pipeline.Close()) }()
	generate := func(r sd.Request) *sd.Picture {
		r.Prompt, r.Width, r.Height, r.Steps, r.Sampler, r.Seed = "a red fox", 64, 64, 2, sampler.Euler, 7
		result, err := pipeline.Generate(t.Context(), r)
		check(t, err)
		pictures = append(pictures, &result.Pictures[0])
		return &result.Pictures[0]
	}
	first := generate(sd.Request{})
	var file bytes.Buffer
	check(t, cmp.Or(from, first).Encode(&file))
	strength := 0.5
	generate(sd.Request{Image: file.Bytes(), Strength: &strength})
	return pictures
}
