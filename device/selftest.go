package device

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
)

// SelfTest compares a device with the CPU on a small network that has a layer of every kind. It takes less than a second.
func SelfTest(dev compute.Device) error {
	reference, err := cpu.Open(cpu.Options{Workers: 1})
	if err != nil {
		return err
	}
	defer reference.Close()
	want, err := evaluate(reference)
	if err != nil {
		return err
	}
	have, err := evaluate(dev)
	if err != nil {
		return fmt.Errorf("device: self-test of %s: %w", dev.Name(), err)
	}
	if e := relativeError(have, want); !(e <= selfTestTolerance) {
		return fmt.Errorf("device: self-test of %s: the result is off by %.2g of its size, want at most %g", dev.Name(), e, selfTestTolerance)
	}
	return nil
}

// selfTestTolerance is ten times what half precision errs by.
const selfTestTolerance = 2e-2

// numbers look random and are the same everywhere.
func numbers(n int, size float64) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(size * math.Sin(float64(i*i%1009)+0.5))
	}
	return values
}

// network records the self-test's: a convolution, norms, attention, a gated layer.
func network() (*compute.Program, parameters, error) {
	const side, channels, heads = 8, 32, 2
	var b compute.Builder
	p := make(parameters)
	param := func(name string, shape ...int) compute.Value {
		p[name] = shape
		return b.Param(name, shape...)
	}
	x := b.Input("x", compute.F32, 1, side, side, channels)
	x = b.Op(compute.Conv2D{X: x, Weight: param("conv", channels, channels, 3, 3), Bias: param("bias", channels), Stride: 1, Pad: compute.SamePadding(1)})
	x = b.Op(compute.GroupNorm{X: x, Weight: param("scale", channels), Bias: param("shift", channels), Groups: 4, Eps: 1e-5, Activation: compute.SiLU})
	x = b.Reshape(x, 1, side*side, channels)
	n := b.Op(compute.LayerNorm{X: x, Weight: param("scale", channels), Bias: param("shift", channels), Eps: 1e-5})
	linear := func(name string, x compute.Value, in, out int, residual compute.Value) compute.Value {
		return b.Op(compute.Linear{X: x, Weight: param(name, out, in), Epilogue: compute.Epilogue{Residual: residual}})
	}
	none := compute.Value{}
	a := b.Op(compute.Attention{
		Q: linear("q", n, channels, channels, none), K: linear("k", n, channels, channels, none), V: linear("v", n, channels, channels, none), Heads: heads,
	})
	x = linear("o", a, channels, channels, x)
	x = linear("down", b.Op(compute.GEGLU{X: linear("up", x, channels, 4*channels, none)}), 2*channels, channels, x)
	b.Output(x)
	program, err := b.Build()
	return program, p, err
}

// evaluate runs the self-test's network on a device.
func evaluate(dev compute.Device) (result []float32, err error) {
	program, source, err := network()
	if err != nil {
		return nil, err
	}
	closing := func(c interface{ Close() error }) { err = errors.Join(err, c.Close()) }
	params, err := dev.Load(source)
	if err != nil {
		return nil, err
	}
	defer closing(params)
	exe, err := dev.Compile(program, params)
	if err != nil {
		return nil, err
	}
	defer closing(exe)
	in, err := dev.NewTensor(compute.F32, program.Shape(program.Inputs[0])...)
	if err != nil {
		return nil, err
	}
	defer closing(in)
	out, err := dev.NewTensor(compute.F32, program.Shape(program.Outputs[0])...)
	if err != nil {
		return nil, err
	}
	defer closing(out)
	if err = in.Upload(compute.Floats(numbers(in.Shape().Elements(), 1))); err != nil {
		return nil, err
	}
	if err = exe.Run(context.Background(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		return nil, err
	}
	result = make([]float32, out.Shape().Elements())
	return result, out.Download(compute.Floats(result))
}

// relativeError is the size of the difference over that of want.
func relativeError(have, want []float32) float64 {
	var difference, size float64
	for i, w := range want {
		difference += float64(have[i]-w) * float64(have[i]-w)
		size += float64(w) * float64(w)
	}
	return math.Sqrt(difference / size)
}

// parameters are those of the self-test, by name: shapes, whose numbers are made when they are read.
type parameters map[string]compute.Shape

// ParamType implements compute.ParamSource.
func (p parameters) ParamType(name string) (compute.Type, error) {
	shape, ok := p[name]
	if !ok {
		return compute.Type{}, fmt.Errorf("device: there is no parameter %q", name)
	}
	return compute.Type{DType: compute.F32, Shape: shape}, nil
}

// ParamData implements compute.ParamSource.
func (p parameters) ParamData(name string) (data []byte, err error) {
	for _, v := range numbers(p[name].Elements(), 1/math.Sqrt(float64(p[name].Last()))) {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data, nil
}
