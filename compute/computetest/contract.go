package computetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
)

// network is a small network in the manner of the UNet as a program. Its result is [batch,8,8,4].
func network(batch int) *recording {
	var b compute.Builder
	o := newOperands(&b, "network", compute.F16)
	y, _ := recordNetwork(&b, o, batch)
	b.Output(y)
	p, err := b.Build()
	if err != nil {
		panic(err) // a mistake in this file
	}
	return &recording{p, o.inputs, &o.source}
}

// recordNetwork records a residual block with a time embedding, attention to a context, and a skip connection. The residual
// block and the attention are checkpoint segments. It returns the result, [batch,8,8,4], and the inputs with a gradient.
func recordNetwork(b *compute.Builder, o *Operands, batch int) (y compute.Value, wrt []compute.Value) {
	const c, context = 32, 16
	steps := make([]float32, batch)
	latents := o.sameForEachSample(batch, 8*8*4)
	tokens := o.sameForEachSample(batch, 5*context)
	for i := range steps {
		steps[i] = float32(700 - 300*i)
	}
	x := o.Values(latents, batch, 8, 8, 4)
	timesteps := o.Values(steps, batch)
	text := o.Values(tokens, batch, 5, context)

	conv := func(name string, x, x2 compute.Value, in, out int, e compute.Epilogue) compute.Value {
		defer b.Scope(name)()
		return b.Op(compute.Conv2D{
			X: x, X2: x2, Weight: o.Param(name+".weight", out, in, 3, 3), Bias: o.Param(name+".bias", out),
			Stride: 1, Pad: compute.SamePadding(1), Epilogue: e,
		})
	}
	linear := func(name string, x compute.Value, in, out int, e compute.Epilogue) compute.Value {
		defer b.Scope(name)()
		return b.Op(compute.Linear{X: x, Weight: o.Param(name+".weight", out, in), Bias: o.Param(name+".bias", out), Epilogue: e})
	}
	norm := func(name string, x, x2 compute.Value, channels int) compute.Value {
		defer b.Scope(name)()
		return b.Op(compute.GroupNorm{
			X: x, X2: x2, Weight: o.Param(name+".weight", channels), Bias: o.Param(name+".bias", channels),
			Groups: 4, Eps: 1e-5, Activation: compute.SiLU,
		})
	}
	none := compute.Value{}

	temb := b.Op(compute.TimestepEmbedding{Timesteps: timesteps, Dim: c, FlipSinToCos: true})
	temb = linear("time_embedding", temb, c, c, compute.Epilogue{Activation: compute.SiLU})
	h := conv("conv_in", x, none, 4, c, compute.Epilogue{})
	skip := h
	end := b.Segment()
	h = norm("norm1", h, none, c)
	h = conv("conv1", h, none, c, c, compute.Epilogue{PerChannel: temb})
	h = norm("norm2", h, none, c)
	h = conv("conv2", h, none, c, c, compute.Epilogue{Residual: skip})
	end()

	end = b.Segment()
	tokensOf := b.Reshape(h, batch, 64, c)
	n := b.Op(compute.LayerNorm{X: tokensOf, Weight: o.Param("ln.weight", c), Bias: o.Param("ln.bias", c), Eps: 1e-5})
	q := linear("to_q", n, c, c, compute.Epilogue{})
	k, v := linear("to_k", text, context, c, compute.Epilogue{}), linear("to_v", text, context, c, compute.Epilogue{})
	a := b.Op(compute.Attention{Q: q, K: k, V: v, Heads: 4})
	h = linear("to_out", a, c, c, compute.Epilogue{Residual: tokensOf})
	f := b.Op(compute.GEGLU{X: linear("proj", h, c, 4*c, compute.Epilogue{})})
	h = linear("out", f, 2*c, c, compute.Epilogue{Residual: h})
	h = b.Reshape(h, batch, 8, 8, c)
	end()

	h = norm("norm_out", h, skip, 2*c)
	return conv("conv_out", h, none, 2*c, 4, compute.Epilogue{}), []compute.Value{x, text}
}

// sameForEachSample draws n values for each sample so that a sample's values do not depend on how many follow.
func (o *Operands) sameForEachSample(batch, n int) []float32 {
	var values []float32
	for sample := range batch {
		of := newOperands(nil, fmt.Sprint(n, "of sample", sample), compute.F32)
		values = append(values, of.uniform(n, 0, math.Sqrt(3))...)
	}
	return values
}

// networkTolerance bounds the network's result: some twenty ops, each within 16 roundoffs of sums with up to 576 terms,
// whose errors a norm may double.
func networkTolerance() Tolerance {
	return Tolerance{4096, 1, "the errors of some twenty ops, up to a few hundred roundoffs each, add up"}
}

func (s Suite) testContract(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, device compute.Device)
	}{
		{"network", s.testNetwork},
		{"batch of two is two singles", s.testBatch},
		{"concurrent runs", s.testConcurrent},
		{"allocations", s.testAllocations},
		{"cancellation", s.testCancellation},
		{"failing run", s.testFailingRun},
		{"wrong tensors", s.testWrongTensors},
		{"wrong parameters", s.testWrongParams},
		{"other values", s.testReload},
		{"half-precision activations", s.testHalfActivations},
		{"in place", s.testInPlace},
		{"several programs", s.testSeveralPrograms},
		{"memory", s.testMemory},
		{"closed", s.testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s.open(t)) })
	}
}

func (s Suite) testNetwork(t *testing.T, device compute.Device) {
	if device.Name() == "" {
		t.Error("the device has no name")
	}
	oracle := ref.New()
	defer oracle.Close()
	r := network(2)
	want := start(t, oracle, r)
	want.run(t)
	x := start(t, device, r)
	x.run(t)
	got := x.output(t, 0)
	if err := networkTolerance().check(got, want.output(t, 0), 4*s.OperandRoundoff, 4*s.ValueRoundoff, s.ValueStep); err != nil {
		t.Error(err)
	}
	for range 3 {
		x.poison(t)
		x.run(t)
		if at := firstDifference(x.output(t, 0), got); at >= 0 {
			t.Fatalf("a later run differs at element %d", at)
		}
	}
	for i, in := range r.inputs {
		if at := firstDifference(download(t, x.in[i]), in); at >= 0 {
			t.Errorf("running changed input tensor %d at element %d", i, at)
		}
	}
	again := start(t, device, r)
	again.run(t)
	if at := firstDifference(again.output(t, 0), got); at >= 0 {
		t.Errorf("compiled again, the program gives another result at element %d", at)
	}
}

// testBatch allows the tolerance of the network: a device may cut a batch into tiles differently.
func (s Suite) testBatch(t *testing.T, device compute.Device) {
	one, two := network(1), network(2)
	pair := start(t, device, two)
	pair.run(t)
	both := pair.output(t, 0).F32
	single := start(t, device, one)
	half := len(both) / 2
	for sample := range 2 {
		for i, in := range two.inputs {
			values := in.F32
			n := len(values) / 2
			if err := single.in[i].Upload(compute.Floats(values[sample*n:][:n])); err != nil {
				t.Fatal(err)
			}
		}
		single.run(t)
		if err := networkTolerance().check(compute.Floats(both[sample*half:][:half]), single.output(t, 0), 4*s.OperandRoundoff, 4*s.ValueRoundoff, s.ValueStep); err != nil {
			t.Errorf("sample %d: %v", sample, err)
		}
	}
}

func (s Suite) testConcurrent(t *testing.T, device compute.Device) {
	one, two := start(t, device, network(1)), start(t, device, network(2))
	var wait sync.WaitGroup
	errs := make(chan error, 4)
	for i, x := range []*execution{one, two, one, two} {
		x.run(t)
		want := x.output(t, 0)
		mine := tensors(t, device, x.program, x.program.Outputs)
		wait.Go(func() {
			for range 5 {
				if err := x.Run(context.Background(), mine, x.in); err != nil {
					errs <- err
					return
				}
				got := newHost(mine[0])
				if err := mine[0].Download(got); err != nil {
					errs <- err
					return
				}
				if at := firstDifference(got, want); at >= 0 {
					errs <- fmt.Errorf("goroutine %d: element %d differs from the serial run", i, at)
					return
				}
			}
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func (s Suite) testAllocations(t *testing.T, device compute.Device) {
	if !s.AllocationFree {
		t.Skip("the suite is not asked to demand runs without allocations")
	}
	x := start(t, device, network(1))
	ctx := context.Background()
	var err error
	if n := testing.AllocsPerRun(10, func() { err = errors.Join(err, x.Run(ctx, x.out, x.in)) }); n != 0 || err != nil {
		t.Errorf("a run allocates %v times (error %v), want 0", n, err)
	}
}

var errEnough = errors.New("enough")

// countdown is a context that is cancelled with errEnough when it is asked for the n-th time.
type countdown struct {
	context.Context
	mu     sync.Mutex
	left   int
	cancel context.CancelCauseFunc
}

func newCountdown(n int) *countdown {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &countdown{Context: ctx, left: n, cancel: cancel}
}

func (c *countdown) asked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left <= 0 {
		c.cancel(errEnough)
	}
}

func (c *countdown) Err() error            { c.asked(); return c.Context.Err() }
func (c *countdown) Done() <-chan struct{} { c.asked(); return c.Context.Done() }

func (s Suite) testCancellation(t *testing.T, device compute.Device) {
	x := start(t, device, network(1))
	x.run(t)
	want := x.output(t, 0)
	for _, n := range []int{1, 2, 8} {
		if err := x.Run(newCountdown(n), x.out, x.in); !errors.Is(err, errEnough) {
			t.Errorf("cancelled when asked for the %d. time, the run returned %v, want the cause", n, err)
		}
	}
	x.poison(t)
	x.run(t)
	if at := firstDifference(x.output(t, 0), want); at >= 0 {
		t.Errorf("after cancelled runs the result differs at element %d", at)
	}
}

func (s Suite) testFailingRun(t *testing.T, device compute.Device) {
	embed := Case{Name: "embeddings", Params: compute.F32, Record: func(o *Operands) compute.Op {
		return compute.Embed{IDs: o.IDs([]int32{0, 1, 2, 3, 4, 5}, 2, 3), Table: o.Param("table", 7, 3)}
	}}
	r, err := embed.record(false)
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, device, r)
	x.run(t)
	want := x.output(t, 0)
	for _, bad := range []int32{-1, 7, 49500, math.MaxInt32, math.MinInt32} {
		if err := x.in[0].Upload(compute.Ints([]int32{0, 1, 2, 3, bad, 5})); err != nil {
			t.Fatal(err)
		}
		err := x.Run(context.Background(), x.out, x.in)
		if err == nil {
			t.Errorf("id %d of a table of 7 rows was accepted", bad)
			continue
		}
		for _, part := range []string{fmt.Sprint(bad), "1 1", "embeddings"} { // the id, its place, the path
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error %q does not mention %q", err, part)
			}
		}
	}
	if err := x.in[0].Upload(r.inputs[0]); err != nil {
		t.Fatal(err)
	}
	x.run(t)
	if at := firstDifference(x.output(t, 0), want); at >= 0 {
		t.Errorf("after failed runs the result differs at element %d", at)
	}
}

func (s Suite) testWrongTensors(t *testing.T, device compute.Device) {
	for _, bad := range []compute.Type{
		{DType: compute.InvalidDType, Shape: compute.Shape{1}}, {DType: 99, Shape: compute.Shape{1}},
		{DType: compute.F32, Shape: compute.Shape{0}}, {DType: compute.F32, Shape: compute.Shape{2, -3}},
		{DType: compute.F32, Shape: compute.Shape{math.MaxInt, 3}},
	} {
		if _, err := device.NewTensor(bad.DType, bad.Shape...); err == nil {
			t.Errorf("a tensor %v was made", bad)
		}
	}
	x := start(t, device, network(1))
	in, out := x.in, x.out
	fresh, err := device.NewTensor(compute.F32, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fresh)
	if at := firstDifference(download(t, fresh), compute.Floats(make([]float32, 6))); at >= 0 {
		t.Errorf("a new tensor is not zero at element %d", at)
	}
	if err := in[0].Upload(compute.Floats(make([]float32, 3))); err == nil {
		t.Error("an upload of the wrong length was accepted")
	}
	if err := in[0].Upload(compute.Ints(make([]int32, 256))); err == nil {
		t.Error("an upload of int32 to an F32 tensor was accepted")
	}
	if err := in[0].Upload(compute.Buffer{}); err == nil {
		t.Error("an upload of nothing was accepted")
	}
	if err := out[0].Download(compute.Ints(make([]int32, 256))); err == nil {
		t.Error("a download of an F32 tensor to int32 was accepted")
	}
	if err := out[0].Download(compute.Floats(make([]float32, 257))); err == nil {
		t.Error("a download of the wrong length was accepted")
	}

	ids, err := device.NewTensor(compute.I32, 1, 8, 8, 4)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, ids)
	flat, err := device.NewTensor(compute.F32, 256)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, flat)
	gone, err := device.NewTensor(compute.F32, 1, 8, 8, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	elsewhere := foreign{compute.Type{DType: compute.F32, Shape: compute.Shape{1, 8, 8, 4}}}
	for _, c := range []struct {
		name    string
		out, in []compute.Tensor
	}{
		{"no inputs", out, nil},
		{"an input too many", out, append(append([]compute.Tensor(nil), in...), flat)},
		{"no outputs", nil, in},
		{"an output too many", []compute.Tensor{out[0], out[0]}, in},
		{"an input of another element type", out, []compute.Tensor{ids, in[1], in[2]}},
		{"an input of another shape", out, []compute.Tensor{flat, in[1], in[2]}},
		{"inputs exchanged", out, []compute.Tensor{in[1], in[0], in[2]}},
		{"an output of another shape", []compute.Tensor{flat}, in},
		{"an output of another element type", []compute.Tensor{ids}, in},
		{"a missing input", out, []compute.Tensor{nil, in[1], in[2]}},
		{"a missing output", []compute.Tensor{nil}, in},
		{"a closed input", out, []compute.Tensor{gone, in[1], in[2]}},
		{"a closed output", []compute.Tensor{gone}, in},
		{"an input of another device", out, []compute.Tensor{elsewhere, in[1], in[2]}},
		{"an output of another device", []compute.Tensor{elsewhere}, in},
	} {
		if err := x.Run(context.Background(), c.out, c.in); err == nil {
			t.Errorf("%s: the run succeeded", c.name)
		}
	}
	x.run(t)
}

// foreign is a tensor that belongs to no device.
type foreign struct{ typ compute.Type }

func (f foreign) Shape() compute.Shape          { return f.typ.Shape }
func (f foreign) DType() compute.DType          { return f.typ.DType }
func (f foreign) Upload(compute.Buffer) error   { return nil }
func (f foreign) Download(compute.Buffer) error { return nil }
func (f foreign) Close() error                  { return nil }

func (s Suite) testWrongParams(t *testing.T, device compute.Device) {
	var b compute.Builder
	end := b.Scope("proj")
	b.Output(b.Op(compute.Linear{
		X: b.Input("x", compute.F32, 2, 3), Weight: b.Param("proj.weight", 4, 3), Bias: b.Param("proj.bias", 4),
	}))
	end()
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	weights, biases := make([]float32, 12), make([]float32, 4)
	with := func(at int, v float32) []float32 {
		w := make([]float32, 12)
		w[at] = v
		return w
	}
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	for _, c := range []struct {
		name  string
		names string // what the error must mention
		fill  func(src *Source)
	}{
		{"missing", "proj.weight", func(src *Source) { src.Add("proj.bias", compute.F32, biases, 4) }},
		{"missing bias", "proj.bias", func(src *Source) { src.Add("proj.weight", compute.F32, weights, 4, 3) }},
		{"transposed", "proj.weight", func(src *Source) {
			src.Add("proj.weight", compute.F16, weights, 3, 4)
			src.Add("proj.bias", compute.F32, biases, 4)
		}},
		{"NaN in F32", "proj.weight", func(src *Source) {
			src.Add("proj.weight", compute.F32, with(11, nan), 4, 3)
			src.Add("proj.bias", compute.F32, biases, 4)
		}},
		{"infinity in F16", "proj.weight", func(src *Source) {
			src.Add("proj.weight", compute.F16, with(0, inf), 4, 3)
			src.Add("proj.bias", compute.F32, biases, 4)
		}},
		{"NaN in BF16", "proj.weight", func(src *Source) {
			src.Add("proj.weight", compute.BF16, with(5, nan), 4, 3)
			src.Add("proj.bias", compute.F32, biases, 4)
		}},
		{"NaN in the bias", "proj.bias", func(src *Source) {
			src.Add("proj.weight", compute.BF16, weights, 4, 3)
			src.Add("proj.bias", compute.F16, []float32{0, 0, nan, 0}, 4)
		}},
	} {
		var src Source
		c.fill(&src)
		params, err := device.Load(&src)
		if err == nil {
			closing(t, params)
			var x compute.Executable
			if x, err = device.Compile(p, params); err == nil {
				closing(t, x)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: error is %v, want one that names %s", c.name, err, c.names)
		}
	}
}

// testHalfActivations: a device may compute in half precision or say that it does not.
func (s Suite) testHalfActivations(t *testing.T, device compute.Device) {
	for _, typ := range []compute.DType{compute.F16, compute.BF16} {
		var b compute.Builder
		end := b.Scope("down_blocks.0")
		b.Output(b.Op(compute.Activate{X: b.Input("x", typ, 2, 3), Activation: compute.SiLU}))
		end()
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		params, err := device.Load(&Source{})
		if err != nil {
			t.Fatal(err)
		}
		closing(t, params)
		x, err := device.Compile(p, params)
		if err == nil {
			closing(t, x)
			continue
		}
		if !errors.Is(err, compute.ErrUnsupported) {
			t.Errorf("%v: error is %v, want one that wraps ErrUnsupported", typ, err)
		}
		if !strings.Contains(err.Error(), "down_blocks.0") && !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%v: the error %q names neither the op's path nor the input", typ, err)
		}
	}
}

// testInPlace writes results to the tensors that the operands came in: each output to the other one's input, so that a
// device which writes too early reads what it wrote.
func (s Suite) testInPlace(t *testing.T, device compute.Device) {
	var b compute.Builder
	x, y := b.Input("x", compute.F32, 2, 3), b.Input("y", compute.F32, 2, 3)
	b.Output(b.Op(compute.Add{A: x, B: y}))
	b.Output(b.Op(compute.Multiply{X: x, Factors: y}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	params, err := device.Load(new(Source))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, params)
	exe, err := device.Compile(program, params)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, exe)
	both := tensors(t, device, program, program.Inputs)
	for i, values := range [][]float32{{1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1}} {
		if err := both[i].Upload(compute.Floats(values)); err != nil {
			t.Fatal(err)
		}
	}
	if err := exe.Run(t.Context(), []compute.Tensor{both[1], both[0]}, both); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{6, 10, 12, 12, 10, 6}, {7, 7, 7, 7, 7, 7}} {
		got := make([]float32, 6)
		if err := both[i].Download(compute.Floats(got)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("tensor %d holds %v after a run in place, want %v", i, got, want)
		}
	}
}

// testSeveralPrograms runs programs of different sizes over the same parameters in turn.
func (s Suite) testSeveralPrograms(t *testing.T, device compute.Device) {
	two, one := network(2), network(1)
	params, err := device.Load(two.source)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, params)
	var first [2]compute.Buffer
	var runs [2]*execution
	for i, r := range []*recording{one, two} {
		x := &execution{program: r.program, params: params}
		if x.Executable, err = device.Compile(r.program, params); err != nil {
			t.Fatal(err)
		}
		closing(t, x.Executable)
		x.in, x.out = tensors(t, device, r.program, r.program.Inputs), tensors(t, device, r.program, r.program.Outputs)
		for k, values := range r.inputs {
			if err := x.in[k].Upload(values); err != nil {
				t.Fatal(err)
			}
		}
		runs[i] = x
	}
	for round := range 3 {
		for i, x := range runs {
			x.run(t)
			got := x.output(t, 0)
			if round == 0 {
				first[i] = got
			} else if at := firstDifference(got, first[i]); at >= 0 {
				t.Fatalf("program %d, round %d: element %d differs", i, round, at)
			}
		}
	}
	if err := runs[0].Close(); err != nil {
		t.Fatal(err)
	}
	runs[1].run(t)
	if at := firstDifference(runs[1].output(t, 0), first[1]); at >= 0 {
		t.Errorf("after another program was closed, element %d differs", at)
	}
}

func (s Suite) testMemory(t *testing.T, device compute.Device) {
	r := network(2)
	x := start(t, device, r)
	x.run(t)
	params, report := x.params.Memory(), x.Memory()
	if params <= 0 || report.Arena <= 0 || report.Total() < report.Arena {
		t.Errorf("parameters take %d bytes and running %+v, want positive numbers", params, report)
	}
	estimator, ok := device.(compute.Estimator)
	if !ok {
		t.Skip("the device is no compute.Estimator")
	}
	small := network(1)
	estimate, err := estimator.Estimate(r.source, small.program, r.program)
	if err != nil {
		t.Fatal(err)
	}
	if estimate.Params != params || estimate.Arena != report.Arena {
		t.Errorf("the estimate is %+v, but parameters take %d bytes and the arena %d", estimate, params, report.Arena)
	}
	if _, err := estimator.Estimate(&Source{}, r.program); err == nil {
		t.Error("an estimate without the parameters succeeded")
	}
}

// testClosed uses things after closing them; that they may be closed twice is tested wherever they are used.
// testReload has a program go on with other values of some parameters, and with the first ones again.
func (s Suite) testReload(t *testing.T, device compute.Device) {
	r := network(2)
	x := start(t, device, r)
	params, can := x.params.(compute.Reloader)
	if !can {
		t.Skip("the device's parameters cannot be given other values")
	}
	other, names := r.source.reversed()
	fresh := start(t, device, &recording{r.program, r.inputs, other})
	fresh.run(t)
	x.run(t)
	first, want, memory := x.output(t, 0), fresh.output(t, 0), x.params.Memory()
	if firstDifference(want, first) < 0 {
		t.Fatal("the other values make no difference")
	}
	for _, step := range []struct {
		name   string
		source *Source
		want   compute.Buffer
	}{{"other values", other, want}, {"once more", other, want}, {"the first again", r.source, first}} {
		if err := params.Reload(step.source, names); err != nil {
			t.Fatal(err)
		}
		x.poison(t)
		x.run(t)
		if at := firstDifference(x.output(t, 0), step.want); at >= 0 {
			t.Errorf("%s: loaded in place they give another result at element %d", step.name, at)
		}
	}
	if got := x.params.Memory(); got != memory {
		t.Errorf("they take %d bytes after %d", got, memory)
	}
	wrong := &Source{}
	wrong.Add(names[0], compute.F32, []float32{1, 2, 3}, 3)
	if err := params.Reload(wrong, names[:1]); err == nil || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("of another type: %v", err)
	}
	if err := params.Reload(&Source{}, names[:1]); err == nil || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("a source without it: %v", err)
	}
	if err := errors.Join(x.Executable.Close(), x.params.Close()); err != nil {
		t.Error(err)
	}
	if err := params.Reload(r.source, names); err == nil {
		t.Error("closed parameters were loaded")
	}
}

func (s Suite) testClosed(t *testing.T, device compute.Device) {
	x := start(t, device, network(1))
	x.run(t)
	if err := x.out[0].Close(); err != nil {
		t.Error(err)
	}
	if err := x.out[0].Download(compute.Floats(make([]float32, 256))); err == nil {
		t.Error("a closed tensor was downloaded")
	}
	if err := x.out[0].Upload(compute.Floats(make([]float32, 256))); err == nil {
		t.Error("a closed tensor was uploaded to")
	}
	if err := x.Executable.Close(); err != nil {
		t.Error(err)
	}
	out := tensors(t, device, x.program, x.program.Outputs)
	if err := x.Run(context.Background(), out, x.in); err == nil {
		t.Error("a closed executable ran")
	}
	if err := x.params.Close(); err != nil {
		t.Error(err)
	}
	if _, err := device.Compile(x.program, x.params); err == nil {
		t.Error("a program was compiled against closed parameters")
	}
}
