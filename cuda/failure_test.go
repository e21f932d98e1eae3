package cuda

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/invalid"
)

// layer is a program of a linear layer, with what it needs.
func layer(t testing.TB, width int) (*compute.Program, *computetest.Source) {
	t.Helper()
	var b compute.Builder
	end := b.Scope("mid_block.proj")
	source := new(computetest.Source)
	source.Add("weight", compute.F16, make([]float32, width*width), width, width)
	b.Output(b.Op(compute.Linear{X: b.Input("x", compute.F32, 4, width), Weight: b.Param("weight", width, width)}))
	end()
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p, source
}

// session opens a device, runs a layer on it and closes everything, whatever fails in between.
func session(t testing.TB, m *simdriver.Machine) (err error) {
	d, err := on(m, Options{})
	if err != nil {
		return err
	}
	closing := func(c interface{ Close() error }) { err = errors.Join(err, c.Close()) }
	defer closing(d)
	program, source := layer(t, 32)
	params, err := d.Load(source)
	if err != nil {
		return err
	}
	defer closing(params)
	exe, err := d.Compile(program, params)
	if err != nil {
		return err
	}
	defer closing(exe)
	in, err := d.NewTensor(compute.F32, 4, 32)
	if err != nil {
		return err
	}
	defer closing(in)
	out, err := d.NewTensor(compute.F32, 4, 32)
	if err != nil {
		return err
	}
	defer closing(out)
	host := compute.Floats(make([]float32, 4*32))
	for i := range host.F32 {
		host.F32[i] = 1
	}
	if err := in.Upload(host); err != nil {
		return err
	}
	if err := exe.Run(t.Context(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		return err
	}
	return out.Download(host)
}

// calls are the functions that a session calls, and that may fail.
var calls = []string{
	"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetUuid_v2", "cuDeviceTotalMem_v2",
	"cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuMemGetInfo_v2", "cuMemAlloc_v2", "cuMemHostAlloc", "cuStreamCreate",
	"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD32Async", "cuEventCreate", "cuEventRecord",
	"cuEventSynchronize", "cuStreamSynchronize", "cuModuleLoadDataEx", "cuModuleGetFunction", "cuLaunchKernel",
}

// TestEveryCallFails lets each function of the driver fail at each of its calls: the session says so, names the function, and gives
// back what it had.
func TestEveryCallFails(t *testing.T) {
	for _, name := range calls {
		m := simdriver.New(simdriver.Options{})
		if err := session(t, m); err != nil {
			t.Fatal(err)
		}
		n := m.Calls(name)
		if n == 0 {
			t.Errorf("%s is never called", name)
		}
		for at := range n {
			m := simdriver.New(simdriver.Options{})
			m.Fail(name, at, simdriver.NotFound)
			err := session(t, m)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s fails at its call %d of %d, and the error is %v", name, at+1, n, err)
			}
			if leaks := m.Leaks(); len(leaks) > 0 {
				t.Errorf("%s fails at its call %d of %d, and not given back are %q", name, at+1, n, leaks)
			}
		}
	}
}

// TestMemoryRunsOut lets each allocation fail in turn. Afterwards the machine has all of its memory again.
func TestMemoryRunsOut(t *testing.T) {
	for at := 0; ; at++ {
		m := simdriver.New(simdriver.Options{})
		m.Fail("cuMemAlloc_v2", at, simdriver.OutOfMemory)
		err := session(t, m)
		if err == nil {
			if at < 4 {
				t.Errorf("a session has only %d allocations", at)
			}
			return
		}
		if e, ok := errors.AsType[*OutOfMemoryError](err); !ok || !errors.Is(err, ErrOutOfMemory) || e.Need <= 0 || e.Free <= 0 {
			t.Errorf("allocation %d: %v", at, err)
		}
		if leaks := m.Leaks(); len(leaks) > 0 {
			t.Errorf("allocation %d: not given back are %q", at, leaks)
		}
		m.Mend("cuMemAlloc_v2")
		if err := session(t, m); err != nil {
			t.Errorf("allocation %d: the next session: %v", at, err)
		}
	}
}

// TestRefusal compiles what does not fit: nothing is read, nothing allocated, and the error has the numbers.
func TestRefusal(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	d, err := on(m, Options{Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	program, source := layer(t, 640)
	reads := &counting{ParamSource: source}
	params, err := d.Load(reads)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Compile(program, params)
	e, ok := errors.AsType[*OutOfMemoryError](err)
	if estimate, _ := d.Estimate(source, program); !ok || e.Need != estimate.Total() || e.Free != 1<<20 {
		t.Errorf("have %v, want a need of %d", err, estimate.Total())
	}
	if reads.n != 0 || m.Calls("cuMemAlloc_v2") != 0 {
		t.Errorf("%d parameters were read, %d allocations made", reads.n, m.Calls("cuMemAlloc_v2"))
	}
}

// counting counts the parameters that are read.
type counting struct {
	compute.ParamSource
	n int
}

func (c *counting) ParamData(name string) ([]byte, error) {
	c.n++
	return c.ParamSource.ParamData(name)
}

// TestLost loses the card in every way, between runs and while a kernel runs: the error says so, everything can be closed, the processor
// computes on, and the next device works.
func TestLost(t *testing.T) {
	for name, code := range map[string]simdriver.Code{
		"a kernel outside its memory": simdriver.IllegalAddress, "a failed launch": simdriver.LaunchFailed, "off the bus": simdriver.Unknown,
	} {
		t.Run(name, func(t *testing.T) {
			m := simdriver.New(simdriver.Options{})
			m.Fail("cuStreamSynchronize", waits, code) // while the layer runs
			if err := session(t, m); !errors.Is(err, ErrContextLost) {
				t.Errorf("lost in a run: %v", err)
			}
			m = simdriver.New(simdriver.Options{})
			d, err := on(m, Options{})
			check(t, err)
			x, err := d.NewTensor(compute.F32, 7)
			check(t, err)
			m.Lose(code)
			if err := x.Upload(compute.Floats(make([]float32, 7))); !errors.Is(err, ErrContextLost) {
				t.Errorf("lost before an upload: %v", err)
			}
			if _, err := d.NewTensor(compute.F32, 7); !errors.Is(err, ErrContextLost) {
				t.Errorf("lost before an allocation: %v", err)
			}
			if err := errors.Join(x.Close(), d.Close()); err != nil {
				t.Error(err)
			}
			onProcessor(t)
			if err := session(t, m); err != nil {
				t.Error(err)
			}
		})
	}
}

// onProcessor runs a layer on the CPU.
func onProcessor(t *testing.T) {
	t.Helper()
	dev := cpuDevice(t)
	program, source := layer(t, 32)
	params, err := dev.Load(source)
	check(t, err)
	defer params.Close()
	exe, err := dev.Compile(program, params)
	check(t, err)
	defer exe.Close()
	x, err := dev.NewTensor(compute.F32, 4, 32)
	check(t, err)
	defer x.Close()
	check(t, exe.Run(t.Context(), []compute.Tensor{x}, []compute.Tensor{x}))
}

// TestFault runs a kernel that writes where it must not: the card's context is lost, and the error has the driver's words.
func TestFault(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	d, err := on(m, Options{})
	check(t, err)
	program, source := layer(t, 32)
	params, err := d.Load(source)
	check(t, err)
	exe, err := d.Compile(program, params)
	check(t, err)
	x, err := d.NewTensor(compute.F32, 4, 32)
	check(t, err)
	e := exe.(*executable)
	e.steps[0].launch.Set(e.steps[0].moving[0].argument, 64) // y lies in no allocation
	err = exe.Run(t.Context(), []compute.Tensor{x}, []compute.Tensor{x})
	if !errors.Is(err, ErrContextLost) || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") || len(m.Faults()) != 1 {
		t.Errorf("have %v, faults %v", err, m.Faults())
	}
	if err := errors.Join(exe.Close(), params.Close(), x.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	onProcessor(t)
}

func TestOpen(t *testing.T) {
	for _, test := range []struct {
		machine simdriver.Options
		options Options
		want    error
		text    string
	}{
		{simdriver.Options{Card: simdriver.GTX1080}, Options{}, compute.ErrUnsupported, "GTX 1080 (compute capability 6.1"},
		{simdriver.Options{Lacks: []string{"cuGraphLaunch"}}, Options{}, nil, "525"},
		{simdriver.Options{}, Options{Card: 1, Precision: 9, Memory: -1}, nil, "Options.Memory"},
	} {
		_, err := on(simdriver.New(test.machine), test.options)
		if err == nil || !strings.Contains(err.Error(), test.text) || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: have %v, want one with %q", test, err, test.text)
		}
	}
	_, err := on(simdriver.New(simdriver.Options{}), Options{Card: -1, Precision: 9})
	if fields := invalid.Fields(err); len(fields) != 2 {
		t.Errorf("have %v", err)
	}
	m := simdriver.New(simdriver.Options{})
	m.Fail("cuInit", 0, simdriver.NoDevice)
	if _, err := on(m, Options{}); !errors.Is(err, ErrNoDevice) {
		t.Errorf("without a card: %v", err)
	}
}

// TestNames has each precision say what it is, and the device for what came out as no number.
func TestNames(t *testing.T) {
	for asked, want := range map[compute.Precision]compute.Precision{
		compute.PrecisionFP32: compute.PrecisionFP32, compute.PrecisionBF16: compute.PrecisionFP16, compute.PrecisionFP16: compute.PrecisionFP16,
	} {
		t.Run(asked.String(), func(t *testing.T) {
			d := opener(Options{Precision: asked}, simdriver.Options{Card: simdriver.H100})(t).(*Device)
			if d.Precision() != want || d.Name() != fmt.Sprintf("cuda (NVIDIA H100 80GB HBM3, %v)", want) {
				t.Errorf("%s in %v", d.Name(), d.Precision())
			}
			exact, err := d.Exact()
			if err != nil {
				t.Fatal(err)
			}
			if p := exact.(*Device).Precision(); p != compute.PrecisionFP32 {
				t.Errorf("exact is %v", p)
			}
			if err := exact.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSynchronous has a launch fail: where the device waits after each, the error names the op.
func TestSynchronous(t *testing.T) {
	t.Setenv(SynchronousVariable, "1")
	m := simdriver.New(simdriver.Options{})
	m.Fail("cuStreamSynchronize", m.Calls("cuStreamSynchronize")+waits, simdriver.LaunchFailed)
	if err := session(t, m); !errors.Is(err, ErrContextLost) || !strings.Contains(err.Error(), "mid_block.proj: Linear") {
		t.Errorf("have %v", err)
	}
}

// waits is how often a session waits for its stream before the first launch: for the parameters, the tables and the upload.
const waits = 3

// TestHalfRange loads a number that half precision does not have.
func TestHalfRange(t *testing.T) {
	d := opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{})(t)
	var b compute.Builder
	source := new(computetest.Source)
	source.Add("weight", compute.F32, []float32{1, 70000, 0, 0, 0, 0, 0, 0}, 1, 8)
	h := b.Op(compute.Activate{X: b.Input("x", compute.F32, 1, 8)})
	b.Output(b.Op(compute.Linear{X: h, Weight: b.Param("weight", 1, 8)}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	params, err := d.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Close()
	if _, err := d.Compile(program, params); err == nil || !strings.Contains(err.Error(), `"weight"`) || !strings.Contains(err.Error(), "fp32") {
		t.Errorf("have %v", err)
	}
}

// TestProfile times a run: each node is told once, in order.
func TestProfile(t *testing.T) {
	d := opener(Options{}, simdriver.Options{})(t)
	program, source := layer(t, 32)
	params, _ := d.Load(source)
	defer params.Close()
	exe, err := d.Compile(program, params)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	in, _ := d.NewTensor(compute.F32, 4, 32)
	defer in.Close()
	out, _ := d.NewTensor(compute.F32, 4, 32)
	defer out.Close()
	told := 0
	exe.(compute.Profiler).Profile(func(node int, seconds float64) {
		if told++; node != 0 || seconds <= 0 {
			t.Errorf("node %d took %g s", node, seconds)
		}
	})
	for range 2 {
		if err := exe.Run(t.Context(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
			t.Fatal(err)
		}
		exe.(compute.Profiler).Profile(nil)
	}
	if told != 1 {
		t.Errorf("told %d times, want once while a function was set", told)
	}
}
