package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cuda/internal/realcard"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// recording is a program with its inputs and parameters.
type recording struct {
	compute.Builder
	source computetest.Source
	inputs []any
	params map[string][]float64
	stats  map[string]simgpu.Stats // what was counted, by kernel
}

func (r *recording) input(shape ...int) compute.Value {
	n := len(r.inputs)
	x := numbers(compute.Shape(shape).Elements()+n, 1)[n:]
	r.inputs = append(r.inputs, x)
	return r.Input(fmt.Sprint("input ", len(r.inputs)), compute.F32, shape...)
}

// half is an input that an op has passed on, as which it is kept in half precision.
func (r *recording) half(shape ...int) compute.Value {
	return r.Op(compute.Activate{X: r.input(shape...)})
}

// positive is an input of numbers around a half.
func (r *recording) positive(shape ...int) compute.Value {
	v := r.input(shape...)
	x := r.inputs[len(r.inputs)-1].([]float64)
	for i := range x {
		x[i] = 0.5 + 0.1*math.Tanh(x[i])
	}
	copy(x, values(bytes(x, compute.F32), compute.F32))
	return v
}

func (r *recording) ids(words []int32, shape ...int) compute.Value {
	r.inputs = append(r.inputs, words)
	return r.Input(fmt.Sprint("input ", len(r.inputs)), compute.I32, shape...)
}

func (r *recording) param(shape ...int) compute.Value {
	name := fmt.Sprint("param ", len(r.params))
	s := compute.Shape(shape)
	scale := 1.0
	if len(s) > 1 {
		scale = 1 / math.Sqrt(float64(s[1:].Elements()))
	}
	x := numbers(s.Elements(), scale)
	narrow := make([]float32, len(x))
	for i, v := range x {
		narrow[i] = float32(v)
	}
	if r.params == nil {
		r.params = make(map[string][]float64)
	}
	r.params[name] = x
	r.source.Add(name, compute.F32, narrow, shape...)
	return r.Param(name, shape...)
}

// execution runs a program's work on a simulated card, each value in memory of its own.
type execution struct {
	*recording
	program  *compute.Program
	device   simgpu.Device
	address  map[compute.Value]simgpu.Address
	packed   map[Array]simgpu.Address
	reported map[*Report]simgpu.Address
}

// execute returns the outputs.
func (r *recording) execute(t *testing.T, p *compute.Program, card Card, seed uint32) (outputs [][]float64) {
	t.Helper()
	k := New(card)
	x := execution{recording: r, program: k.Store(p), address: make(map[compute.Value]simgpu.Address), packed: make(map[Array]simgpu.Address), reported: make(map[*Report]simgpu.Address)}
	for i, v := range p.Inputs {
		if ids, ok := r.inputs[i].([]int32); ok {
			x.address[v] = x.device.Upload(little(ids))
		} else {
			x.address[v] = x.device.Upload(bytes(r.inputs[i].([]float64), x.program.Type(v).DType))
		}
	}
	names := make(map[string]string)
	for _, n := range p.Nodes {
		work, err := k.Work(x.program, n)
		if err != nil {
			t.Fatal(err)
		}
		x.allocate(n)
		x.run(t, work, seed)
		for _, l := range work.Launches {
			if text, known := names[l.Kernel.Name()]; known && text != l.Kernel.Text() {
				t.Errorf("two kernels are named %s", l.Kernel.Name())
			}
			names[l.Kernel.Name()] = l.Kernel.Text()
		}
	}
	for _, v := range p.Outputs {
		kept := x.program.Type(v)
		data, err := x.device.Download(x.address[v], kept.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, values(data, kept.DType))
	}
	return outputs
}

func (x *execution) allocate(n compute.Node) {
	if view, ok := n.Op.(compute.Reshape); ok {
		x.address[n.Out[0]] = x.address[view.X]
		return
	}
	for _, v := range n.Out {
		x.address[v] = x.device.Alloc(x.program.Type(v).Bytes())
	}
}

func (x *execution) run(t *testing.T, work Work, seed uint32) {
	t.Helper()
	scratch := x.device.Alloc(work.Scratch)
	for _, launch := range work.Launches {
		l := simgpu.Launch{Grid: launch.Grid, Shared: launch.Shared, Seed: seed, Off: seed}
		for _, a := range launch.Arguments {
			l.Arguments = append(l.Arguments, x.argument(t, a, scratch))
		}
		stats, err := realcard.Run(t, &x.device, launch.Kernel.Text(), l)
		if err != nil {
			t.Fatal(err)
		}
		x.count(launch.Kernel.Name(), stats)
		if stats.Products > 0 && stats.Conflicts > 0 {
			t.Errorf("%s has %d bank conflicts", launch.Kernel.Name(), stats.Conflicts)
		}
	}
	for report, at := range x.reported {
		data, err := x.device.Download(at, ReportBytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := report.Err([2]uint32{binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])}); err != nil {
			t.Fatal(err)
		}
	}
}

func (x *execution) argument(t *testing.T, a any, scratch simgpu.Address) uint64 {
	switch a := a.(type) {
	case Array:
		return uint64(x.array(t, a)) + uint64(a.Offset)
	case Scratch:
		return uint64(scratch) + uint64(a)
	case Table:
		wide := make([]float64, len(a))
		for i, v := range a {
			wide[i] = float64(v)
		}
		return uint64(x.device.Upload(bytes(wide, compute.F32)))
	case *Report:
		x.reported[a] = x.device.Alloc(ReportBytes)
		return uint64(x.reported[a])
	case int:
		return uint64(uint32(a))
	case float32:
		return uint64(math.Float32bits(a))
	}
	t.Fatalf("an argument is a %T", a)
	return 0
}

// array is where a value is, which must be kept as the launch wants it, or the parameter packed as it does.
func (x *execution) array(t *testing.T, a Array) simgpu.Address {
	info := x.program.Values[a.Value.Index()]
	if info.Kind != compute.ParamKind {
		if info.DType != a.Type || a.Order != AsStored {
			t.Fatalf("a value kept as %v is wanted as %v, order %d", info.DType, a.Type, a.Order)
		}
		return x.address[a.Value]
	}
	a.Offset = 0
	if _, ok := x.packed[a]; !ok {
		w := x.params[info.Name]
		if a.Order == ChannelsLast {
			w = channelsLast(w, info.Shape)
		}
		x.packed[a] = x.device.Upload(bytes(w, a.Type))
	}
	return x.packed[a]
}

// channelsLast is the inverse of planar.
func channelsLast(w []float64, s compute.Shape) []float64 {
	p := make([]float64, 0, len(w))
	for o := range s[0] {
		for pixel := range s[2] * s[3] {
			for c := range s[1] {
				p = append(p, w[(o*s[1]+c)*s[2]*s[3]+pixel])
			}
		}
	}
	return p
}

func little(ids []int32) (data []byte) {
	for _, w := range ids {
		data = binary.LittleEndian.AppendUint32(data, uint32(w))
	}
	return data
}

// ops is a program of each op that inference needs.
var ops = map[string]func(r *recording) compute.Op{
	"Linear": func(r *recording) compute.Op {
		return compute.Linear{X: r.input(2, 5, 16), Weight: r.param(24, 16), Bias: r.param(24), Epilogue: compute.Epilogue{PerChannel: r.input(2, 24), Activation: compute.GELU, Residual: r.input(2, 5, 24)}}
	},
	"Linear/odd": func(r *recording) compute.Op {
		return compute.Linear{X: r.input(2, 5, 13), Weight: r.param(7, 13, 1, 1), Epilogue: compute.Epilogue{PerChannel: r.input(1, 7)}}
	},
	"Linear/two": func(r *recording) compute.Op {
		return compute.Linear{X: r.input(2, 5, 8), X2: r.input(2, 5, 16), Weight: r.param(9, 24), Bias: r.param(9)}
	},
	"Linear/two odd": func(r *recording) compute.Op {
		return compute.Linear{X: r.input(2, 5, 3), X2: r.input(2, 5, 4), Weight: r.param(9, 7), Bias: r.param(9)}
	},
	"Conv2D": func(r *recording) compute.Op {
		return compute.Conv2D{X: r.input(2, 5, 4, 8), X2: r.input(2, 5, 4, 8), Weight: r.param(6, 16, 3, 3), Bias: r.param(6), Stride: 1, Pad: compute.SamePadding(1), Resize: [2]int{10, 8}}
	},
	"Conv2D/odd": func(r *recording) compute.Op {
		return compute.Conv2D{X: r.input(1, 5, 4, 3), Weight: r.param(6, 3, 3, 3), Bias: r.param(6), Stride: 2, Pad: compute.SamePadding(1), Epilogue: compute.Epilogue{Activation: compute.SiLU}}
	},
	"Conv2D/weight is a value": func(r *recording) compute.Op {
		return compute.Conv2D{X: r.input(1, 5, 4, 8), Weight: r.input(4, 8, 3, 3), Stride: 1, Pad: compute.SamePadding(1)}
	},
	"Linear/split": func(r *recording) compute.Op {
		return compute.Linear{X: r.input(2, 3, 520), Weight: r.param(9, 520), Bias: r.param(9), Epilogue: compute.Epilogue{PerChannel: r.input(2, 9), Activation: compute.SiLU, Residual: r.input(2, 3, 9)}}
	},
	"Conv2D/split": func(r *recording) compute.Op {
		return compute.Conv2D{X: r.input(2, 3, 4, 40), X2: r.input(2, 3, 4, 24), Weight: r.param(12, 64, 3, 3), Bias: r.param(12), Stride: 1, Pad: compute.SamePadding(1), Epilogue: compute.Epilogue{PerChannel: r.input(1, 12)}}
	},
	"MatMul": func(r *recording) compute.Op {
		return compute.MatMul{A: r.input(2, 5, 7), B: r.input(3, 7), TransposeB: true, Scale: 0.5, Add: r.input(2, 5, 3)}
	},
	"MatMul/transposed": func(r *recording) compute.Op {
		return compute.MatMul{A: r.input(2, 5, 7), B: r.input(10, 3), TransposeA: true}
	},
	"Attention": func(r *recording) compute.Op {
		return compute.Attention{Q: r.input(2, 5, 16), K: r.input(2, 7, 16), V: r.input(2, 7, 16), Heads: 2}
	},
	"Attention/causal": func(r *recording) compute.Op {
		return compute.Attention{Q: r.input(1, 9, 16), K: r.input(1, 9, 16), V: r.input(1, 9, 16), Heads: 2, Causal: true}
	},
	"Attention/odd": func(r *recording) compute.Op {
		return compute.Attention{Q: r.input(1, 9, 18), K: r.input(1, 9, 18), V: r.input(1, 9, 18), Heads: 2}
	},
	"GroupNorm": func(r *recording) compute.Op {
		return compute.GroupNorm{X: r.input(2, 5, 16), X2: r.input(2, 5, 8), Weight: r.param(24), Bias: r.param(24), Groups: 3, Eps: 1e-5, Activation: compute.SiLU}
	},
	"LayerNorm": func(r *recording) compute.Op {
		return compute.LayerNorm{X: r.input(2, 5, 19), Weight: r.param(19), Bias: r.param(19), Eps: 1e-5}
	},
	"Activate": func(r *recording) compute.Op {
		return compute.Activate{X: r.input(2, 7), Activation: compute.QuickGELU}
	},
	"GEGLU": func(r *recording) compute.Op { return compute.GEGLU{X: r.input(3, 32)} },
	"Add":   func(r *recording) compute.Op { return compute.Add{A: r.input(3, 5), B: r.input(3, 5)} },
	"Embed": func(r *recording) compute.Op {
		return compute.Embed{IDs: r.ids([]int32{0, 4, 2, 3, 1, 4}, 2, 3), Table: r.param(5, 9), Position: r.param(3, 9)}
	},
	"Embed/table is a value": func(r *recording) compute.Op {
		return compute.Embed{IDs: r.ids([]int32{0, 4, 2, 3, 1, 4}, 2, 3), Table: r.input(5, 9)}
	},
	"TimestepEmbedding": func(r *recording) compute.Op {
		return compute.TimestepEmbedding{Timesteps: r.input(3), Dim: 8, FlipSinToCos: true}
	},
	"MergeTokens": func(r *recording) compute.Op {
		return compute.MergeTokens{X: r.input(2, 35, 9), Height: 7, Width: 5, Merged: 20}
	},
	"MergeTokens/none": func(r *recording) compute.Op { return compute.MergeTokens{X: r.input(1, 6, 3), Height: 2, Width: 3} },
	"Repeat":           func(r *recording) compute.Op { return compute.Repeat{X: r.input(2, 3), Times: 3} },
	"Slice":            func(r *recording) compute.Op { return compute.Slice{X: r.input(2, 4, 3), Axis: 1, Start: 1, Length: 2} },
	"Concat": func(r *recording) compute.Op {
		return compute.Concat{Parts: []compute.Value{r.input(2, 4, 3), r.input(2, 1, 3), r.input(2, 2, 3)}, Axis: 1}
	},
	"Scale": func(r *recording) compute.Op {
		return compute.Scale{X: r.input(2, 4, 3), Factors: r.input(2, 3), Column: 1}
	},
	"Multiply": func(r *recording) compute.Op { return compute.Multiply{X: r.input(2, 4, 3), Factors: r.input(2, 3)} },
	"Fill":     func(r *recording) compute.Op { return compute.Fill{Shape: compute.Shape{2, 5}, Value: 0.75} },
	"Fill/values": func(r *recording) compute.Op {
		return compute.Fill{Shape: compute.Shape{3}, Values: []float32{1, -2, 0.5}}
	},
	"GuidanceCombine": func(r *recording) compute.Op {
		return compute.GuidanceCombine{X: r.input(4, 5, 3), Weights: r.input(2), Like: r.input(2, 5, 3), Rescale: 0.5}
	},
	"LinearCombination": func(r *recording) compute.Op {
		return compute.LinearCombination{Terms: []compute.Value{r.input(4, 3), r.input(4, 3)}, Coefficients: r.input(2, 2), Row: 1}
	},
	"Loss": func(r *recording) compute.Op {
		return compute.Loss{Prediction: r.input(2, 4, 3), Target: r.input(2, 4, 3), Weights: r.input(2), C: r.input(2), Function: compute.Huber}
	},
	"LossGradient": func(r *recording) compute.Op {
		return compute.LossGradient{Prediction: r.input(2, 4, 3), Target: r.input(2, 4, 3), Mask: r.input(2, 4, 1), DY: r.input(1)}
	},
}

// gradients is a program of each op that only training needs.
var gradients = map[string]func(r *recording) compute.Op{
	"LinearInputGradient": func(r *recording) compute.Op {
		return compute.LinearInputGradient{DY: r.half(2, 5, 16), Weight: r.param(16, 24), First: 8, Channels: 16, Add: r.half(2, 5, 16)}
	},
	"LinearInputGradient/split": func(r *recording) compute.Op {
		return compute.LinearInputGradient{DY: r.half(70, 520), Weight: r.param(520, 72), Channels: 72}
	},
	"MatMul/halves": func(r *recording) compute.Op {
		return compute.MatMul{A: r.half(70, 16), B: r.half(16, 80), Add: r.input(70, 80)}
	},
	"MatMul/halves, the second transposed": func(r *recording) compute.Op {
		return compute.MatMul{A: r.half(7, 16), B: r.half(24, 16), TransposeB: true}
	},
	"MatMul/halves, the first transposed": func(r *recording) compute.Op {
		return compute.MatMul{A: r.half(70, 72), B: r.half(70, 24), TransposeA: true, Scale: 0.5, Add: r.input(72, 24)}
	},
	"MatMul/halves, both transposed": func(r *recording) compute.Op {
		return compute.MatMul{A: r.half(24, 80), B: r.half(67, 24), TransposeA: true, TransposeB: true}
	},
	"MatMul/halves, split": func(r *recording) compute.Op {
		return compute.MatMul{A: r.half(523, 8), B: r.half(523, 40), TransposeA: true}
	},
	"MatMul/a half and a factor to a half": func(r *recording) compute.Op {
		return compute.Activate{X: r.Op(compute.MatMul{A: r.half(70, 16), B: r.input(16, 80), Scale: 0.5, Add: r.half(70, 80)})}
	},
	"Conv2DInputGradient/whole": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(2, 5, 4, 64), Weight: r.param(64, 24, 3, 3), Height: 5, Width: 4, First: 8, Channels: 16, Stride: 1, Pad: compute.SamePadding(1), Add: r.half(2, 5, 4, 16)}
	},
	"Conv2DInputGradient/padded": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(1, 6, 3, 64), Weight: r.param(64, 72, 2, 3), Height: 6, Width: 4, Channels: 72, Stride: 1, Pad: compute.Padding{Bottom: 1, Right: 1}}
	},
	"Conv2DInputGradient/whole, stride": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(2, 3, 2, 64), Weight: r.param(64, 24, 3, 3), Height: 5, Width: 4, First: 8, Channels: 16, Stride: 2, Pad: compute.SamePadding(1), Add: r.half(2, 5, 4, 16)}
	},
	"Conv2DInputGradient/whole, stride, padded": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(1, 3, 2, 64), Weight: r.param(64, 8, 3, 3), Height: 6, Width: 4, Channels: 8, Stride: 2, Pad: compute.Padding{Bottom: 1, Right: 1}}
	},
	"Conv2DInputGradient/whole, twice": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(2, 6, 4, 64), Weight: r.param(64, 24, 3, 3), Height: 3, Width: 2, Channels: 24, Stride: 1, Pad: compute.SamePadding(1), Resize: [2]int{6, 4}, Add: r.half(2, 3, 2, 24)}
	},
	"LinearInputGradient/odd": func(r *recording) compute.Op {
		return compute.LinearInputGradient{DY: r.input(2, 5, 7), Weight: r.param(7, 9, 1, 1), First: 2, Channels: 5}
	},
	"Conv2DInputGradient": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.input(2, 5, 4, 8), Weight: r.param(8, 24, 3, 3), Height: 5, Width: 4, First: 8, Channels: 16, Stride: 1, Pad: compute.SamePadding(1), Add: r.input(2, 5, 4, 16)}
	},
	"Conv2DInputGradient/stride": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.input(2, 3, 2, 5), Weight: r.param(5, 3, 3, 3), Height: 5, Width: 4, Channels: 3, Stride: 2, Pad: compute.SamePadding(1)}
	},
	"Conv2DInputGradient/twice": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.input(1, 6, 4, 5), Weight: r.input(5, 3, 3, 3), Height: 3, Width: 2, Channels: 3, Stride: 1, Pad: compute.SamePadding(1), Resize: [2]int{6, 4}}
	},
	"Conv2DInputGradient/resized": func(r *recording) compute.Op {
		return compute.Conv2DInputGradient{DY: r.input(1, 7, 3, 5), Weight: r.param(5, 3, 3, 3), Height: 3, Width: 5, Channels: 3, Stride: 1, Pad: compute.SamePadding(1), Resize: [2]int{7, 3}}
	},
	"Conv2DWeightGradient": func(r *recording) compute.Op {
		return compute.Conv2DWeightGradient{X: r.input(2, 5, 4, 3), X2: r.input(2, 5, 4, 2), DY: r.input(2, 5, 4, 4), Kernel: [2]int{3, 3}, Stride: 1, Pad: compute.SamePadding(1), Add: r.input(4, 5, 3, 3)}
	},
	"GroupNormGradient": func(r *recording) compute.Op {
		return compute.GroupNormGradient{X: r.input(2, 7, 16), X2: r.input(2, 7, 8), DY: r.input(2, 7, 24), Weight: r.param(24), Bias: r.param(24), Groups: 3, Eps: 1e-5, Activation: compute.SiLU, Add: r.input(2, 7, 16)}
	},
	"GroupNormGradient/odd": func(r *recording) compute.Op {
		return compute.GroupNormGradient{X: r.input(1, 7, 6), DY: r.input(1, 7, 6), Weight: r.param(6), Bias: r.param(6), Groups: 2, Eps: 1e-5}
	},
	"LayerNormGradient": func(r *recording) compute.Op {
		return compute.LayerNormGradient{X: r.input(2, 5, 19), DY: r.input(2, 5, 19), Weight: r.param(19), Eps: 1e-5, Add: r.input(2, 5, 19)}
	},
	"AttentionGradient": func(r *recording) compute.Op {
		return compute.AttentionGradient{Q: r.input(2, 35, 16), K: r.input(2, 7, 16), V: r.input(2, 7, 16), DY: r.input(2, 35, 16), Heads: 2}
	},
	"AttentionGradient/causal": func(r *recording) compute.Op {
		return compute.AttentionGradient{Q: r.input(1, 37, 35), K: r.input(1, 37, 35), V: r.input(1, 37, 35), DY: r.input(1, 37, 35), Heads: 1, Causal: true}
	},
	"ActivateGradient": func(r *recording) compute.Op {
		return compute.ActivateGradient{X: r.input(3, 7), DY: r.input(3, 7), Activation: compute.QuickGELU}
	},
	"GEGLUGradient": func(r *recording) compute.Op { return compute.GEGLUGradient{X: r.input(3, 32), DY: r.input(3, 16)} },
	"SumPositions":  func(r *recording) compute.Op { return compute.SumPositions{X: r.input(2, 3, 5, 37)} },
	"SumPositions/all": func(r *recording) compute.Op {
		return compute.SumPositions{X: r.input(2, 3, 5, 7), AllSamples: true}
	},
	"ClipNorm": func(r *recording) compute.Op {
		return compute.ClipNorm{Gradients: []compute.Value{r.input(3, 5), r.input(400)}, Limits: r.positive(1, 2)}
	},
	"AdamW": func(r *recording) compute.Op {
		return compute.AdamW{Parameter: r.input(3, 5), Gradient: r.input(3, 5), M: r.input(3, 5), V: r.positive(3, 5), Hyper: r.positive(1, 7), Clip: r.positive(1, 2)}
	},
}

// TestGradientWork is TestWork for what only training needs.
func TestGradientWork(t *testing.T) { testWork(t, gradients) }

// TestWork computes each op by what is chosen for it, and goes on with the result.
func TestWork(t *testing.T) { testWork(t, ops) }

func testWork(t *testing.T, ops map[string]func(r *recording) compute.Op) {
	for name, op := range ops {
		for _, card := range []Card{{Multiprocessors: 4}, {Half: true, Multiprocessors: 4}} {
			t.Run(fmt.Sprint(name, card.Half), func(t *testing.T) {
				r := new(recording)
				op := op(r)
				for i, y := range r.Results(op) {
					r.Output(y)
					if _, ok := op.(compute.MergeTokens); ok && i == 1 {
						continue // rows, which are no activations
					}
					inner := r.Op(compute.Activate{X: y, Activation: compute.SiLU})
					r.Output(r.Op(compute.Add{A: inner, B: y}))
				}
				r.verify(t, card)
			})
		}
	}
}

// wide are the numbers of an output.
func wide(output any) []float64 {
	ids, ok := output.([]int32)
	if !ok {
		return output.([]float64)
	}
	x := make([]float64, len(ids))
	for i, id := range ids {
		x[i] = float64(id)
	}
	return x
}

func (r *recording) verify(t *testing.T, card Card) {
	t.Helper()
	p, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
	want, err := ref.Evaluate(p, &r.source, r.inputs...)
	if err != nil {
		t.Fatal(err)
	}
	most := 4e-6
	if card.Half {
		most = 2e-3
	}
	for seed := range uint32(2) {
		for i, have := range r.execute(t, p, card, seed) {
			compare(t, have, wide(want[i]), most)
		}
	}
}

// TestUnsupported names the op.
func TestUnsupported(t *testing.T) {
	type Strange struct{ compute.Add }
	if _, err := New(Card{}).Work(new(compute.Program), compute.Node{Op: Strange{}}); !errors.Is(err, compute.ErrUnsupported) || !strings.HasPrefix(err.Error(), compute.OpName(Strange{})) {
		t.Errorf("the error is %v", err)
	}
}

func TestReport(t *testing.T) {
	r := Report{6, 3, 5}
	if err := r.Err([2]uint32{6, 0}); err != nil {
		t.Error(err)
	}
	if err := r.Err([2]uint32{4, 7}); err == nil || err.Error() != "id 7 at [1 1] is outside 0…4" {
		t.Errorf("the error is %v", err)
	}
}
