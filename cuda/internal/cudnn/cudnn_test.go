package cudnn

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/internal/f16"
)

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// halves are random, with the address that the fake takes for one on a device.
func halves(n int) ([]uint16, driver.Address) {
	x := make([]uint16, n)
	for i := range x {
		x[i] = f16.FromF32(rand.Float32() - 0.5)
	}
	return x, driver.Address(uintptr(unsafe.Pointer(&x[0])))
}

func at(x []uint16, i int) float64 { return float64(f16.ToF32(x[i])) }

func TestConvolution(t *testing.T) {
	same := [2]int{1, 1}
	for name, c := range map[string]Convolution{
		"plain":            {Batch: 2, Height: 5, Width: 4, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
		"with everything":  {Batch: 1, Height: 4, Width: 3, Input: 8, Output: 16, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same, Bias: true, SiLU: true, Residual: true},
		"residual":         {Batch: 1, Height: 4, Width: 4, Input: 8, Output: 8, Kernel: [2]int{1, 1}, Stride: 1, Bias: true, Residual: true},
		"stride":           {Batch: 1, Height: 6, Width: 8, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, Before: same, After: same, Bias: true},
		"padded behind":    {Batch: 1, Height: 6, Width: 6, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, After: same},
		"gradient":         {Batch: 2, Height: 4, Width: 5, Input: 16, Output: 8, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same, Gradient: true},
		"strided gradient": {Batch: 1, Height: 6, Width: 6, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, After: same, Gradient: true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			fake.refuse = 1 // the first engine cannot be had, and the second is taken
			plan := planned(t, fake, c)
			height, width := c.extents()
			x, xAt := halves(c.Batch * c.Height * c.Width * c.Input)
			w, wAt := halves(c.Output * c.Kernel[0] * c.Kernel[1] * c.Input)
			y, yAt := halves(c.Batch * height * width * c.Output)
			bias, biasAt := halves(c.Output)
			residual, residualAt := halves(len(y))
			operands := Operands{Y: yAt, X: xAt, W: wAt, Workspace: 1}
			if c.Bias {
				operands.Bias = biasAt
			}
			if c.Residual {
				operands.Residual = residualAt
			}
			result, want := y, c.evaluate(x, w, bias, residual, y)
			if c.Gradient {
				result = x
			}
			if err := plan.Run(operands); err != nil {
				t.Fatal(err)
			}
			for i := range result {
				if d := math.Abs(at(result, i) - want[i]); d > 2e-3*(1+math.Abs(want[i])) {
					t.Fatalf("element %d is %g, want %g", i, at(result, i), want[i])
				}
			}
			runtime.KeepAlive([][]uint16{x, w, y, bias, residual})
			if plan.Workspace() != 4096 {
				t.Errorf("the workspace is %d", plan.Workspace())
			}
			if err := plan.Close(); err != nil || len(fake.descriptors) != 0 {
				t.Errorf("%d descriptors are left, %v", len(fake.descriptors), err)
			}
		})
	}
}

// evaluate is the convolution by its definition: y, or x of y.
func (c Convolution) evaluate(x, w, bias, residual, y []uint16) []float64 {
	height, width := c.extents()
	out, dx := make([]float64, len(y)), make([]float64, len(x))
	for i := range out {
		o, column, row, n := i%c.Output, i/c.Output%width, i/c.Output/width%height, i/c.Output/width/height
		for k := range c.Kernel[0] * c.Kernel[1] * c.Input {
			channel, v, u := k%c.Input, k/c.Input%c.Kernel[1], k/c.Input/c.Kernel[1]
			r, s := row*c.Stride+u-c.Before[0], column*c.Stride+v-c.Before[1]
			if r < 0 || r >= c.Height || s < 0 || s >= c.Width {
				continue
			}
			source := ((n*c.Height+r)*c.Width+s)*c.Input + channel
			weight := at(w, o*c.Kernel[0]*c.Kernel[1]*c.Input+k)
			out[i] += weight * at(x, source)
			dx[source] += weight * at(y, i)
		}
		if c.Bias {
			out[i] += at(bias, o)
		}
		if c.SiLU {
			out[i] = silu(out[i])
		}
		if c.Residual {
			out[i] += at(residual, i)
		}
	}
	if c.Gradient {
		return dx
	}
	return out
}

func planned(t *testing.T, fake *fake, c Convolution) *Plan {
	t.Helper()
	l, err := fake.open(12)
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Handle(driver.Stream{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := h.Plan(c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

var small = Convolution{Batch: 1, Height: 1, Width: 1, Input: 8, Output: 8, Kernel: [2]int{1, 1}, Stride: 1}

func TestNoEngine(t *testing.T) {
	for name, test := range map[string]struct{ refuse, workspace int }{"none is supported": {2, 1 << 20}, "all need too much": {0, 4095}} {
		fake := newFake()
		fake.refuse = test.refuse
		l, _ := fake.open(12)
		h, _ := l.Handle(driver.Stream{})
		if _, err := h.Plan(small, int64(test.workspace)); !errors.Is(err, ErrUnsupported) || len(fake.descriptors) != 0 {
			t.Errorf("%s: %v, %d descriptors left", name, err, len(fake.descriptors))
		}
	}
}

func TestVersions(t *testing.T) {
	for number, want := range map[uintptr]string{8902: "8.9.2", 91002: "9.10.2", 92800: "9.28.0"} {
		fake := newFake()
		fake.version = number
		if l, err := fake.open(12); err != nil || l.Version() != want || l.Path() != "libcudnn.so.9" {
			t.Errorf("%d: %v, want %s", number, err, want)
		}
	}
	fake := newFake()
	fake.cuda = 13000
	if _, err := fake.open(12); err == nil || !strings.Contains(err.Error(), "is for CUDA 13 and the driver knows 12") {
		t.Errorf("for a newer CUDA: %v", err)
	}
}

// TestEveryCallFails lets each function fail in turn: the error names it and has the library's words, and nothing is left behind.
func TestEveryCallFails(t *testing.T) {
	for f := create; f <= execute; f++ {
		fake := newFake()
		fake.fails[f] = 5000
		err := session(fake)
		if f == destroy || f == destroyDescriptor {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), names[f]+": status 5000: words") || len(fake.descriptors) != 0 {
			t.Errorf("%s fails: %v, %d descriptors left", names[f], err, len(fake.descriptors))
		}
	}
}

func session(fake *fake) error {
	l, err := fake.open(12)
	if err != nil {
		return err
	}
	h, err := l.Handle(driver.Stream{})
	if err != nil {
		return err
	}
	plan, err := h.Plan(small, 1<<20)
	if err != nil {
		return err
	}
	_, address := halves(64)
	return errors.Join(plan.Run(Operands{Y: address, X: address, W: address}), plan.Close(), h.Close())
}
