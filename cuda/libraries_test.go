package cuda

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simlibrary"
	"github.com/atelier-go/atelier/internal/golden"
)

// first and last prefer a library's way: the first, whose epilogue is part of the call, or the last, whose is apart.
func first(_ *compute.Program, _ int, ways []kernel.Way) int { return min(1, len(ways)-1) }
func last(_ *compute.Program, _ int, ways []kernel.Way) int  { return len(ways) - 1 }

// borrower opens a device with libraries.
type borrower struct {
	*simlibrary.Libraries
	machine *simdriver.Machine
	prefer  preference
	log     bytes.Buffer
}

func (b *borrower) open(t testing.TB) compute.Device {
	t.Helper()
	if b.Libraries == nil {
		b.Libraries = simlibrary.New()
	}
	if b.machine == nil {
		b.machine = simdriver.New(simdriver.Options{})
	}
	log := slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := with(b.machine, b.Computer(), Options{Precision: compute.PrecisionFP16, NoTuning: true, NoCache: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	d.prefer = b.prefer
	closing(t, b.machine, d)
	return d
}

// calls is how often the libraries were called for products, for graphs and for older convolutions.
func (b *borrower) calls() (n [3]int) {
	for i, names := range [][]string{{"cublasLtMatmul"}, {"cudnnBackendExecute"}, {"cudnnConvolutionForward", "cudnnConvolutionBackwardData"}} {
		for _, name := range names {
			n[i] += b.machine.Calls(name)
		}
	}
	return n
}

// TestLibraries runs the cases of the suite that libraries have a part in on them, with epilogues in the call and apart, and by the older calls.
func TestLibraries(t *testing.T) {
	timed(t)
	const half = 1.0 / 2048
	products, convolutions := []string{"Linear", "LinearInputGradient"}, []string{"Conv2D", "Conv2DInputGradient"}
	for name, test := range map[string]struct {
		prefer    preference
		noEngines bool
		ops       []string
		want      [3]bool // which are called
	}{
		"with the epilogue":  {first, false, append(products, convolutions...), [3]bool{true, true, false}},
		"the epilogue apart": {last, false, convolutions[:1], [3]bool{true, true, false}},
		"without engines":    {last, true, convolutions, [3]bool{true, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Log("-short: one case each of Linear and Conv2D")
				test.ops = []string{"Linear/odd/everything", "Conv2D/3×3/everything"}
			}
			b := &borrower{Libraries: simlibrary.New(), prefer: test.prefer}
			b.NoEngines = test.noEngines
			computetest.Suite{Open: b.open, OperandRoundoff: half, ValueRoundoff: half, ValueStep: steps[compute.PrecisionFP16], Small: true}.RunOps(t, test.ops...)
			calls := b.calls()
			for i, want := range test.want {
				if (calls[i] > 0) != want {
					t.Errorf("libraries were called %d times", calls)
				}
			}
		})
	}
}

// TestLibraryGolden compares the UNet of the tiny model, as far as can be computed by libraries, with diffusers', and a replay with it.
func TestLibraryGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes seconds for a network")
	}
	timed(t)
	b := &borrower{prefer: first}
	have, want := noise(t, tinyRandom(t), b.open(t))
	if d := golden.Compare(have, want.ChannelsLast().Float32); !(d.Relative <= tolerances[compute.PrecisionFP16]) {
		t.Errorf("%v, tolerance %g", d, tolerances[compute.PrecisionFP16])
	}
	if calls := b.calls(); calls[0] < 20 || calls[1] < 10 {
		t.Errorf("libraries were called %d times", calls)
	}
}

// network is a program of a product and a convolution, on halves.
func network(t testing.TB) (*compute.Program, *computetest.Source) {
	t.Helper()
	var b compute.Builder
	source := new(computetest.Source)
	param := func(name string, shape ...int) compute.Value {
		numbers := make([]float32, compute.Shape(shape).Elements())
		for i := range numbers {
			numbers[i] = float32(i%7)/16 - 0.2
		}
		source.Add(name, compute.F16, numbers, shape...)
		return b.Param(name, shape...)
	}
	x := b.Op(compute.Activate{X: b.Input("x", compute.F32, 1, 4, 4, 16), Activation: compute.SiLU})
	x = b.Op(compute.Conv2D{X: x, Weight: param("conv", 16, 16, 3, 3), Bias: param("bias", 16), Stride: 1, Pad: compute.SamePadding(1), Epilogue: compute.Epilogue{Residual: x}})
	b.Output(b.Op(compute.Linear{X: x, Weight: param("linear", 16, 16)}))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p, source
}

// draws runs the network three times, of which the last is replayed, and closes everything, whatever fails in between.
func draws(t testing.TB, d compute.Device) (results [][]float32, err error) {
	t.Helper()
	closing := func(c interface{ Close() error }) { err = errors.Join(err, c.Close()) }
	program, source := network(t)
	params, err := d.Load(source)
	if err != nil {
		return nil, err
	}
	defer closing(params)
	exe, err := d.Compile(program, params)
	if err != nil {
		return nil, err
	}
	defer closing(exe)
	var tensors [2]compute.Tensor
	for i := range tensors {
		if tensors[i], err = d.NewTensor(compute.F32, 1, 4, 4, 16); err != nil {
			return nil, err
		}
		defer closing(tensors[i])
	}
	host := compute.Floats(make([]float32, 256))
	for i := range host.F32 {
		host.F32[i] = float32(i%11) / 8
	}
	if err := tensors[0].Upload(host); err != nil {
		return nil, err
	}
	for range 3 {
		if err := exe.Run(t.Context(), tensors[1:], tensors[:1]); err != nil {
			return results, err
		}
		host := compute.Floats(make([]float32, 256))
		if err := tensors[1].Download(host); err != nil {
			return results, err
		}
		results = append(results, host.F32)
	}
	return results, nil
}

// TestLibrariesInGraphs replays libraries' calls: they are not called again, and give the same.
func TestLibrariesInGraphs(t *testing.T) {
	b := &borrower{prefer: first}
	results, err := draws(t, b.open(t))
	if err != nil || !slices.Equal(results[0], results[1]) || !slices.Equal(results[0], results[2]) {
		t.Errorf("%v, %v", results, err)
	}
	if calls := b.calls(); calls != [3]int{2, 2, 0} || b.machine.Calls("cuGraphLaunch") == 0 {
		t.Errorf("libraries were called %d times, want each once for a run and once to be recorded", calls)
	}
}

// TestLibrariesFail has each of the libraries' functions fail: whatever fails before a run is logged and computed by own kernels, and what fails
// in a run is the run's error. Everything is given back.
func TestLibrariesFail(t *testing.T) {
	var want [][]float32
	t.Run("by own kernels", func(t *testing.T) {
		var err error
		want, err = draws(t, opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{})(t))
		check(t, err)
	})
	for name, inRun := range map[string]bool{
		"cublasLtCreate": false, "cublasLtMatmulDescCreate": false, "cublasLtMatmulDescSetAttribute": false, "cublasLtMatrixLayoutCreate": false,
		"cublasLtMatmulPreferenceCreate": false, "cublasLtMatmulPreferenceSetAttribute": false, "cublasLtMatmulAlgoGetHeuristic": false, "cublasLtMatmul": true,
		"cudnnCreate": false, "cudnnSetStream": false, "cudnnBackendCreateDescriptor": false, "cudnnBackendSetAttribute": false,
		"cudnnBackendGetAttribute": false, "cudnnBackendFinalize": false, "cudnnBackendExecute": true,
	} {
		t.Run(name, func(t *testing.T) {
			b := &borrower{prefer: first, machine: simdriver.New(simdriver.Options{})}
			b.machine.Fail(name, 0, 14)
			results, err := draws(t, b.open(t))
			switch {
			case inRun:
				if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "Linear") && !strings.Contains(err.Error(), "Conv2D") {
					t.Errorf("have %v", err)
				}
			case err != nil || !strings.Contains(b.log.String(), name):
				t.Errorf("%v; the log has\n%s", err, &b.log)
			default:
				near(t, results[2], want[2])
			}
		})
	}
}

// near tells whether numbers are those of other kernels in half precision.
func near(t *testing.T, have, want []float32) {
	t.Helper()
	if d := golden.Compare(have, want); !(d.Relative <= 5e-3) {
		t.Errorf("%v", d)
	}
}

// TestNoLibraries leaves them out: where the variable says so, in float32, and where what is there is of no use, which is a warning.
func TestNoLibraries(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		o        Options
		prepare  func(l *simlibrary.Libraries)
		log      string
	}{
		"not wanted":     {"0", Options{Precision: compute.PrecisionFP16}, func(*simlibrary.Libraries) {}, ""},
		"float32":        {"", Options{}, func(*simlibrary.Libraries) {}, ""},
		"there are none": {"", Options{Precision: compute.PrecisionFP16}, func(l *simlibrary.Libraries) { l.CuBLASLt, l.CuDNN = 0, 0 }, "level=DEBUG"},
		"mismatched":     {"", Options{Precision: compute.PrecisionFP16}, func(l *simlibrary.Libraries) { l.CuBLASLt, l.CUDA = 0, 13000 }, "level=WARN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(LibrariesVariable, test.variable)
			libraries, log := simlibrary.New(), new(bytes.Buffer)
			test.prepare(libraries)
			m := simdriver.New(simdriver.Options{})
			test.o.NoTuning, test.o.NoCache, test.o.Logger = true, true, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			d, err := with(m, libraries.Computer(), test.o)
			check(t, err)
			closing(t, m, d)
			if d.libraries != nil || !strings.Contains(log.String(), test.log) || test.log == "" && log.Len() > 0 {
				t.Errorf("libraries %v, log %s", d.libraries, log)
			}
		})
	}
}

// TestModel says what the model makes of libraries: an H100 has large products and convolutions done by them, a card for games does not.
func TestModel(t *testing.T) {
	for card, want := range map[simdriver.Card]bool{simdriver.H100: true, simdriver.RTX3060: false} {
		m := simdriver.New(simdriver.Options{Card: card})
		d, err := with(m, simlibrary.New().Computer(), Options{Precision: compute.PrecisionFP16, NoTuning: true, NoCache: true})
		check(t, err)
		var b compute.Builder
		x := b.Op(compute.Activate{X: b.Input("x", compute.F32, 2, 64, 64, 320), Activation: compute.SiLU})
		x = b.Op(compute.Conv2D{X: x, Weight: b.Param("conv", 320, 320, 3, 3), Stride: 1, Pad: compute.SamePadding(1)})
		x = b.Op(compute.Linear{X: x, Weight: b.Param("wider", 1280, 320)})
		b.Output(b.Op(compute.Linear{X: x, Weight: b.Param("narrower", 320, 1280)}))
		p, err := b.Build()
		check(t, err)
		p = d.kernels.Store(p)
		for i, n := range p.Nodes {
			if !isProduct(n.Op) {
				continue
			}
			work, err := d.kernels.Work(p, n)
			check(t, err)
			check(t, d.do(func() error { work = d.expected(p, i, work); return nil }))
			called := slices.ContainsFunc(work.Launches, func(l kernel.Launch) bool { return l.Call != nil })
			if called != want {
				t.Errorf("%s: %s by a library: %v", card.Name, compute.OpName(n.Op), called)
			}
		}
		shut(t, m, d)
	}
}
