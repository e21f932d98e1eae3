package vae_test

import (
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
)

// TestSamplesAreIndependent runs two samples, of a shape that is not square, together and alone.
func TestSamplesAreIndependent(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		m, params := open(t, k)
		c := m.Config()
		side := c.ScaleFactor()
		for _, direction := range []struct {
			name   string
			record func(*compute.Builder, compute.Value) compute.Value
			shape  []int
			result int // elements of one sample
		}{
			{"decode", m.Decode, []int{2, 2, 3, c.LatentChannels}, 2 * 3 * side * side * c.OutChannels},
			{"encode", m.Encode, []int{2, 2 * side, 3 * side, c.InChannels}, 2 * 3 * 2 * c.LatentChannels},
		} {
			run := func(samples int, data []float32) []float32 {
				var b compute.Builder
				b.Output(direction.record(&b, b.Input("x", compute.F32, append([]int{samples}, direction.shape[1:]...)...)))
				return golden.Run(t, dev, params, &b, data)[0]
			}
			r := rand.New(rand.NewPCG(5, 6))
			x := make([]float32, compute.Shape(direction.shape).Elements())
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			together := run(2, x)
			if len(together) != 2*direction.result {
				t.Fatalf("%s: %d elements, want 2·%d", direction.name, len(together), direction.result)
			}
			for n := range 2 {
				alone := run(1, x[n*len(x)/2:][:len(x)/2])
				if d := golden.Compare(together[n*direction.result:][:direction.result], alone); !(d.Relative <= 1e-5) {
					t.Errorf("%s: sample %d in a batch and alone: %v", direction.name, n, d)
				}
			}
		}
	})
}
