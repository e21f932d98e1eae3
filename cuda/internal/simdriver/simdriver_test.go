package simdriver_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
)

// within runs f on the card of a machine, through the bindings that users run, and asks for everything back.
func within(t *testing.T, m *simdriver.Machine, f func(c *driver.Context, s driver.Stream)) {
	t.Helper()
	c := open(t, m)
	must(t, c.Do(func() error {
		s, err := c.Stream()
		must(t, err)
		f(c, s)
		if err := s.Destroy(); err != nil && !errors.Is(err, driver.ErrContextLost) {
			t.Error(err)
		}
		return nil
	}))
	must(t, c.Close())
}

func open(t *testing.T, m *simdriver.Machine) *driver.Context {
	t.Helper()
	d, err := driver.New(m.Library())
	must(t, err)
	cards, err := d.Cards()
	must(t, err)
	c, err := d.Context(cards[0])
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// adder is x[i] += n for the first so many i, with a pointer, a count and a number.
func adder() *ptx.Kernel {
	k := ptx.New("adder", 32)
	x, count, n := k.Pointer("x"), k.Uint("count"), k.Uint("n")
	i := k.Block(0).Times(32).Plus(k.Thread())
	k.If(i.Less(count), func() {
		at := x.Index(i, 4)
		k.StoreInts(at, 0, k.LoadInts(at, 0, 1)[0].Plus(n))
	})
	return k
}

func load(t *testing.T, c *driver.Context, k *ptx.Kernel, shared int) (driver.Kernel, driver.Module) {
	t.Helper()
	m, err := c.Load(k.Text())
	must(t, err)
	kernel, err := m.Kernel(k.Name(), shared)
	must(t, err)
	return kernel, m
}

func words(values ...uint32) (data []byte) {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, v)
	}
	return data
}

func download(t *testing.T, s driver.Stream, from driver.Address, words int) (values []uint32) {
	t.Helper()
	data := make([]byte, 4*words)
	must(t, s.Download(data, from))
	for i := range words {
		values = append(values, binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

// TestLaunch says that a kernel is executed with the arguments that it had when it was given to the stream.
func TestLaunch(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	within(t, m, func(c *driver.Context, s driver.Stream) {
		kernel, module := load(t, c, adder(), 0)
		x, err := c.Alloc(16)
		must(t, err)
		must(t, s.Upload(x, words(1, 2, 3, 4)))
		l := kernel.Launch(driver.Grid{Blocks: [3]int{1, 1, 1}, Threads: 32}, uint64(x), 3, 10)
		must(t, s.Run(l))
		l.Set(2, 100)
		must(t, s.Run(l))
		if have := download(t, s, x, 4); !slices.Equal(have, []uint32{111, 112, 113, 4}) {
			t.Errorf("have %d", have)
		}
		must(t, c.Free(x))
		must(t, module.Unload())
	})
	if leaks := m.Leaks(); len(leaks) > 0 || m.Launches() != 2 {
		t.Errorf("%d launches, left are %q", m.Launches(), leaks)
	}
}

// TestOrder gives two streams work that depends on each other: with an event it comes out right under every seed, without one not.
func TestOrder(t *testing.T) {
	result := func(seed uint64, ordered bool) (have uint32) {
		within(t, simdriver.New(simdriver.Options{Seed: seed}), func(c *driver.Context, s driver.Stream) {
			other, err := c.Stream()
			must(t, err)
			e, err := c.Event()
			must(t, err)
			x, err := c.Alloc(4)
			must(t, err)
			must(t, s.Fill(x, 1, 1))
			must(t, s.Record(e))
			if ordered {
				must(t, other.After(e))
			}
			must(t, other.Fill(x, 2, 1))
			must(t, c.Synchronize())
			have = download(t, s, x, 1)[0]
			must(t, errors.Join(c.Free(x), e.Destroy(), other.Destroy()))
		})
		return have
	}
	seen := make(map[uint32]bool)
	for seed := range uint64(20) {
		if have := result(seed, true); have != 2 {
			t.Errorf("seed %d: with an event the second stream's work came first", seed)
		}
		seen[result(seed, false)] = true
	}
	if len(seen) != 2 {
		t.Errorf("without an event, 20 seeds gave only %v", seen)
	}
}

// TestPinned changes host memory behind a copy: of pinned memory the copy may see that, of other memory never.
func TestPinned(t *testing.T) {
	result := func(seed uint64, pinned bool) (have uint32) {
		within(t, simdriver.New(simdriver.Options{Seed: seed}), func(c *driver.Context, s driver.Stream) {
			host := make([]byte, 4)
			if pinned {
				var err error
				host, err = c.Pinned(4)
				must(t, err)
				defer func() { must(t, c.Unpin(host)) }()
			}
			x, err := c.Alloc(4)
			must(t, err)
			copy(host, words(1))
			must(t, s.Upload(x, host))
			copy(host, words(2))
			have = download(t, s, x, 1)[0]
			must(t, c.Free(x))
		})
		return have
	}
	seen := make(map[uint32]bool)
	for seed := range uint64(20) {
		if have := result(seed, false); have != 1 {
			t.Errorf("seed %d: the copy saw what was written behind it", seed)
		}
		seen[result(seed, true)] = true
	}
	if !seen[2] {
		t.Error("no copy from pinned memory was late")
	}
}

func TestGraph(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	within(t, m, func(c *driver.Context, s driver.Stream) {
		kernel, module := load(t, c, adder(), 0)
		x, err := c.Alloc(4)
		must(t, err)
		must(t, s.Upload(x, words(1)))
		l := kernel.Launch(driver.Grid{Blocks: [3]int{1, 1, 1}, Threads: 32}, uint64(x), 1, 10)
		g, err := s.Capture(func() error { return s.Run(l) })
		must(t, err)
		must(t, errors.Join(s.Replay(g), s.Replay(g)))
		if have := download(t, s, x, 1)[0]; have != 21 {
			t.Errorf("have %d", have)
		}
		for name, f := range map[string]func() error{
			"allocate": func() error { _, err := c.Alloc(4); return err }, "wait": s.Wait, "upload": func() error { return s.Upload(x, words(1)) },
			"load": func() error { _, err := c.Load(adder().Text()); return err },
		} {
			if _, err := s.Capture(func() error { _ = f(); return nil }); err == nil || !strings.Contains(err.Error(), "INVALIDATED") {
				t.Errorf("%s while a stream is captured: %v", name, err)
			}
		}
		must(t, errors.Join(g.Destroy(), c.Free(x), module.Unload()))
	})
	if leaks := m.Leaks(); len(leaks) > 0 {
		t.Errorf("left are %q", leaks)
	}
}

// TestFault has a kernel write outside its memory: the context is lost, the reason is told, and the next context works.
func TestFault(t *testing.T) {
	m := simdriver.New(simdriver.Options{})
	within(t, m, func(c *driver.Context, s driver.Stream) {
		kernel, _ := load(t, c, adder(), 0)
		x, err := c.Alloc(4)
		must(t, err)
		must(t, s.Fill(x, 1, 1))
		must(t, s.Run(kernel.Launch(driver.Grid{Blocks: [3]int{1, 1, 1}, Threads: 32}, uint64(x), 2, 1)))
		for range 2 {
			if err := s.Wait(); !errors.Is(err, driver.ErrContextLost) {
				t.Errorf("have %v", err)
			}
		}
	})
	faults := m.Faults()
	if len(faults) != 1 || !strings.Contains(faults[0].Error(), "outside every allocation") || !strings.Contains(faults[0].Error(), "adder") {
		t.Errorf("faults %v", faults)
	}
	within(t, m, func(c *driver.Context, s driver.Stream) { must(t, s.Wait()) })
}

// TestRefused does what the driver refuses.
func TestRefused(t *testing.T) {
	within(t, simdriver.New(simdriver.Options{}), func(c *driver.Context, s driver.Stream) {
		kernel, module := load(t, c, adder(), 0)
		x, err := c.Alloc(4)
		must(t, err)
		gone, err := c.Stream()
		must(t, err)
		must(t, gone.Destroy())
		blocks := [3]int{1, 1, 1}
		for name, f := range map[string]func() error{
			"INVALID_HANDLE":  func() error { return gone.Wait() },
			"INVALID_VALUE 1": func() error { return c.Free(x + 4) },
			"INVALID_VALUE 2": func() error { return s.Run(kernel.Launch(driver.Grid{Blocks: blocks, Threads: 64}, uint64(x), 1, 1)) },
			"INVALID_VALUE 3": func() error {
				return s.Run(kernel.Launch(driver.Grid{Blocks: blocks, Threads: 32, Shared: 50 << 10}, uint64(x), 1, 1))
			},
			"INVALID_VALUE 4": func() error {
				return s.Run(kernel.Launch(driver.Grid{Blocks: [3]int{1, 65536, 1}, Threads: 32}, uint64(x), 1, 1))
			},
			"INVALID_VALUE 5": func() error { _, err := module.Kernel("adder", 100<<10); return err },
			"NOT_FOUND":       func() error { _, err := module.Kernel("subtractor", 0); return err },
			"not understood":  func() error { _, err := c.Load("nonsense"); return err },
			"is not known": func() error {
				_, err := c.Load(strings.Replace(adder().Text(), "st.global", "st.elsewhere", 1))
				return err
			},
			"out of device me": func() error { _, err := c.Alloc(13 << 30); return err },
		} {
			want := strings.TrimRight(name, " 12345")
			if err := f(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %s, have %v", want, err)
			}
		}
		must(t, errors.Join(c.Free(x), module.Unload()))
	})
}

// TestThreads uses a context where it is not current.
func TestThreads(t *testing.T) {
	c := open(t, simdriver.New(simdriver.Options{}))
	if _, err := c.Stream(); err == nil || !strings.Contains(err.Error(), "INVALID_CONTEXT") {
		t.Errorf("on a thread without the context: %v", err)
	}
	must(t, c.Close())
}

// TestBadLuck orders what goes wrong on other people's computers.
func TestBadLuck(t *testing.T) {
	m := simdriver.New(simdriver.Options{Card: simdriver.RTX4060})
	within(t, m, func(c *driver.Context, s driver.Stream) {
		m.Fail("cuMemAlloc_v2", 1, simdriver.OutOfMemory)
		x, err := c.Alloc(1 << 20)
		must(t, err)
		_, err = c.Alloc(4)
		if e, ok := errors.AsType[*driver.OutOfMemoryError](err); !ok || *e != (driver.OutOfMemoryError{Need: 4, Free: 8<<30 - 1<<20, Total: 8 << 30}) {
			t.Errorf("the second allocation: %v", err)
		}
		m.Mend("cuMemAlloc_v2")
		must(t, c.Free(x))
	})
	within(t, simdriver.New(simdriver.Options{Card: simdriver.GTX1080}), func(c *driver.Context, s driver.Stream) {
		if _, err := c.Load(adder().Text()); err == nil || !strings.Contains(err.Error(), "RTX 30") {
			t.Errorf("an old card: %v", err)
		}
	})
	m = simdriver.New(simdriver.Options{})
	within(t, m, func(c *driver.Context, s driver.Stream) {
		m.Lose(simdriver.LaunchFailed)
		if err := s.Wait(); !errors.Is(err, driver.ErrContextLost) {
			t.Errorf("a lost context: %v", err)
		}
	})
	m = simdriver.New(simdriver.Options{Lacks: []string{"cuGraphLaunch"}})
	if _, err := driver.New(m.Library()); err == nil || !strings.Contains(err.Error(), "cuGraphLaunch") {
		t.Errorf("an old driver: %v", err)
	}
}
