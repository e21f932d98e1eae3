package cuda

import (
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/realcard"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
)

// opener opens a device on a machine of its own. What its kernels did wrong is told when the test ends, and everything must have been
// given back.
func opener(o Options, machine simdriver.Options) func(testing.TB) compute.Device {
	return func(t testing.TB) compute.Device {
		t.Helper()
		m := simdriver.New(machine)
		d, err := on(m, o)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, m, d)
		return d
	}
}

// device is the card that tests are to use, without what others have timed on it, or a simulated one.
func device(t testing.TB, o Options) func(testing.TB) compute.Device {
	t.Helper()
	number, ok := realcard.Number(t)
	if !ok {
		return opener(o, simdriver.Options{})
	}
	o.Card, o.NoTuning, o.NoCache = number, true, true
	return func(t testing.TB) compute.Device {
		t.Helper()
		d, err := Open(o)
		if err != nil {
			t.Fatalf("%s is %d: %v", realcard.Variable, number, err)
		}
		realcard.Tell(t, d.Name())
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		return d
	}
}

// closing has the test's end shut a device.
func closing(t testing.TB, m *simdriver.Machine, d *Device) {
	t.Cleanup(func() { shut(t, m, d) })
}

// shut closes a device, before there is another machine, and tells what its kernels did wrong, and what has not been given back.
func shut(t testing.TB, m *simdriver.Machine, d *Device) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for _, fault := range m.Faults() {
		t.Error(fault)
	}
	if leaks := m.Leaks(); len(leaks) > 0 {
		t.Errorf("not given back: %q", leaks)
	}
}

// on opens a device on a machine without libraries, which times and keeps nothing.
func on(m *simdriver.Machine, o Options) (*Device, error) {
	o.NoTuning, o.NoCache = true, true
	return with(m, bare(), o)
}

// with opens a device on a machine with the libraries of a computer.
func with(m *simdriver.Machine, c library.Computer, o Options) (*Device, error) {
	d, err := driver.New(m.Library())
	if err != nil {
		return nil, err
	}
	return open(d, c, o)
}

// TestConformance runs the suite that every device runs, on a card that is simulated, or on the one that tests are to use.
func TestConformance(t *testing.T) {
	const half = 1.0 / 2048
	for precision, roundoff := range map[compute.Precision]float64{compute.PrecisionFP32: 0, compute.PrecisionFP16: half} {
		t.Run(precision.String(), func(t *testing.T) {
			timed(t)
			_, real := realcard.Number(t)
			if !real {
				t.Log("left out because they take minutes: sizes of Stable Diffusion's own")
			}
			suite := computetest.Suite{Open: device(t, Options{Precision: precision}), OperandRoundoff: roundoff, ValueRoundoff: roundoff, Small: !real}
			switch {
			case !testing.Short():
				suite.Run(t)
			case roundoff > 0:
				t.Log("-short: the contract alone")
				suite.RunContract(t)
			default:
				t.Skip("-short: half precision alone")
			}
		})
	}
}

// timed logs how long a test took.
func timed(t *testing.T) {
	start := time.Now()
	t.Cleanup(func() { t.Logf("%s: %.1f s", t.Name(), time.Since(start).Seconds()) })
}
