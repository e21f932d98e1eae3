package ref_test

import (
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
)

// TestEvaluate sums numbers of which float32 would lose the smaller.
func TestEvaluate(t *testing.T) {
	var b compute.Builder
	x, ids := b.Input("x", compute.F32, 2), b.Input("ids", compute.I32, 1, 2)
	b.Output(b.Op(compute.Add{A: x, B: x}))
	b.Output(b.Op(compute.Repeat{X: ids, Times: 2}))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ref.Evaluate(p, &computetest.Source{}, []float64{1 + 0x1p-40, -2}, []int32{1 << 30, -7})
	if err != nil {
		t.Fatal(err)
	}
	if y := got[0].([]float64); y[0] != 2+0x1p-39 || y[1] != -4 {
		t.Errorf("the sums are %v, want %v", y, []float64{2 + 0x1p-39, -4})
	}
	if y := got[1].([]int32); len(y) != 4 || y[2] != 1<<30 || y[3] != -7 {
		t.Errorf("the repeated ids are %v", y)
	}
	for _, c := range []struct {
		name   string
		inputs []any
		say    string
	}{
		{"too few", []any{[]float64{1, 2}}, "have 1 inputs, the program wants 2"},
		{"float32", []any{[]float32{1, 2}, []int32{1, 2}}, "input 0 is []float32"},
		{"length", []any{[]float64{math.Pi}, []int32{1, 2}}, "input 0 is []float64, the program wants the elements of F32[2]"},
		{"ids as numbers", []any{[]float64{1, 2}, []float64{1, 2}}, "input 1 is []float64"},
	} {
		if _, err := ref.Evaluate(p, &computetest.Source{}, c.inputs...); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: the error is %v, want %q in it", c.name, err, c.say)
		}
	}
}
