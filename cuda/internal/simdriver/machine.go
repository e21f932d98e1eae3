package simdriver

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ebitengine/purego"

	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// Options describe a machine. The zero value has an RTX 3060.
type Options struct {
	Card  Card         // the zero value is RTX3060
	Seed  uint64       // decides the order of work in different streams, of blocks and of warps
	Off   uint32       // decides the last bits of approximations
	Chip  *simgpu.Chip // sums products as tensor cores do, bit for bit and slowly; nil sums them in float32
	Lacks []string     // functions that the library does not export
}

// Machine is a computer with a card and its driver. A process has one at a time: making another takes the place of the first.
type Machine struct {
	Options

	mu      sync.Mutex
	random  *rand.Rand
	started bool // cuInit was called
	lost    Code // what every call answers after a kernel's fault
	calls   map[string]int
	fails   map[string]failure
	faults  []error

	memory   simgpu.Device
	sizes    map[simgpu.Address]int64
	used     int64
	pinned   map[uintptr][]byte
	retained int
	current  map[uint64]bool // threads with the context
	next     handle
	streams  map[handle]*stream
	events   map[handle]*event
	modules  map[handle]*simgpu.Kernel
	kernels  map[handle]*kernel
	graphs   map[handle]*graph
	execs    map[handle]*graph
	objects  map[handle]any // assemblies, and what other libraries keep
	launches int
}

// handle is what the driver names a thing by. No two things of a machine have one.
type handle uintptr

// failure is one that was ordered.
type failure struct {
	after int // calls that still work
	code  Code
}

var (
	installed *Machine // what the functions work on, of which a process can make only so many
	mutex     sync.Mutex
)

// New makes a machine and gives the process its driver.
func New(o Options) *Machine {
	if o.Card == (Card{}) {
		o.Card = RTX3060
	}
	m := &Machine{
		Options: o, random: rand.New(rand.NewPCG(o.Seed, 1)), calls: make(map[string]int), fails: make(map[string]failure),
		sizes: make(map[simgpu.Address]int64), pinned: make(map[uintptr][]byte), current: make(map[uint64]bool), next: 1 << 20,
		streams: make(map[handle]*stream), events: make(map[handle]*event), modules: make(map[handle]*simgpu.Kernel),
		kernels: make(map[handle]*kernel), graphs: make(map[handle]*graph), execs: make(map[handle]*graph), objects: make(map[handle]any),
	}
	mutex.Lock()
	defer mutex.Unlock()
	installed = m
	return m
}

// Library is the machine's driver, opened.
func (m *Machine) Library() *library.Library {
	return &library.Library{Symbols: m, Path: "libcuda.so.1", Why: "a test"}
}

// Symbol implements library.Symbols.
func (m *Machine) Symbol(name string) (uintptr, error) {
	address, ok := addresses()[name]
	if !ok || slices.Contains(m.Lacks, name) {
		return 0, fmt.Errorf("simdriver: there is no %s", name)
	}
	return address, nil
}

// addresses are those of all functions, by name.
var addresses = sync.OnceValue(func() map[string]uintptr {
	all := make(map[string]uintptr)
	for _, functions := range []map[string]any{ofDriver, ofMemory, ofStreams, ofModules, ofAssembly, ofGraphs} {
		for name, f := range functions {
			all[name] = purego.NewCallback(f)
		}
	}
	return all
})

// Fail makes a function, named as the library exports it, answer with a code instead of doing anything, from the call after so many
// that still work on.
func (m *Machine) Fail(name string, after int, code Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails[name] = failure{after, code}
}

// Mend takes back what Fail ordered.
func (m *Machine) Mend(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.fails, name)
}

// Lose loses the context, as a kernel's fault does: from now on all that works on it answers with a code, [LaunchFailed] or, as a
// card that is gone, [Unknown].
func (m *Machine) Lose(code Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = code
}

// Calls is how often a function was called.
func (m *Machine) Calls(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[name]
}

// Launches is how many kernels have run.
func (m *Machine) Launches() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.launches
}

// Faults are what kernels and copies did wrong: none, or the one that lost the context.
func (m *Machine) Faults() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.faults)
}

// Leaks says what has not been given back.
func (m *Machine) Leaks() (leaks []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for what, n := range map[string]int{
		"allocations": len(m.sizes), "pinned allocations": len(m.pinned), "streams": len(m.streams), "events": len(m.events),
		"modules": len(m.modules), "graphs": len(m.graphs), "executable graphs": len(m.execs), "contexts": m.retained,
		"other objects": len(m.objects),
	} {
		if n != 0 {
			leaks = append(leaks, fmt.Sprint(n, " ", what))
		}
	}
	slices.Sort(leaks)
	return leaks
}

// new is a handle that nothing has had.
func (m *Machine) new() handle {
	m.next += 16
	return m.next
}

// need is what a function wants before it does anything.
type need uint8

const (
	nothing need = iota
	driver       // that cuInit was called
	context      // that the context is current on the thread, and not lost
)

// call does what a function of the library does, unless it is to fail.
func call(name string, want need, do func(m *Machine) Code) uintptr {
	mutex.Lock()
	m := installed
	mutex.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[name]++
	if f, ok := m.fails[name]; ok {
		if f.after--; f.after < 0 {
			return uintptr(f.code)
		}
		m.fails[name] = f
	}
	switch {
	case want >= driver && !m.started:
		return uintptr(NotInitialized)
	case want == context && !m.current[thread()]:
		return uintptr(InvalidContext)
	}
	m.advance()
	if want == context && m.lost != 0 {
		return uintptr(m.lost)
	}
	return uintptr(do(m))
}

// advance lets the card do some of what waits, at times.
func (m *Machine) advance() {
	if m.retained == 0 {
		return
	}
	for range m.random.IntN(3) {
		if !m.work() {
			return
		}
	}
}

// fault loses the context.
func (m *Machine) fault(err error) {
	m.faults = append(m.faults, err)
	m.lost = IllegalAddress
}

// sorted are the handles of things in the order in which they were made.
func sorted[T any](things map[handle]T) []handle { return slices.Sorted(maps.Keys(things)) }
