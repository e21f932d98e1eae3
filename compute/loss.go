package compute

import "fmt"

// LossFunction is a function of the error δ = prediction - target of one element.
type LossFunction uint8

// The loss functions, under kohya's names for loss_type.
const (
	L2       LossFunction = iota // δ²
	L1                           // |δ|
	Huber                        // 2c·(√(δ²+c²) - c)
	SmoothL1                     // 2·(√(δ²+c²) - c)
)

// String is the name of the function: "Huber".
func (f LossFunction) String() string {
	names := [...]string{"L2", "L1", "Huber", "SmoothL1"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("LossFunction(%d)", uint8(f))
}

// Loss is the mean over samples of Weights[n] times the mean over the sample's elements of Mask·f(Prediction - Target).
// Prediction and Target are F32 [N,...,C]; Mask is F32 [N,...,1] and Weights F32 [N], both optional; C is F32 [N], the
// constant c of Huber and SmoothL1 and absent otherwise. A masked mean still divides by the number of all elements.
// The result is F32 [1]; sums are kept in float64 or pairwise.
type Loss struct {
	Prediction, Target Value
	Weights, Mask, C   Value
	Function           LossFunction
}

// Operands implements Op.
func (op Loss) Operands() []Value {
	return present(op.Prediction, op.Target, op.Weights, op.Mask, op.C)
}

func (op Loss) infer(t types) ([]Type, error) {
	p := t.of(op.Prediction)
	if p.DType != F32 || len(p.Shape) < 2 || !t.of(op.Target).Equal(p) {
		return nil, fmt.Errorf("prediction is %v and target %v, want F32[N ... C] both", p, t.of(op.Target))
	}
	samples := Type{F32, Shape{p.Shape[0]}}
	if op.Weights.Valid() && !t.of(op.Weights).Equal(samples) {
		return nil, fmt.Errorf("weights are %v, want %v", t.of(op.Weights), samples)
	}
	mask := Type{F32, append(append(Shape(nil), p.Shape[:len(p.Shape)-1]...), 1)}
	if op.Mask.Valid() && !t.of(op.Mask).Equal(mask) {
		return nil, fmt.Errorf("mask is %v, want %v", t.of(op.Mask), mask)
	}
	switch op.Function {
	case L2, L1:
		if op.C.Valid() {
			return nil, fmt.Errorf("%v has no constant c", op.Function)
		}
	case Huber, SmoothL1:
		if !t.of(op.C).Equal(samples) {
			return nil, fmt.Errorf("constant c is %v, want %v", t.of(op.C), samples)
		}
	default:
		return nil, fmt.Errorf("unknown %v", op.Function)
	}
	return []Type{{F32, Shape{1}}}, nil
}

func (op Loss) flops(t types) int64 { return 4 * int64(t.of(op.Prediction).Shape.Elements()) }

func (op Loss) gradient(g *adjoint, dy Value) {
	if g.needs(op.Weights) || g.needs(op.Mask) || g.needs(op.C) {
		g.fail(op, "its weights, mask and constant are given")
		return
	}
	d := g.op(LossGradient{op.Prediction, op.Target, op.Weights, op.Mask, op.C, op.Function, dy})
	g.accumulate(op.Prediction, d)
	if g.needs(op.Target) { // a function of the difference
		minus := g.op(Fill{Shape: Shape{1, 1}, Value: -1})
		g.accumulate(op.Target, g.op(Scale{X: d, Factors: minus}))
	}
}

// LossGradient is the derivative of Loss by its prediction: y = DY·Weights[n]/(N·E)·Mask·f'(Prediction - Target) with E the
// number of a sample's elements. L1's derivative at 0 is 0. DY is F32 [1]; the result has the prediction's type.
type LossGradient struct {
	Prediction, Target Value
	Weights, Mask, C   Value
	Function           LossFunction
	DY                 Value
}

// Operands implements Op.
func (op LossGradient) Operands() []Value {
	return present(op.Prediction, op.Target, op.Weights, op.Mask, op.C, op.DY)
}

// Overwritable implements Overwriter.
func (op LossGradient) Overwritable() []Value { return present(op.Prediction, op.Target) }

func (op LossGradient) infer(t types) ([]Type, error) {
	loss, err := Loss{op.Prediction, op.Target, op.Weights, op.Mask, op.C, op.Function}.infer(t)
	if err == nil && !t.of(op.DY).Equal(loss[0]) {
		err = fmt.Errorf("the loss's gradient is %v, want %v", t.of(op.DY), loss[0])
	}
	return []Type{t.of(op.Prediction)}, err
}

func (op LossGradient) flops(t types) int64 { return 4 * int64(t.of(op.Prediction).Shape.Elements()) }

func (op LossGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }
