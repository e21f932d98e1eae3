package computetest

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// GradientCases lists the cases of the ops that only training records, in the manner of [Cases].
func GradientCases() []Case {
	var all []Case
	for _, list := range [][]Case{
		matMulCases(), linearGradientCases(), convGradientCases(), convWeightCases(), normGradientCases(), attentionGradientCases(),
		pointwiseGradientCases(), scaleCases(), lossCases(), optimizerCases(),
	} {
		all = append(all, list...)
	}
	return all
}

func matMulCases() (cases []Case) {
	for _, c := range []struct {
		name   string
		a, b   []int
		ta, tb bool
		scale  float64
		add    []int
	}{
		{name: "1×1", a: []int{1, 1}, b: []int{1, 1}},
		{name: "odd", a: []int{2, 3, 7}, b: []int{7, 5}},
		{name: "odd/A transposed", a: []int{2, 5, 7}, b: []int{2, 5, 3}, ta: true},
		{name: "odd/B transposed", a: []int{2, 3, 7}, b: []int{5, 7}, tb: true},
		{name: "odd/both transposed", a: []int{3, 4}, b: []int{2, 5, 3}, ta: true, tb: true},
		{name: "odd/other leading axes", a: []int{6, 7}, b: []int{2, 3, 5}, ta: true},
		{name: "odd/everything", a: []int{2, 3, 7}, b: []int{5, 7}, tb: true, scale: -0.25, add: []int{2, 3, 5}},
		{name: "odd/A transposed, everything", a: []int{2, 3, 7}, b: []int{6, 5}, ta: true, scale: 2, add: []int{7, 5}},
		{name: "sd/x·downᵀ", a: []int{1, 256, 320}, b: []int{16, 320}, tb: true},
		{name: "sd/x·upᵀ", a: []int{1, 256, 16}, b: []int{320, 16}, tb: true, scale: 0.5, add: []int{1, 256, 320}},
		{name: "sd/dy·up", a: []int{1, 256, 320}, b: []int{320, 16}, scale: 0.5},
		{name: "sd/dyᵀ·x", a: []int{1, 256, 16}, b: []int{1, 256, 320}, ta: true, add: []int{16, 320}},
	} {
		k := c.a[len(c.a)-1]
		if c.ta {
			k = compute.Shape(c.a).Rows()
		}
		cases = append(cases, Case{"MatMul/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := compute.MatMul{A: o.Input(c.a...), B: o.Input(c.b...), TransposeA: c.ta, TransposeB: c.tb, Scale: c.scale}
			if c.add != nil {
				op.Add = o.Input(c.add...)
			}
			return op
		}, product(k)})
	}
	return append(cases, Case{"MatMul/with itself", compute.F32, func(o *Operands) compute.Op {
		x := o.Input(5, 3)
		return compute.MatMul{A: x, B: x, TransposeA: true}
	}, product(5)})
}

func linearGradientCases() (cases []Case) {
	for _, c := range []struct {
		name            string
		sd              bool
		dy              []int
		in              int
		first, channels int
		conv1x1, add    bool
	}{
		{name: "1×1", dy: []int{1, 1}, in: 1, channels: 1},
		{name: "odd", dy: []int{2, 7, 13}, in: 17, channels: 17},
		{name: "odd/add", dy: []int{3, 5, 33}, in: 67, channels: 67, add: true},
		{name: "odd/first part", dy: []int{2, 3, 5, 11}, in: 21, channels: 9},
		{name: "odd/second part", dy: []int{2, 3, 5, 11}, in: 21, first: 9, channels: 12, add: true},
		{name: "odd/1×1 weight", dy: []int{1, 3, 5, 9}, in: 11, channels: 11, conv1x1: true},
		{name: "sd/to_q", sd: true, dy: []int{2, 64, 320}, in: 320, channels: 320},
		{name: "sd/to_k of context", sd: true, dy: []int{2, 77, 320}, in: 768, channels: 768, add: true},
		{name: "sd/ff.net.0.proj", sd: true, dy: []int{1, 64, 2560}, in: 320, channels: 320},
		{name: "sd/conv_shortcut, skip", sd: true, dy: []int{1, 8, 8, 640}, in: 960, first: 640, channels: 320},
	} {
		out := c.dy[len(c.dy)-1]
		cases = append(cases, stored(c.sd, "LinearInputGradient/"+c.name, product(out), func(o *Operands) compute.Op {
			op := compute.LinearInputGradient{DY: o.Input(c.dy...), First: c.first, Channels: c.channels}
			if c.conv1x1 {
				op.Weight = o.Param("weight", out, c.in, 1, 1)
			} else {
				op.Weight = o.Param("weight", out, c.in)
			}
			if c.add {
				op.Add = o.Input(extend(c.dy[:len(c.dy)-1], c.channels)...)
			}
			return op
		})...)
	}
	return cases
}

func convGradientCases() (cases []Case) {
	for _, c := range []struct {
		name            string
		sd              bool
		n, h, w         int // extents of the convolution's input
		in, out         int
		kh, kw, stride  int
		pad             compute.Padding
		resize          [2]int
		resultH         int
		resultW         int
		first, channels int
		add             bool
	}{
		{name: "1×1/tiny", n: 1, h: 1, w: 1, in: 1, out: 1, kh: 1, kw: 1, stride: 1, resultH: 1, resultW: 1, channels: 1},
		{name: "3×3/tiny", n: 1, h: 1, w: 1, in: 1, out: 1, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 1, resultW: 1, channels: 1},
		{name: "3×3/odd", n: 2, h: 5, w: 7, in: 3, out: 5, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 5, resultW: 7, channels: 3},
		{name: "3×3/even channels", n: 1, h: 7, w: 11, in: 32, out: 64, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 7, resultW: 11, channels: 32, add: true},
		{name: "3×3/first part", n: 1, h: 5, w: 6, in: 48, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 5, resultW: 6, channels: 16},
		{name: "3×3/second part", n: 1, h: 5, w: 6, in: 48, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 5, resultW: 6, first: 16, channels: 32},
		{name: "3×3/no padding", n: 1, h: 6, w: 5, in: 16, out: 32, kh: 3, kw: 3, stride: 1, resultH: 4, resultW: 3, channels: 16},
		{name: "3×3/stride 2", n: 2, h: 7, w: 8, in: 16, out: 24, kh: 3, kw: 3, stride: 2, pad: compute.SamePadding(1), resultH: 4, resultW: 4, channels: 16, add: true},
		{name: "3×3/stride 2, padded right and below", n: 1, h: 8, w: 6, in: 16, out: 24, kh: 3, kw: 3, stride: 2, pad: compute.Padding{Bottom: 1, Right: 1}, resultH: 4, resultW: 3, channels: 16},
		{name: "3×3/stride 3, padded left and above", n: 1, h: 8, w: 7, in: 5, out: 6, kh: 3, kw: 3, stride: 3, pad: compute.Padding{Top: 2, Left: 1}, resultH: 3, resultW: 2, channels: 5},
		{name: "3×3/resize to twice", n: 2, h: 3, w: 5, in: 16, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{6, 10}, resultH: 6, resultW: 10, channels: 16},
		{name: "3×3/resize to odd", n: 1, h: 4, w: 3, in: 8, out: 6, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{7, 5}, resultH: 7, resultW: 5, channels: 8, add: true},
		{name: "3×3/resize smaller", n: 1, h: 7, w: 9, in: 8, out: 6, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{3, 4}, resultH: 3, resultW: 4, channels: 8},
		{name: "2×5", n: 1, h: 4, w: 9, in: 3, out: 4, kh: 2, kw: 5, stride: 1, pad: compute.Padding{Top: 1, Left: 2, Right: 2}, resultH: 4, resultW: 9, channels: 3},
		{name: "sd/resnet", sd: true, n: 1, h: 8, w: 8, in: 320, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 8, resultW: 8, channels: 320, add: true},
		{name: "sd/downsampler", sd: true, n: 1, h: 16, w: 16, in: 320, out: 320, kh: 3, kw: 3, stride: 2, pad: compute.SamePadding(1), resultH: 8, resultW: 8, channels: 320},
		{name: "sd/upsampler", sd: true, n: 1, h: 4, w: 4, in: 320, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{8, 8}, resultH: 8, resultW: 8, channels: 320},
		{name: "sd/conv_out", sd: true, n: 1, h: 32, w: 32, in: 320, out: 4, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 32, resultW: 32, channels: 320},
	} {
		depth := c.kh * c.kw * c.out
		tol := product(depth)
		if c.kh == 3 && c.kw == 3 && c.stride == 1 {
			tol = winograd(depth)
		}
		cases = append(cases, stored(c.sd, "Conv2DInputGradient/"+c.name, tol, func(o *Operands) compute.Op {
			op := compute.Conv2DInputGradient{
				DY: o.Input(c.n, c.resultH, c.resultW, c.out), Weight: o.Param("weight", c.out, c.in, c.kh, c.kw),
				Height: c.h, Width: c.w, First: c.first, Channels: c.channels, Stride: c.stride, Pad: c.pad, Resize: c.resize,
			}
			if c.add {
				op.Add = o.Input(c.n, c.h, c.w, c.channels)
			}
			return op
		})...)
	}
	return cases
}

// convWeightCases has convolutions whose weight is a value, and the derivatives by it.
func convWeightCases() (cases []Case) {
	for _, c := range []struct {
		name           string
		n, h, w        int
		in, in2, out   int
		kh, kw, stride int
		pad            compute.Padding
		resize         [2]int
		resultH        int
		resultW        int
		add            bool
	}{
		{name: "tiny", n: 1, h: 1, w: 1, in: 1, out: 1, kh: 1, kw: 1, stride: 1, resultH: 1, resultW: 1},
		{name: "odd", n: 2, h: 5, w: 7, in: 3, out: 5, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 5, resultW: 7, add: true},
		{name: "odd/two inputs", n: 1, h: 5, w: 6, in: 5, in2: 3, out: 2, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 5, resultW: 6},
		{name: "odd/stride 2", n: 2, h: 7, w: 8, in: 6, out: 2, kh: 3, kw: 3, stride: 2, pad: compute.SamePadding(1), resultH: 4, resultW: 4},
		{name: "odd/stride 2, padded right and below", n: 1, h: 8, w: 6, in: 6, out: 2, kh: 3, kw: 3, stride: 2, pad: compute.Padding{Bottom: 1, Right: 1}, resultH: 4, resultW: 3},
		{name: "odd/resize", n: 1, h: 4, w: 3, in: 8, out: 6, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{7, 5}, resultH: 7, resultW: 5},
		{name: "odd/2×5", n: 1, h: 4, w: 9, in: 3, out: 4, kh: 2, kw: 5, stride: 1, pad: compute.Padding{Top: 1, Left: 2, Right: 2}, resultH: 4, resultW: 9},
		{name: "sd/resnet", n: 1, h: 16, w: 16, in: 320, out: 16, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resultH: 16, resultW: 16, add: true},
	} {
		tol := product(c.kh * c.kw * (c.in + c.in2))
		if c.kh == 3 && c.kw == 3 && c.stride == 1 {
			tol = winograd(c.kh * c.kw * (c.in + c.in2))
		}
		image := func(o *Operands) (x, x2 compute.Value) {
			x = o.Input(c.n, c.h, c.w, c.in)
			if c.in2 > 0 {
				x2 = o.Input(c.n, c.h, c.w, c.in2)
			}
			return x, x2
		}
		cases = append(cases, Case{"Conv2D/weight is a value/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := compute.Conv2D{Stride: c.stride, Pad: c.pad, Resize: c.resize}
			op.X, op.X2 = image(o)
			op.Weight = o.Input(c.out, c.in+c.in2, c.kh, c.kw)
			return op
		}, tol}, Case{"Conv2DWeightGradient/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := compute.Conv2DWeightGradient{DY: o.Input(c.n, c.resultH, c.resultW, c.out), Kernel: [2]int{c.kh, c.kw}, Stride: c.stride, Pad: c.pad, Resize: c.resize}
			op.X, op.X2 = image(o)
			if c.add {
				op.Add = o.Input(c.out, c.in+c.in2, c.kh, c.kw)
			}
			return op
		}, product(c.n * c.resultH * c.resultW)})
	}
	return cases
}

func normGradientCases() (cases []Case) {
	for _, c := range []struct {
		name       string
		sd         bool
		x          []int
		in2        int
		groups     int
		mean       float32
		activation compute.Activation
		add        bool
	}{
		{name: "tiny", x: []int{1, 1, 1, 2}, groups: 1},
		{name: "odd", x: []int{2, 3, 5, 6}, groups: 3},
		{name: "odd/add", x: []int{2, 7, 12}, groups: 2, add: true},
		{name: "odd/far from zero", x: []int{1, 7, 5, 12}, groups: 4, mean: 3},
		{name: "odd/SiLU", x: []int{2, 5, 7, 20}, groups: 4, activation: compute.SiLU, add: true},
		{name: "odd/two inputs", x: []int{2, 3, 5, 8}, in2: 4, groups: 4},
		{name: "odd/groups straddle two inputs", x: []int{2, 3, 5, 7}, in2: 5, groups: 3, activation: compute.SiLU, add: true},
		{name: "sd/resnet norm1", sd: true, x: []int{2, 16, 16, 320}, groups: 32, activation: compute.SiLU},
		{name: "sd/two inputs", sd: true, x: []int{1, 8, 8, 640}, in2: 320, groups: 32, activation: compute.SiLU, add: true},
		{name: "sd/transformer norm", sd: true, x: []int{1, 16, 16, 640}, groups: 32, add: true},
	} {
		channels := c.x[len(c.x)-1] + c.in2
		cases = append(cases, stored(c.sd, "GroupNormGradient/"+c.name, normGradient(), func(o *Operands) compute.Op {
			outer := c.x[:len(c.x)-1]
			op := compute.GroupNormGradient{X: o.Around(c.mean, c.x...), DY: o.Input(extend(outer, channels)...), Groups: c.groups, Eps: 1e-5, Activation: c.activation}
			if c.in2 > 0 {
				op.X2 = o.Around(c.mean, extend(outer, c.in2)...)
			}
			op.Weight, op.Bias = o.Param("weight", channels), o.Param("bias", channels)
			if c.add {
				op.Add = o.Input(c.x...)
			}
			return op
		})...)
	}
	for _, c := range []struct {
		name string
		sd   bool
		x    []int
		mean float32
		add  bool
	}{
		{"tiny", false, []int{1, 2}, 0, false},
		{"odd", false, []int{3, 5, 7}, 0, false},
		{"odd/far from zero, add", false, []int{2, 3, 67}, 3, true},
		{"sd/transformer", true, []int{2, 64, 320}, 0, true},
		{"sd/clip", true, []int{1, 77, 768}, 0, false},
	} {
		cases = append(cases, stored(c.sd, "LayerNormGradient/"+c.name, normGradient(), func(o *Operands) compute.Op {
			op := compute.LayerNormGradient{X: o.Around(c.mean, c.x...), DY: o.Input(c.x...), Weight: o.Param("weight", c.x[len(c.x)-1]), Eps: 1e-5}
			if c.add {
				op.Add = o.Input(c.x...)
			}
			return op
		})...)
	}
	return cases
}

func attentionGradientCases() (cases []Case) {
	for _, c := range []struct {
		name             string
		n, queries, keys int
		heads, d         int
		causal           bool
	}{
		{"tiny", 1, 1, 2, 1, 1, false},
		{"odd", 2, 5, 7, 3, 5, false},
		{"odd/one query", 1, 1, 33, 2, 8, false},
		{"odd/causal", 2, 13, 13, 3, 7, true},
		{"odd/long", 1, 67, 131, 2, 20, false},
		{"sd/self, 40 channels a head", 1, 128, 128, 8, 40, false},
		{"sd/self, 160 channels a head", 1, 64, 64, 8, 160, false},
		{"sd/cross", 2, 128, 77, 8, 40, false},
		{"sd/clip", 1, 77, 77, 12, 64, true},
	} {
		tol := attention(c.d, c.queries+c.keys)
		tol.Roundings *= 4
		tol.Reason += "; dS is a difference of numbers about as large, and enters a second sum"
		cases = append(cases, Case{"AttentionGradient/" + c.name, compute.F32, func(o *Operands) compute.Op {
			channels := c.heads * c.d
			return compute.AttentionGradient{
				Q: o.Input(c.n, c.queries, channels), K: o.Input(c.n, c.keys, channels), V: o.Input(c.n, c.keys, channels),
				DY: o.Input(c.n, c.queries, channels), Heads: c.heads, Causal: c.causal,
			}
		}, tol})
	}
	return append(cases, Case{"AttentionGradient/odd/given the result", compute.F32, func(o *Operands) compute.Op {
		q, k, v := o.Input(2, 67, 42), o.Input(2, 31, 42), o.Input(2, 31, 42)
		y := o.b.Op(compute.Attention{Q: q, K: k, V: v, Heads: 3})
		return compute.AttentionGradient{Q: q, K: k, V: v, DY: o.Input(2, 67, 42), Y: y, Heads: 3}
	}, Tolerance{4 * attention(14, 98).Roundings, 2, "as without"}})
}

func pointwiseGradientCases() (cases []Case) {
	for _, a := range []compute.Activation{compute.Identity, compute.SiLU, compute.QuickGELU, compute.GELU, compute.ReLU, compute.LeakyReLU} {
		tol := pointwise(24)
		if a == compute.Identity || a == compute.ReLU {
			tol = exact("values are kept or replaced by 0")
		}
		for _, n := range []int{1, 37, 1280} {
			cases = append(cases, Case{fmt.Sprintf("ActivateGradient/%v/%d", a, n), compute.F32, func(o *Operands) compute.Op {
				return compute.ActivateGradient{X: o.Input(2, n), DY: o.Input(2, n), Activation: a}
			}, tol})
		}
		cases = append(cases, Case{fmt.Sprintf("ActivateGradient/%v/extremes", a), compute.F32, func(o *Operands) compute.Op {
			x := o.Values([]float32{-1e30, -1000, -104, -88, -20, -1e-3, -1e-30, 0, 1e-30, 1e-3, 20, 88, 104, 1000, 1e4, 1e-5, 1e30}, 17)
			return compute.ActivateGradient{X: x, DY: o.Input(17), Activation: a}
		}, tol})
	}
	for _, c := range []struct {
		name string
		x    []int
	}{{"tiny", []int{2}}, {"odd", []int{3, 5, 14}}, {"sd", []int{2, 16, 2560}}} {
		cases = append(cases, Case{"GEGLUGradient/" + c.name, compute.F32, func(o *Operands) compute.Op {
			outer, last := c.x[:len(c.x)-1], c.x[len(c.x)-1]
			return compute.GEGLUGradient{X: o.Input(c.x...), DY: o.Input(extend(outer, last/2)...)}
		}, pointwise(32)})
	}
	for _, c := range []struct {
		name string
		x    []int
		all  bool
	}{
		{"tiny", []int{1, 1}, false}, {"odd", []int{2, 3, 5, 7}, false}, {"odd/all samples", []int{2, 3, 5, 7}, true},
		{"odd/no positions", []int{3, 5}, false}, {"sd", []int{2, 16, 16, 320}, false},
	} {
		cases = append(cases, Case{"SumPositions/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.SumPositions{X: o.Input(c.x...), AllSamples: c.all}
		}, product(compute.Shape(c.x).Rows())})
	}
	return cases
}

func scaleCases() (cases []Case) {
	once := exact("one product, rounded once")
	copied := exact("values are copied")
	for _, c := range []struct {
		name            string
		x               []int
		rows, k, column int
	}{
		{"tiny", []int{1}, 1, 1, 0}, {"odd/of each sample", []int{3, 5, 7}, 3, 4, 2}, {"odd/one for all", []int{3, 5, 7}, 1, 2, 1},
		{"sd", []int{2, 64, 64, 4}, 2, 2, 0},
	} {
		cases = append(cases, Case{"Scale/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.Scale{X: o.Input(c.x...), Factors: o.Input(c.rows, c.k), Column: c.column}
		}, once})
	}
	for _, c := range []struct {
		name       string
		x, factors []int
	}{
		{"tiny", []int{1, 1}, []int{1, 1}}, {"odd", []int{3, 5, 7}, []int{3, 5, 7}}, {"odd/row of each sample", []int{3, 5, 7}, []int{3, 7}},
		{"odd/one row", []int{3, 5, 7}, []int{1, 7}}, {"sd", []int{2, 256, 16}, []int{2, 16}},
	} {
		cases = append(cases, Case{"Multiply/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.Multiply{X: o.Input(c.x...), Factors: o.Input(c.factors...)}
		}, once})
	}
	return append(cases,
		Case{"Fill/zeros", compute.F32, func(o *Operands) compute.Op { return compute.Fill{Shape: compute.Shape{3, 5}} }, copied},
		Case{"Fill/values", compute.F32, func(o *Operands) compute.Op {
			return compute.Fill{Shape: compute.Shape{2, 3}, Values: []float32{1, -2, 3, -4, 5, 0.1}}
		}, copied},
		Case{"Fill/third", compute.F32, func(o *Operands) compute.Op { return compute.Fill{Shape: compute.Shape{67}, Value: 1. / 3} }, copied},
		Case{"Slice/all", compute.F32, func(o *Operands) compute.Op { return compute.Slice{X: o.Input(2, 3), Axis: 1, Length: 3} }, copied},
		Case{"Slice/axis 0", compute.F32, func(o *Operands) compute.Op {
			return compute.Slice{X: o.Input(4, 3, 5), Start: 1, Length: 2}
		}, copied},
		Case{"Slice/axis 1", compute.F32, func(o *Operands) compute.Op {
			return compute.Slice{X: o.Input(2, 7, 5), Axis: 1, Start: 3, Length: 4}
		}, copied},
		Case{"Slice/last axis", compute.F32, func(o *Operands) compute.Op {
			return compute.Slice{X: o.Input(2, 3, 7), Axis: 2, Start: 1, Length: 1}
		}, copied},
		Case{"Slice/ids", compute.F32, func(o *Operands) compute.Op {
			return compute.Slice{X: o.RandomIDs(1<<31-1, 2, 7), Axis: 1, Start: 2, Length: 3}
		}, copied},
	)
}

func lossCases() (cases []Case) {
	for _, c := range []struct {
		name          string
		x             []int
		function      compute.LossFunction
		weights, mask bool
	}{
		{"L2/tiny", []int{1, 1}, compute.L2, false, false},
		{"L2/odd", []int{3, 5, 7}, compute.L2, false, false},
		{"L2/weights", []int{3, 5, 7}, compute.L2, true, false},
		{"L2/everything", []int{2, 3, 5, 4}, compute.L2, true, true},
		{"L1", []int{2, 3, 5, 4}, compute.L1, true, true},
		{"Huber", []int{2, 3, 5, 4}, compute.Huber, true, true},
		{"SmoothL1", []int{2, 3, 5, 4}, compute.SmoothL1, false, true},
		{"L2/sd", []int{2, 64, 64, 4}, compute.L2, true, false},
	} {
		record := func(o *Operands) compute.Loss {
			n := c.x[0]
			op := compute.Loss{Prediction: o.Input(c.x...), Target: o.Input(c.x...), Function: c.function}
			if c.weights {
				op.Weights = o.Input(n)
			}
			if c.mask {
				op.Mask = o.Input(extend(c.x[:len(c.x)-1], 1)...)
			}
			if c.function == compute.Huber || c.function == compute.SmoothL1 {
				op.C = o.Around(4, n)
			}
			return op
		}
		cases = append(cases, Case{"Loss/" + c.name, compute.F32, func(o *Operands) compute.Op { return record(o) },
			Tolerance{Roundings: 512, Reason: "summed in float64 or pairwise, a few roundings each; weights of both signs let terms cancel"}})
		cases = append(cases, Case{"LossGradient/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := record(o)
			return compute.LossGradient{
				Prediction: op.Prediction, Target: op.Target, Weights: op.Weights, Mask: op.Mask, C: op.C,
				Function: op.Function, DY: o.Input(1),
			}
		}, pointwise(32)})
	}
	return cases
}

func optimizerCases() (cases []Case) {
	sums := Tolerance{Roundings: 32, Reason: "a sum of squares in float64 or pairwise, a square root and a few roundings"}
	for _, c := range []struct {
		name   string
		shapes [][]int
		limit  float32
	}{
		{"tiny", [][]int{{1}}, 0}, {"odd/clipped", [][]int{{3, 5}, {7}, {2, 3, 5}}, 0.5}, {"odd/within", [][]int{{3, 5}, {7}}, 100},
		{"sd", [][]int{{16, 320}, {320, 16}, {16, 768}, {1280, 16}}, 1},
	} {
		cases = append(cases, Case{"ClipNorm/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := compute.ClipNorm{Limits: o.Values([]float32{0x1p-16, c.limit}, 1, 2)}
			for _, shape := range c.shapes {
				op.Gradients = append(op.Gradients, o.Input(shape...))
			}
			return op
		}, sums})
	}
	step := Tolerance{Roundings: 32, Reason: "some ten roundings"}
	for _, c := range []struct {
		name  string
		shape []int
		clip  bool
	}{{"tiny", []int{1}, false}, {"odd", []int{3, 5, 7}, false}, {"odd/clipped", []int{3, 37}, true}, {"sd", []int{320, 16}, true}} {
		cases = append(cases, Case{"AdamW/" + c.name, compute.F32, func(o *Operands) compute.Op {
			squares := o.uniform(compute.Shape(c.shape).Elements(), 1, 0.9)
			op := compute.AdamW{
				Parameter: o.Input(c.shape...), Gradient: o.Input(c.shape...), M: o.Input(c.shape...), V: o.Values(squares, c.shape...),
				Hyper: o.Values([]float32{0.01, 0.1, 0.001, 1e-8, 0.01, 0.271, 0.002997}, 1, 7),
			}
			if c.clip {
				op.Clip = o.Values([]float32{0.125, 8}, 1, 2)
			}
			return op
		}, step})
	}
	return cases
}
