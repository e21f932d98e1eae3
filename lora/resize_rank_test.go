package lora

import (
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// TestDynamicRank has sd-scripts' ranks for known singular values.
func TestDynamicRank(t *testing.T) {
	values := []float64{8, 4, 2, 1, 0.5, 0.25}
	for _, c := range []struct {
		name   string
		method DynamicMethod
		param  float64
		s      []float64
		n      int
		most   int
		want   int
	}{
		{"ratio 4", SVRatio, 4, values, 8, 8, 3},
		{"ratio 2", SVRatio, 2, values, 8, 8, 2},
		{"ratio 20", SVRatio, 20, values, 8, 8, 6},
		{"ratio 1", SVRatio, 1, values, 8, 8, 2},
		{"ratio beyond all", SVRatio, 1e9, values, 8, 8, 7},
		{"cumulative 0.9", SVCumulative, 0.9, values, 8, 8, 5},
		{"cumulative 0.7", SVCumulative, 0.7, values, 8, 8, 3},
		{"cumulative 1", SVCumulative, 1, values, 8, 8, 7},
		{"fro 0.9", SVFro, 0.9, values, 8, 8, 3},
		{"fro 0.99", SVFro, 0.99, values, 8, 8, 4},
		{"ratio 4, at most 2", SVRatio, 4, values, 8, 2, 2},
		{"ratio 2, at most 2", SVRatio, 2, values, 8, 2, 2},
		{"ratio 20, at most 2", SVRatio, 20, values, 8, 2, 2},
		{"cumulative 0.9, at most 2", SVCumulative, 0.9, values, 8, 2, 2},
		{"cumulative 0.7, at most 2", SVCumulative, 0.7, values, 8, 2, 2},
		{"fro 0.9, at most 2", SVFro, 0.9, values, 8, 2, 2},
		{"fro 0.99, at most 2", SVFro, 0.99, values, 8, 2, 2},
		{"all values needed", SVCumulative, 1, values, 6, 8, 6},
		{"no more than there are", SVRatio, 1e9, values, 6, 8, 6},
		{"fixed", "", 0, values, 8, 3, 3},
		{"fixed, more than the matrix has", "", 0, values, 8, 20, 8},
		{"nothing to keep", SVFro, 0.9, []float64{1e-6, 0}, 8, 8, 1},
		{"zero", "", 0, []float64{0}, 8, 8, 1},
		{"a single row", SVRatio, 5, []float64{3}, 1, 8, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := ResizeOptions{DynamicMethod: c.method, DynamicParam: c.param}
			if got := o.rank(c.s, c.n, c.most); got != c.want {
				t.Errorf("rank %d, want %d", got, c.want)
			}
		})
	}
}

// TestClamp has the bounds of torch.quantile over both factors together.
func TestClamp(t *testing.T) {
	up := []float32{-3.0625, -0.4375, -1.8125, 2.6875, 0.625, -3.5625, 0.0625, 0.3125}
	down := []float32{-0.5, 3.4375, -0.9375, 3.0, -1.4375, 3.625, -1.3125, -3.0625, 2.125, 3.625, 0.875, -3.625}
	for _, c := range []struct{ q, bound float64 }{{0, 3.625}, {0.99, 3.625}, {0.8, 2.75}, {0.55, 0.175}, {1, math.Inf(1)}} {
		m := newLowRank(Target{Kind: weights.KindUNet, Name: "x", Shape: compute.Shape{4, 6}}, 2)
		copy(m.Up.Data, up)
		copy(m.Down.Data, down)
		m.clamp(c.q)
		for i, v := range append(append([]float32(nil), up...), down...) {
			got := append(append([]float32(nil), m.Up.Data...), m.Down.Data...)[i]
			if want := min(max(float64(v), -c.bound), c.bound); math.Abs(float64(got)-want) > 1e-6 {
				t.Errorf("quantile %v: element %d is %v, want %v", c.q, i, got, want)
			}
		}
	}
}
