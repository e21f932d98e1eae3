package compute

import "fmt"

// ClipNorm measures gradients before an optimizer step. Limits is F32 [1,2], given anew for each run: the factor that undoes
// loss scaling and accumulation, and the largest norm allowed, 0 for any. The result is F32 [1,2]:
//
//	norm = unscale·√(Σ‖g‖²)
//	factor = unscale·min(1, limit/(norm+10⁻⁶)), or 0 if any element of the gradients is not finite
//
// in the order factor, norm. The factor is what an optimizer, or [Scale], multiplies the gradients with; 0 tells that
// the step is to be skipped, and the norm is then not finite. Sums are kept in float64: squares of
// scaled gradients overflow a float32.
type ClipNorm struct {
	Gradients []Value // F32, of any shapes
	Limits    Value
}

// Operands implements Op.
func (op ClipNorm) Operands() []Value {
	return present(append(append([]Value(nil), op.Gradients...), op.Limits)...)
}

func (op ClipNorm) infer(t types) ([]Type, error) {
	if len(op.Gradients) == 0 {
		return nil, fmt.Errorf("there are no gradients")
	}
	for i, v := range op.Gradients {
		if t.of(v).DType != F32 {
			return nil, fmt.Errorf("gradient %d is %v, want F32", i, t.of(v))
		}
	}
	y := Type{F32, Shape{1, 2}}
	if !t.of(op.Limits).Equal(y) {
		return nil, fmt.Errorf("limits are %v, want %v", t.of(op.Limits), y)
	}
	return []Type{y}, nil
}

func (op ClipNorm) flops(t types) int64 {
	var sum int64
	for _, v := range op.Gradients {
		sum += 2 * int64(t.of(v).Shape.Elements())
	}
	return sum
}

func (op ClipNorm) gradient(g *adjoint, _ Value) { g.fail(op, optimizerStep) }

// AdamW is one step of Adam with decoupled weight decay. With g = factor·Gradient its three results, the new parameter and
// the new moments, are
//
//	m' = m + (1-β1)·(g - m)
//	v' = v + (1-β2)·(g² - v)
//	p' = p·(1 - lr·decay) - lr·(m'/(1-β1ᵏ))/(√(v'/(1-β2ᵏ)) + ε)
//
// Where the factor is 0 nothing changes. Parameter, Gradient, M and V are F32 of one shape, Hyper is F32 [1,7], given anew
// for each run: lr, 1-β1, 1-β2, ε, decay, 1-β1ᵏ, 1-β2ᵏ for the k-th step that is not skipped, from 1. Clip is a [ClipNorm]'s
// result, or absent for a factor of 1. Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv:1711.05101), algorithm 2.
type AdamW struct {
	Parameter, Gradient Value
	M, V                Value
	Hyper, Clip         Value
}

// Operands implements Op.
func (op AdamW) Operands() []Value {
	return present(op.Parameter, op.Gradient, op.M, op.V, op.Hyper, op.Clip)
}

// Overwritable implements Overwriter.
func (op AdamW) Overwritable() []Value { return present(op.Parameter, op.Gradient) }

func (op AdamW) infer(t types) ([]Type, error) {
	p := t.of(op.Parameter)
	if p.DType != F32 {
		return nil, fmt.Errorf("parameter is %v, want F32", p)
	}
	if g, m, v := t.of(op.Gradient), t.of(op.M), t.of(op.V); !g.Equal(p) || !m.Equal(p) || !v.Equal(p) {
		return nil, fmt.Errorf("gradient is %v and the moments %v and %v, want %v", g, m, v, p)
	}
	if hyper := (Type{F32, Shape{1, 7}}); !t.of(op.Hyper).Equal(hyper) {
		return nil, fmt.Errorf("hyper-parameters are %v, want %v", t.of(op.Hyper), hyper)
	}
	if clip := (Type{F32, Shape{1, 2}}); op.Clip.Valid() && !t.of(op.Clip).Equal(clip) {
		return nil, fmt.Errorf("factor and norm are %v, want %v", t.of(op.Clip), clip)
	}
	return []Type{p, p, p}, nil
}

func (op AdamW) flops(t types) int64 { return 16 * int64(t.of(op.Parameter).Shape.Elements()) }

func (op AdamW) gradient(g *adjoint, _ Value) { g.fail(op, optimizerStep) }

const optimizerStep = "it belongs to an optimizer's step"
