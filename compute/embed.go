package compute

import (
	"fmt"
	"math"
)

// Embed looks rows up: y[n,t,:] = Table[IDs[n,t],:] + Position[t,:].
// IDs is I32 [N,T]; Table is [V,C], a parameter or a value; Position is [P,C] with P ≥ T, or absent.
// The result is F32 [N,T,C]. An id outside 0…V-1 makes the run fail with the id and its place.
type Embed struct {
	IDs             Value
	Table, Position Value
}

// Operands implements Op.
func (op Embed) Operands() []Value { return present(op.IDs, op.Table, op.Position) }

func (op Embed) infer(t types) ([]Type, error) {
	ids, table := t.of(op.IDs), t.of(op.Table)
	if ids.DType != I32 || len(ids.Shape) != 2 {
		return nil, fmt.Errorf("ids are %v, want I32[N T]", ids)
	}
	if len(table.Shape) != 2 {
		return nil, fmt.Errorf("table is %v, want [V C]", table.Shape)
	}
	if op.Position.Valid() {
		if p := t.of(op.Position).Shape; len(p) != 2 || p[0] < ids.Shape[1] || p[1] != table.Shape[1] {
			return nil, fmt.Errorf("position table is %v, want at least [%d %d]", p, ids.Shape[1], table.Shape[1])
		}
	}
	return []Type{{F32, Shape{ids.Shape[0], ids.Shape[1], table.Shape[1]}}}, nil
}

func (op Embed) gradient(g *adjoint, _ Value) { g.fail(op, "its tables are frozen") }

func (op Embed) flops(types) int64 { return 0 }

// TimestepEmbedding is the sinusoidal encoding of diffusion time. With half = Dim/2 and
// f_i = exp(-ln(10000)·i/(half-FreqShift)) the result row is [sin(t·f_0)…sin(t·f_{half-1}) cos(t·f_0)…],
// the two halves exchanged if FlipSinToCos. Timesteps is F32 [N], fractional values allowed; the result is F32 [N,Dim].
// Frequencies and angles are rounded to float32, as the networks saw them in training, whatever a device computes in:
// at t = 1000 that moves a feature by up to 5·10⁻⁵. See Frequencies.
// See Vaswani et al. (arXiv:1706.03762), section 3.5; the parameters are diffusers'.
type TimestepEmbedding struct {
	Timesteps    Value
	Dim          int // even
	FlipSinToCos bool
	FreqShift    float64
}

// Frequencies are the Dim/2 factors f_i, rounded to float32 where PyTorch rounds them. The angle of timestep t is the
// float32 product of t and f_i.
func (op TimestepEmbedding) Frequencies() []float32 {
	f := make([]float32, op.Dim/2)
	step := float32(-math.Log(10000))
	for i := range f {
		exponent := step * float32(i) / float32(float64(len(f))-op.FreqShift)
		f[i] = float32(math.Exp(float64(exponent)))
	}
	return f
}

// Operands implements Op.
func (op TimestepEmbedding) Operands() []Value { return present(op.Timesteps) }

func (op TimestepEmbedding) infer(t types) ([]Type, error) {
	x := t.of(op.Timesteps)
	if x.DType != F32 || len(x.Shape) != 1 {
		return nil, fmt.Errorf("timesteps are %v, want F32[N]", x)
	}
	if op.Dim < 2 || op.Dim%2 != 0 || float64(op.Dim/2) <= op.FreqShift {
		return nil, fmt.Errorf("dimension is %d with shift %g, want an even number whose half exceeds the shift", op.Dim, op.FreqShift)
	}
	return []Type{{F32, Shape{x.Shape[0], op.Dim}}}, nil
}

func (op TimestepEmbedding) gradient(g *adjoint, _ Value) { g.fail(op, "its timesteps are given") }

func (op TimestepEmbedding) flops(t types) int64 { return int64(t.of(op.Timesteps).Shape[0] * op.Dim) }
