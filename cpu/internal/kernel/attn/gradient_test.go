package attn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

func runGradient(g *Gradient, a *GradientArgs, scratch []float32, backwards bool) {
	for phase := range g.Phases() {
		n := g.Tasks(phase)
		for task := range n {
			if backwards {
				task = n - 1 - task
			}
			g.Do(phase, task, scratch, a)
		}
	}
}

// naiveGradient is the derivative as it is written, in float64.
func naiveGradient(c Config, a *GradientArgs) (dq, dk, dv []float64) {
	width, scale := c.Heads*c.D, 1/math.Sqrt(float64(c.D))
	dq, dk, dv = make([]float64, c.N*c.T*width), make([]float64, c.N*c.S*width), make([]float64, c.N*c.S*width)
	p, dp := make([]float64, c.S), make([]float64, c.S)
	for i := range c.N * c.Heads * c.T {
		n, h, t := i/(c.Heads*c.T), i/c.T%c.Heads, i%c.T
		query := (n*c.T+t)*width + h*c.D
		key := func(s int) int { return (n*c.S+s)*width + h*c.D }
		keys := c.S
		if c.Causal {
			keys = min(keys, t+1)
		}
		sum, delta := 0.0, 0.0
		for s := range keys {
			p[s], dp[s] = 0, 0
			for j := range c.D {
				p[s] += scale * float64(a.Q[query+j]) * float64(a.K[key(s)+j])
				dp[s] += float64(a.DY[query+j]) * float64(a.V[key(s)+j])
			}
			p[s] = math.Exp(p[s])
			sum += p[s]
		}
		for s := range keys {
			p[s] /= sum
			delta += p[s] * dp[s]
		}
		for s := range keys {
			ds := scale * p[s] * (dp[s] - delta)
			for j := range c.D {
				dq[query+j] += ds * float64(a.K[key(s)+j])
				dk[key(s)+j] += ds * float64(a.Q[query+j])
				dv[key(s)+j] += p[s] * float64(a.DY[query+j])
			}
		}
	}
	return dq, dk, dv
}

// roundedGradient is naiveGradient of the factors that bfloat16 kernels see: rounded where they round, summed in float64.
// reach is, for each result, what its rounding may turn out otherwise by: the sums here are exact, those of the kernels
// float32, so that now and then a P or dS next to the middle of two bfloat16 goes to the other.
func roundedGradient(c Config, a *GradientArgs) (results, reach [3][]float64) {
	width := c.Heads * c.D
	for i, n := range [...]int{c.N * c.T * width, c.N * c.S * width, c.N * c.S * width} {
		results[i], reach[i] = make([]float64, n), make([]float64, n)
	}
	scale := 1 / math.Sqrt(float64(c.D))
	round := func(x float32) float64 { return float64(math.Float32frombits(bfloat16(x) << 16)) }
	rows := func(x []float32, first, tokens int, factor float32, centered bool) [][]float64 {
		all, mean := make([][]float64, tokens), make([]float32, c.D)
		if centered {
			for t := range tokens {
				for j := range mean {
					mean[j] += x[first+t*width+j]
				}
			}
		}
		for t := range all {
			for j, m := range mean {
				all[t] = append(all[t], round(factor*(x[first+t*width+j]-m/float32(tokens))))
			}
		}
		return all
	}
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	for head := range c.N * c.Heads {
		firstQ, firstK := head/c.Heads*c.T*width+head%c.Heads*c.D, head/c.Heads*c.S*width+head%c.Heads*c.D
		q, plain := rows(a.Q, firstQ, c.T, float32(scale*math.Log2E), false), rows(a.Q, firstQ, c.T, 1, false)
		dy := rows(a.DY, firstQ, c.T, 1, false)
		k, centered, v := rows(a.K, firstK, c.S, 1, false), rows(a.K, firstK, c.S, 1, true), rows(a.V, firstK, c.S, 1, true)
		largest, sums := [3][]float64{}, [3][]float64{}
		for i := range largest {
			largest[i], sums[i] = make([]float64, len(results[i])), make([]float64, len(results[i]))
		}
		add := func(i, at int, term float64) {
			results[i][at] += term
			largest[i][at], sums[i][at] = max(largest[i][at], math.Abs(term)), sums[i][at]+math.Abs(term)
		}
		for t := range c.T {
			keys := c.S
			if c.Causal {
				keys = min(keys, t+1)
			}
			p := make([]float64, keys)
			var sum, delta float64
			for s := range p {
				p[s] = math.Exp2(dot(q[t], k[s]))
				sum += p[s]
			}
			for s := range p {
				p[s] /= sum
				delta += p[s] * dot(dy[t], v[s])
			}
			if a.Y != nil {
				delta = 0
				for s := range p {
					p[s] *= sum / math.Exp(float64(a.LSE[head*c.T+t]))
				}
				for j := range c.D {
					mean := 0.0
					for s := range c.S {
						mean += float64(a.V[firstK+s*width+j]) / float64(c.S)
					}
					delta += float64(a.DY[firstQ+t*width+j]) * (float64(a.Y[firstQ+t*width+j]) - mean)
				}
			}
			for s := range p {
				ds, weight := round(float32(p[s]*(dot(dy[t], v[s])-delta))), round(float32(p[s]))
				for j := range c.D {
					add(0, firstQ+t*width+j, scale*ds*centered[s][j])
					add(1, firstK+s*width+j, scale*ds*plain[t][j])
					add(2, firstK+s*width+j, weight*dy[t][j])
				}
			}
		}
		for i := range reach {
			for j := range reach[i] {
				reach[i][j] += 2*0x1p-8*largest[i][j] + 0x1p-14*sums[i][j]
			}
		}
	}
	return results, reach
}

// TestGradient holds the results to float64 sums, their neighbourhood to sentinels, and the order of tasks to no bits.
func TestGradient(t *testing.T) {
	for _, v := range variants {
		for _, c := range []Config{
			{N: 1, T: 1, S: 1, Heads: 1, D: 1},
			{N: 2, T: 5, S: 7, Heads: 3, D: 5},
			{N: 1, T: 131, S: 201, Heads: 2, D: 40},
			{N: 1, T: 70, S: 77, Heads: 1, D: 160},
			{N: 1, T: 1, S: 33, Heads: 2, D: 8},
			{N: 1, T: 250, S: 3, Heads: 1, D: 20},
			{N: 1, T: 33, S: 600, Heads: 1, D: 8},
			{N: 2, T: 13, S: 13, Heads: 2, D: 7, Causal: true},
			{N: 1, T: 205, S: 205, Heads: 1, D: 16, Causal: true},
			{N: 1, T: 40, S: 150, Heads: 1, D: 16, Causal: true},
		} {
			for _, given := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%d,%d×%d×%d×%d,causal=%v,given=%v", v, c.N, c.T, c.S, c.Heads, c.D, c.Causal, given), func(t *testing.T) {
					isa.Need(t, v.set)
					c.BF16 = v.bf16
					testGradient(t, v.set, c, given)
				})
			}
		}
	}
}

// attend gives a what the attention made.
func attend(t *testing.T, set isa.Set, c Config, a *GradientArgs) {
	p, err := New(set, c)
	if err != nil {
		t.Fatal(err)
	}
	a.Y, a.LSE = make([]float32, len(a.Q)), make([]float32, c.N*c.Heads*c.T)
	run(p, &Args{Q: a.Q, K: a.K, V: a.V, Out: a.Y, LSE: a.LSE, Workspace: dirty(p.Need().Workspace)}, 1)
}

func testGradient(t *testing.T, set isa.Set, c Config, given bool) {
	g, err := NewGradient(set, c, given)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, uint64(c.T)))
	queries, keys := c.N*c.T*c.Heads*c.D, c.N*c.S*c.Heads*c.D
	a := &GradientArgs{Q: random(r, queries, 1), K: random(r, keys, 1), V: random(r, keys, 1), DY: random(r, queries, 1)}
	if given {
		attend(t, set, c, a)
	}
	var checks [4]func(*testing.T, string)
	a.DQ, checks[0] = guarded(queries)
	a.DK, checks[1] = guarded(keys)
	a.DV, checks[2] = guarded(keys)
	a.Workspace, checks[3] = guarded(g.Need().Workspace)
	copy(a.Workspace, dirty(len(a.Workspace)))
	if err := g.Check(a); err != nil {
		t.Fatal(err)
	}
	runGradient(g, a, dirty(g.Need().Scratch), false)
	checks[3](t, "workspace")
	var want [3][]float64
	want[0], want[1], want[2] = naiveGradient(c, a)
	got := [...][]float32{a.DQ, a.DK, a.DV}
	names := [...]string{"dQ", "dK", "dV"}
	for i, name := range names {
		checks[i](t, name)
		if c.BF16 {
			continue
		}
		// Rounding is in proportion to what is summed up: rows of D products that nearly cancel in dS.
		limit := 64 * 0x1p-24 * math.Sqrt(float64(c.D)) * 4
		for j, w := range want[i] {
			if e := math.Abs(float64(got[i][j]) - w); !(e <= limit*(1+math.Abs(w))) {
				t.Fatalf("%s: element %d: got %v want %v, error %.3g, tolerance %.3g", name, j, got[i][j], w, e, limit*(1+math.Abs(w)))
			}
		}
	}
	if c.BF16 {
		twins, reach := roundedGradient(c, a)
		for i, name := range names {
			var errors, size float64
			for j, w := range twins[i] {
				if e := math.Abs(float64(got[i][j]) - w); !(e <= reach[i][j]) {
					t.Fatalf("%s: element %d: got %v want %v, error %.3g, tolerance %.3g", name, j, got[i][j], w, e, reach[i][j])
				}
				e := float64(got[i][j]) - want[i][j]
				errors, size = errors+e*e, size+want[i][j]*want[i][j]
			}
			// Every factor is off by up to 2⁻⁹ of itself, scores and dP by about as much of their deviation, which is near 1; a
			// result that vanishes is off by as much of its terms.
			if !(errors <= 0x1p-14*max(size, float64(len(want[i]))/16)) {
				t.Errorf("%s is %.2g of its size away from the exact one", name, math.Sqrt(errors/size))
			}
		}
	}
	b := *a
	b.DQ, b.DK, b.DV, b.Workspace = make([]float32, queries), make([]float32, keys), make([]float32, keys), dirty(len(a.Workspace))
	scratch := dirty(g.Need().Scratch)
	runGradient(g, &b, scratch, true)
	for i, again := range [][]float32{b.DQ, b.DK, b.DV} {
		for j, v := range again {
			if v != got[i][j] {
				t.Fatalf("%s: element %d is %v with the tasks in reverse, %v in order", names[i], j, v, got[i][j])
			}
		}
	}
	if n := testing.AllocsPerRun(5, func() { runGradient(g, &b, scratch, false) }); n != 0 {
		t.Errorf("%v allocations in a run, want none", n)
	}
}

// TestGradientOfSpreadAttention has probabilities that are nearly uniform, and keys and values that vary little about a common
// one: dQ is then a thousandth of the sums (P∘dP)·K and δ·(P·K) that it is the difference of.
func TestGradientOfSpreadAttention(t *testing.T) {
	for _, v := range variants {
		for _, c := range []Config{
			{N: 1, T: 33, S: 77, Heads: 2, D: 16}, {N: 1, T: 40, S: 300, Heads: 1, D: 16}, {N: 1, T: 120, S: 120, Heads: 1, D: 16, Causal: true},
		} {
			for _, given := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/%d×%d,causal=%v,given=%v", v, c.T, c.S, c.Causal, given), func(t *testing.T) {
					isa.Need(t, v.set)
					if v.bf16 && c.Causal {
						t.Skip("first tokens see one or two values, so that what these are rounded by does not average out")
					}
					c.BF16 = v.bf16
					g, err := NewGradient(v.set, c, given)
					if err != nil {
						t.Fatal(err)
					}
					r := rand.New(rand.NewPCG(5, uint64(c.S)))
					queries, keys := c.N*c.T*c.Heads*c.D, c.N*c.S*c.Heads*c.D
					a := &GradientArgs{Q: random(r, queries, 0.1), K: random(r, keys, 0.1), V: random(r, keys, 0.1), DY: random(r, queries, 1)}
					for i := range a.K {
						a.K[i]++
						a.V[i]++
					}
					if given {
						attend(t, v.set, c, a)
					}
					a.DQ, a.DK, a.DV = make([]float32, queries), make([]float32, keys), make([]float32, keys)
					a.Workspace = dirty(g.Need().Workspace)
					runGradient(g, a, dirty(g.Need().Scratch), false)
					limit := 2e-5
					if v.bf16 {
						limit = 0x1p-7
					}
					dq, dk, dv := naiveGradient(c, a)
					for _, o := range []struct {
						name string
						got  []float32
						want []float64
					}{{"dQ", a.DQ, dq}, {"dK", a.DK, dk}, {"dV", a.DV, dv}} {
						var worst, size float64
						for i, w := range o.want {
							worst, size = max(worst, math.Abs(float64(o.got[i])-w)), max(size, math.Abs(w))
						}
						if !(worst <= limit*size) {
							t.Errorf("%s is %.2g of its largest element away from the exact one", o.name, worst/size)
						}
					}
				})
			}
		}
	}
}

// TestDerive holds the kernels of the two passes to their definition, for every number of rows that they treat differently.
func TestDerive(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			kern, exact := kernelsFor(v.set), kernelsFor(v.set)
			if v.bf16 {
				kern = bf16Kernels
			}
			r := rand.New(rand.NewPCG(7, 8))
			L := kern.lanes
			for _, n := range []int{1, 2, 3, 95, 96} {
				s, x, lse, delta := random(r, n*L, 20), random(r, n*L, 1), random(r, n, 1), random(r, n, 1)
				s[0], s[1] = float32(math.Inf(-1)), -130
				state := make([]float32, stateRows*L)
				for l := range L {
					state[l], state[L+l], state[2*L+l], state[3*L+l] = 100, 101, 2, 3 // max, next, sum, mean
				}
				kern.expect(s, x, state, n)
				for l := range L {
					sum, mean := 1.0, 1.5
					for j := range n {
						p := math.Exp2(float64(s[j*L+l]) - 101)
						sum, mean = sum+p, mean+p*float64(x[j*L+l])
					}
					for i, want := range [...]float64{101, 101, sum, mean} {
						if got := float64(state[i*L+l]); !(math.Abs(got-want) <= 1e-5*sum) {
							t.Fatalf("%d rows, lane %d: state %d is %v, want %v", n, l, i, got, want)
						}
					}
				}
				p, checkP := guarded(n * L)
				ds, checkDS := guarded(n * L)
				twins, checkTwins := guarded(n * L / 2)
				copy(p, s)
				copy(ds, x)
				exact.derive(p, ds, nil, lse, delta, n)
				checkP(t, "P")
				checkDS(t, "dS")
				for i := range p {
					weight := math.Exp2(float64(s[i]) - float64(lse[i/L]))
					if float64(s[i])-float64(lse[i/L]) < -125 {
						weight = 0
					}
					want := weight * float64(x[i]-delta[i/L])
					if !(math.Abs(float64(p[i])-weight) <= 1e-5*weight) || !(math.Abs(float64(ds[i])-want) <= 1e-5*math.Abs(want)) {
						t.Fatalf("%d rows, element %d: P is %v and dS %v, want %v and %v", n, i, p[i], ds[i], weight, want)
					}
				}
				if !v.bf16 {
					continue
				}
				even := (n + 1) / 2 * 2 * L // an odd last row is paired with zeros where the next would be
				pairsP, checkP := guarded(max(n*L, even/2))
				pairsDS, checkDS := guarded(max(n*L, even/2))
				copy(pairsP, s)
				copy(pairsDS, x)
				kern.derive(pairsP, pairsDS, twins, lse, delta, n)
				checkP(t, "pairs of P")
				checkDS(t, "pairs of dS")
				checkTwins(t, "twins")
				p, ds = append(p, make([]float32, L)...), append(ds, make([]float32, L)...)
				for i := range even / 2 {
					j, l := i/L*2, i%L
					for _, o := range []struct {
						name      string
						got       float32
						low, high float32
					}{{"P", pairsP[i], p[j*L+l], p[(j+1)*L+l]}, {"dS", pairsDS[i], ds[j*L+l], ds[(j+1)*L+l]}} {
						if got, want := math.Float32bits(o.got), bfloat16(o.high)<<16|bfloat16(o.low); got != want {
							t.Fatalf("%d rows: pair %d of %s is %#08x, want %#08x", n, i, o.name, got, want)
						}
					}
				}
				for i, w := range twins {
					if got, want := math.Float32bits(w), bfloat16(ds[2*i+1])<<16|bfloat16(ds[2*i]); got != want {
						t.Fatalf("%d rows: twins %d are %#08x, want %#08x", n, i, got, want)
					}
				}
			}
		})
	}
}

func TestGradientErrors(t *testing.T) {
	for _, c := range []Config{{}, {N: 1, T: 1, S: 1, Heads: 1, D: 2, StrideQ: 4}} {
		if _, err := NewGradient(isa.Generic, c, false); err == nil {
			t.Errorf("%+v: planned, want an error", c)
		}
	}
	g, err := NewGradient(isa.Generic, Config{N: 1, T: 2, S: 3, Heads: 1, D: 4}, true)
	if err != nil {
		t.Fatal(err)
	}
	operand := func(n int) []float32 { return make([]float32, n) }
	a := &GradientArgs{operand(8), operand(12), operand(12), operand(8), operand(8), operand(2), operand(8), operand(12), operand(12), operand(g.Need().Workspace)}
	if err := g.Check(a); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*[]float32{&a.Q, &a.K, &a.V, &a.DY, &a.Y, &a.LSE, &a.DQ, &a.DK, &a.DV, &a.Workspace} {
		whole := *o
		if *o = whole[1:]; g.Check(a) == nil {
			t.Errorf("checked an operand of %d elements, want an error", len(*o))
		}
		*o = whole
	}
}

// TestRows wants the same bits of every set's loops over rows.
func TestRows(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			k := kernelsFor(v.set)
			for _, d := range []int{1, 5, 8, 12, 40, 80} {
				const rows = 7
				r, stride := rand.New(rand.NewPCG(1, uint64(d))), d+3
				x, y, mean := random(r, rows*stride, 1), random(r, rows*stride, 1), random(r, d, 1)
				for _, o := range []struct {
					name string
					size int
					do   func(k *kernels, dst []float32)
				}{
					{"sumRows", d, func(k *kernels, dst []float32) { copy(dst, mean); k.sumRows(dst, x, rows, stride) }},
					{"center", rows * d, func(k *kernels, dst []float32) { k.center(dst, x, mean, rows, stride) }},
					{"agree", rows, func(k *kernels, dst []float32) { k.agree(dst, x, y, mean, stride) }},
				} {
					got, check := guarded(o.size)
					want := make([]float32, o.size)
					o.do(k, got)
					o.do(&generic, want)
					check(t, o.name)
					if !slices.Equal(got, want) {
						t.Errorf("%s of %d elements: got %v want %v", o.name, d, got, want)
					}
				}
			}
		})
	}
}
