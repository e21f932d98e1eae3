package lora

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// lowRank is a product of two matrices: up [rows,rank] times down [rank,cols].
type lowRank struct {
	up, down         []float32
	rows, rank, cols int
}

// unroll is how many ranks one pass over a row adds; the rank of a lowRank is a multiple of it.
const unroll = 4

// stack writes the sum of modules on one weight as a single product, with strengths, scales and zeros to fill up the
// rank.
func stack(terms []term) lowRank {
	l := lowRank{rows: terms[0].Shape[0], cols: terms[0].columns()}
	for _, t := range terms {
		l.rank += t.width()
	}
	l.rank = (l.rank + unroll - 1) / unroll * unroll
	l.up, l.down = make([]float32, l.rows*l.rank), make([]float32, l.rank*l.cols)
	at := 0
	for _, t := range terms {
		factor := t.strength * t.Scale()
		width := t.Up.Shape[1]
		for o := range l.rows {
			for k := range t.width() {
				l.up[o*l.rank+at+k] = float32(factor * float64(t.Up.Data[o*width+k]))
			}
		}
		copy(l.down[at*l.cols:], t.flatDown()[:t.width()*l.cols])
		at += t.width()
	}
	return l
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
func (m *Module) flatDown() []float32 {
	if m.Mid.Data == nil {
		return m.Down.Data
	}
	rows, in, area := m.Mid.Shape[0], m.Shape[1], m.Mid.Shape[2:].Elements()
	flat := make([]float32, rows*in*area)
	for a := range rows {
		for b := range m.Rank() {
			weight := m.Mid.Data[(a*m.Rank()+b)*area:][:area]
			for i, v := range m.Down.Data[b*in:][:in] {
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

// apply writes w + up·down, rounded once, to out. Both are [rows,cols]; the order of additions is fixed.
func (l lowRank) apply(out, w []byte, outType, wType compute.DType) {
	var sums, values [tile]float32
	for from := 0; from < l.cols; from += tile {
		n := min(tile, l.cols-from)
		sum, value := sums[:n], values[:n]
		for o := range l.rows {
			clear(sum)
			for k := 0; k < l.rank; k += unroll {
				b := l.up[o*l.rank+k:][:unroll]
				a := l.down[k*l.cols+from:]
				addRows(sum, a, a[l.cols:], a[2*l.cols:], a[3*l.cols:], b[0], b[1], b[2], b[3])
			}
			weights.Widen(value, w[(o*l.cols+from)*wType.Size():], wType)
			for i, d := range sum {
				value[i] += d
			}
			weights.Narrow(out[(o*l.cols+from)*outType.Size():], value, outType)
		}
	}
}

// addRows adds b0·a0 + b1·a1 + b2·a2 + b3·a3 to sum.
func addRows(sum, a0, a1, a2, a3 []float32, b0, b1, b2, b3 float32) {
	a0, a1, a2, a3 = a0[:len(sum)], a1[:len(sum)], a2[:len(sum)], a3[:len(sum)]
	for i := range sum {
		sum[i] += (b0*a0[i] + b1*a1[i]) + (b2*a2[i] + b3*a3[i])
	}
}
