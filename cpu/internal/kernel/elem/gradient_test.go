package elem

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

func sigmoidSlope64(x, k float64) float64 {
	s, rest := sigmoid64(k*x), sigmoid64(-k*x)
	return s + k*x*s*rest
}

func geluSlope64(x float64) float64 {
	return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

var derivatives = []struct {
	activation compute.Activation
	exact      func(x float64) float64
}{
	{compute.SiLU, func(x float64) float64 { return sigmoidSlope64(x, 1) }},
	{compute.QuickGELU, func(x float64) float64 { return sigmoidSlope64(x, 1.702) }},
	{compute.GELU, geluSlope64},
	{compute.ReLU, func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	}},
	{compute.LeakyReLU, func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0.2
	}},
}

// TestGradientAccuracy measures errors of derivatives in units of 1, around which they are summed up: x·s·(1-s) and x·φ(x) are
// of that size where they bend.
func TestGradientAccuracy(t *testing.T) {
	for _, d := range derivatives {
		t.Run(d.activation.String(), func(t *testing.T) {
			eachSet(t, func(t *testing.T, k *Kernels) {
				x := points()
				y, check := guarded(len(x))
				dy := slices.Repeat([]float32{-2}, len(x))
				k.Gradient(d.activation)(y, x, dy)
				check(t)
				for i := range y {
					y[i] /= -2
				}
				overX, overDY := slices.Clone(x), slices.Clone(dy)
				k.Gradient(d.activation)(overX, overX, dy)
				k.Gradient(d.activation)(overDY, x, overDY)
				for i, v := range y {
					if overX[i] != -2*v || overDY[i] != -2*v {
						t.Fatalf("at %v: %v and %v in place, %v elsewhere", x[i], overX[i], overDY[i], -2*v)
					}
				}
				worst, at := 0.0, 0
				for i, v := range x {
					if e := math.Abs(float64(y[i]) - d.exact(float64(v))); !(e <= worst) {
						worst, at = e, i
					}
				}
				if limit := 4 * 0x1p-23; !(worst <= limit) {
					t.Errorf("worst at %v: got %v want %v, error %.3g, tolerance %.3g", x[at], y[at], d.exact(float64(x[at])), worst, limit)
				}
			})
		})
	}
	if For(0).Gradient(compute.Identity) != nil {
		t.Error("the identity has a function, want nil")
	}
}

func TestGEGLUGradient(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, shape := range [][2]int{{1, 1}, {3, 7}, {2, 37}, {5, 320}} {
			rows, d := shape[0], shape[1]
			x, dy := make([]float32, 2*rows*d), make([]float32, rows*d)
			for _, s := range [][]float32{x, dy} {
				for i := range s {
					s[i] = float32(2 * r.NormFloat64())
				}
			}
			dx, check := guarded(len(x))
			k.GEGLUGradient(dx, x, dy, rows, d)
			check(t)
			for i, g := range dy {
				at := i/d*2*d + i%d
				a, gate := float64(x[at]), float64(x[at+d])
				for _, o := range []struct {
					name string
					got  float32
					want float64
				}{
					{"value", dx[at], float64(g) * gate * math.Erfc(-gate/math.Sqrt2) / 2},
					{"gate", dx[at+d], float64(g) * a * geluSlope64(gate)},
				} {
					size := math.Abs(float64(g)) * (1 + math.Abs(a) + math.Abs(gate))
					if e := math.Abs(float64(o.got) - o.want); !(e <= 8*0x1p-24*size) {
						t.Fatalf("%d×%d: %s %d: got %v want %v", rows, d, o.name, i, o.got, o.want)
					}
				}
			}
		}
	})
}
