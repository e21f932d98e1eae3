package conv

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// Algorithm selects how a convolution is computed.
type Algorithm uint8

// The algorithms. Winograd is exact in real arithmetic but rounds more: about 6e-6 relative RMS error
// against 9e-7 for Direct.
const (
	Auto     Algorithm = iota // Choose decides
	Direct                    // gemm over taps
	Winograd                  // F(4×4,3×3)
)

var algorithms = [...]string{Auto: "auto", Direct: "direct", Winograd: "winograd"}

// String is auto, direct or winograd.
func (a Algorithm) String() string {
	if int(a) < len(algorithms) {
		return algorithms[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// Config describes a convolution. Zero fields that the comments do not explain are errors.
type Config struct {
	N, H, W          int // batch and size of X and X2
	C1, C2           int // channels of X and of X2; C2 = 0: one input
	Cout             int
	KH, KW           int
	Stride           int // 0: 1
	PadTop, PadLeft  int
	PadBottom        int
	PadRight         int
	ResizeH, ResizeW int             // nearest-neighbour resize of the input before the convolution; 0: none
	Spacing          int             // from one input pixel to the next, with zeros between; 0: 1. Not with a resize
	PerChannel       bool            // Args.PerChannel, [N,Cout], will be given
	Act              func([]float32) // activation, in place; nil is the identity
	Workers          int             // how many workers will share a phase; affects granularity, not results
	Algorithm        Algorithm
	Fixed            bool // Winograd may multiply 16-bit integers where the kernels do
}

// input is the size of the input after the resize or spacing.
func (c *Config) input() (h, w int) {
	if c.ResizeH > 0 {
		return c.ResizeH, c.ResizeW
	}
	return (c.H-1)*c.spacing() + 1, (c.W-1)*c.spacing() + 1
}

func (c *Config) spacing() int { return max(c.Spacing, 1) }

// Output is the size of the result, which is [N,h,w,Cout].
func (c *Config) Output() (h, w int) {
	s := max(c.Stride, 1)
	ih, iw := c.input()
	return (ih+c.PadTop+c.PadBottom-c.KH)/s + 1, (iw+c.PadLeft+c.PadRight-c.KW)/s + 1
}

// FLOPs is the arithmetic of the direct algorithm, two per multiply-add.
func (c *Config) FLOPs() int {
	h, w := c.Output()
	return 2 * c.N * h * w * c.Cout * c.KH * c.KW * (c.C1 + c.C2)
}

func (c *Config) check() error {
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"N", c.N, 1}, {"H", c.H, 1}, {"W", c.W, 1}, {"C1", c.C1, 1}, {"C2", c.C2, 0}, {"Cout", c.Cout, 1},
		{"KH", c.KH, 1}, {"KW", c.KW, 1}, {"Stride", c.Stride, 0}, {"PadTop", c.PadTop, 0}, {"PadLeft", c.PadLeft, 0},
		{"PadBottom", c.PadBottom, 0}, {"PadRight", c.PadRight, 0}, {"ResizeH", c.ResizeH, 0}, {"ResizeW", c.ResizeW, 0}, {"Spacing", c.Spacing, 0},
	} {
		if f.v < f.least {
			return fmt.Errorf("conv: %s is %d: want at least %d", f.name, f.v, f.least)
		}
	}
	if (c.ResizeH == 0) != (c.ResizeW == 0) {
		return fmt.Errorf("conv: resize to %d×%d: give both or neither", c.ResizeH, c.ResizeW)
	}
	if c.ResizeH > 0 && c.Spacing > 1 {
		return fmt.Errorf("conv: a resize and a spacing of %d: want one of them", c.Spacing)
	}
	if ih, iw := c.input(); ih+c.PadTop+c.PadBottom < c.KH || iw+c.PadLeft+c.PadRight < c.KW {
		return fmt.Errorf("conv: a %d×%d kernel does not fit the padded input of %d×%d", c.KH, c.KW, ih+c.PadTop+c.PadBottom, iw+c.PadLeft+c.PadRight)
	}
	return nil
}

// Weights describes an OIHW convolution weight for gemm's Pack.
func Weights(data []byte, t compute.DType, o, i, h, w int) gemm.Matrix {
	return gemm.Matrix{Data: data, DType: t, N: o, Taps: h * w, C: i, StrideN: i * h * w, StrideT: 1, StrideC: h * w}
}

// canWinograd reports whether the shape is one that F(4×4,3×3) is written for.
func canWinograd(c *Config) bool {
	return c.KH == 3 && c.KW == 3 && c.Stride <= 1 && c.C1%16 == 0 && c.C2%16 == 0 && c.Act == nil
}

// leastWinograd is the arithmetic, in FLOPs of the direct algorithm, below which the time Winograd saves is not worth
// its rounding: a few milliseconds on one core.
const leastWinograd = 1e9

// Choose is the algorithm that Auto stands for: Winograd where it can run, unless the convolution is small or
// the image such that whole 4×4 tiles waste the advantage.
func Choose(c Config) Algorithm {
	h, w := c.Output()
	tiles := ((h + 3) / 4) * ((w + 3) / 4)
	if canWinograd(&c) && 2*tiles*36 <= 9*h*w && c.FLOPs() >= leastWinograd {
		return Winograd
	}
	return Direct
}

// Plan computes Y = Act(conv([X|X2], W) + Bias + PerChannel) + Residual for one shape, where X is
// [N,H,W,C1], X2 is [N,H,W,C2] and Y is [N,h,w,Cout] with h, w from Config.Output. It is run like
// gemm.Plan: phase by phase, the tasks of a phase in any order by any worker. Do allocates nothing. A
// plan is read-only and may be shared.
type Plan interface {
	Algorithm() Algorithm
	Need() gemm.Need
	Phases() int
	Tasks(phase int) int
	Do(phase, task int, s *gemm.Scratch, a *gemm.Args)
	Check(a *gemm.Args) error
	FLOPs() int // by the direct algorithm
}

// NewPlan checks cfg against w, which must have been packed from Weights or be the adjoint of such, and lays out the work.
func NewPlan(w *gemm.Weights, cfg Config) (Plan, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Stride = max(cfg.Stride, 1)
	if w.Pairs {
		return nil, fmt.Errorf("conv: weights are packed as bfloat16 pairs, which only gemm.Plan multiplies")
	}
	if w.N != cfg.Cout || w.K != cfg.KH*cfg.KW*(cfg.C1+cfg.C2) {
		return nil, fmt.Errorf("conv: weights are packed as [%d,%d]: want [%d,%d·%d·%d]", w.N, w.K, cfg.Cout, cfg.KH, cfg.KW, cfg.C1+cfg.C2)
	}
	algorithm := cfg.Algorithm
	if algorithm == Auto {
		algorithm = Choose(cfg)
		if w.Live() {
			algorithm = Direct
		}
	}
	if algorithm == Direct {
		return newDirect(w, cfg)
	}
	if w.Live() {
		return nil, fmt.Errorf("conv: Winograd transforms packed weights, these are gathered while it runs")
	}
	if !canWinograd(&cfg) {
		return nil, fmt.Errorf("conv: Winograd needs a 3×3 kernel, stride 1, no activation and input channels in multiples of 16; have %+v", cfg)
	}
	return newWinograd(w, cfg, maxV, maxU), nil
}

// checkArgs reports operands too short for cfg.
func checkArgs(c *Config, need gemm.Need, a *gemm.Args) error {
	h, w := c.Output()
	for _, o := range []struct {
		name       string
		have, want int
		optional   bool
	}{
		{"X", len(a.X), c.N * c.H * c.W * c.C1, false},
		{"X2", len(a.X2), c.N * c.H * c.W * c.C2, false},
		{"Y", len(a.Y), c.N * h * w * c.Cout, false},
		{"Bias", len(a.Bias), c.Cout, a.Bias == nil},
		{"PerChannel", len(a.PerChannel), c.N * c.Cout, !c.PerChannel},
		{"Residual", len(a.Residual), c.N * h * w * c.Cout, a.Residual == nil},
		{"Workspace", len(a.Workspace), need.Workspace, false},
	} {
		if !o.optional && o.have < o.want {
			return fmt.Errorf("conv: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	if a.PerChannel != nil && !c.PerChannel {
		return fmt.Errorf("conv: PerChannel is given but Config.PerChannel is not set")
	}
	return nil
}

// axis maps coordinates along one axis of the padded, resized input of n stored pixels to these, -1 for padding and for
// the zeros between spaced pixels.
func axis(n, resized, spacing, padBefore, padAfter int) []int32 {
	at := make([]int32, padBefore+resized+padAfter)
	for i := range at {
		at[i] = -1
		r := i - padBefore
		switch {
		case r < 0 || r >= resized:
		case spacing == 1:
			at[i] = int32(r * n / resized)
		case r%spacing == 0:
			at[i] = int32(r / spacing)
		}
	}
	return at
}

// axes maps the padded rows and columns of the input to the stored ones, with more rows and columns of padding
// than c has.
func (c *Config) axes(below, right int) (ys, xs []int32) {
	h, w := c.input()
	return axis(c.H, h, c.spacing(), c.PadTop, c.PadBottom+below), axis(c.W, w, c.spacing(), c.PadLeft, c.PadRight+right)
}
