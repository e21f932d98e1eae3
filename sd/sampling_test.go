package sd

import (
	"iter"
	"testing"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/sampler"
)

// TestStepsAllocateNothing counts what the Go heap sees of steps after the first ones, on the device made for speed.
func TestStepsAllocateNothing(t *testing.T) {
	for _, s := range []sampler.Sampler{sampler.DPMPP2M, sampler.Heun, sampler.EulerA} {
		t.Run(string(s), func(t *testing.T) {
			dev, err := cpu.Open(cpu.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			next, stop := iter.Pull2(openTiny(t, dev).Steps(t.Context(), small(func(r *Request) { r.Sampler, r.Steps = s, 20 })))
			defer stop()
			step := func() {
				if _, err, ok := next(); err != nil || !ok {
					t.Fatal(err, ok)
				}
			}
			for range 3 { // the arena and the workers come into being
				step()
			}
			if n := testing.AllocsPerRun(10, step); n != 0 {
				t.Errorf("%v allocations a step, want none", n)
			}
		})
	}
}
