package cuda

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/driver"
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
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			for _, fault := range m.Faults() {
				t.Error(fault)
			}
			if leaks := m.Leaks(); len(leaks) > 0 {
				t.Errorf("not given back: %q", leaks)
			}
		})
		return d
	}
}

// on opens a device on a machine.
func on(m *simdriver.Machine, o Options) (*Device, error) {
	d, err := driver.New(m.Library())
	if err != nil {
		return nil, err
	}
	return open(d, o)
}

// TestConformance runs the suite that every device runs, on a card that is simulated.
func TestConformance(t *testing.T) {
	t.Run("fp32", func(t *testing.T) {
		computetest.Suite{Open: opener(Options{}, simdriver.Options{}), Missing: missing}.Run(t)
	})
	const half = 1.0 / 2048
	t.Run("fp16", func(t *testing.T) {
		computetest.Suite{Open: opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{}), OperandRoundoff: half, ValueRoundoff: half, Missing: missing}.Run(t)
	})
}

// missing are the ops that have no kernel yet.
var missing = []string{"MergeTokens"}
