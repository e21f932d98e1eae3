package cuda

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simlibrary"
)

// idle is a driver whose functions of a run do nothing, without allocating as those of a simulation do: a function of C that always
// returns 0 stands in for them.
type idle struct{ driver, c library.Symbols }

func (i idle) Symbol(name string) (uintptr, error) {
	if slices.Contains([]string{
		"cuLaunchKernel", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD32Async", "cuStreamSynchronize",
		"cuGraphLaunch",
	}, name) {
		return i.c.Symbol("sched_yield")
	}
	return i.driver.Symbol(name)
}

// idleDriver is such a driver, and the library of C.
func idleDriver(t *testing.T) (*driver.Driver, library.Symbols) {
	t.Helper()
	c, err := library.Here().Open("libc.so.6")
	check(t, err)
	lib := simdriver.New(simdriver.Options{}).Library()
	lib.Symbols = idle{lib.Symbols, c}
	handle, err := driver.New(lib)
	check(t, err)
	return handle, c
}

// idleLibraries are libraries whose functions of a run do nothing in the same way.
type idleLibraries struct{ libraries, c library.Symbols }

func (i idleLibraries) Symbol(name string) (uintptr, error) {
	if name == "cublasLtMatmul" || name == "cudnnBackendExecute" {
		return i.c.Symbol("sched_yield")
	}
	return i.libraries.Symbol(name)
}

// TestNoAllocationsByLibraries repeats a run with a product and a convolution by libraries that is not replayed.
func TestNoAllocationsByLibraries(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("left out with -short, because the race detector allocates too, and where the function that stands in is not")
	}
	handle, c := idleDriver(t)
	computer := simlibrary.New().Computer()
	found := computer.Open
	computer.Open = func(path string) (library.Symbols, error) {
		symbols, err := found(path)
		return idleLibraries{symbols, c}, err
	}
	d, err := open(handle, computer, Options{Precision: compute.PrecisionFP16, NoTuning: true, NoCache: true})
	check(t, err)
	defer d.Close()
	d.prefer = first
	program, source := network(t)
	params, err := d.Load(source)
	check(t, err)
	defer params.Close()
	exe, err := d.Compile(program, params)
	check(t, err)
	defer exe.Close()
	x, err := d.NewTensor(compute.F32, 1, 4, 4, 16)
	check(t, err)
	defer x.Close()
	tensors, ctx := []compute.Tensor{x}, t.Context()
	exe.(*executable).replay.failed = true
	if n := testing.AllocsPerRun(20, func() { err = errors.Join(err, exe.Run(ctx, tensors, tensors)) }); n != 0 || err != nil {
		t.Errorf("a run by libraries allocates %g times, %v; want 0", n, err)
	}
}

// TestNoAllocations repeats a run. A transfer allocates once: the call's arguments, among which is an address of host memory.
func TestNoAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: the race detector, with which that runs, allocates too")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the function that stands in for the driver's is Linux's")
	}
	handle, _ := idleDriver(t)
	d, err := open(handle, bare(), Options{NoTuning: true, NoCache: true})
	check(t, err)
	defer d.Close()
	program, source := layer(t, 32)
	params, err := d.Load(source)
	check(t, err)
	defer params.Close()
	exe, err := d.Compile(program, params)
	check(t, err)
	defer exe.Close()
	x, err := d.NewTensor(compute.F32, 4, 32)
	check(t, err)
	defer x.Close()
	tensors, host := []compute.Tensor{x}, compute.Floats(make([]float32, 4*32))
	ctx := t.Context()
	for range 2 { // the second is recorded
		check(t, exe.Run(ctx, tensors, tensors))
	}
	if n := testing.AllocsPerRun(20, func() { err = errors.Join(err, exe.Run(ctx, tensors, tensors)) }); n != 0 || err != nil {
		t.Errorf("a run allocates %g times, %v; want 0", n, err)
	}
	exe.(*executable).replay.failed = true
	if n := testing.AllocsPerRun(20, func() { err = errors.Join(err, exe.Run(ctx, tensors, tensors)) }); n != 0 || err != nil {
		t.Errorf("a run whose launches are given one by one allocates %g times, %v; want 0", n, err)
	}
	if n := testing.AllocsPerRun(20, func() { err = errors.Join(err, x.Upload(host), x.Download(host)) }); n > 2 || err != nil {
		t.Errorf("an upload and a download allocate %g times, %v; want 2 at most", n, err)
	}
}
