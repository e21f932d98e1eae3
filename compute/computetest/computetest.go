// Package computetest is the conformance suite of compute devices, named and used like testing/fstest:
//
//	func TestConformance(t *testing.T) {
//		computetest.Run(t, func(tb testing.TB) compute.Device { return ref.New() })
//	}
//
// It has four parts. Cases are single ops over shapes tiny, odd and Stable Diffusion's own, with parameters stored as
// F32, F16 and BF16, compared with package ref. Anchors are ops whose result is known in closed form, so that ref is
// held to something other than itself. The rest of the suite holds a device to the contract of compute's interfaces:
// errors, cancellation, concurrency, repeatability, memory. GradientCases, run by [Suite.RunGradient], are the ops
// that only training records: losses, low-rank products, derivatives.
//
// A device's arena is private, so the sentinels around a buffer are values of the program: while the op runs, its
// inputs and two guards are alive beside its result, laid out without gaps, and all of them must come out bit for bit.
// What remains unseen is an overrun within the padding of a block, which by construction belongs to nobody.
//
// With -short the cases of Stable Diffusion's own shapes are left out: their threads meet where those of the others do.
package computetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
)

// Suite configures the conformance tests of a device.
type Suite struct {
	// Open returns a new device. The suite closes it.
	Open func(testing.TB) compute.Device
	// AllocationFree demands that repeated runs allocate no memory.
	AllocationFree bool
	// OperandRoundoff is the relative error to which the device rounds the factors of matrix products before
	// multiplying: 0 if it multiplies in float32, 2⁻⁸ for bfloat16, 2⁻¹¹ for half precision.
	OperandRoundoff float64
	// ValueRoundoff is the relative error to which the device rounds what ops hand on to others: 0 if it keeps float32, 2⁻¹¹ for half
	// precision. If it is not 0, operands and results of cases are such values, not inputs and outputs of a program.
	ValueRoundoff float64
	// ValueStep is the distance of the smallest such values: 2⁻²⁴ for half precision, which has nothing between 0 and that; 0 for float32.
	ValueStep float64
	// Missing names what the device does not have yet: ops, as in "MatMul", or the beginnings of cases, as in
	// "Conv2D/weight is a value". Such cases are skipped, which the test's log says, and it is an error if one compiles.
	Missing []string
	// Small leaves out the cases of Stable Diffusion's own shapes, as -short does: for a device that is simulated.
	Small bool
}

// Run tests the devices that open returns, with float32 tolerances and no demand on allocations.
func Run(t *testing.T, open func(testing.TB) compute.Device) { Suite{Open: open}.Run(t) }

// Benchmark times every case on the device that open returns and reports GFLOP/s by the direct algorithm.
func Benchmark(b *testing.B, open func(testing.TB) compute.Device) { Suite{Open: open}.Benchmark(b) }

// Run runs the whole suite.
func (s Suite) Run(t *testing.T) {
	t.Run("Case", func(t *testing.T) { s.testCases(t, Cases()) })
	t.Run("Anchor", s.testAnchors)
	t.Run("Contract", s.testContract)
}

// RunContract runs the part of the suite in which a device's own threads meet, and no more.
func (s Suite) RunContract(t *testing.T) { t.Run("Contract", s.testContract) }

// RunGradient runs the cases that training needs on top of the suite, [GradientCases], and their anchors.
func (s Suite) RunGradient(t *testing.T) {
	t.Run("GradientCase", func(t *testing.T) { s.testCases(t, GradientCases()) })
	t.Run("GradientAnchor", func(t *testing.T) { s.testOpAnchors(t, s.open(t), gradientAnchors()) })
	t.Run("GradientNetwork", s.testGradientNetwork)
}

// RunOps runs the cases of some ops, training's too: "Conv2D" are those whose names begin with Conv2D/.
func (s Suite) RunOps(t *testing.T, ops ...string) {
	wanted := Suite{Missing: ops}
	t.Run("Case", func(t *testing.T) {
		s.testCases(t, slices.DeleteFunc(append(Cases(), GradientCases()...), func(c Case) bool { return !wanted.lists(c) }))
	})
}

func (s Suite) testCases(t *testing.T, cases []Case) {
	device, oracle := s.open(t), ref.New()
	defer oracle.Close()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if s.isMissing(t, c, device) {
				t.Skipf("listed as missing from %s", device.Name())
			}
			if (testing.Short() || s.Small) && strings.Contains(c.Name, "/sd/") {
				t.Skip("-short, or a device that is simulated: no size of Stable Diffusion's own")
			}
			if s.ValueRoundoff > 0 && strings.HasSuffix(c.Name, "/extremes") {
				t.Skip("values that only float32 has")
			}
			s.testCase(t, c, device, oracle)
		})
	}
}

// lists reports whether the case is listed as missing.
func (s Suite) lists(c Case) bool {
	return slices.ContainsFunc(s.Missing, func(m string) bool { return strings.HasPrefix(c.Name+"/", m+"/") })
}

// isMissing reports whether the case is listed as missing, and checks that it is.
func (s Suite) isMissing(t *testing.T, c Case, device compute.Device) bool {
	if !s.lists(c) {
		return false
	}
	if err := c.compiles(device); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("listed as missing, but compiling it gives %v, want an error that wraps ErrUnsupported", err)
	}
	return true
}

func (s Suite) testCase(t *testing.T, c Case, device, oracle compute.Device) {
	inside := s.ValueRoundoff > 0
	plain, err := c.recordWithin(false, inside)
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := c.recordWithin(true, inside)
	if err != nil {
		t.Fatal(err)
	}
	reference := start(t, oracle, plain)
	reference.run(t)
	results := len(plain.program.Outputs)

	run := start(t, device, guarded)
	run.poison(t)
	run.run(t)
	got := make([]compute.Buffer, results)
	for i := range got {
		got[i] = run.output(t, i)
		if err := c.Tolerance.check(got[i], reference.output(t, i), s.OperandRoundoff, s.ValueRoundoff, s.ValueStep); err != nil {
			t.Errorf("result %d: %v", i, err)
		}
	}
	for i, in := range guarded.inputs {
		if at := firstDifference(run.output(t, results+i), in); at >= 0 {
			t.Errorf("input %d of %d (the last %d are guards) was overwritten at element %d", i, len(guarded.inputs), 2*results, at)
		}
	}
	run.poison(t)
	run.run(t)
	// With its inputs dying at the op the first result may take their place; that must change nothing.
	over := start(t, device, plain)
	over.poison(t)
	over.run(t)
	for i := range got {
		if at := firstDifference(run.output(t, i), got[i]); at >= 0 {
			t.Errorf("result %d: the second run differs from the first at element %d", i, at)
		}
		if at := firstDifference(over.output(t, i), got[i]); at >= 0 {
			t.Errorf("result %d: where the inputs may be overwritten it differs at element %d", i, at)
		}
	}
}

// Benchmark times every case of the suite.
func (s Suite) Benchmark(b *testing.B) { s.benchmark(b, Cases()) }

// BenchmarkGradient times every case of [GradientCases] that is not missing.
func (s Suite) BenchmarkGradient(b *testing.B) {
	s.benchmark(b, slices.DeleteFunc(GradientCases(), s.lists))
}

func (s Suite) benchmark(b *testing.B, cases []Case) {
	device := s.open(b)
	for _, c := range cases {
		b.Run(c.Name, func(b *testing.B) {
			r, err := c.record(false)
			if err != nil {
				b.Fatal(err)
			}
			x := start(b, device, r)
			x.run(b)
			b.ReportAllocs()
			for b.Loop() {
				x.run(b)
			}
			if flops, seconds := r.program.TotalFLOPs(), b.Elapsed().Seconds(); flops > 0 && seconds > 0 {
				b.ReportMetric(float64(flops)*float64(b.N)/seconds/1e9, "GFLOP/s")
			}
		})
	}
}

// Support writes a Markdown table of the cases that the device compiles, with the reason for those it does not.
func Support(w io.Writer, device compute.Device) error {
	if _, err := fmt.Fprintf(w, "| case | %s |\n|---|---|\n", device.Name()); err != nil {
		return err
	}
	for _, c := range append(Cases(), GradientCases()...) {
		verdict := "yes"
		if err := c.compiles(device); err != nil {
			verdict = err.Error()
		}
		if _, err := fmt.Fprintf(w, "| %s | %s |\n", c.Name, verdict); err != nil {
			return err
		}
	}
	return nil
}

// open opens a device that is closed, and closed once more, when the test ends.
func (s Suite) open(tb testing.TB) compute.Device {
	tb.Helper()
	device := s.Open(tb)
	tb.Cleanup(func() {
		for range 2 {
			if err := device.Close(); err != nil {
				tb.Errorf("close: %v", err)
			}
		}
	})
	return device
}
