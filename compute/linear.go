package compute

import "fmt"

// Linear is y = epilogue([X X2]·Weightᵀ + Bias) over the innermost axis. It is also every 1×1 convolution.
// X is [...,Cin1] and the optional X2 [...,Cin2]: their channels are read as one input of Cin = Cin1+Cin2
// without being copied together. Weight is [Cout,Cin] ([Cout,Cin,1,1] is accepted), Bias [Cout] or absent.
// The result is [...,Cout]. Sums are kept in float32 or better.
type Linear struct {
	X, X2        Value
	Weight, Bias Value
	Epilogue     Epilogue
}

// Operands implements Op.
func (op Linear) Operands() []Value {
	return present(op.X, op.X2, op.Weight, op.Bias, op.Epilogue.PerChannel, op.Epilogue.Residual)
}

// Overwritable implements Overwriter.
func (op Linear) Overwritable() []Value { return present(op.Epilogue.Residual) }

func (op Linear) infer(t types) ([]Type, error) {
	x, err := joinChannels(t, op.X, op.X2)
	if err != nil {
		return nil, err
	}
	w := t.of(op.Weight).Shape
	if len(w) == 4 && w[2] == 1 && w[3] == 1 {
		w = w[:2]
	}
	if len(w) != 2 || w[1] != x.Shape.Last() {
		return nil, fmt.Errorf("weight is %v, want [Cout %d]", t.of(op.Weight).Shape, x.Shape.Last())
	}
	if err := wantBias(t, op.Bias, w[0]); err != nil {
		return nil, err
	}
	y := Type{x.DType, append(Shape(nil), x.Shape...)}
	y.Shape[len(y.Shape)-1] = w[0]
	return []Type{y}, op.Epilogue.check(t, y)
}

func (op Linear) gradient(g *adjoint, dy Value) {
	if g.needs(op.Weight) || g.needs(op.Bias) {
		g.fail(op, frozenWeight)
		return
	}
	before := op
	before.Epilogue = Epilogue{PerChannel: op.Epilogue.PerChannel}
	if !g.needs(op.X) && !g.needs(op.X2) && !g.needs(before.Epilogue.PerChannel) {
		g.accumulate(op.Epilogue.Residual, dy)
		return
	}
	dy = op.Epilogue.gradient(g, dy, before)
	first := 0
	for _, x := range present(op.X, op.X2) {
		channels := g.b.program.Shape(x).Last()
		g.into(x, func(sum Value) Op {
			return LinearInputGradient{DY: dy, Weight: op.Weight, First: first, Channels: channels, Add: sum}
		})
		first += channels
	}
}

func (op Linear) flops(t types) int64 {
	w := t.of(op.Weight).Shape
	return 2 * int64(t.of(op.X).Shape.Rows()) * int64(w[0]) * int64(w[1])
}
