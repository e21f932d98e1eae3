package computetest

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// Case is one op with its operands. The same case serves as test, benchmark and row of the support table.
type Case struct {
	Name      string                       // "Conv2D/3×3/odd/F16"
	Params    compute.DType                // how parameters are stored
	Record    func(o *Operands) compute.Op // declares the operands, whose values depend on Name and order alone
	Tolerance Tolerance
}

// Operands declares the operands of a case together with their values.
type Operands struct {
	b      *compute.Builder
	random *rand.Rand
	params compute.DType
	inside bool
	inputs []compute.Buffer
	source Source
}

func newOperands(b *compute.Builder, seed string, params compute.DType) *Operands {
	h := fnv.New64a()
	h.Write([]byte(seed))
	return &Operands{b: b, random: rand.New(rand.NewPCG(h.Sum64(), 0)), params: params}
}

// Values declares an F32 input of the given values. Inside a program they are rounded to half precision before, so that an op whose result
// hangs on the difference of close operands is given the same ones by every device.
func (o *Operands) Values(values []float32, shape ...int) compute.Value {
	if o.inside {
		for i, v := range values {
			values[i] = f16.ToF32(f16.FromF32(v))
		}
	}
	o.inputs = append(o.inputs, compute.Floats(values))
	x := o.b.Input("", compute.F32, shape...)
	if o.inside {
		return o.b.Op(compute.Activate{X: x})
	}
	return x
}

// IDs declares an I32 input of the given values.
func (o *Operands) IDs(values []int32, shape ...int) compute.Value {
	o.inputs = append(o.inputs, compute.Ints(values))
	return o.b.Input("", compute.I32, shape...)
}

// Input declares an F32 input of mean 0 and variance 1.
func (o *Operands) Input(shape ...int) compute.Value { return o.Around(0, shape...) }

// Around declares an F32 input of the given mean and variance 1.
func (o *Operands) Around(mean float32, shape ...int) compute.Value {
	return o.Values(o.uniform(compute.Shape(shape).Elements(), mean, math.Sqrt(3)), shape...)
}

// RandomIDs declares an I32 input of values in 0 … limit-1, the extremes among them.
func (o *Operands) RandomIDs(limit int, shape ...int) compute.Value {
	ids := make([]int32, compute.Shape(shape).Elements())
	for i := range ids {
		ids[i] = o.random.Int32N(int32(limit))
	}
	ids[0], ids[len(ids)-1] = int32(limit-1), 0
	return o.IDs(ids, shape...)
}

// Param declares a parameter whose products with inputs sum to variance 1: variance 1 for a vector, 1/fan-in otherwise.
func (o *Operands) Param(name string, shape ...int) compute.Value {
	s := compute.Shape(shape)
	width := math.Sqrt(3)
	if len(s) > 1 {
		width /= math.Sqrt(float64(s[1:].Elements()))
	}
	o.source.Add(name, o.params, o.uniform(s.Elements(), 0, width), shape...)
	return o.b.Param(name, shape...)
}

// Weights declares a parameter of the given values.
func (o *Operands) Weights(name string, values []float32, shape ...int) compute.Value {
	o.source.Add(name, o.params, values, shape...)
	return o.b.Param(name, shape...)
}

// uniform is n numbers evenly spread over mean ± width.
func (o *Operands) uniform(n int, mean float32, width float64) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = mean + float32(width*(2*o.random.Float64()-1))
	}
	return values
}

// recording is a program with everything it needs to run.
type recording struct {
	program *compute.Program
	inputs  []compute.Buffer
	source  *Source
}

// record builds the case's program, whose first outputs are the op's results. A guarded program keeps every input alive and
// adds two guards for each result that the planner lays against it: it places larger blocks first and keeps the order
// of equals, so one guard a block larger comes before the result and one of its size after. All inputs, and the guards
// as the last of them, are then outputs too.
func (c Case) record(guarded bool) (*recording, error) { return c.recordWithin(guarded, false) }

// recordWithin is record for a case whose operands, if it is inside, come from ops, as its results go to some.
func (c Case) recordWithin(guarded, inside bool) (*recording, error) {
	var b compute.Builder
	end := b.Scope(c.Name)
	o := newOperands(&b, c.Name, c.Params)
	o.inside = inside
	results := b.Results(c.Record(o))
	o.inside = false
	end()
	for _, y := range results {
		if inside {
			y = b.Op(compute.Repeat{X: y, Times: 1})
		}
		b.Output(y)
	}
	p, err := b.Build()
	if err != nil || !guarded {
		return &recording{p, o.inputs, &o.source}, err
	}
	for _, y := range results {
		size := p.Shape(y).Elements()
		o.Input(size + 64) // 64 elements are the planner's alignment
		o.Input(size)
	}
	if p, err = b.Build(); err != nil {
		return nil, err
	}
	for _, v := range p.Inputs {
		b.Output(b.Reshape(v, p.Shape(v).Elements()))
	}
	p, err = b.Build()
	return &recording{p, o.inputs, &o.source}, err
}

func (c Case) compiles(device compute.Device) error {
	r, err := c.record(false)
	if err != nil {
		return err
	}
	params, err := device.Load(r.source)
	if err != nil {
		return err
	}
	defer params.Close()
	x, err := device.Compile(r.program, params)
	if err != nil {
		return err
	}
	return x.Close()
}

// execution is a recording compiled for a device, with its tensors.
type execution struct {
	compute.Executable
	params  compute.Params
	program *compute.Program
	in, out []compute.Tensor
}

// start compiles r, uploads its inputs, and closes everything, twice, when the test ends.
func start(tb testing.TB, device compute.Device, r *recording) *execution {
	tb.Helper()
	x := &execution{program: r.program}
	var err error
	if x.params, err = device.Load(r.source); err != nil {
		tb.Fatal(err)
	}
	closing(tb, x.params)
	if x.Executable, err = device.Compile(r.program, x.params); err != nil {
		tb.Fatal(err)
	}
	closing(tb, x.Executable)
	x.in, x.out = tensors(tb, device, r.program, r.program.Inputs), tensors(tb, device, r.program, r.program.Outputs)
	for i, values := range r.inputs {
		if err := x.in[i].Upload(values); err != nil {
			tb.Fatal(err)
		}
	}
	return x
}

func tensors(tb testing.TB, device compute.Device, p *compute.Program, values []compute.Value) []compute.Tensor {
	tb.Helper()
	list := make([]compute.Tensor, len(values))
	for i, v := range values {
		typ := p.Type(v)
		t, err := device.NewTensor(typ.DType, typ.Shape...)
		if err != nil {
			tb.Fatal(err)
		}
		closing(tb, t)
		list[i] = t
	}
	return list
}

// closing closes c, and closes it again, when the test ends.
func closing(tb testing.TB, c interface{ Close() error }) {
	tb.Cleanup(func() {
		for range 2 {
			if err := c.Close(); err != nil {
				tb.Errorf("close %T: %v", c, err)
			}
		}
	})
}

// poison fills the outputs with values no op computes: NaN and -1.
func (x *execution) poison(tb testing.TB) {
	tb.Helper()
	for _, t := range x.out {
		host := newHost(t)
		for i := range host.F32 {
			host.F32[i] = float32(math.NaN())
		}
		for i := range host.I32 {
			host.I32[i] = -1
		}
		if err := t.Upload(host); err != nil {
			tb.Fatal(err)
		}
	}
}

func (x *execution) run(tb testing.TB) {
	tb.Helper()
	if err := x.Run(context.Background(), x.out, x.in); err != nil {
		tb.Fatal(err)
	}
}

// output downloads output i.
func (x *execution) output(tb testing.TB, i int) compute.Buffer {
	tb.Helper()
	return download(tb, x.out[i])
}

func download(tb testing.TB, t compute.Tensor) compute.Buffer {
	tb.Helper()
	host := newHost(t)
	if err := t.Download(host); err != nil {
		tb.Fatal(err)
	}
	return host
}

// newHost is host memory for t's elements.
func newHost(t compute.Tensor) compute.Buffer {
	return compute.NewBuffer(compute.Type{DType: t.DType(), Shape: t.Shape()})
}
