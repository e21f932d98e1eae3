package cublas

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/cardtest"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simlibrary"
)

// card is a simulated card with the library in use.
type card struct {
	cardtest.Card
	handle Handle
}

// within runs f where the driver may be called, and asks for everything back.
func within(t *testing.T, m *simdriver.Machine, f func(c card)) {
	t.Helper()
	cardtest.Within(t, m, func(on cardtest.Card) {
		l, err := Open(simlibrary.New().Computer(), 12)
		check(t, err)
		handle, err := l.Handle()
		check(t, err)
		f(card{on, handle})
		check(t, handle.Close())
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// numbers are random ones of a type, and where they are on the card.
func (c card) numbers(t DType, n int) ([]float64, driver.Address) {
	if t == F16 {
		return c.Halves(n)
	}
	var data []byte
	x := make([]float64, n)
	for i := range x {
		v := rand.Float32() - 0.5
		data, x[i] = binary.LittleEndian.AppendUint32(data, math.Float32bits(v)), float64(v)
	}
	return x, c.Upload(data)
}

// download are numbers on the card.
func (c card) download(t DType, at driver.Address, n int) []float64 {
	if t == F16 {
		return c.ReadHalves(at, n)
	}
	data, x := make([]byte, 4*n), make([]float64, n)
	check(c.TB, c.Stream.Download(data, at))
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return x
}

// TestProduct compares the library's column-major products with row-major ones, given to the stream, and recorded and replayed.
func TestProduct(t *testing.T) {
	for name, p := range map[string]Product{
		"linear":                        {Rows: 3, Columns: 5, Depth: 7, Transposed: true},
		"with bias":                     {Rows: 4, Columns: 2, Depth: 3, Transposed: true, Bias: true},
		"with both":                     {Rows: 2, Columns: 6, Depth: 5, Transposed: true, Bias: true, Residual: true},
		"input gradient":                {Rows: 3, Columns: 7, Depth: 5},
		"of some channels":              {Rows: 3, Columns: 8, Depth: 5, Pitch: 24, Residual: true, Type: F16},
		"halves":                        {Rows: 5, Columns: 16, Depth: 24, Transposed: true, Bias: true, Type: F16},
		"of one row":                    {Rows: 1, Columns: 4, Depth: 1, Residual: true},
		"with float32 of fewer numbers": {Rows: 2, Columns: 2, Depth: 2, TF32: true},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, simdriver.New(simdriver.Options{}), func(c card) {
				plan, err := c.handle.Plan(p, 3*4096, 8)
				check(t, err)
				i := plan.Algorithms() - 1
				if plan.Algorithms() != 3 || plan.Workspace(0) != 4096 {
					t.Errorf("%d algorithms, the first with a workspace of %d", plan.Algorithms(), plan.Workspace(0))
				}
				x, xAt := c.numbers(p.Type, p.Rows*p.Depth)
				w, wAt := c.numbers(p.Type, p.weights())
				bias, biasAt := c.numbers(p.Type, p.Columns)
				residual, residualAt := c.numbers(p.Type, p.Rows*p.Columns)
				_, yAt := c.numbers(p.Type, p.Rows*p.Columns)
				_, workspace := c.numbers(F32, int(plan.Workspace(i)/4))
				call := plan.Call(i)
				call.At = Operands{Y: yAt, X: xAt, W: wAt, Bias: biasAt, Residual: residualAt, Workspace: workspace}
				want := p.evaluate(x, w, bias, residual)
				tolerance := map[DType]float64{F32: 1e-6, F16: 2e-3}[p.Type]
				same := func(what string, at driver.Address) {
					for i, v := range c.download(p.Type, at, len(want)) {
						if !(math.Abs(v-want[i]) <= tolerance) {
							t.Fatalf("%s: element %d is %g, want %g", what, i, v, want[i])
						}
					}
				}
				check(t, call.Run(c.Stream))
				same("run", yAt)
				call.At.Y = residualAt // in its place
				g, err := c.Stream.Capture(func() error { return call.Run(c.Stream) })
				check(t, err)
				check(t, c.Stream.Replay(g))
				same("replayed", residualAt)
				check(t, errors.Join(g.Destroy(), plan.Close()))
				for _, at := range []driver.Address{xAt, wAt, biasAt, residualAt, yAt, workspace} {
					check(t, c.Context.Free(at))
				}
			})
		})
	}
}

// weights is how many numbers w has, with those that lie between.
func (p Product) weights() int {
	if p.Pitch != 0 {
		return p.Depth * p.Pitch
	}
	return p.Columns * p.Depth
}

// evaluate is the product by its definition.
func (p Product) evaluate(x, w, bias, residual []float64) []float64 {
	y := make([]float64, p.Rows*p.Columns)
	for i := range y {
		r, c := i/p.Columns, i%p.Columns
		for k := range p.Depth {
			at := k*max(p.Pitch, p.Columns) + c
			if p.Transposed {
				at = c*p.Depth + k
			}
			y[i] += x[r*p.Depth+k] * w[at]
		}
		if p.Bias {
			y[i] += bias[c]
		}
		if p.Residual {
			y[i] += residual[i]
		}
	}
	return y
}

func TestVersion(t *testing.T) {
	libraries := simlibrary.New()
	if l, err := Open(libraries.Computer(), 12); err != nil || l.Version() != 120405 || l.Path() != "libcublasLt.so.12" {
		t.Errorf("%+v, %v", l, err)
	}
	libraries.Lacks = []string{"cublasLtMatmul"}
	if _, err := Open(libraries.Computer(), 12); err == nil || !strings.Contains(err.Error(), "has no cublasLtMatmul") {
		t.Errorf("without a function: %v", err)
	}
	libraries.CuBLASLt = 0
	if _, err := Open(libraries.Computer(), 12); !errors.As(err, new(*library.NotFoundError)) {
		t.Errorf("without a library: %v", err)
	}
}

// TestMisaligned gives matrices that do not begin where the plan said: the library would compute something else, and the test's refuses.
func TestMisaligned(t *testing.T) {
	within(t, simdriver.New(simdriver.Options{}), func(c card) {
		plan, err := c.handle.Plan(Product{Rows: 1, Columns: 8, Depth: 8, Transposed: true, Type: F16}, 4096, 1)
		check(t, err)
		_, at := c.numbers(F32, 2048)
		call := plan.Call(0)
		call.At = Operands{Y: at, X: at + 8, W: at + 256, Workspace: at + 4096}
		if err := call.Run(c.Stream); err == nil || !strings.Contains(err.Error(), "invalid value") {
			t.Errorf("have %v", err)
		}
		check(t, errors.Join(plan.Close(), c.Context.Free(at)))
	})
}

// TestEveryCallFails lets each function fail in turn: the error names it, and nothing is left behind.
func TestEveryCallFails(t *testing.T) {
	ends := []function{descriptionDestroy, layoutDestroy, preferenceDestroy}
	for f := descriptionCreate; f <= matmul; f++ {
		if slices.Contains(ends, f) {
			continue
		}
		m := simdriver.New(simdriver.Options{})
		within(t, m, func(c card) {
			m.Fail(names[f], 0, simdriver.Code(notSupported))
			plan, err := c.handle.Plan(Product{Rows: 1, Columns: 8, Depth: 8, Transposed: true, Bias: true, Type: F16}, 4096, 1)
			if err == nil {
				err = errors.Join(plan.Call(0).Run(c.Stream), plan.Close())
			}
			if err == nil || !strings.Contains(err.Error(), names[f]+": not supported") || !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s fails: %v", names[f], err)
			}
		})
	}
	simdriver.New(simdriver.Options{})
	l, err := Open(simlibrary.New().Computer(), 12)
	check(t, err)
	if _, err := l.Handle(); err == nil || !strings.Contains(err.Error(), "the driver or the card is not ready") {
		t.Errorf("without a context: %v", err)
	}
}
