package computetest

import (
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

func TestTolerance(t *testing.T) {
	nan := float32(math.NaN())
	want := []float32{1, -1, 1, -1}
	for _, c := range []struct {
		name    string
		got     []float32
		tol     Tolerance
		operand float64
		step    float64
		accept  bool
	}{
		{"equal", want, exact(""), 0, 0, true},
		{"one rounding off where none is allowed", []float32{1, -1, 1, -1 + roundoff}, exact(""), 0, 0, false},
		{"worst element within", []float32{1, -1, 1, -1 + 8*roundoff}, Tolerance{Roundings: 20}, 0, 0, true},
		{"worst element beyond", []float32{1, -1, 1, -1 + 32*roundoff}, Tolerance{Roundings: 20}, 0, 0, false},
		{"every element within, the mean square beyond", []float32{1 - 16*roundoff, -1 + 16*roundoff, 1 - 16*roundoff, -1 + 16*roundoff}, Tolerance{Roundings: 20}, 0, 0, false},
		{"NaN", []float32{1, nan, 1, -1}, Tolerance{Roundings: 1e6}, 0, 0, false},
		{"bfloat16 factors", []float32{1, -1, 1.006, -1}, Tolerance{Roundings: 20, Products: 1}, 1.0 / 256, 0, true},
		{"bfloat16 factors in no product", []float32{1, -1, 1.006, -1}, Tolerance{Roundings: 20}, 1.0 / 256, 0, false},
		{"a step of the smallest numbers", []float32{1, -1, 1, -1 + 8*roundoff}, exact(""), 0, 8 * roundoff, true},
		{"more than a step", []float32{1, -1, 1, -1 + 9*roundoff}, exact(""), 0, 8 * roundoff, false},
	} {
		if err := c.tol.check(compute.Floats(c.got), compute.Floats(want), c.operand, 0, c.step); (err == nil) != c.accept {
			t.Errorf("%s: error is %v, want acceptance %v", c.name, err, c.accept)
		}
	}
}
