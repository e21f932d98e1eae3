package oracle

import (
	"math"
	"math/rand/v2"
	"testing"

	_ "go4.org/unsafe/assume-no-moving-gc" // Gorgonia's panics on a current Go in the version it asks for itself
	. "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
)

// array is an operand of both sides.
type array struct {
	values []float64
	shape  []int
}

// given draws the operands of a comparison.
type given struct {
	random *rand.Rand
	source computetest.Source
}

func newGiven() *given { return &given{random: rand.New(rand.NewPCG(5, 7))} }

// array draws values that float32 holds too, since parameters are stored in it.
func (g *given) array(shape ...int) array {
	a := array{make([]float64, compute.Shape(shape).Elements()), shape}
	for i := range a.values {
		a.values[i] = float64(float32(g.random.NormFloat64()))
	}
	return a
}

// param makes a frozen parameter of a's values.
func (g *given) param(b *compute.Builder, name string, a array, shape ...int) compute.Value {
	narrow := make([]float32, len(a.values))
	for i, v := range a.values {
		narrow[i] = float32(v)
	}
	g.source.Add(name, compute.F32, narrow, shape...)
	return b.Param(name, shape...)
}

func (a array) input(b *compute.Builder) compute.Value { return b.Input("", compute.F32, a.shape...) }

// node is the same array in Gorgonia, under a shape of as many elements.
func (a array) node(g *ExprGraph, name string, shape ...int) *Node {
	if len(shape) == 0 {
		shape = a.shape
	}
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float64(nil), a.values...)))
	return NewTensor(g, tensor.Float64, len(shape), WithShape(shape...), WithName(name), WithValue(t))
}

// ours are the gradients by wrt of the mean square of what record makes of them, less target.
func ours(t *testing.T, g *given, target array, wrt []array, record func(b *compute.Builder, v []compute.Value) compute.Value) [][]float64 {
	t.Helper()
	var b compute.Builder
	var values []compute.Value
	var uploads []any
	for _, a := range append(wrt, target) {
		values = append(values, a.input(&b))
		uploads = append(uploads, a.values)
	}
	wanted := values[:len(wrt)]
	loss := b.Op(compute.Loss{Prediction: record(&b, wanted), Target: values[len(wrt)]})
	for _, d := range compute.Gradient(&b, loss, wanted) {
		b.Output(d)
	}
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	out, err := ref.Evaluate(p, &g.source, uploads...)
	if err != nil {
		t.Fatal(err)
	}
	var gradients [][]float64
	for _, o := range out {
		gradients = append(gradients, o.([]float64))
	}
	return gradients
}

// theirs are Gorgonia's gradients of cost by wrt.
func theirs(t *testing.T, g *ExprGraph, cost *Node, wrt ...*Node) [][]float64 {
	t.Helper()
	derivatives, err := Grad(cost, wrt...)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]Value, len(derivatives))
	for i, d := range derivatives {
		Read(d, &values[i])
	}
	machine := NewTapeMachine(g)
	defer machine.Close()
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	var gradients [][]float64
	for _, v := range values {
		gradients = append(gradients, v.Data().([]float64))
	}
	return gradients
}

// compare allows what a few hundred float64 roundings come to.
func compare(t *testing.T, got, want [][]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("there are %d gradients, want %d", len(got), len(want))
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("gradient %d has %d elements, want %d", i, len(got[i]), len(want[i]))
		}
		var square float64
		for _, w := range want[i] {
			square += w * w
		}
		if square == 0 {
			t.Errorf("gradient %d is zero and shows nothing", i)
		}
		size := math.Sqrt(square / float64(len(want[i])))
		for k, w := range want[i] {
			if d := math.Abs(got[i][k] - w); !(d <= 1e-11*max(size, math.Abs(w))) {
				t.Errorf("gradient %d, element %d: got %.15g, want %.15g", i, k, got[i][k], w)
			}
		}
	}
}

// must unwraps what Gorgonia's operators return.
func must(n *Node, err error) *Node {
	if err != nil {
		panic(err)
	}
	return n
}

// meanSquare is the mean of (y - target)² over all elements.
func meanSquare(y, target *Node) *Node {
	return must(Mean(must(Square(must(Sub(y, target))))))
}

// TestLowRank differentiates SiLU(x·Wᵀ + b + ½·(x·downᵀ)·upᵀ) by x and both factors.
func TestLowRank(t *testing.T) {
	g := newGiven()
	const rows, in, out, rank = 5, 7, 6, 2
	x, down, up := g.array(rows, in), g.array(rank, in), g.array(out, rank)
	w, bias, target := g.array(out, in), g.array(out), g.array(rows, out)
	got := ours(t, g, target, []array{x, down, up}, func(b *compute.Builder, v []compute.Value) compute.Value {
		y := b.Op(compute.Linear{X: v[0], Weight: g.param(b, "w", w, out, in), Bias: g.param(b, "b", bias, out)})
		h := b.Op(compute.MatMul{A: v[0], B: v[1], TransposeB: true})
		y = b.Op(compute.MatMul{A: h, B: v[2], TransposeB: true, Scale: 0.5, Add: y})
		return b.Op(compute.Activate{X: y, Activation: compute.SiLU})
	})

	graph := NewGraph()
	xs, ds, us := x.node(graph, "x"), down.node(graph, "down"), up.node(graph, "up")
	y := must(Mul(xs, must(Transpose(w.node(graph, "w")))))
	y = must(BroadcastAdd(y, bias.node(graph, "b", 1, out), nil, []byte{0}))
	low := must(Mul(must(Mul(xs, must(Transpose(ds)))), must(Transpose(us))))
	y = must(Add(y, must(HadamardProd(low, NewConstant(0.5)))))
	y = must(HadamardProd(y, must(Sigmoid(y))))
	compare(t, got, theirs(t, graph, meanSquare(y, target.node(graph, "target")), xs, ds, us))
}

// TestAttention differentiates softmax(QKᵀ/√d)·V.
func TestAttention(t *testing.T) {
	g := newGiven()
	const queries, keys, d = 4, 6, 5
	q, k, v, target := g.array(1, queries, d), g.array(1, keys, d), g.array(1, keys, d), g.array(1, queries, d)
	got := ours(t, g, target, []array{q, k, v}, func(b *compute.Builder, x []compute.Value) compute.Value {
		return b.Op(compute.Attention{Q: x[0], K: x[1], V: x[2], Heads: 1})
	})

	graph := NewGraph()
	qs, ks, vs := q.node(graph, "q", queries, d), k.node(graph, "k", keys, d), v.node(graph, "v", keys, d)
	logits := must(HadamardProd(must(Mul(qs, must(Transpose(ks)))), NewConstant(1/math.Sqrt(d))))
	weights := must(Exp(logits))
	weights = must(BroadcastHadamardDiv(weights, must(Reshape(must(Sum(weights, 1)), tensor.Shape{queries, 1})), nil, []byte{1}))
	y := must(Mul(weights, vs))
	compare(t, got, theirs(t, graph, meanSquare(y, target.node(graph, "target", queries, d)), qs, ks, vs))
}

// normalised is (x-μ)/√(σ²+ε) of each row.
func normalised(x *Node, rows int, eps float64) *Node {
	column := tensor.Shape{rows, 1}
	mean := must(Reshape(must(Mean(x, 1)), column))
	centred := must(BroadcastSub(x, mean, nil, []byte{1}))
	variance := must(Reshape(must(Mean(must(Square(centred)), 1)), column))
	return must(BroadcastHadamardDiv(centred, must(Sqrt(must(Add(variance, NewConstant(eps))))), nil, []byte{1}))
}

// TestLayerNorm differentiates a LayerNorm by its input.
func TestLayerNorm(t *testing.T) {
	g := newGiven()
	const rows, channels = 4, 6
	x, w, bias, target := g.array(rows, channels), g.array(channels), g.array(channels), g.array(rows, channels)
	got := ours(t, g, target, []array{x}, func(b *compute.Builder, v []compute.Value) compute.Value {
		return b.Op(compute.LayerNorm{X: v[0], Weight: g.param(b, "w", w, channels), Bias: g.param(b, "b", bias, channels), Eps: 0.125})
	})

	graph := NewGraph()
	xs := x.node(graph, "x")
	y := normalised(xs, rows, 0.125)
	y = must(BroadcastHadamardProd(y, w.node(graph, "w", 1, channels), nil, []byte{0}))
	y = must(BroadcastAdd(y, bias.node(graph, "b", 1, channels), nil, []byte{0}))
	compare(t, got, theirs(t, graph, meanSquare(y, target.node(graph, "target")), xs))
}

// TestGroupNorm differentiates a GroupNorm with SiLU by its input. Gorgonia sees a group as a row: its channels are one
// group, so that samples are the groups.
func TestGroupNorm(t *testing.T) {
	g := newGiven()
	const samples, positions, channels = 3, 4, 2
	x, w, bias := g.array(samples, positions, channels), g.array(channels), g.array(channels)
	target := g.array(samples, positions, channels)
	got := ours(t, g, target, []array{x}, func(b *compute.Builder, v []compute.Value) compute.Value {
		return b.Op(compute.GroupNorm{
			X: v[0], Weight: g.param(b, "w", w, channels), Bias: g.param(b, "b", bias, channels), Groups: 1, Eps: 0.125, Activation: compute.SiLU,
		})
	})

	graph := NewGraph()
	xs := x.node(graph, "x", samples, positions*channels)
	tiled := func(a array) array {
		var r array
		for range positions {
			r.values = append(r.values, a.values...)
		}
		return r
	}
	y := normalised(xs, samples, 0.125)
	y = must(BroadcastHadamardProd(y, tiled(w).node(graph, "w", 1, positions*channels), nil, []byte{0}))
	y = must(BroadcastAdd(y, tiled(bias).node(graph, "b", 1, positions*channels), nil, []byte{0}))
	y = must(HadamardProd(y, must(Sigmoid(y))))
	compare(t, got, theirs(t, graph, meanSquare(y, target.node(graph, "target", samples, positions*channels)), xs))
}

// permuted is a with its four axes in another order.
func (a array) permuted(order ...int) array {
	p := array{make([]float64, len(a.values)), make([]int, 4)}
	stride := []int{a.shape[1] * a.shape[2] * a.shape[3], a.shape[2] * a.shape[3], a.shape[3], 1}
	for i, from := range order {
		p.shape[i] = a.shape[from]
	}
	for i := range p.values {
		rest, at := i, 0
		for axis := 3; axis >= 0; axis-- {
			at += rest % p.shape[axis] * stride[order[axis]]
			rest /= p.shape[axis]
		}
		p.values[i] = a.values[at]
	}
	return p
}

// TestConv2D differentiates convolutions by input and weight.
func TestConv2D(t *testing.T) {
	for _, c := range []struct {
		name           string
		stride, pad    int
		resultH, width int
	}{{"3×3", 1, 1, 5, 4}, {"stride 2", 2, 1, 3, 2}, {"no padding", 1, 0, 3, 2}} {
		t.Run(c.name, func(t *testing.T) {
			g := newGiven()
			const in, out = 3, 2
			x, w, target := g.array(2, 5, 4, in), g.array(out, in, 3, 3), g.array(2, c.resultH, c.width, out)
			got := ours(t, g, target, []array{x, w}, func(b *compute.Builder, v []compute.Value) compute.Value {
				return b.Op(compute.Conv2D{X: v[0], Weight: v[1], Stride: c.stride, Pad: compute.SamePadding(c.pad)})
			})

			graph := NewGraph()
			xs, ws := x.permuted(0, 3, 1, 2).node(graph, "x"), w.node(graph, "w") // [N C H W]
			y := must(Conv2d(xs, ws, tensor.Shape{3, 3}, []int{c.pad, c.pad}, []int{c.stride, c.stride}, []int{1, 1}))
			want := theirs(t, graph, meanSquare(y, target.permuted(0, 3, 1, 2).node(graph, "target")), xs, ws)
			want[0] = array{want[0], []int{2, in, 5, 4}}.permuted(0, 2, 3, 1).values
			compare(t, got, want)
		})
	}
}
