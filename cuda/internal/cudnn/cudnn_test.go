package cudnn

import (
	"errors"
	"math"
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
func within(t *testing.T, m *simdriver.Machine, libraries *simlibrary.Libraries, f func(c card)) {
	t.Helper()
	cardtest.Within(t, m, func(on cardtest.Card) {
		l, err := Open(libraries.Computer(), 12)
		check(t, err)
		handle, err := l.Handle(on.Stream)
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

// convolutions are of all kinds.
var convolutions = map[string]Convolution{
	"plain":            {Batch: 2, Height: 5, Width: 4, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
	"with everything":  {Batch: 2, Height: 4, Width: 3, Input: 8, Output: 16, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same, Bias: true, PerChannel: 2, SiLU: true, Residual: true},
	"residual":         {Batch: 1, Height: 4, Width: 4, Input: 8, Output: 8, Kernel: [2]int{1, 1}, Stride: 1, Bias: true, Residual: true},
	"one for all":      {Batch: 2, Height: 2, Width: 2, Input: 8, Output: 8, Kernel: [2]int{1, 1}, Stride: 1, PerChannel: 1},
	"stride":           {Batch: 1, Height: 6, Width: 8, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, Before: same, After: same, Bias: true},
	"plain stride":     {Batch: 1, Height: 6, Width: 8, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, Before: same, After: same},
	"padded behind":    {Batch: 1, Height: 6, Width: 6, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, After: same},
	"gradient":         {Batch: 2, Height: 4, Width: 5, Input: 16, Output: 8, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same, Gradient: true},
	"strided gradient": {Batch: 1, Height: 6, Width: 6, Input: 8, Output: 8, Kernel: [2]int{3, 3}, Stride: 2, After: same, Gradient: true},
}

var same = [2]int{1, 1}

// TestConvolution compares graphs with the definition, given to the stream, and recorded and replayed.
func TestConvolution(t *testing.T) {
	for name, convolution := range convolutions {
		t.Run(name, func(t *testing.T) {
			libraries := simlibrary.New()
			libraries.Refuse = 1 // the first engine cannot be had, and the second is taken
			within(t, simdriver.New(simdriver.Options{}), libraries, func(c card) { c.compare(t, convolution) })
		})
	}
}

// TestOlder does without graphs: what has no epilogue, and as many zeros behind the image as before it, is computed by the older calls.
func TestOlder(t *testing.T) {
	for name, convolution := range convolutions {
		t.Run(name, func(t *testing.T) {
			libraries := simlibrary.New()
			libraries.NoEngines = true
			within(t, simdriver.New(simdriver.Options{}), libraries, func(c card) {
				if convolution.plain() {
					c.compare(t, convolution)
				} else if _, err := c.handle.Plan(convolution, 1<<20); !errors.Is(err, ErrUnsupported) {
					t.Errorf("have %v", err)
				}
			})
		})
	}
}

// compare runs a convolution.
func (c card) compare(t *testing.T, of Convolution) {
	t.Helper()
	plan, err := c.handle.Plan(of, 1<<20)
	check(t, err)
	if plan.Workspace() != 4096 {
		t.Errorf("the workspace is %d", plan.Workspace())
	}
	height, width := of.extents()
	x, xAt := c.Halves(of.Batch * of.Height * of.Width * of.Input)
	w, wAt := c.Halves(of.Output * of.Kernel[0] * of.Kernel[1] * of.Input)
	y, yAt := c.Halves(of.Batch * height * width * of.Output)
	bias, biasAt := c.Halves(of.Output)
	perChannel, perChannelAt := c.Halves(max(of.PerChannel, 1) * of.Output)
	residual, residualAt := c.Halves(len(y))
	_, workspace := c.Halves(2048)
	call := plan.Call()
	call.At = Operands{Y: yAt, X: xAt, W: wAt, Workspace: workspace}
	if of.Bias {
		call.At.Bias = biasAt
	}
	if of.PerChannel > 0 {
		call.At.PerChannel = perChannelAt
	}
	if of.Residual {
		call.At.Residual = residualAt
	}
	want, result := of.evaluate(x, w, bias, perChannel, residual, y), yAt
	if of.Gradient {
		result = xAt
	}
	same := func(what string, at driver.Address) {
		for i, have := range c.ReadHalves(at, len(want)) {
			if v := want[i]; !(math.Abs(have-v) <= 2e-3*(1+math.Abs(v))) {
				t.Fatalf("%s: element %d is %g, want %g", what, i, have, v)
			}
		}
	}
	check(t, call.Run())
	same("run", result)
	if of.Residual {
		call.At.Y, result = residualAt, residualAt // in its place
	}
	g, err := c.Stream.Capture(func() error { return call.Run() })
	check(t, err)
	check(t, c.Stream.Replay(g))
	same("replayed", result)
	check(t, errors.Join(g.Destroy(), call.Close(), plan.Close()))
	for _, at := range []driver.Address{xAt, wAt, yAt, biasAt, perChannelAt, residualAt, workspace} {
		check(t, c.Context.Free(at))
	}
}

// evaluate is the convolution by its definition: y, or x of y.
func (c Convolution) evaluate(x, w, bias, perChannel, residual, y []float64) []float64 {
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
			weight := w[o*c.Kernel[0]*c.Kernel[1]*c.Input+k]
			out[i] += weight * x[source]
			dx[source] += weight * y[i]
		}
		if c.Bias {
			out[i] += bias[o]
		}
		if c.PerChannel > 0 {
			out[i] += perChannel[n%c.PerChannel*c.Output+o]
		}
		if c.SiLU {
			out[i] /= 1 + math.Exp(-out[i])
		}
		if c.Residual {
			out[i] += residual[i]
		}
	}
	if c.Gradient {
		return dx
	}
	return out
}

var small = Convolution{Batch: 1, Height: 1, Width: 1, Input: 8, Output: 8, Kernel: [2]int{1, 1}, Stride: 1}

func TestNoEngine(t *testing.T) {
	for name, test := range map[string]struct{ refuse, workspace int }{"none is supported": {2, 1 << 20}, "all need too much": {0, 4095}} {
		libraries := simlibrary.New()
		libraries.Refuse, libraries.Lacks = test.refuse, []string{"cudnnConvolutionForward"}
		within(t, simdriver.New(simdriver.Options{}), libraries, func(c card) {
			if _, err := c.handle.Plan(small, int64(test.workspace)); !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	for number, want := range map[int]string{8902: "8.9.2", 91002: "9.10.2", 92800: "9.28.0"} {
		libraries := simlibrary.New()
		libraries.CuDNN = number
		if l, err := Open(libraries.Computer(), 12); err != nil || l.Version() != want || l.Path() != "libcudnn.so.9" {
			t.Errorf("%d: %v, want %s", number, err, want)
		}
	}
	libraries := simlibrary.New()
	libraries.CUDA = 13000
	if _, err := Open(libraries.Computer(), 12); err == nil || !strings.Contains(err.Error(), "is for CUDA 13 and the driver knows 12") {
		t.Errorf("for a newer CUDA: %v", err)
	}
}

// TestNeeds opens what the library will need, of its own version of CUDA. Without cuBLASLt it is not taken.
func TestNeeds(t *testing.T) {
	for cuda, want := range map[int][2]string{
		11080: {"libcublasLt.so.11", "libnvrtc.so.11.2"}, 12090: {"libcublasLt.so.12", "libnvrtc.so.12"}, 13000: {"libcublasLt.so.13", "libnvrtc.so.13"},
	} {
		libraries := simlibrary.New()
		libraries.CUDA = cuda
		for _, has := range []bool{true, false} {
			c := libraries.Computer()
			var opened []string
			open := c.Open
			c.Open = func(path string) (library.Symbols, error) {
				opened = append(opened, path)
				switch {
				case !strings.HasPrefix(path, "libcublasLt"):
					return open(path)
				case has:
					return libraries, nil
				}
				return nil, errors.New("it is not there")
			}
			_, err := Open(c, 13)
			if (err == nil) != has || slices.Contains(opened, want[1]) != has || !slices.Contains(opened, want[0]) {
				t.Errorf("CUDA %d: %v, opened are %q", cuda, err, opened)
			}
		}
	}
}

// TestEveryCallFails lets each function fail in turn: the error names it and has the library's words, and nothing is left behind.
func TestEveryCallFails(t *testing.T) {
	for f := createDescriptor; f <= convolveInput; f++ {
		if strings.Contains(names[f], "Destroy") {
			continue
		}
		of, libraries := small, simlibrary.New()
		libraries.NoEngines = f >= createTensor
		of.Gradient = f == inputAlgorithms || f == convolveInput
		m := simdriver.New(simdriver.Options{})
		within(t, m, libraries, func(c card) {
			m.Fail(names[f], 0, 5000)
			err := c.session(of)
			switch {
			case f < createTensor || f >= convolveForward:
				if err == nil || !strings.Contains(err.Error(), names[f]+": status 5000: words") {
					t.Errorf("%s fails: %v", names[f], err)
				}
			case !errors.Is(err, ErrUnsupported): // there are neither engines nor the older call
				t.Errorf("%s fails: %v", names[f], err)
			}
		})
	}
	simdriver.New(simdriver.Options{})
	l, err := Open(simlibrary.New().Computer(), 12)
	check(t, err)
	if _, err := l.Handle(driver.Stream{}); err == nil || !strings.Contains(err.Error(), "cudnnCreate: status 1001") {
		t.Errorf("without a context: %v", err)
	}
}

// session plans a convolution and runs it.
func (c card) session(of Convolution) error {
	plan, err := c.handle.Plan(of, 1<<20)
	if err != nil {
		return err
	}
	_, at := c.Halves(4096)
	call := plan.Call()
	call.At = Operands{Y: at, X: at + 4096, W: at + 2048, Workspace: at + 4096}
	return errors.Join(call.Run(), c.Stream.Wait(), call.Close(), plan.Close(), c.Context.Free(at))
}
