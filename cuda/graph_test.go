package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
)

// chain is a program of several linear layers.
func chain(t *testing.T, width, length int) (*compute.Program, *computetest.Source) {
	t.Helper()
	var b compute.Builder
	source := new(computetest.Source)
	numbers := make([]float32, width*width)
	for i := range numbers {
		numbers[i] = float32(i%7)/16 - 0.2
	}
	source.Add("weight", compute.F32, numbers, width, width)
	x, weight := b.Input("x", compute.F32, 4, width), b.Param("weight", width, width)
	for range length {
		x = b.Op(compute.Linear{X: x, Weight: weight})
	}
	b.Output(x)
	program, err := b.Build()
	check(t, err)
	return program, source
}

// running is a chain on a device, run on tensors of its own.
type running struct {
	compute.Executable
	in, out compute.Tensor
}

func start(t *testing.T, d compute.Device, width, length int) running {
	t.Helper()
	program, source := chain(t, width, length)
	params, err := d.Load(source)
	check(t, err)
	t.Cleanup(func() { params.Close() })
	r := running{}
	r.Executable, err = d.Compile(program, params)
	check(t, err)
	t.Cleanup(func() { r.Close() })
	for _, x := range []*compute.Tensor{&r.in, &r.out} {
		*x, err = d.NewTensor(compute.F32, 4, width)
		check(t, err)
		t.Cleanup(func() { (*x).Close() })
	}
	return r
}

// run is the result for an input of one number.
func (r running) run(t *testing.T, number float32) []float32 {
	t.Helper()
	host := compute.Floats(slices.Repeat([]float32{number}, r.in.Shape().Elements()))
	check(t, r.in.Upload(host))
	check(t, r.Run(t.Context(), []compute.Tensor{r.out}, []compute.Tensor{r.in}))
	check(t, r.out.Download(host))
	return host.F32
}

// TestGraphs runs a program again and again: from the second run on it is replayed, with what the inputs hold then, and again after the
// arena has moved.
func TestGraphs(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	d, err := on(m, Options{})
	check(t, err)
	t.Cleanup(func() {
		check(t, d.Close())
		if leaks := m.Leaks(); len(leaks) > 0 || len(m.Faults()) > 0 {
			t.Errorf("not given back: %q; faults %v", leaks, m.Faults())
		}
	})
	const length = 40
	x := start(t, d, 16, length)
	var first [][]float32
	for _, number := range []float32{1, -2} {
		x.Executable.(*executable).replay.failed = true
		first = append(first, x.run(t, number))
	}
	x.Executable.(*executable).replay = replay{}
	same := func(what string, launches, graphs int) {
		t.Helper()
		before := [2]int{m.Calls("cuLaunchKernel"), m.Calls("cuGraphLaunch")}
		for i, number := range []float32{1, -2} {
			if have := x.run(t, number); !slices.Equal(have, first[i]) {
				t.Errorf("%s: %v, want %v", what, have, first[i])
			}
		}
		if have := [2]int{m.Calls("cuLaunchKernel") - before[0], m.Calls("cuGraphLaunch") - before[1]}; have != [2]int{launches, graphs} {
			t.Errorf("%s: %d launches and %d graphs, want %d and %d", what, have[0], have[1], launches, graphs)
		}
	}
	const graphs = (length + 2) / 3 // of three launches
	same("a first run, and one that is recorded", 2*length, graphs)
	same("replayed", 0, 2*graphs)
	start(t, d, 512, 2).run(t, 1) // has a larger arena
	same("in another place", 2*length, graphs)
}

// TestGraphsFail has recording fail at each of its calls, after which launches are given one by one, and a replay, which is an error.
func TestGraphsFail(t *testing.T) {
	for _, name := range []string{"cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"} {
		for at := range 3 {
			m := simdriver.New(simdriver.Options{})
			d, err := on(m, Options{})
			check(t, err)
			x := start(t, d, 16, 40)
			want := x.run(t, 1)
			m.Fail(name, at, simdriver.NotFound)
			for range 2 {
				if have := x.run(t, 1); !slices.Equal(have, want) {
					t.Errorf("%s fails at call %d: have %v, want %v", name, at+1, have, want)
				}
			}
			if n := m.Calls("cuGraphLaunch"); n != 0 {
				t.Errorf("%s fails at call %d: %d graphs were replayed", name, at+1, n)
			}
			check(t, errors.Join(x.Close(), x.in.Close(), x.out.Close()))
		}
	}
	m := simdriver.New(simdriver.Options{})
	d, err := on(m, Options{})
	check(t, err)
	x := start(t, d, 16, 40)
	x.run(t, 1)
	m.Fail("cuGraphLaunch", 2, simdriver.LaunchFailed)
	err = x.Run(t.Context(), []compute.Tensor{x.out}, []compute.Tensor{x.in})
	if !errors.Is(err, ErrContextLost) || !strings.Contains(err.Error(), "cuGraphLaunch") {
		t.Errorf("a replay that fails: %v", err)
	}
}
