package cublas

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
)

// numbers are random, with the address that the fake takes for one on a device.
func numbers(n int) ([]float32, driver.Address) {
	x := make([]float32, n)
	for i := range x {
		x[i] = rand.Float32() - 0.5
	}
	return x, driver.Address(uintptr(unsafe.Pointer(&x[0])))
}

// TestProduct compares the library's column-major products with row-major ones.
func TestProduct(t *testing.T) {
	for name, p := range map[string]Product{
		"linear":         {Rows: 3, Columns: 5, Depth: 7, Transposed: true},
		"with bias":      {Rows: 4, Columns: 2, Depth: 3, Transposed: true, Bias: true},
		"with both":      {Rows: 2, Columns: 6, Depth: 5, Transposed: true, Bias: true, Residual: true},
		"input gradient": {Rows: 3, Columns: 7, Depth: 5},
		"of one row":     {Rows: 1, Columns: 4, Depth: 1, Residual: true},
		"TF32":           {Rows: 2, Columns: 2, Depth: 2, TF32: true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			plan := planned(t, fake, p)
			x, xAt := numbers(p.Rows * p.Depth)
			w, wAt := numbers(p.Columns * p.Depth)
			bias, biasAt := numbers(p.Columns)
			residual, residualAt := numbers(p.Rows * p.Columns)
			y, yAt := numbers(p.Rows * p.Columns)
			if err := plan.Run(driver.Stream{}, plan.Algorithms()-1, Operands{Y: yAt, X: xAt, W: wAt, Bias: biasAt, Residual: residualAt}); err != nil {
				t.Fatal(err)
			}
			for i, want := range p.evaluate(x, w, bias, residual) {
				if math.Abs(float64(y[i])-want) > 1e-6 {
					t.Fatalf("element %d is %g, want %g", i, y[i], want)
				}
			}
			runtime.KeepAlive([][]float32{x, w, bias, residual})
			if fake.reduced != p.TF32 || plan.Workspace(0) != 1<<20 {
				t.Errorf("TF32 %v, workspace %d", fake.reduced, plan.Workspace(0))
			}
			if err := errors.Join(plan.Close(), plan.Handle.Close()); err != nil || len(fake.objects) != 0 {
				t.Errorf("%d objects are left, %v", len(fake.objects), err)
			}
		})
	}
}

// evaluate is the product by its definition.
func (p Product) evaluate(x, w, bias, residual []float32) []float64 {
	y := make([]float64, p.Rows*p.Columns)
	for i := range y {
		r, c := i/p.Columns, i%p.Columns
		for k := range p.Depth {
			weight := w[k*p.Columns:]
			at := c
			if p.Transposed {
				weight, at = w[c*p.Depth:], k
			}
			y[i] += float64(x[r*p.Depth+k]) * float64(weight[at])
		}
		if p.Bias {
			y[i] += float64(bias[c])
		}
		if p.Residual {
			y[i] += float64(residual[i])
		}
	}
	return y
}

func planned(t *testing.T, fake *fake, p Product) *Plan {
	t.Helper()
	l, err := fake.open()
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Handle()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := h.Plan(p, 1<<20, 8)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestVersion(t *testing.T) {
	if l, err := newFake().open(); err != nil || l.Version() != 120405 || l.Path() != "libcublasLt.so.12" {
		t.Errorf("%+v, %v", l, err)
	}
	fake := newFake()
	fake.without = []string{"cublasLtMatmul"}
	if _, err := fake.open(); err == nil || !strings.Contains(err.Error(), "has no cublasLtMatmul") {
		t.Errorf("without a function: %v", err)
	}
	if _, err := Open(library.Computer{
		Names: func(string) []string { return nil }, Beside: func(string) func() { return func() {} },
		Open: func(path string) (library.Symbols, error) { return nil, errors.New("no " + path) },
	}, 12); !errors.As(err, new(*library.NotFoundError)) {
		t.Errorf("without a library: %v", err)
	}
}

// TestEveryCallFails lets each function fail in turn: the error names it, and nothing is left behind.
func TestEveryCallFails(t *testing.T) {
	for f := descriptionCreate; f <= heuristic; f++ {
		if f == descriptionDestroy || f == layoutDestroy || f == preferenceDestroy {
			continue
		}
		fake := newFake()
		l, _ := fake.open()
		h, err := l.Handle()
		if err != nil {
			t.Fatal(err)
		}
		fake.fails[f] = notSupported
		_, err = h.Plan(Product{Rows: 1, Columns: 1, Depth: 1, Transposed: true, Bias: true}, 0, 1)
		if err == nil || !strings.Contains(err.Error(), names[f]+": not supported") || !errors.Is(err, ErrUnsupported) || len(fake.objects) != 1 {
			t.Errorf("%s fails: %v, %d objects left", names[f], err, len(fake.objects)-1)
		}
	}
	fake := newFake()
	fake.fails[create] = 1
	l, _ := fake.open()
	if _, err := l.Handle(); err == nil || !strings.Contains(err.Error(), "the driver or the card is not ready") {
		t.Errorf("without a card: %v", err)
	}
}
