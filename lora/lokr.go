package lora

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// LoKr is the Kronecker product of two small matrices, Scale·W₁⊗W₂, each of which is given whole or as a product. The second
// may be a convolution's weight. See Yeh et al., "Navigating Text-To-Image Customization" (arXiv:2309.14859).
type LoKr struct {
	First, Second Side
	Scale         float64
}

// Side is a matrix or a convolution's weight: Whole, or the product Low where Whole has no Data.
type Side struct {
	Whole Factor
	Low   LowRank
}

// shape is [rows,columns], where a convolution's kernel counts as columns.
func (s Side) shape() (rows, columns int) {
	if s.Whole.Data != nil {
		return s.Whole.Shape[0], s.Whole.Shape[1:].Elements()
	}
	return s.Low.Up.Shape[0], s.Low.columns()
}

// values are the elements, row-major.
func (s Side) values() []float32 {
	if s.Whole.Data != nil {
		return s.Whole.Data
	}
	rows, columns := s.shape()
	all := make([]float32, rows*columns)
	s.Low.Add(all, Factor{}, 1, 0)
	return all
}

// whole reports whether the side has all its numbers.
func (s Side) whole() bool {
	if s.Whole.Data != nil {
		return len(s.Whole.Shape) >= 2 && s.Whole.Shape.Elements() == len(s.Whole.Data)
	}
	if len(s.Low.Up.Shape) < 2 || len(s.Low.Down.Shape) < 2 {
		return false
	}
	shape := append(compute.Shape{s.Low.Up.Shape[0]}, s.Low.Down.Shape[1:]...)
	if s.Low.Mid.Data != nil && len(s.Low.Mid.Shape) == 4 {
		shape = append(shape[:2], s.Low.Mid.Shape[2:]...)
	}
	return s.Low.fits(shape)
}

func (s Side) isZero() bool {
	if s.Whole.Data != nil {
		return zeros(s.Whole.Data)
	}
	return s.Low.isZero()
}

func (s Side) shapes() string {
	if s.Whole.Data != nil {
		return s.Whole.Shape.String()
	}
	return s.Low.sizes()
}

// Algorithm implements Delta: "LoKr".
func (k LoKr) Algorithm() string { return "LoKr" }

// Rank implements Delta: that of a side that is a product, 0 if none is.
func (k LoKr) Rank() int {
	for _, s := range []Side{k.Second, k.First} {
		if s.Whole.Data == nil {
			return s.Low.Rank()
		}
	}
	return 0
}

// Add implements Delta.
func (k LoKr) Add(out []float32, _ Factor, strength float64, _ int) {
	first, second := k.First.values(), k.Second.values()
	rows1, columns1 := k.First.shape()
	rows2, columns2 := k.Second.shape()
	for i := range rows1 {
		for r := range rows2 {
			row := out[(i*rows2+r)*columns1*columns2:]
			for j := range columns1 {
				factor := float32(strength*k.Scale) * first[i*columns1+j]
				for c, v := range second[r*columns2:][:columns2] {
					row[j*columns2+c] += factor * v
				}
			}
		}
	}
}

func (k LoKr) fits(shape compute.Shape) bool {
	if len(shape) < 2 || !k.First.whole() || !k.Second.whole() {
		return false
	}
	rows1, columns1 := k.First.shape()
	rows2, columns2 := k.Second.shape()
	if w := k.Second.Whole.Shape; len(w) == 4 && len(shape) == 4 && !w[2:].Equal(shape[2:]) {
		return false
	}
	return rows1*rows2 == shape[0] && columns1*columns2 == shape[1:].Elements()
}

func (k LoKr) isZero() bool { return k.Scale == 0 || k.First.isZero() || k.Second.isZero() }

func (k LoKr) shapes() string {
	return fmt.Sprintf("sides are %s and %s", k.First.shapes(), k.Second.shapes())
}

// readLoKr makes the change of LyCORIS' and PEFT's tensors. Two whole sides have no rank, and their alpha means nothing but
// to PEFT.
func readLoKr(_ Target, x *tensors) (Delta, error) {
	side := func(whole, a, b, t part) Side {
		s := Side{Whole: x.at[whole], Low: LowRank{Up: x.at[a], Down: x.at[b], Mid: x.at[t]}}
		if s.Low.Mid.Data != nil {
			s.Low.Up, s.Low.Down = transposed(s.Low.Up), fourAxes(s.Low.Down)
		}
		s.Low.Alpha = float64(rows(s.Low.Down))
		return s
	}
	k := LoKr{First: side(partLokr1, partLokr1A, partLokr1B, ""), Second: side(partLokr2, partLokr2A, partLokr2B, partLokrT2)}
	rank := rows(k.Second.Low.Down)
	if k.Second.Whole.Data != nil {
		rank = rows(k.First.Low.Down)
	}
	for _, s := range []Side{k.First, k.Second} {
		if s.Whole.Data == nil && (s.Low.Up.Data == nil || s.Low.Down.Data == nil) {
			return nil, x.lacks(partLokr1, partLokr2)
		}
	}
	if k.Scale = x.settings.wholeScale(x.module); rank > 0 {
		k.Scale = x.scale(rank)
	}
	return k, nil
}
