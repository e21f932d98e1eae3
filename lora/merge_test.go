package lora_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

type memory struct {
	params map[string]weights.Tensor
}

func (s *memory) ParamType(name string) (compute.Type, error) {
	x, ok := s.params[name]
	if !ok {
		return compute.Type{}, fmt.Errorf("no parameter %q", name)
	}
	for _, d := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
		if string(x.DType) == d.String() {
			return compute.Type{DType: d, Shape: x.Shape}, nil
		}
	}
	return compute.Type{Shape: x.Shape}, nil
}

func (s *memory) ParamData(name string) ([]byte, error) {
	_, err := s.ParamType(name)
	return s.params[name].Data, err
}

func (s *memory) OpenParam(name string) io.ReaderAt { return bytes.NewReader(s.params[name].Data) }

// stored is f in a narrower type.
func stored(name string, f lora.Factor, d compute.DType) weights.Tensor {
	x := weights.Tensor{Name: name, DType: weights.DType(d.String()), Shape: f.Shape}
	for _, v := range f.Data {
		switch d {
		case compute.F32:
			return loratest.Tensor(name, f)
		case compute.F16:
			h := f16.FromF32(v)
			x.Data = append(x.Data, byte(h), byte(h>>8))
		case compute.BF16:
			h := f16.F32ToBF16(v)
			x.Data = append(x.Data, byte(h), byte(h>>8))
		}
	}
	return x
}

// product is strength·scale·B·A element by element as spec'd for each form, in float64, of the first ranks.
func product(m lora.Module, strength float64, ranks int) []float64 {
	l := loratest.LowRank(m)
	out, in := m.Shape[0], m.Shape[1]
	area := m.Shape[2:].Elements()
	delta := make([]float64, m.Shape.Elements())
	a := func(k, i, p int) float64 { return float64(l.Down.Data[(k*in+i)*area+p]) }
	inner := l.Up.Shape[1]
	if l.Mid.Data != nil {
		a = func(k, i, p int) (sum float64) {
			for r := range m.Rank() {
				sum += float64(l.Mid.Data[(k*m.Rank()+r)*area+p]) * float64(l.Down.Data[r*in+i])
			}
			return sum
		}
	} else if ranks > 0 {
		inner = min(inner, ranks)
	}
	for o := range out {
		for i := range in {
			for p := range area {
				sum := 0.0
				for k := range inner {
					sum += float64(l.Up.Data[o*l.Up.Shape[1]+k]) * a(k, i, p)
				}
				delta[(o*in+i)*area+p] = strength * l.Alpha / float64(m.Rank()) * sum
			}
		}
	}
	return delta
}

// TestMerge compares every form of module and every type of parameter with the definition.
func TestMerge(t *testing.T) {
	r := loratest.Rand()
	factor := func(shape ...int) lora.Factor { return loratest.RandomFactor(r, shape...) }
	none := lora.Factor{}
	for _, c := range []struct {
		name                  string
		weight, down, up, mid compute.Shape
		ranks                 int
	}{
		{"linear", compute.Shape{12, 7}, compute.Shape{4, 7}, compute.Shape{12, 4}, nil, 0},
		{"rank 1", compute.Shape{12, 7}, compute.Shape{1, 7}, compute.Shape{12, 1}, nil, 0},
		{"rank above both sides", compute.Shape{3, 5}, compute.Shape{9, 5}, compute.Shape{3, 9}, nil, 0},
		{"long rows", compute.Shape{5, 1031}, compute.Shape{6, 1031}, compute.Shape{5, 6}, nil, 0},
		{"first 3 of 8 ranks", compute.Shape{6, 10}, compute.Shape{8, 10}, compute.Shape{6, 8}, nil, 3},
		{"first 30 of 8 ranks", compute.Shape{6, 10}, compute.Shape{8, 10}, compute.Shape{6, 8}, nil, 30},
		{"1x1 convolution", compute.Shape{6, 10, 1, 1}, compute.Shape{4, 10, 1, 1}, compute.Shape{6, 4, 1, 1}, nil, 0},
		{"1x1 convolution, linear factors", compute.Shape{6, 10, 1, 1}, compute.Shape{4, 10}, compute.Shape{6, 4}, nil, 0},
		{"linear, factors of a convolution", compute.Shape{6, 10}, compute.Shape{4, 10, 1, 1}, compute.Shape{6, 4, 1, 1}, nil, 0},
		{"3x3 convolution", compute.Shape{6, 10, 3, 3}, compute.Shape{4, 10, 3, 3}, compute.Shape{6, 4, 1, 1}, nil, 0},
		{"3x3 convolution, matrices", compute.Shape{6, 10, 3, 3}, compute.Shape{4, 90}, compute.Shape{6, 4}, nil, 0},
		{"3x3 convolution with mid", compute.Shape{6, 10, 3, 3}, compute.Shape{4, 10, 1, 1}, compute.Shape{6, 4, 1, 1}, compute.Shape{4, 4, 3, 3}, 0},
		{"mid of two ranks", compute.Shape{6, 10, 3, 3}, compute.Shape{4, 10, 1, 1}, compute.Shape{6, 3, 1, 1}, compute.Shape{3, 4, 3, 3}, 0},
		{"mid has all its ranks", compute.Shape{6, 10, 3, 3}, compute.Shape{4, 10, 1, 1}, compute.Shape{6, 4, 1, 1}, compute.Shape{4, 4, 3, 3}, 2},
	} {
		target := lora.Target{Kind: weights.KindUNet, Name: "module", Shape: c.weight}
		l := lora.LowRank{Down: factor(c.down...), Up: factor(c.up...), Mid: none, Alpha: 3}
		if c.mid != nil {
			l.Mid = factor(c.mid...)
		}
		module := lora.Module{Target: target, Delta: l}
		w := factor(c.weight...)
		for _, types := range []struct{ stored, asked compute.DType }{
			{compute.F32, 0}, {compute.F16, 0}, {compute.BF16, 0}, {compute.F16, compute.F32}, {compute.F32, compute.BF16},
		} {
			t.Run(fmt.Sprintf("%s/%v to %v", c.name, types.stored, types.asked), func(t *testing.T) {
				param := stored("module.weight", w, types.stored)
				src := &memory{params: map[string]weights.Tensor{"module.weight": param}}
				got, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{Type: types.asked},
					lora.Applied{Adapter: &lora.Adapter{Modules: []lora.Module{module}}, Strength: lora.Strength{UNet: -0.7, Rank: c.ranks}})
				if err != nil {
					t.Fatal(err)
				}
				want := product(module, -0.7, c.ranks)
				for i, v := range param.Float32s() {
					want[i] += float64(v)
				}
				checkParam(t, got, "module.weight", want, types.stored, types.asked)
			})
		}
	}
}

// fractions are the explicit fraction bits of the types.
var fractions = map[compute.DType]int{compute.F32: 23, compute.F16: 10, compute.BF16: 7}

// checkParam compares a parameter with its exact value: it has to be of the asked type, or the stored one, and rounded
// once. float32's own rounding of a few terms comes on top.
func checkParam(t *testing.T, src compute.ParamSource, name string, want []float64, stored, asked compute.DType) {
	t.Helper()
	if asked == compute.InvalidDType {
		asked = stored
	}
	typ, err := src.ParamType(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := src.ParamData(name)
	if err != nil {
		t.Fatal(err)
	}
	if typ.DType != asked || len(data) != typ.Bytes() || typ.Shape.Elements() != len(want) {
		t.Fatalf("%v of %d bytes, want %v of %d elements", typ, len(data), asked, len(want))
	}
	for i, v := range (weights.Tensor{DType: weights.DType(typ.DType.String()), Data: data}).Float32s() {
		_, exponent := math.Frexp(want[i])
		half := math.Ldexp(0.5, exponent-1-fractions[asked])
		if miss := math.Abs(float64(v) - want[i]); !(miss <= half+4e-6) {
			t.Fatalf("element %d is %v, want %v within %.3g", i, v, want[i], half)
		}
	}
}

// TestMergeSeveral lays three adapters over two parameters of two networks.
func TestMergeSeveral(t *testing.T) {
	r := loratest.Rand()
	target := func(kind weights.Kind, name string) lora.Target {
		return lora.Target{Kind: kind, Name: name, Shape: compute.Shape{6, 5}}
	}
	both := lora.Target{Kind: weights.KindUNet, Name: "both", Shape: compute.Shape{6, 5}}
	module := func(t lora.Target, rank int) lora.Module { return loratest.RandomModule(r, t, rank) }
	first := &lora.Adapter{Modules: []lora.Module{module(both, 2), module(target(weights.KindTextEncoder, "text"), 3)}}
	second := &lora.Adapter{Modules: []lora.Module{module(both, 3), module(target(weights.KindUNet, "second"), 1)}}
	third := &lora.Adapter{Modules: []lora.Module{module(target(weights.KindUNet, "third"), 1)}}
	src := &memory{params: map[string]weights.Tensor{}}
	for _, name := range []string{"both.weight", "text.weight", "second.weight", "third.weight", "both.bias"} {
		src.params[name] = loratest.Tensor(name, loratest.RandomFactor(r, 6, 5))
	}
	before := map[string][]byte{}
	for name, x := range src.params {
		before[name] = bytes.Clone(x.Data)
	}
	applied := []lora.Applied{
		{Adapter: first, Strength: lora.Strength{TextEncoder: 0.3, UNet: 0.9}},
		{Adapter: second, Strength: lora.Strength{TextEncoder: 1, UNet: -0.5}},
		{Adapter: third, Strength: lora.Strength{TextEncoder: 1}},
	}
	unet, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{}, applied...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := lora.Merge(src, weights.KindTextEncoder, lora.MergeOptions{}, applied...)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(name string, deltas ...[]float64) []float64 {
		total := make([]float64, 30)
		for i, v := range src.params[name].Float32s() {
			total[i] = float64(v)
			for _, d := range deltas {
				total[i] += d[i]
			}
		}
		return total
	}
	checkParam(t, unet, "both.weight", sum("both.weight", product(first.Modules[0], 0.9, 0), product(second.Modules[0], -0.5, 0)), compute.F32, 0)
	checkParam(t, unet, "second.weight", sum("second.weight", product(second.Modules[1], -0.5, 0)), compute.F32, 0)
	checkParam(t, text, "text.weight", sum("text.weight", product(first.Modules[1], 0.3, 0)), compute.F32, 0)

	untouched := func(src2 compute.ParamSource, name string) {
		t.Helper()
		data, err := src2.ParamData(name)
		if err != nil || &data[0] != &src.params[name].Data[0] {
			t.Errorf("%s is not the checkpoint's own: %v", name, err)
		}
	}
	untouched(unet, "both.bias")
	untouched(unet, "third.weight")
	untouched(text, "both.weight")
	for name, x := range src.params {
		if !bytes.Equal(x.Data, before[name]) {
			t.Errorf("merging changed the checkpoint's %s", name)
		}
	}
	part, err := compute.OpenParam(unet, "third.weight")
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 4)
	if _, err := part.ReadAt(row, 4); err != nil || !bytes.Equal(row, src.params["third.weight"].Data[4:8]) {
		t.Errorf("part of an unchanged parameter: %v, %v", row, err)
	}
	if _, err := unet.ParamData("nowhere"); err == nil {
		t.Error("an unknown parameter is no error")
	}
	plain, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{Type: compute.F32}, lora.Applied{Adapter: first})
	if err != nil || plain != compute.ParamSource(src) {
		t.Errorf("strength 0 gives %T, %v; want the source itself", plain, err)
	}
}

// TestMergeNothing multiplies by an up factor of zeros, as before training: the bits stay.
func TestMergeNothing(t *testing.T) {
	r := loratest.Rand()
	m := loratest.RandomModule(r, lora.Target{Kind: weights.KindUNet, Name: "module", Shape: compute.Shape{8, 8, 3, 3}}, 4)
	clear(loratest.LowRank(m).Up.Data)
	for _, d := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
		x := stored("module.weight", loratest.RandomFactor(r, 8, 8, 3, 3), d)
		src := &memory{params: map[string]weights.Tensor{"module.weight": x}}
		merged, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{}, lora.Applied{Adapter: &lora.Adapter{Modules: []lora.Module{m}}, Strength: lora.Strength{UNet: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if data, err := merged.ParamData("module.weight"); err != nil || !bytes.Equal(data, x.Data) {
			t.Errorf("%v: the bytes differ (%v)", d, err)
		}
	}
}

// TestMergePieces reads a changed parameter in place, whole and in pieces that end anywhere: the same bytes as those of ParamData, and
// counted as those are.
func TestMergePieces(t *testing.T) {
	r := loratest.Rand()
	m := loratest.RandomModule(r, lora.Target{Kind: weights.KindUNet, Name: "module", Shape: compute.Shape{5, 1031}}, 6)
	still := loratest.WithAlpha(m, 1e-30)
	for _, d := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
		x := stored("module.weight", loratest.RandomFactor(r, 5, 1031), d)
		before := bytes.Clone(x.Data)
		src := &memory{params: map[string]weights.Tensor{"module.weight": x}}
		for _, a := range []struct {
			module lora.Module
			same   int
		}{{m, 0}, {still, 2}} {
			merged, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{}, lora.Applied{Adapter: &lora.Adapter{Modules: []lora.Module{a.module}}, Strength: lora.Strength{UNet: 1}})
			if err != nil {
				t.Fatal(err)
			}
			want, err := merged.ParamData("module.weight")
			if err != nil {
				t.Fatal(err)
			}
			place := merged.(compute.ParamOpener).OpenParam("module.weight")
			got := make([]byte, len(want))
			for at := 0; at < len(got); {
				n, err := place.ReadAt(got[at:min(at+d.Size()*(1+r.IntN(900)), len(got))], int64(at))
				if err != nil {
					t.Fatal(err)
				}
				at += n
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v: in pieces other bytes are read", d)
			}
			if same, asked := merged.(lora.Rounded).Rounded(); asked != 2 || same != a.same {
				t.Errorf("%v: %d of %d are told to be as they were, want %d of 2", d, same, asked, a.same)
			}
			clear(got)
			if _, err := place.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v: read whole, other bytes (%v)", d, err)
			}
			if _, err := place.ReadAt(got[:d.Size()], 1); err == nil {
				t.Errorf("%v: half an element is read", d)
			}
		}
		if !bytes.Equal(x.Data, before) {
			t.Errorf("%v: the checkpoint's own bytes are changed", d)
		}
	}
}

func TestMergeErrors(t *testing.T) {
	m := loratest.RandomModule(loratest.Rand(), lora.Target{Kind: weights.KindUNet, Name: "module", Shape: compute.Shape{4, 4}}, 2)
	large := loratest.WithAlpha(m, 1e6)
	w := func(x weights.Tensor) *memory {
		x.Name = "module.weight"
		return &memory{params: map[string]weights.Tensor{"module.weight": x}}
	}
	good := stored("", lora.Factor{Shape: compute.Shape{4, 4}, Data: make([]float32, 16)}, compute.F16)
	nan := good
	nan.Data = bytes.Repeat([]byte{0, 0x7E}, 16)
	short := good
	short.Data = good.Data[:30]
	for _, c := range []struct {
		name     string
		src      *memory
		module   lora.Module
		strength lora.Strength
		o        lora.MergeOptions
		say      string
	}{
		{"strength NaN", w(good), m, lora.Strength{UNet: math.NaN()}, lora.MergeOptions{}, "strength NaN for the unet"},
		{"strength infinite", w(good), m, lora.Strength{UNet: math.Inf(1)}, lora.MergeOptions{}, "strength +Inf"},
		{"negative ranks", w(good), m, lora.Strength{UNet: 1, Rank: -1}, lora.MergeOptions{}, "first -1 ranks"},
		{"no such parameter", &memory{}, m, lora.Strength{UNet: 1}, lora.MergeOptions{}, `no parameter "module.weight"`},
		{"other shape", w(loratest.Tensor("", loratest.RandomFactor(loratest.Rand(), 4, 5))), m, lora.Strength{UNet: 1}, lora.MergeOptions{}, "opened for another model"},
		{"no float", w(weights.Tensor{DType: weights.I32, Shape: compute.Shape{4, 4}, Data: make([]byte, 64)}), m, lora.Strength{UNet: 1}, lora.MergeOptions{}, "want F32, F16 or BF16"},
		{"to no float", w(good), m, lora.Strength{UNet: 1}, lora.MergeOptions{Type: compute.I32}, "want F32, F16 or BF16"},
		{"short", w(short), m, lora.Strength{UNet: 1}, lora.MergeOptions{}, "has 30 bytes, want 32"},
		{"NaN in the checkpoint", w(nan), m, lora.Strength{UNet: 1}, lora.MergeOptions{}, "the checkpoint is damaged"},
		{"overflow", w(good), large, lora.Strength{UNet: 1}, lora.MergeOptions{}, "lower their strength"},
	} {
		t.Run(c.name, func(t *testing.T) {
			merged, err := lora.Merge(c.src, weights.KindUNet, c.o, lora.Applied{Adapter: &lora.Adapter{Path: "a.safetensors", Modules: []lora.Module{c.module}}, Strength: c.strength})
			if err == nil {
				_, err = merged.ParamData("module.weight")
			}
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
			if merged != nil && c.name != "short" { // which is told by whoever reads it
				place := merged.(compute.ParamOpener).OpenParam("module.weight")
				if _, err := place.ReadAt(make([]byte, 32), 0); err == nil || !strings.Contains(err.Error(), c.say) {
					t.Errorf("read in place, the error is %v\nwant %q in it", err, c.say)
				}
			}
			if strings.Contains(c.name, "no float") && !errors.Is(err, compute.ErrUnsupported) {
				t.Errorf("%v is not ErrUnsupported", err)
			}
		})
	}
}
