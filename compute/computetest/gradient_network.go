package computetest

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
)

// gradientNetwork records the network with a low-rank adapter on its text, a loss, and the gradients of inputs and factors.
func gradientNetwork(derive func(*compute.Builder, compute.Value, []compute.Value) []compute.Value) *recording {
	const batch, rank, context, tokens = 2, 3, 16, 5
	var b compute.Builder
	o := newOperands(&b, "network", compute.F16)
	y, wrt := recordNetwork(&b, o, batch)
	text := wrt[1]
	down, up := o.Input(rank, context), o.Input(4, rank)
	low := b.Op(compute.MatMul{A: b.Op(compute.MatMul{A: text, B: down, TransposeB: true}), B: up, TransposeB: true, Scale: 0.5})
	low = b.Op(compute.Concat{Parts: []compute.Value{b.Reshape(low, batch, 1, tokens, 4), b.Op(compute.Fill{Shape: compute.Shape{batch, 1, 3, 4}})}, Axis: 2})
	low = b.Op(compute.Concat{Parts: []compute.Value{low, b.Op(compute.Fill{Shape: compute.Shape{batch, 7, 8, 4}})}, Axis: 1})
	loss := b.Op(compute.Loss{Prediction: b.Op(compute.Add{A: y, B: low}), Target: o.Input(batch, 8, 8, 4)})
	b.Output(loss)
	for _, g := range derive(&b, loss, append(wrt, down, up)) {
		b.Output(g)
	}
	p, err := b.Build()
	if err != nil {
		panic(err) // a mistake in this file
	}
	return &recording{p, o.inputs, &o.source}
}

// testGradientNetwork holds a device to the oracle over a whole adjoint, and to itself with checkpoints and without.
func (s Suite) testGradientNetwork(t *testing.T) {
	if len(s.Missing) > 0 {
		t.Skipf("the network needs ops that are listed as missing: %v", s.Missing)
	}
	device, oracle := s.open(t), ref.New()
	defer oracle.Close()
	plain, checkpointed := gradientNetwork(compute.Gradient), gradientNetwork(compute.CheckpointedGradient)
	want := start(t, oracle, plain)
	want.run(t)
	x, again := start(t, device, plain), start(t, device, checkpointed)
	for _, run := range []*execution{x, again} {
		run.poison(t)
		run.run(t)
	}
	tol := Tolerance{16384, 1, "the errors of some sixty ops, up to a few hundred roundoffs each, add up"}
	for i := range x.out {
		got := x.output(t, i)
		if err := tol.check(got, want.output(t, i), 8*s.OperandRoundoff, 8*s.ValueRoundoff, s.ValueStep); err != nil {
			t.Errorf("output %d, the loss being output 0: %v", i, err)
		}
		if at := firstDifference(again.output(t, i), got); at >= 0 {
			t.Errorf("output %d, the loss being output 0: with checkpoints it differs at element %d", i, at)
		}
	}
	run := x.Memory()
	if less := again.Memory(); less.Arena > run.Arena {
		t.Errorf("the arena is %d bytes with checkpoints, %d without", less.Arena, run.Arena)
	}
	x.poison(t)
	x.run(t)
	for i := range x.out {
		first := again.output(t, i)
		if at := firstDifference(x.output(t, i), first); at >= 0 {
			t.Errorf("output %d: the second run differs from the first at element %d", i, at)
		}
	}
}
