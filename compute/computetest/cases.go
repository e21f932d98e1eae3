package computetest

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// Cases lists every case: each op with each of its attributes, over shapes that are tiny, odd, and those of the SD 1.5
// networks, cut in the number of rows where the oracle would take long. Ops with parameters come once for each stored
// element type; SD's own shapes with F16, as its checkpoints are stored.
func Cases() []Case {
	var all []Case
	for _, list := range [][]Case{
		linearCases(), convCases(), normCases(), attentionCases(), embedCases(), pointwiseCases(), combineCases(), arrangeCases(),
	} {
		all = append(all, list...)
	}
	return all
}

var paramTypes = []compute.DType{compute.F32, compute.F16, compute.BF16}

// stored is the case once per stored type of parameters; with sd, F16 alone.
func stored(sd bool, name string, tol Tolerance, record func(o *Operands) compute.Op) []Case {
	types := paramTypes
	if sd {
		types = types[1:2]
	}
	var cases []Case
	for _, t := range types {
		cases = append(cases, Case{fmt.Sprintf("%s/%v", name, t), t, record, tol})
	}
	return cases
}

func linearCases() (cases []Case) {
	for _, c := range []struct {
		name          string
		sd            bool
		x             []int
		in2, out      int
		bias, conv1x1 bool
		perChannel    int // its rows
		activation    compute.Activation
		residual      bool
		onItself      bool // the residual is X
	}{
		{name: "1×1", x: []int{1, 1}, out: 1},
		{name: "row", x: []int{1, 5}, out: 3, bias: true},
		{name: "odd", x: []int{2, 7, 13}, out: 17, bias: true},
		{name: "odd/no bias", x: []int{3, 5, 67}, out: 33},
		{name: "odd/SiLU", x: []int{3, 31}, out: 45, bias: true, activation: compute.SiLU},
		{name: "odd/QuickGELU", x: []int{1, 9, 24}, out: 49, bias: true, activation: compute.QuickGELU},
		{name: "odd/GELU", x: []int{1, 9, 24}, out: 49, activation: compute.GELU},
		{name: "odd/ReLU", x: []int{1, 9, 24}, out: 49, activation: compute.ReLU},
		{name: "odd/residual", x: []int{2, 5, 19}, out: 35, bias: true, residual: true},
		{name: "odd/residual is the input", x: []int{2, 5, 19}, out: 19, bias: true, onItself: true},
		{name: "odd/per channel of each sample", x: []int{3, 5, 19}, out: 35, bias: true, perChannel: 3},
		{name: "odd/one per channel", x: []int{3, 5, 19}, out: 35, perChannel: 1},
		{name: "odd/two inputs", x: []int{2, 3, 5, 11}, in2: 6, out: 21, bias: true},
		{name: "odd/everything", x: []int{2, 3, 5, 11}, in2: 7, out: 21, bias: true, perChannel: 2, activation: compute.SiLU, residual: true},
		{name: "odd/1×1 weight", x: []int{1, 3, 5, 11}, out: 9, bias: true, conv1x1: true},
		{name: "sd/time embedding", sd: true, x: []int{2, 320}, out: 1280, bias: true, activation: compute.SiLU},
		{name: "sd/to_q", sd: true, x: []int{2, 64, 320}, out: 320},
		{name: "sd/to_k of context", sd: true, x: []int{2, 77, 768}, out: 320},
		{name: "sd/to_out", sd: true, x: []int{2, 64, 640}, out: 640, bias: true, residual: true},
		{name: "sd/ff.net.0.proj", sd: true, x: []int{1, 64, 320}, out: 2560, bias: true},
		{name: "sd/ff.net.2", sd: true, x: []int{1, 64, 1280}, out: 320, bias: true, residual: true},
		{name: "sd/conv_shortcut", sd: true, x: []int{1, 8, 8, 640}, in2: 320, out: 640, bias: true},
		{name: "sd/mlp.fc1", sd: true, x: []int{1, 77, 768}, out: 3072, bias: true, activation: compute.QuickGELU},
	} {
		depth := c.x[len(c.x)-1] + c.in2
		cases = append(cases, stored(c.sd, "Linear/"+c.name, product(depth), func(o *Operands) compute.Op {
			op := compute.Linear{X: o.Input(c.x...)}
			outer := c.x[:len(c.x)-1]
			if c.in2 > 0 {
				op.X2 = o.Input(extend(outer, c.in2)...)
			}
			if c.conv1x1 {
				op.Weight = o.Param("weight", c.out, depth, 1, 1)
			} else {
				op.Weight = o.Param("weight", c.out, depth)
			}
			if c.bias {
				op.Bias = o.Param("bias", c.out)
			}
			op.Epilogue.Activation = c.activation
			if c.perChannel > 0 {
				op.Epilogue.PerChannel = o.Input(c.perChannel, c.out)
			}
			if c.residual {
				op.Epilogue.Residual = o.Input(extend(outer, c.out)...)
			}
			if c.onItself {
				op.Epilogue.Residual = op.X
			}
			return op
		})...)
	}
	return cases
}

// extend is shape with one more axis.
func extend(shape []int, last int) []int { return append(append([]int(nil), shape...), last) }

func convCases() (cases []Case) {
	for _, c := range []struct {
		name           string
		sd             bool
		n, h, w        int
		in, in2, out   int
		kh, kw, stride int
		pad            compute.Padding
		resize         [2]int
		bias           bool
		perChannel     int
		activation     compute.Activation
		residual       bool
		onItself       bool // the residual is X
	}{
		{name: "1×1/tiny", n: 1, h: 1, w: 1, in: 1, out: 1, kh: 1, kw: 1, stride: 1},
		{name: "1×1/odd", n: 2, h: 3, w: 5, in: 7, out: 9, kh: 1, kw: 1, stride: 1, bias: true},
		{name: "3×3/tiny", n: 1, h: 1, w: 1, in: 1, out: 1, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1)},
		{name: "3×3/odd", n: 2, h: 5, w: 7, in: 3, out: 5, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/few in", n: 1, h: 9, w: 6, in: 4, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/few out", n: 1, h: 9, w: 6, in: 32, out: 3, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/even channels, odd image", n: 2, h: 7, w: 11, in: 32, out: 64, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/no padding", n: 1, h: 6, w: 5, in: 16, out: 32, kh: 3, kw: 3, stride: 1},
		{name: "3×3/wide padding", n: 1, h: 3, w: 2, in: 16, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(3)},
		{name: "3×3/two inputs", n: 2, h: 5, w: 6, in: 16, in2: 32, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/two odd inputs", n: 1, h: 5, w: 6, in: 5, in2: 3, out: 7, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1)},
		{name: "3×3/everything", n: 3, h: 5, w: 6, in: 16, in2: 16, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, perChannel: 3, activation: compute.SiLU, residual: true},
		{name: "3×3/one per channel", n: 2, h: 5, w: 6, in: 16, out: 33, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), perChannel: 1},
		{name: "3×3/residual", n: 1, h: 8, w: 8, in: 32, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, residual: true},
		{name: "3×3/residual is the input", n: 1, h: 8, w: 8, in: 32, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), onItself: true},
		{name: "3×3/LeakyReLU", n: 1, h: 8, w: 8, in: 32, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, activation: compute.LeakyReLU},
		{name: "3×3/ReLU", n: 1, h: 8, w: 8, in: 32, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, activation: compute.ReLU},
		{name: "3×3/stride 2", n: 1, h: 7, w: 8, in: 16, out: 24, kh: 3, kw: 3, stride: 2, pad: compute.SamePadding(1), bias: true},
		{name: "3×3/stride 2, padded right and below", n: 2, h: 8, w: 6, in: 16, out: 24, kh: 3, kw: 3, stride: 2, pad: compute.Padding{Bottom: 1, Right: 1}, bias: true},
		{name: "3×3/stride 3, padded left and above", n: 1, h: 8, w: 7, in: 5, out: 6, kh: 3, kw: 3, stride: 3, pad: compute.Padding{Top: 2, Left: 1}},
		{name: "3×3/resize to twice", n: 2, h: 3, w: 5, in: 16, out: 32, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{6, 10}, bias: true},
		{name: "3×3/resize to odd", n: 1, h: 4, w: 3, in: 8, out: 6, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{7, 5}, bias: true},
		{name: "3×3/resize smaller", n: 1, h: 7, w: 9, in: 8, out: 6, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{3, 4}},
		{name: "3×3/resize, two inputs", n: 1, h: 3, w: 4, in: 8, in2: 8, out: 16, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{6, 8}, bias: true},
		{name: "3×3/resize, stride 2", n: 1, h: 3, w: 4, in: 8, out: 16, kh: 3, kw: 3, stride: 2, pad: compute.Padding{Bottom: 1, Right: 1}, resize: [2]int{6, 8}},
		{name: "2×5", n: 1, h: 4, w: 9, in: 3, out: 4, kh: 2, kw: 5, stride: 1, pad: compute.Padding{Top: 1, Left: 2, Right: 2}, bias: true},
		{name: "sd/conv_in", sd: true, n: 2, h: 16, w: 16, in: 4, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "sd/conv_out", sd: true, n: 2, h: 16, w: 16, in: 320, out: 4, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "sd/resnet conv1", sd: true, n: 1, h: 16, w: 16, in: 320, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, perChannel: 1},
		{name: "sd/resnet conv2", sd: true, n: 1, h: 8, w: 8, in: 640, out: 640, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true, residual: true},
		{name: "sd/two inputs", sd: true, n: 1, h: 8, w: 8, in: 640, in2: 320, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
		{name: "sd/downsampler", sd: true, n: 1, h: 16, w: 16, in: 320, out: 320, kh: 3, kw: 3, stride: 2, pad: compute.SamePadding(1), bias: true},
		{name: "sd/vae downsampler", sd: true, n: 1, h: 16, w: 16, in: 128, out: 128, kh: 3, kw: 3, stride: 2, pad: compute.Padding{Bottom: 1, Right: 1}, bias: true},
		{name: "sd/upsampler", sd: true, n: 1, h: 8, w: 8, in: 320, out: 320, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), resize: [2]int{16, 16}, bias: true},
		{name: "sd/vae conv_out", sd: true, n: 1, h: 32, w: 32, in: 128, out: 3, kh: 3, kw: 3, stride: 1, pad: compute.SamePadding(1), bias: true},
	} {
		depth := c.kh * c.kw * (c.in + c.in2)
		tol := product(depth)
		if c.kh == 3 && c.kw == 3 && c.stride == 1 {
			tol = winograd(depth)
		}
		cases = append(cases, stored(c.sd, "Conv2D/"+c.name, tol, func(o *Operands) compute.Op {
			op := compute.Conv2D{X: o.Input(c.n, c.h, c.w, c.in), Stride: c.stride, Pad: c.pad, Resize: c.resize}
			if c.in2 > 0 {
				op.X2 = o.Input(c.n, c.h, c.w, c.in2)
			}
			op.Weight = o.Param("weight", c.out, c.in+c.in2, c.kh, c.kw)
			if c.bias {
				op.Bias = o.Param("bias", c.out)
			}
			op.Epilogue.Activation = c.activation
			if c.perChannel > 0 {
				op.Epilogue.PerChannel = o.Input(c.perChannel, c.out)
			}
			if c.residual { // the result has X's extents in every case with a residual
				op.Epilogue.Residual = o.Input(c.n, c.h, c.w, c.out)
			}
			if c.onItself {
				op.Epilogue.Residual = op.X
			}
			return op
		})...)
	}
	return cases
}

func normCases() (cases []Case) {
	for _, c := range []struct {
		name       string
		sd         bool
		x          []int
		in2        int
		groups     int
		eps        float64
		mean       float32
		activation compute.Activation
	}{
		{name: "tiny", x: []int{1, 1, 1, 2}, groups: 1, eps: 1e-5},
		{name: "odd", x: []int{2, 3, 5, 6}, groups: 3, eps: 1e-5},
		{name: "odd/groups of one", x: []int{1, 3, 5, 7}, groups: 7, eps: 1e-5},
		{name: "odd/tokens", x: []int{2, 7, 12}, groups: 2, eps: 1e-6},
		{name: "odd/far from zero", x: []int{1, 7, 5, 12}, groups: 4, eps: 1e-5, mean: 3},
		{name: "odd/SiLU", x: []int{2, 5, 7, 20}, groups: 4, eps: 1e-5, activation: compute.SiLU},
		{name: "odd/GELU", x: []int{1, 5, 7, 20}, groups: 4, eps: 1e-5, activation: compute.GELU},
		{name: "odd/two inputs", x: []int{2, 3, 5, 8}, in2: 4, groups: 4, eps: 1e-5},
		{name: "odd/groups straddle two inputs", x: []int{2, 3, 5, 7}, in2: 5, groups: 3, eps: 1e-5, activation: compute.SiLU},
		{name: "sd/resnet norm1", sd: true, x: []int{2, 32, 32, 320}, groups: 32, eps: 1e-5, activation: compute.SiLU},
		{name: "sd/two inputs", sd: true, x: []int{1, 16, 16, 640}, in2: 320, groups: 32, eps: 1e-5, activation: compute.SiLU},
		{name: "sd/transformer norm", sd: true, x: []int{1, 16, 16, 640}, groups: 32, eps: 1e-6},
		{name: "sd/vae norm_out", sd: true, x: []int{1, 64, 64, 128}, groups: 32, eps: 1e-6, mean: 1, activation: compute.SiLU},
	} {
		channels := c.x[len(c.x)-1] + c.in2
		cases = append(cases, stored(c.sd, "GroupNorm/"+c.name, norm(), func(o *Operands) compute.Op {
			op := compute.GroupNorm{X: o.Around(c.mean, c.x...), Groups: c.groups, Eps: c.eps, Activation: c.activation}
			if c.in2 > 0 {
				op.X2 = o.Around(c.mean, extend(c.x[:len(c.x)-1], c.in2)...)
			}
			op.Weight, op.Bias = o.Param("weight", channels), o.Param("bias", channels)
			return op
		})...)
	}
	for _, c := range []struct {
		name string
		sd   bool
		x    []int
		mean float32
	}{
		{"tiny", false, []int{1, 2}, 0},
		{"odd", false, []int{3, 5, 7}, 0},
		{"odd/far from zero", false, []int{2, 3, 67}, 3},
		{"sd/transformer", true, []int{2, 64, 320}, 0},
		{"sd/transformer, deepest", true, []int{2, 64, 1280}, 1},
		{"sd/clip", true, []int{1, 77, 768}, 0},
	} {
		cases = append(cases, stored(c.sd, "LayerNorm/"+c.name, norm(), func(o *Operands) compute.Op {
			channels := c.x[len(c.x)-1]
			return compute.LayerNorm{X: o.Around(c.mean, c.x...), Weight: o.Param("weight", channels), Bias: o.Param("bias", channels), Eps: 1e-5}
		})...)
	}
	return cases
}

func attentionCases() (cases []Case) {
	for _, c := range []struct {
		name             string
		n, queries, keys int
		heads, d         int
		causal           bool
	}{
		{"tiny", 1, 1, 1, 1, 1, false},
		{"odd", 2, 5, 7, 3, 5, false},
		{"odd/one query", 1, 1, 33, 2, 8, false},
		{"odd/one key", 2, 9, 1, 2, 8, false},
		{"odd/causal", 2, 13, 13, 3, 7, true},
		{"odd/long", 1, 67, 131, 2, 20, false},
		{"sd/self, 40 channels a head", 1, 256, 256, 8, 40, false},
		{"sd/self, 80 channels a head", 1, 128, 128, 8, 80, false},
		{"sd/self, 160 channels a head", 2, 64, 64, 8, 160, false},
		{"sd/cross", 2, 128, 77, 8, 40, false},
		{"sd/cross, 160 channels a head", 1, 64, 77, 8, 160, false},
		{"sd/clip", 1, 77, 77, 12, 64, true},
		{"sd/vae", 1, 144, 144, 1, 512, false},
	} {
		cases = append(cases, Case{"Attention/" + c.name, compute.F32, func(o *Operands) compute.Op {
			channels := c.heads * c.d
			return compute.Attention{
				Q: o.Input(c.n, c.queries, channels), K: o.Input(c.n, c.keys, channels), V: o.Input(c.n, c.keys, channels),
				Heads: c.heads, Causal: c.causal,
			}
		}, attention(c.d, c.keys)})
	}
	return cases
}

func embedCases() (cases []Case) {
	oneRounding := exact("a sum of two numbers is rounded once, a copy never")
	for _, c := range []struct {
		name                 string
		sd                   bool
		n, tokens            int
		vocabulary, channels int
		positions            int
	}{
		{"tiny", false, 1, 1, 1, 1, 0},
		{"odd", false, 3, 5, 11, 7, 5},
		{"odd/no position", false, 2, 3, 11, 33, 0},
		{"odd/more positions than tokens", false, 2, 3, 11, 20, 9},
		{"sd/clip, a part of its vocabulary", true, 2, 77, 1000, 768, 77},
	} {
		cases = append(cases, stored(c.sd, "Embed/"+c.name, oneRounding, func(o *Operands) compute.Op {
			op := compute.Embed{IDs: o.RandomIDs(c.vocabulary, c.n, c.tokens), Table: o.Param("table", c.vocabulary, c.channels)}
			if c.positions > 0 {
				op.Position = o.Param("position", c.positions, c.channels)
			}
			return op
		})...)
	}
	cases = append(cases, Case{"Embed/table is a value", compute.F32, func(o *Operands) compute.Op {
		return compute.Embed{IDs: o.RandomIDs(5, 2, 3), Table: o.Input(5, 9)}
	}, oneRounding})

	tol := Tolerance{Roundings: 8, Reason: "sine and cosine of the same float32 angle, approximated to a few units in the last place"}
	for _, c := range []struct {
		name  string
		n     int
		dim   int
		flip  bool
		shift float64
	}{
		{"tiny", 1, 2, false, 0}, {"odd", 3, 6, true, 0}, {"odd/shifted", 2, 34, false, 1}, {"sd", 4, 320, true, 0},
	} {
		cases = append(cases, Case{"TimestepEmbedding/" + c.name, compute.F32, func(o *Operands) compute.Op {
			t := []float32{999, 0, 500.25, 1}
			return compute.TimestepEmbedding{Timesteps: o.Values(t[:c.n], c.n), Dim: c.dim, FlipSinToCos: c.flip, FreqShift: c.shift}
		}, tol})
	}
	return cases
}

func pointwiseCases() (cases []Case) {
	for _, a := range []compute.Activation{compute.Identity, compute.SiLU, compute.QuickGELU, compute.GELU, compute.ReLU, compute.LeakyReLU} {
		tol := pointwise(16)
		if a == compute.Identity || a == compute.ReLU {
			tol = exact("values are kept or replaced by 0")
		}
		for _, n := range []int{1, 37, 1280} {
			cases = append(cases, Case{fmt.Sprintf("Activate/%v/%d", a, n), compute.F32, func(o *Operands) compute.Op {
				return compute.Activate{X: o.Input(2, n), Activation: a}
			}, tol})
		}
		cases = append(cases, Case{fmt.Sprintf("Activate/%v/extremes", a), compute.F32, func(o *Operands) compute.Op {
			return compute.Activate{X: o.Values([]float32{-1e30, -1000, -104, -88, -20, -1e-3, -1e-30, 0, 1e-30, 1e-3, 20, 88, 104, 1000, 1e4, 1e-5, 7}, 17), Activation: a}
		}, tol})
	}
	for _, c := range []struct {
		name string
		x    []int
	}{{"tiny", []int{2}}, {"odd", []int{3, 5, 14}}, {"sd", []int{2, 16, 2560}}} {
		cases = append(cases, Case{"GEGLU/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.GEGLU{X: o.Input(c.x...)}
		}, pointwise(24)})
		cases = append(cases, Case{"Add/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.Add{A: o.Input(c.x...), B: o.Input(c.x...)}
		}, exact("a sum of two numbers is rounded once")})
	}
	return append(cases, Case{"Add/to itself", compute.F32, func(o *Operands) compute.Op {
		x := o.Input(3, 5)
		return compute.Add{A: x, B: x}
	}, exact("doubling is exact")})
}

func combineCases() (cases []Case) {
	few := Tolerance{Roundings: 16, Reason: "a few terms, each rounded when multiplied and when added"}
	for _, c := range []struct {
		name    string
		x       []int
		weights []float32
	}{
		{"one", []int{1, 1}, []float32{1}},
		{"odd", []int{9, 5, 7}, []float32{0.25, -1, 2}},
		{"sd", []int{2, 64, 64, 4}, []float32{-6.5, 7.5}},
		{"sd/batch of three", []int{6, 16, 16, 4}, []float32{-6.5, 7.5}},
	} {
		cases = append(cases, Case{"GuidanceCombine/" + c.name, compute.F32, func(o *Operands) compute.Op {
			return compute.GuidanceCombine{X: o.Input(c.x...), Weights: o.Values(c.weights, len(c.weights))}
		}, few})
	}
	for _, c := range []struct {
		name             string
		shape            []int
		terms, rows, row int
	}{
		{"tiny", []int{1}, 1, 1, 0}, {"odd", []int{3, 5, 7}, 3, 2, 1}, {"sd", []int{2, 64, 64, 4}, 5, 4, 2},
	} {
		cases = append(cases, Case{"LinearCombination/" + c.name, compute.F32, func(o *Operands) compute.Op {
			op := compute.LinearCombination{Row: c.row, Coefficients: o.Input(c.rows, c.terms)}
			for range c.terms {
				op.Terms = append(op.Terms, o.Input(c.shape...))
			}
			return op
		}, few})
	}
	return append(cases, Case{"GuidanceCombine/rescaled", compute.F32, func(o *Operands) compute.Op {
		return compute.GuidanceCombine{X: o.Input(6, 5, 7), Weights: o.Values([]float32{-6.5, 7.5}, 2), Like: o.Around(1, 3, 5, 7), Rescale: 0.7}
	}, Tolerance{Roundings: 32, Reason: "a few terms, and a factor of sums in double precision"}})
}

func arrangeCases() []Case {
	copied := exact("values are copied")
	mean := Tolerance{Roundings: 256, Reason: "a mean of as many as are merged into one"}
	return []Case{
		{"MergeTokens/none", compute.F32, func(o *Operands) compute.Op { return compute.MergeTokens{X: o.Input(1, 4, 3), Height: 2, Width: 2} }, copied},
		{"MergeTokens/all", compute.F32, func(o *Operands) compute.Op {
			return compute.MergeTokens{X: o.Input(2, 4, 3), Height: 2, Width: 2, Merged: 3}
		}, mean},
		{"MergeTokens/odd", compute.F32, func(o *Operands) compute.Op {
			return compute.MergeTokens{X: o.Input(3, 35, 7), Height: 5, Width: 7, Merged: 17}
		}, mean},
		{"MergeTokens/sd", compute.F32, func(o *Operands) compute.Op {
			return compute.MergeTokens{X: o.Input(1, 48*32, 40), Height: 48, Width: 32, Merged: 48 * 16}
		}, mean},
		{"Reshape", compute.F32, func(o *Operands) compute.Op {
			return compute.Reshape{X: o.Input(2, 3, 5), Shape: compute.Shape{5, 6}}
		}, copied},
		{"Repeat/once", compute.F32, func(o *Operands) compute.Op { return compute.Repeat{X: o.Input(3, 5), Times: 1} }, copied},
		{"Repeat/odd", compute.F32, func(o *Operands) compute.Op { return compute.Repeat{X: o.Input(2, 3, 7), Times: 3} }, copied},
		{"Repeat/ids", compute.F32, func(o *Operands) compute.Op { return compute.Repeat{X: o.RandomIDs(1<<31-1, 2, 7), Times: 2} }, copied},
		{"Repeat/sd", compute.F32, func(o *Operands) compute.Op { return compute.Repeat{X: o.Input(1, 64, 64, 4), Times: 2} }, copied},
		{"Concat/one part", compute.F32, func(o *Operands) compute.Op { return compute.Concat{Parts: []compute.Value{o.Input(2, 3)}} }, copied},
		{"Concat/axis 0", compute.F32, func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.Input(1, 77, 8), o.Input(2, 77, 8)}}
		}, copied},
		{"Concat/axis 1", compute.F32, func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.Input(2, 3, 5), o.Input(2, 1, 5), o.Input(2, 4, 5)}, Axis: 1}
		}, copied},
		{"Concat/last axis", compute.F32, func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.Input(2, 3, 5), o.Input(2, 3, 1)}, Axis: 2}
		}, copied},
		{"Concat/a part twice", compute.F32, func(o *Operands) compute.Op {
			x := o.Input(2, 3)
			return compute.Concat{Parts: []compute.Value{x, x}, Axis: 1}
		}, copied},
		{"Concat/ids", compute.F32, func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.RandomIDs(9, 2, 3), o.RandomIDs(9, 2, 4)}, Axis: 1}
		}, copied},
	}
}
