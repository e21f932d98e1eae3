package elem

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAdamW compares a step with the formula, and wants the same bits of every set, in place too.
func TestAdamW(t *testing.T) {
	h := AdamW{Factor: 0.7, Rest1: 0.1, Rest2: 0.001, Keep: 1 - 1e-4*0.01, Rate: 1e-4, Eps: 1e-8, Unbias1: 1 / (1 - math.Pow(0.9, 3)), Unbias2: 1 / (1 - math.Pow(0.999, 3))}
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{1, 7, 8, 37, 320} {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			draw := func(power float64) []float32 {
				x := make([]float32, n)
				for i := range x {
					x[i] = float32(math.Pow(r.NormFloat64(), power))
				}
				return x
			}
			p, g, m, v := draw(1), draw(1), draw(1), draw(2)
			p2, check := guarded(n)
			m2, checkM := guarded(n)
			v2, checkV := guarded(n)
			k.AdamW(p2, m2, v2, p, g, m, v, h)
			check(t)
			checkM(t)
			checkV(t)
			for i := range p {
				g := h.Factor * float64(g[i])
				wantM := 0.9*float64(m[i]) + 0.1*g
				wantV := 0.999*float64(v[i]) + 0.001*g*g
				wantP := float64(p[i])*(1-1e-6) - 1e-4*wantM*h.Unbias1/(math.Sqrt(wantV*h.Unbias2)+1e-8)
				for _, o := range [][2]float64{{float64(m2[i]), wantM}, {float64(v2[i]), wantV}, {float64(p2[i]), wantP}} {
					if !(math.Abs(o[0]-o[1]) <= 0x1p-24*math.Abs(o[1])+1e-12) {
						t.Fatalf("element %d of %d: got %v want %v", i, n, o[0], o[1])
					}
				}
			}
			wantP, wantM, wantV := slices.Clone(p), slices.Clone(m), slices.Clone(v)
			generic.AdamW(wantP, wantM, wantV, p, g, m, v, h)
			k.AdamW(p, m, v, p, g, m, v, h)
			for _, o := range [][3][]float32{{p, p2, wantP}, {m, m2, wantM}, {v, v2, wantV}} {
				if !slices.Equal(o[0], o[1]) || !slices.Equal(o[0], o[2]) {
					t.Fatalf("%d elements: the bits are not those of the generic set", n)
				}
			}
		}
	})
}
