package cpu

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
)

// TestConformance runs the suite every device runs, against the reference device, with one worker and with several:
// more of them than this machine may have processors.
func TestConformance(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(map[int]string{1: "one worker", 3: "three workers"}[workers], func(t *testing.T) {
			computetest.Suite{Open: opener(Options{Workers: workers}), AllocationFree: true}.Run(t)
		})
	}
}

func BenchmarkConformance(b *testing.B) { computetest.Benchmark(b, opener(Options{})) }

func opener(o Options) func(testing.TB) compute.Device {
	return func(t testing.TB) compute.Device {
		t.Helper()
		d, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}
