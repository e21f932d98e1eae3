package lora

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// LoHa is the element-wise product of two low-rank changes, Scale·(B₁·A₁)∘(B₂·A₂), whose own scales are 1. See Hyeon-Woo et
// al., "FedPara" (arXiv:2108.06098).
type LoHa struct {
	First, Second LowRank
	Scale         float64
}

// Algorithm implements Delta: "LoHa".
func (h LoHa) Algorithm() string { return "LoHa" }

// Rank implements Delta.
func (h LoHa) Rank() int { return h.First.Rank() }

// Add implements Delta.
func (h LoHa) Add(out []float32, _ Factor, strength float64, _ int) {
	factor := float32(strength * h.Scale)
	second := stack([]term{newTerm(h.Second, 1, 0)})
	var other [tile]float32
	stack([]term{newTerm(h.First, 1, 0)}).between(0, len(out), func(at int, sum []float32) {
		second.row(other[:len(sum)], at/second.cols, at%second.cols)
		for i, v := range sum {
			out[at+i] += factor * v * other[i]
		}
	})
}

func (h LoHa) fits(shape compute.Shape) bool { return h.First.fits(shape) && h.Second.fits(shape) }

func (h LoHa) isZero() bool { return h.Scale == 0 || h.First.isZero() || h.Second.isZero() }

func (h LoHa) shapes() string {
	return fmt.Sprintf("factors are %s, and %s", h.First.sizes(), h.Second.sizes())
}

// readLoHa makes the change of LyCORIS' tensors, of which the three-factor form has A and B as columns of their ranks.
func readLoHa(_ Target, x *tensors) (Delta, error) {
	half := func(a, b, t part) LowRank {
		l := LowRank{Up: x.at[a], Down: x.at[b], Mid: x.at[t]}
		if l.Mid.Data != nil {
			l.Up, l.Down = transposed(l.Up), fourAxes(l.Down)
		}
		l.Alpha = float64(rows(l.Down))
		return l
	}
	h := LoHa{First: half(partHada1A, partHada1B, partHadaT1), Second: half(partHada2A, partHada2B, partHadaT2)}
	h.Scale = x.scale(rows(h.First.Down))
	return h, nil
}

// rows is the length of a tensor's first axis, 0 for none.
func rows(f Factor) int {
	if len(f.Shape) == 0 {
		return 0
	}
	return f.Shape[0]
}

// transposed is the transpose of a matrix; other tensors stay, for others to refuse.
func transposed(f Factor) Factor {
	if len(f.Shape) != 2 {
		return f
	}
	t := Factor{compute.Shape{f.Shape[1], f.Shape[0]}, make([]float32, len(f.Data))}
	for i := range f.Shape[0] {
		for j := range f.Shape[1] {
			t.Data[j*f.Shape[0]+i] = f.Data[i*f.Shape[1]+j]
		}
	}
	return t
}

// fourAxes is a matrix as the weight of a 1×1 convolution.
func fourAxes(f Factor) Factor {
	if len(f.Shape) == 2 {
		f.Shape = compute.Shape{f.Shape[0], f.Shape[1], 1, 1}
	}
	return f
}
