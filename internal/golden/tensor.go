package golden

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Tolerance is the greatest worst relative error that passes. The goldens are exact to float32's rounding; a hundred
// layers in float32 leave some 1e-6 of it, and a mistake anywhere far more than this.
const Tolerance = 1e-4

// Tensor is a recorded array, as PyTorch has it: images and latents are [N,C,H,W].
type Tensor struct {
	Shape   compute.Shape
	Float32 []float32
}

// Int32 is the tensor's elements as integers, for token ids.
func (x Tensor) Int32() []int32 {
	ids := make([]int32, len(x.Float32))
	for i, v := range x.Float32 {
		ids[i] = int32(v)
	}
	return ids
}

// ChannelsLast is the tensor as programs have it: [N,C,H,W] becomes [N,H,W,C], and any other rank stays as it is.
func (x Tensor) ChannelsLast() Tensor {
	if len(x.Shape) != 4 {
		return x
	}
	n, c, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	y := Tensor{Shape: compute.Shape{n, h, w, c}, Float32: make([]float32, len(x.Float32))}
	for in := range n {
		for ic := range c {
			for p := range h * w {
				y.Float32[(in*h*w+p)*c+ic] = x.Float32[(in*c+ic)*h*w+p]
			}
		}
	}
	return y
}

// Sample is sample n of the batch, as a batch of one.
func (x Tensor) Sample(n int) Tensor {
	size := len(x.Float32) / x.Shape[0]
	shape := slices.Clone(x.Shape)
	shape[0] = 1
	return Tensor{shape, x.Float32[n*size:][:size]}
}

// File is a file of goldens.
type File struct {
	name     string
	tensors  map[string]Tensor
	Metadata map[string]string
}

// Load reads goldens/name.safetensors, all of it. A kit may come without; then the test is skipped.
func (k Kit) Load(t testing.TB, name string) File {
	t.Helper()
	if !slices.Contains(k.Names(name), name) {
		t.Skipf("golden: %s has no goldens/%s.safetensors", k.dir, name)
	}
	return LoadFile(t, k.file(name))
}

// LoadFile reads a file of goldens that belongs to no kit.
func LoadFile(t testing.TB, path string) File {
	t.Helper()
	f, err := weights.OpenFile(path)
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	defer f.Close()
	file := File{name: path, tensors: make(map[string]Tensor), Metadata: f.Metadata()}
	for _, key := range f.Names() {
		x, err := f.Tensor(key)
		if err != nil {
			t.Fatalf("golden: %v", err)
		}
		file.tensors[key] = Tensor{x.Shape, x.Float32s()}
	}
	return file
}

// Tensor is the named tensor; without it the test fails.
func (f File) Tensor(t testing.TB, name string) Tensor {
	t.Helper()
	x, ok := f.tensors[name]
	if !ok {
		t.Fatalf("golden: %s has no tensor %q", f.name, name)
	}
	return x
}

// Names lists the tensors whose name begins with prefix, in alphabetical order.
func (f File) Names(prefix string) []string {
	names := slices.Sorted(maps.Keys(f.tensors))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// Difference is how far an array is from what it should be.
type Difference struct {
	Relative  float64 // max|got-want| / max|want|: the worst relative error
	Worst     int     // the element where |got-want| is greatest
	Got, Want float32 // its values
}

// Compare measures got against want; arrays of different length and elements that are not finite differ infinitely.
func Compare(got, want []float32) Difference {
	if len(got) != len(want) {
		return Difference{Relative: math.Inf(1), Worst: -1}
	}
	d, worst, scale := Difference{}, -1.0, 0.0
	for i, w := range want {
		delta := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(delta) {
			delta = math.Inf(1)
		}
		if delta > worst {
			worst, d.Worst, d.Got, d.Want = delta, i, got[i], w
		}
		scale = max(scale, math.Abs(float64(w)))
	}
	switch {
	case math.IsInf(worst, 1):
		d.Relative = worst
	case worst > 0:
		d.Relative = worst / scale // infinite where want is all zeros
	}
	return d
}

// String is "worst relative error 1.2e-06 at element 17: have 0.25, want 0.2500003".
func (d Difference) String() string {
	return fmt.Sprintf("worst relative error %.2g at element %d: have %v, want %v", d.Relative, d.Worst, d.Got, d.Want)
}

// Check compares got, laid out as programs have it, with the golden want, laid out as PyTorch has it, and fails
// the test beyond [Tolerance]. It returns the worst relative error.
func Check(t testing.TB, name string, got []float32, want Tensor) float64 {
	t.Helper()
	d := Compare(got, want.ChannelsLast().Float32)
	if !(d.Relative <= Tolerance) {
		t.Errorf("%s %v: %v, tolerance %g", name, want.ChannelsLast().Shape, d, Tolerance)
	}
	return d.Relative
}
