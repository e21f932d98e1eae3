package lora

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// LowRank is the change (Alpha/r)·B·A of a weight, with r the rows of A.
type LowRank struct {
	Down  Factor  // A: [r,in], or [r,in,kh,kw] of a convolution
	Up    Factor  // B: [out,r], or [out,r,1,1]
	Mid   Factor  // the middle of the three-factor form, [columns of B, r, kh, kw] beside A [r,in,1,1]; no Data in the usual one
	Alpha float64 // r in files that give none
}

// Algorithm implements Delta: "LoRA".
func (l LowRank) Algorithm() string { return "LoRA" }

// Rank is r, the number of rows of A.
func (l LowRank) Rank() int { return l.Down.Shape[0] }

// Scale is Alpha/r.
func (l LowRank) Scale() float64 { return l.Alpha / float64(l.Rank()) }

// shapes implements Delta.
func (l LowRank) shapes() string { return "factors are " + l.sizes() }

// sizes are the shapes alone.
func (l LowRank) sizes() string {
	text := fmt.Sprintf("%v·%v", l.Up.Shape, l.Down.Shape)
	if l.Mid.Data != nil {
		text += fmt.Sprintf(" with mid %v", l.Mid.Shape)
	}
	return text
}

// fits implements Delta. A 1×1 convolution and a linear layer are the same.
func (l LowRank) fits(shape compute.Shape) bool {
	for _, f := range []Factor{l.Down, l.Up, l.Mid} {
		if f.Data != nil && f.Shape.Elements() != len(f.Data) {
			return false
		}
	}
	a, b := l.Down.Shape, l.Up.Shape
	if l.Down.Data == nil || l.Up.Data == nil || len(shape) < 2 || len(a) < 2 || len(b) < 2 || a[0] < 1 || b[0] != shape[0] || b[1:].Elements() != b[1] {
		return false
	}
	if l.Mid.Data == nil {
		return b[1] == a[0] && a[1:].Elements() == shape[1:].Elements() && (len(a) == 2 || a[1] == shape[1])
	}
	c := l.Mid.Shape
	return len(c) == 4 && len(shape) == 4 && b[1] == c[0] && c[1] == a[0] && c[2:].Equal(shape[2:]) && a[1:].Elements() == shape[1]
}

// isZero implements Delta.
func (l LowRank) isZero() bool {
	return l.Alpha == 0 || zeros(l.Up.Data) || zeros(l.Down.Data) || l.Mid.Data != nil && zeros(l.Mid.Data)
}

// Add implements Delta.
func (l LowRank) Add(out []float32, _ Factor, strength float64, ranks int) {
	p := stack([]term{newTerm(l, strength, ranks)})
	p.add(out)
}

// term is a low-rank change with its strength and the number of ranks to apply.
type term struct {
	LowRank
	strength float64
	rank     int
}

// newTerm makes a term of the first ranks; 0 is all of them.
func newTerm(l LowRank, strength float64, ranks int) term {
	if ranks == 0 || ranks > l.Rank() {
		ranks = l.Rank()
	}
	return term{l, strength, ranks}
}

// product is a product of two matrices: up [rows,rank] times down [rank,cols].
type product struct {
	up, down         []float32
	rows, rank, cols int
}

// unroll is how many ranks one pass over a row adds; the rank of a product is a multiple of it.
const unroll = 4

// stack writes the sum of changes of one weight as a single product, with strengths, scales and zeros to fill up the
// rank.
func stack(terms []term) product {
	p := product{rows: terms[0].Up.Shape[0], cols: terms[0].columns()}
	for _, t := range terms {
		p.rank += t.width()
	}
	p.rank = (p.rank + unroll - 1) / unroll * unroll
	p.up, p.down = make([]float32, p.rows*p.rank), make([]float32, p.rank*p.cols)
	at := 0
	for _, t := range terms {
		factor := t.strength * t.Scale()
		width := t.Up.Shape[1]
		for o := range p.rows {
			for k := range t.width() {
				p.up[o*p.rank+at+k] = float32(factor * float64(t.Up.Data[o*width+k]))
			}
		}
		copy(p.down[at*p.cols:], t.flatDown()[:t.width()*p.cols])
		at += t.width()
	}
	return p
}

// columns is the length of the weight's rows: in·kh·kw.
func (l LowRank) columns() int {
	n := l.Down.Shape[1:].Elements()
	if l.Mid.Data != nil {
		n *= l.Mid.Shape[2:].Elements()
	}
	return n
}

// width is the number of columns of B that the term uses: its rank, and all where a middle factor mixes the ranks.
func (t term) width() int {
	if t.Mid.Data != nil {
		return t.Up.Shape[1]
	}
	return t.rank
}

// flatDown is A as a matrix of the weight's columns. With a middle factor it is mid·A:
// Σ_b mid[a,b,y,x]·A[b,i] at row a and column (i,y,x).
func (l LowRank) flatDown() []float32 {
	if l.Mid.Data == nil {
		return l.Down.Data
	}
	rows, in, area := l.Mid.Shape[0], l.Down.Shape[1], l.Mid.Shape[2:].Elements()
	flat := make([]float32, rows*in*area)
	for a := range rows {
		for b := range l.Rank() {
			weight := l.Mid.Data[(a*l.Rank()+b)*area:][:area]
			for i, v := range l.Down.Data[b*in:][:in] {
				for p, w := range weight {
					flat[(a*in+i)*area+p] += w * v
				}
			}
		}
	}
	return flat
}

// tile is how many columns are worked on at once, so that the rows of down that they need stay in the nearest cache.
const tile = 512

// apply writes w + up·down, rounded once, to out, which may be w, and reports whether that is w again. Both are the part of
// [rows,cols] that begins at element first. The order of additions is fixed.
func (p product) apply(out, w []byte, outType, wType compute.DType, first int) (same bool) {
	var values [tile]float32
	same = outType == wType
	p.between(first, first+len(w)/wType.Size(), func(at int, sum []float32) {
		value, at := values[:len(sum)], at-first
		weights.Widen(value, w[at*wType.Size():], wType)
		for i, d := range sum {
			value[i] += d
		}
		var rounded [4 * tile]byte
		size := len(sum) * outType.Size()
		weights.Narrow(rounded[:size], value, outType)
		y := out[at*outType.Size():][:size]
		same = same && bytes.Equal(rounded[:size], w[at*wType.Size():][:size])
		copy(y, rounded[:size])
	})
	return same
}

// add adds up·down to out, [rows,cols].
func (p product) add(out []float32) {
	p.between(0, len(out), func(at int, sum []float32) {
		for i, d := range sum {
			out[at+i] += d
		}
	})
}

// between computes the elements of up·down from first to before end, and hands on each part of a row with its place.
func (p product) between(first, end int, part func(at int, sum []float32)) {
	var sums [tile]float32
	for from := 0; from < p.cols; from += tile {
		for o := first / p.cols; o*p.cols < end; o++ {
			start, stop := max(first, o*p.cols+from), min(end, o*p.cols+min(from+tile, p.cols))
			if start < stop {
				sum := sums[:stop-start]
				p.row(sum, o, start-o*p.cols)
				part(start, sum)
			}
		}
	}
}

// row computes the part of row o of up·down that begins at a column.
func (p product) row(sum []float32, o, from int) {
	clear(sum)
	for k := 0; k < p.rank; k += unroll {
		a := p.down[k*p.cols+from:]
		addRows(sum, a, a[p.cols:], a[2*p.cols:], a[3*p.cols:], (*[unroll]float32)(p.up[o*p.rank+k:]))
	}
}

// addRows adds b0·a0 + b1·a1 + b2·a2 + b3·a3 to sum.
func addRows(sum, a0, a1, a2, a3 []float32, b *[unroll]float32) {
	a0, a1, a2, a3 = a0[:len(sum)], a1[:len(sum)], a2[:len(sum)], a3[:len(sum)]
	for i := addWholeRows(sum, a0, a1, a2, a3, b); i < len(sum); i++ {
		sum[i] += (b[0]*a0[i] + b[1]*a1[i]) + (b[2]*a2[i] + b[3]*a3[i])
	}
}

// probe adds to out what the term makes of a vector of ones of either sign: zeros where the change is zero, at a fraction of
// its cost.
func (t term) probe(out []float64) {
	draw := rand.New(rand.NewPCG(1, 2))
	columns, width, factor := t.columns(), t.Up.Shape[1], t.strength*t.Scale()
	signs := make([]float64, columns)
	for i := range signs {
		signs[i] = float64(1 - 2*int(draw.Uint32()&1))
	}
	down := t.flatDown()
	for k := range t.width() {
		middle := 0.0
		for i, v := range down[k*columns:][:columns] {
			middle += signs[i] * float64(v)
		}
		for o := range out {
			out[o] += factor * middle * float64(t.Up.Data[o*width+k])
		}
	}
}

// length is the Euclidean one.
func length(v []float64) float64 {
	squares := 0.0
	for _, x := range v {
		squares += x * x
	}
	return math.Sqrt(squares)
}
