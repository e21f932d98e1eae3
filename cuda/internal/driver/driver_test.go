package driver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// within runs f on the first card of a fake driver.
func within(t *testing.T, fake *fake, f func(c *Context) error) {
	t.Helper()
	d, err := fake.open()
	if err != nil {
		t.Fatal(err)
	}
	cards, err := d.Cards()
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Context(cards[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(func() error { return f(c) }); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCards(t *testing.T) {
	d, err := newFake().open()
	if err != nil {
		t.Fatal(err)
	}
	cards, err := d.Cards()
	want := Card{
		Name: "RTX 3060", Capability: 86, Memory: 12 << 30, Multiprocessors: 28, Threads: 1024, Shared: 101376, SharedPerSM: 102400,
		L2: 2359296, Clock: 1777000, MemoryClock: 7501000, BusWidth: 192, Watchdog: true,
	}
	if err != nil || len(cards) != 1 || cards[0] != want {
		t.Errorf("have %+v, %v, want %+v", cards, err, want)
	}
	if have := want.String(); have != "RTX 3060 (compute capability 8.6, 12.9 GB)" {
		t.Errorf("the card calls itself %s", have)
	}
	if d.Version().String() != "12.4" || d.Version().Major() != 12 || d.Path() != "libcuda.so.1" {
		t.Errorf("driver %v, CUDA %d, at %s", d.Version(), d.Version().Major(), d.Path())
	}
}

// TestCalls says that each function gets what it is to get, in its order.
func TestCalls(t *testing.T) {
	fake := newFake()
	text, back := []byte("sixteen letters!"), make([]byte, 16)
	within(t, fake, func(c *Context) error {
		s, err := c.Stream()
		must(t, err)
		a, err := c.Alloc(16)
		must(t, err)
		b, err := c.Alloc(16)
		must(t, err)
		must(t, s.Upload(a, text))
		must(t, s.Copy(b, a, 16))
		must(t, s.Fill(a, 0x2a2a2a2a, 2))
		must(t, s.Copy(b+4, a, 4))
		must(t, s.Download(back, b))

		if code, err := c.Assemble("ptx"); err != nil || string(code) != "words" {
			t.Errorf("assembled is %q, %v", code, err)
		}
		_, err = c.LoadCubin([]byte("code\x00"))
		must(t, err)
		m, err := c.Load("ptx")
		must(t, err)
		k, err := m.Kernel("gemm", 64<<10)
		must(t, err)
		launch := k.Launch(Grid{Blocks: [3]int{2, 3, 4}, Threads: 128, Shared: 64 << 10}, 1, 1<<40)
		must(t, s.Run(launch))
		launch.Set(0, 5)
		g, err := s.Capture(func() error { return s.Run(launch) })
		must(t, err)
		must(t, s.Replay(g))
		start, err := c.Event()
		must(t, err)
		if ms, err := start.Since(start); err != nil || ms != 2.5 {
			t.Errorf("%g ms, %v", ms, err)
		}
		return nil
	})
	if want := "sixt****letters!"; string(back) != want {
		t.Errorf("memory holds %q, want %q", back, want)
	}
	if want := []uint64{1, 1 << 40, 5, 1 << 40}; !slices.Equal(fake.args, want) {
		t.Errorf("kernels got %d, want %d", fake.args, want)
	}
	for _, want := range []string{
		"cuDevicePrimaryCtxRetain 40", "cuCtxSetCurrent 7", "cuStreamCreate 1", "cuMemAlloc_v2 16", "cuMemcpyHtoDAsync_v2 16 9",
		"cuMemsetD32Async 707406378 2 9", "cuModuleLoadDataEx ptx 2 5 6 8192",
		"cuLinkCreate_v2 2 5 6 8192", "cuLinkAddData_v2 15 1 ptx 4 kernel 0 0 0", "cuLinkComplete 15", "cuModuleLoadDataEx code 2 5 6 8192", "cuModuleGetFunction 12 gemm", "cuFuncSetAttribute 13 8 65536",
		"cuLaunchKernel 13 2 3 4 128 1 1 65536 9 0", "cuStreamBeginCapture_v2 9 1", "cuGraphInstantiateWithFlags 11 0", "cuGraphDestroy",
		"cuGraphLaunch 14 9", "cuCtxSetCurrent 0", "cuDevicePrimaryCtxRelease_v2",
	} {
		if !slices.Contains(fake.calls, want) {
			t.Errorf("no call %q among %q", want, fake.calls)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoDevice(t *testing.T) {
	fake := newFake()
	fake.cards = 0
	d, err := fake.open()
	must(t, err)
	if _, err := d.Cards(); !errors.Is(err, ErrNoDevice) {
		t.Errorf("without a card: %v", err)
	}
	fake.fails[cuInit] = noDevice
	if _, err := fake.open(); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "cuInit: error 100: words") {
		t.Errorf("cuInit says so: %v", err)
	}
}

func TestNoDriver(t *testing.T) {
	c := library.Computer{Open: func(path string) (library.Symbols, error) { return nil, errors.New("no " + path) }}
	_, err := Open(c)
	if _, ok := errors.AsType[*library.NotFoundError](err); !ok || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Errorf("have %v", err)
	}
}

func TestOldDriver(t *testing.T) {
	fake := newFake()
	fake.lacks = []function{cuGraphInstantiate}
	_, err := fake.open()
	if e, ok := errors.AsType[*UnsupportedError](err); !ok || e.Call != "cuGraphInstantiateWithFlags" || e.Version != 12040 {
		t.Errorf("have %v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	fake := newFake()
	within(t, fake, func(c *Context) error {
		fake.fails[cuMemAlloc] = outOfMemory
		_, err := c.Alloc(2048)
		e, ok := errors.AsType[*OutOfMemoryError](err)
		if !ok || *e != (OutOfMemoryError{2048, 1000, 1000}) || !errors.Is(err, ErrOutOfMemory) {
			t.Errorf("have %v", err)
		}
		return nil
	})
}

func TestErrors(t *testing.T) {
	for code, want := range map[Code]string{
		stub: "install NVIDIA's driver", mismatch: "restart the computer", oldPTX: "update NVIDIA's driver", noBinary: "8.0 (RTX 30)", unknown: "nvidia_uvm",
	} {
		fake := newFake()
		fake.fails[cuInit] = code
		if _, err := fake.open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %d says %v", code, err)
		}
	}
	for code, lost := range map[Code]bool{214: true, 700: true, 702: true, 709: true, 999: true, 710: true, 714: true, 719: true, 720: false, 2: false, 600: false} {
		if errors.Is(&Error{Code: code}, ErrContextLost) != lost {
			t.Errorf("error %d: context lost is not %v", code, lost)
		}
	}
}

// TestEveryCallFails lets each function fail in turn: what called it says so.
func TestEveryCallFails(t *testing.T) {
	for f, name := range names {
		fake := newFake()
		fake.fails[function(f)] = launchFailed
		if err := session(fake); err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s fails, and the error is %v", name, err)
		} else if _, called := fakeOnly[function(f)]; err == nil && !called {
			t.Errorf("%s fails, and nobody notices", name)
		}
	}
}

// fakeOnly are functions whose failure the fake does not act out, or that only describe another failure.
var fakeOnly = map[function]bool{cuGetErrorName: true, cuGetErrorString: true, cuDeviceGetAttribute: true, cuMemGetInfo: true, cuGraphDestroy: true, cuLinkDestroy: true}

// session calls every function once.
func session(fake *fake) error {
	d, err := fake.open()
	if err != nil {
		return err
	}
	cards, err := d.Cards()
	if err != nil {
		return err
	}
	c, err := d.Context(cards[0])
	if err != nil {
		return err
	}
	return errors.Join(c.Do(func() error { return work(c) }), c.Close())
}

func work(c *Context) error {
	s, err := c.Stream()
	if err != nil {
		return err
	}
	memory, err := c.Alloc(64)
	if err != nil {
		return err
	}
	e, err := c.Event()
	if err != nil {
		return err
	}
	if _, err := c.Assemble("ptx"); err != nil {
		return err
	}
	m, err := c.Load("ptx")
	if err != nil {
		return err
	}
	k, err := m.Kernel("k", 49<<10)
	if err != nil {
		return err
	}
	l := k.Launch(Grid{[3]int{1, 1, 1}, 32, 0}, 1, 2)
	g, err := s.Capture(func() error { return s.Run(l) })
	if err != nil {
		return err
	}
	_, _, registers := k.Registers()
	_, elapsed := e.Since(e)
	pinned, err := c.Pinned(0)
	return errors.Join(err, registers, elapsed, s.Upload(memory, make([]byte, 8)), s.Download(make([]byte, 8), memory), s.Copy(memory, memory, 8),
		s.Fill(memory, 0, 1), s.Record(e), s.After(e), e.Wait(), s.Replay(g), s.Wait(), c.Synchronize(), c.Unpin(pinned),
		g.Destroy(), m.Unload(), e.Destroy(), c.Free(memory), s.Destroy())
}

func TestPanicIsTheCallers(t *testing.T) {
	thread := newThread()
	defer thread.close()
	defer func() {
		if recover() != "mine" {
			t.Error("the panic is not the caller's")
		}
		if err := thread.do(func() error { return nil }); err != nil {
			t.Error(err)
		}
	}()
	thread.do(func() error { panic("mine") })
}
