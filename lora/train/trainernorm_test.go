package train_test

import (
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/lora/train"
)

// changeNorm is ‖scale·up·down‖ by making the product.
func changeNorm(m lora.Module) float64 {
	r := m.Rank()
	l := loratest.LowRank(m)
	squares, columns := 0.0, len(l.Down.Data)/r
	for o := range len(l.Up.Data) / r {
		for i := range columns {
			w := 0.0
			for k := range r {
				w += float64(l.Up.Data[o*r+k]) * float64(l.Down.Data[k*columns+i])
			}
			squares += w * w
		}
	}
	return math.Abs(l.Scale()) * math.Sqrt(squares)
}

// TestScaleWeightNorms makes updates of rate 0, after which only the bound of the norms has changed anything: a change of
// norm 3 must be scaled to 1, by 0.577350 in each factor, one of norm 0.2 must stay to the bit.
func TestScaleWeightNorms(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		norms := []float64{3, 0.2, 0.9, 1.5, 0}
		for i := range modules {
			m := &modules[i]
			grow := norms[i%len(norms)] / changeNorm(*m)
			l := loratest.LowRank(*m)
			l.Up.Data = slices.Clone(l.Up.Data)
			for j := range l.Up.Data {
				l.Up.Data[j] *= float32(grow)
			}
			m.Delta = l
		}
		for _, optimizer := range []string{"AdamW", "Lion"} {
			tr := newTrainer(t, k, dev, modules, train.Options{OptimizerType: optimizer, ScaleWeightNorms: 1})
			step(t, tr, batches[0])
			u := update(t, tr, train.Rates{})
			after, err := tr.Modules()
			if err != nil {
				t.Fatal(err)
			}
			keys, mean, largest := 0, 0.0, 0.0
			for i, m := range after {
				before, norm := modules[i], norms[i%len(norms)]
				if norm > 1 {
					keys++
				}
				mean += min(norm, 1) / float64(len(modules))
				largest = max(largest, min(norm, 1))
				if got := changeNorm(m); math.Abs(got-min(norm, 1)) > 1e-6 {
					t.Errorf("%s: %s has norm %g, want %g", optimizer, m.Key(), got, min(norm, 1))
				}
				ratio := 1.0
				if norm > 1 {
					ratio = math.Sqrt(1 / norm)
				}
				for _, f := range []struct{ was, is []float32 }{{loratest.LowRank(before).Down.Data, loratest.LowRank(m).Down.Data}, {loratest.LowRank(before).Up.Data, loratest.LowRank(m).Up.Data}} {
					if ratio == 1 && !equal(f.is, f.was) {
						t.Errorf("%s: %s of norm %g is changed", optimizer, m.Key(), norm)
					}
					for j, w := range f.was {
						if want := ratio * float64(w); math.Abs(float64(f.is[j])-want) > 1e-6*math.Abs(want) {
							t.Fatalf("%s: %s: element %d becomes %g, want %g", optimizer, m.Key(), j, f.is[j], want)
						}
					}
				}
			}
			if u.KeysScaled != keys || math.Abs(u.AverageKeyNorm-mean) > 1e-6 || math.Abs(u.MaxKeyNorm-largest) > 1e-6 {
				t.Errorf("%s: %d keys are scaled, mean norm %g, largest %g; want %d, %g, %g", optimizer, u.KeysScaled, u.AverageKeyNorm, u.MaxKeyNorm, keys, mean, largest)
			}
		}
	})
}
