package lora

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// GLoRA is the change Scale·(W·A₁·A₂ + B), in which A₁ [in,r] and A₂ [r,in] mix the inputs and B is low-rank, with a scale of
// its own of 1. See Chavan et al., "One-for-All" (arXiv:2306.07967).
type GLoRA struct {
	A1, A2 Factor
	B      LowRank
	Scale  float64
}

// Algorithm implements Delta: "GLoRA".
func (g GLoRA) Algorithm() string { return "GLoRA" }

// Rank implements Delta.
func (g GLoRA) Rank() int { return g.B.Rank() }

// Add implements Delta.
func (g GLoRA) Add(out []float32, w Factor, strength float64, _ int) {
	factor := float32(strength * g.Scale)
	g.B.Add(out, w, strength*g.Scale, 0)
	in, area, rank := w.Shape[1], w.Shape[2:].Elements(), g.A1.Shape[1]
	mixed := make([]float32, rank*area)
	for o := range w.Shape[0] {
		row := w.Data[o*in*area:][:in*area]
		clear(mixed)
		for i := range in {
			for j, a := range g.A1.Data[i*rank:][:rank] {
				axpy(mixed[j*area:][:area], factor*a, row[i*area:])
			}
		}
		for j := range rank {
			for i, a := range g.A2.Data[j*in:][:in] {
				axpy(out[(o*in+i)*area:][:area], a, mixed[j*area:])
			}
		}
	}
}

// axpy adds a·x to y.
func axpy(y []float32, a float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}

func (g GLoRA) fits(shape compute.Shape) bool {
	mixes := func(f Factor, rows, columns int) bool {
		return len(f.Shape) >= 2 && f.Shape[0] == rows && f.Shape[1:].Elements() == columns && len(f.Data) == rows*columns
	}
	return g.B.fits(shape) && mixes(g.A1, shape[1], rows(g.A2)) && mixes(g.A2, rows(g.A2), shape[1])
}

func (g GLoRA) isZero() bool {
	return g.Scale == 0 || (zeros(g.A1.Data) || zeros(g.A2.Data)) && g.B.isZero()
}

func (g GLoRA) shapes() string {
	return fmt.Sprintf("factors are %v·%v on the weight and %v·%v beside it", g.A1.Shape, g.A2.Shape, g.B.Up.Shape, g.B.Down.Shape)
}

// readGLoRA makes the change of LyCORIS' tensors; versions before 2 call the factors of each product by each other's names.
func readGLoRA(t Target, x *tensors) (Delta, error) {
	g := GLoRA{A1: x.at[partGloraA1], A2: x.at[partGloraA2], B: LowRank{Up: x.at[partGloraB1], Down: x.at[partGloraB2], Mid: x.at[partGloraMid]}}
	if rows(g.B.Up) != t.Shape[0] && rows(g.B.Down) == t.Shape[0] {
		g.A1, g.A2, g.B.Up, g.B.Down = g.A2, g.A1, g.B.Down, g.B.Up
	}
	g.B.Alpha = float64(rows(g.B.Down))
	g.Scale = x.scale(rows(g.B.Down))
	return g, nil
}
