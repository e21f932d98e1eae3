package cpu

import (
	"context"
	"fmt"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
)

// BenchmarkGradient times the ops that a LoRA training step of SD 1.5 spends itself on, at batch 1 and 512×512 pixels, and
// reports GFLOP/s by the direct algorithm.
func BenchmarkGradient(b *testing.B) {
	for _, c := range []struct{ tokens, keys, channels int }{
		{4096, 4096, 320}, {1024, 1024, 640}, {256, 256, 1280}, {4096, 77, 320}, {1024, 77, 640},
	} {
		benchmark(b, fmt.Sprintf("AttentionGradient/%d×%d×%d", c.tokens, c.keys, c.channels), func(r *recorder) compute.Op {
			return compute.AttentionGradient{
				Q: r.input(1, c.tokens, c.channels), K: r.input(1, c.keys, c.channels), V: r.input(1, c.keys, c.channels),
				DY: r.input(1, c.tokens, c.channels), Heads: 8,
			}
		})
	}
	for _, c := range []struct{ tokens, out, in int }{{4096, 320, 320}, {4096, 2560, 320}, {1024, 640, 2560}, {256, 10240, 1280}} {
		benchmark(b, fmt.Sprintf("LinearInputGradient/%d×%d×%d", c.tokens, c.out, c.in), func(r *recorder) compute.Op {
			return compute.LinearInputGradient{DY: r.input(1, c.tokens, c.out), Weight: r.param(c.out, c.in), Channels: c.in}
		})
	}
	for _, c := range []struct{ side, out, in, stride, resize int }{
		{64, 320, 320, 1, 0}, {32, 640, 1280, 1, 0}, {16, 1280, 1280, 1, 0}, {64, 320, 320, 2, 0}, {32, 640, 640, 1, 64},
	} {
		benchmark(b, fmt.Sprintf("Conv2DInputGradient/%d²×%d×%d/stride=%d/resize=%d", c.side, c.out, c.in, c.stride, c.resize), func(r *recorder) compute.Op {
			side := max(c.side, c.resize) / c.stride
			return compute.Conv2DInputGradient{
				DY: r.input(1, side, side, c.out), Weight: r.param(c.out, c.in, 3, 3), Height: c.side, Width: c.side, Channels: c.in,
				Stride: c.stride, Pad: compute.SamePadding(1), Resize: [2]int{c.resize, c.resize},
			}
		})
	}
	for _, c := range []struct{ tokens, channels, rank int }{{4096, 320, 16}, {1024, 640, 16}, {4096, 320, 128}} {
		name := fmt.Sprintf("%d×%d×%d", c.tokens, c.channels, c.rank)
		benchmark(b, "MatMul/x·downᵀ/"+name, func(r *recorder) compute.Op {
			return compute.MatMul{A: r.input(1, c.tokens, c.channels), B: r.input(c.rank, c.channels), TransposeB: true}
		})
		benchmark(b, "MatMul/x·upᵀ/"+name, func(r *recorder) compute.Op {
			return compute.MatMul{
				A: r.input(1, c.tokens, c.rank), B: r.input(c.channels, c.rank), TransposeB: true, Scale: 0.5, Add: r.input(1, c.tokens, c.channels),
			}
		})
		benchmark(b, "MatMul/dyᵀ·x/"+name, func(r *recorder) compute.Op {
			return compute.MatMul{A: r.input(1, c.tokens, c.rank), B: r.input(1, c.tokens, c.channels), TransposeA: true}
		})
		benchmark(b, "MatMul/xᵀ·dy/"+name, func(r *recorder) compute.Op {
			return compute.MatMul{A: r.input(1, c.tokens, c.channels), B: r.input(1, c.tokens, c.rank), TransposeA: true}
		})
	}
	benchmark(b, "GroupNormGradient/64²×320", func(r *recorder) compute.Op {
		return compute.GroupNormGradient{
			X: r.input(1, 64, 64, 320), DY: r.input(1, 64, 64, 320), Weight: r.param(320), Bias: r.param(320), Groups: 32, Eps: 1e-5, Activation: compute.SiLU,
		}
	})
	benchmark(b, "LayerNormGradient/4096×320", func(r *recorder) compute.Op {
		return compute.LayerNormGradient{X: r.input(1, 4096, 320), DY: r.input(1, 4096, 320), Weight: r.param(320), Eps: 1e-5}
	})
	benchmark(b, "GEGLUGradient/4096×2560", func(r *recorder) compute.Op {
		return compute.GEGLUGradient{X: r.input(1, 4096, 2560), DY: r.input(1, 4096, 1280)}
	})
}

// recorder declares the operands of a benchmark.
type recorder struct {
	compute.Builder
	source computetest.Source
}

func (r *recorder) input(shape ...int) compute.Value { return r.Input("", compute.F32, shape...) }

func (r *recorder) param(shape ...int) compute.Value {
	name := fmt.Sprint(shape)
	r.source.Add(name, compute.F16, spread(compute.Shape(shape).Elements()), shape...)
	return r.Param(name, shape...)
}

// spread is n numbers around zero.
func spread(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32((i*7919)%1000-500) / 500
	}
	return x
}

func benchmark(b *testing.B, name string, record func(r *recorder) compute.Op) {
	b.Run(name, func(b *testing.B) {
		device := opener(Options{})(b)
		defer device.Close()
		var r recorder
		for _, y := range r.Results(record(&r)) {
			r.Output(y)
		}
		program, err := r.Build()
		if err != nil {
			b.Fatal(err)
		}
		params, err := device.Load(&r.source)
		if err != nil {
			b.Fatal(err)
		}
		defer params.Close()
		x, err := device.Compile(program, params)
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		tensors := func(values []compute.Value) (list []compute.Tensor) {
			for _, v := range values {
				t, err := device.NewTensor(compute.F32, program.Shape(v)...)
				if err == nil {
					err = t.Upload(compute.Floats(spread(program.Shape(v).Elements())))
				}
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, t)
			}
			return list
		}
		in, out := tensors(program.Inputs), tensors(program.Outputs)
		var seconds float64
		x.(compute.Profiler).Profile(func(_ int, s float64) { seconds += s })
		runs := 0
		for b.Loop() {
			if err := x.Run(context.Background(), out, in); err != nil {
				b.Fatal(err)
			}
			if runs++; runs == 1 {
				seconds = 0 // the first touches memory
			}
		}
		if runs > 1 {
			seconds /= float64(runs - 1)
		}
		b.ReportMetric(1e3*seconds, "op-ms")
		if seconds > 0 { // a coarse clock may see none pass
			b.ReportMetric(float64(program.TotalFLOPs())/seconds/1e9, "GFLOP/s")
		}
	})
}
