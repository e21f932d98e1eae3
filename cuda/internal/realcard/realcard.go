// Package realcard holds the simulation to a card, in tests: what they have simulated runs on the card too that [Variable] names, and what comes
// of it must be the same, bit for bit.
package realcard

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// Variable names the environment variable that has tests use a card: its number, 0 for the first. Without it everything is simulated.
const Variable = "ATELIER_CUDA_DEVICE"

// Number is the card that tests are to use; ok is false if none is named.
func Number(t testing.TB) (number int, ok bool) {
	t.Helper()
	text := os.Getenv(Variable)
	if text == "" {
		return 0, false
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		t.Fatalf("%s is %q, want the number of a card, 0 for the first", Variable, text)
	}
	return number, true
}

// Tell logs that a test used the card, in words that a reader of its output can count.
func Tell(t testing.TB, what string) {
	t.Helper()
	t.Logf("on the card: %s", what)
}

// Run simulates a launch. If tests are to use a card and the launch is without fault, the card does it as well, on the same memory. Where no
// instruction is approximate the bits must be equal; else the card's results take the place of the simulated ones, so that the test holds
// them to what it expects. Products are summed as that card's tensor cores do; a launch for other ones is simulated alone, and so are those of
// other seeds than 0, which differ in nothing that a card knows.
func Run(t testing.TB, d *simgpu.Device, text string, l simgpu.Launch) (simgpu.Stats, error) {
	t.Helper()
	kernel, err := simgpu.Parse(text)
	if err != nil {
		return simgpu.Stats{}, err
	}
	number, ok := Number(t)
	if !ok {
		return d.Run(kernel, l)
	}
	c, err := open(number)
	if err != nil {
		t.Fatalf("%s is %d: %v", Variable, number, err)
	}
	if l.Seed != 0 || l.Chip != nil && *l.Chip != c.chip() {
		return d.Run(kernel, l)
	}
	chip := c.chip()
	l.Chip = &chip
	before := make(memory)
	for at, data := range d.Allocations() {
		before[at] = bytes.Clone(data)
	}
	stats, err := d.Run(kernel, l)
	if err != nil {
		return stats, err
	}
	after, err := c.run(kernel, text, l, before)
	if err != nil {
		t.Fatalf("the card, in kernel %s: %v", kernel.Name, err)
	}
	return stats, settle(t, d, kernel.Name, strings.Contains(text, ".approx."), after)
}

// memory is what allocations hold.
type memory map[simgpu.Address][]byte

// settle compares the memory of a card with that of the simulation.
func settle(t testing.TB, d *simgpu.Device, name string, approximate bool, after memory) error {
	t.Helper()
	differing, all := 0, 0
	for at, have := range d.Allocations() {
		all += len(have)
		for i := 0; i < len(have); i += 2 {
			got, want := after[at][i:min(i+2, len(have))], have[i:min(i+2, len(have))]
			if bytes.Equal(got, want) {
				continue
			}
			if differing++; differing == 1 && !approximate {
				t.Errorf("kernel %s: bytes %d of the allocation at %#x are %x on the card, %x in the simulation", name, i, at, got, want)
			}
			if err := d.Write(at+simgpu.Address(i), bytes.Clone(got)); err != nil {
				return err
			}
		}
	}
	switch {
	case differing == 0:
		Tell(t, name+" gives equal bits")
	case approximate:
		Tell(t, fmt.Sprintf("%s, which approximates, differs in %d of %d pairs of bytes", name, differing, all/2))
	default:
		Tell(t, fmt.Sprintf("%s DIFFERS in %d of %d pairs of bytes", name, differing, all/2))
	}
	return nil
}

// card is one in use until the tests end.
type card struct {
	driver.Card
	context *driver.Context
}

var (
	opening sync.Mutex
	opened  = make(map[int]*card)
)

// open takes a card into use when it is first asked for.
func open(number int) (*card, error) {
	opening.Lock()
	defer opening.Unlock()
	if c := opened[number]; c != nil {
		return c, nil
	}
	d, err := driver.Open(library.Here())
	if err != nil {
		return nil, err
	}
	cards, err := d.Cards()
	if err != nil {
		return nil, err
	}
	if number >= len(cards) {
		return nil, fmt.Errorf("the driver lists %d cards, counted from 0", len(cards))
	}
	context, err := d.Context(cards[number])
	if err == nil {
		opened[number] = &card{cards[number], context}
	}
	return opened[number], err
}

// chip is how the card's tensor cores sum.
func (c *card) chip() simgpu.Chip {
	if c.Capability < 90 {
		return simgpu.Ampere
	}
	return simgpu.Hopper
}

// run launches a kernel on a copy of memory, and returns what the memory holds then.
func (c *card) run(kernel *simgpu.Kernel, text string, l simgpu.Launch, before memory) (after memory, err error) {
	after = make(memory)
	err = c.context.Do(func() (err error) {
		places := make(map[simgpu.Address]driver.Address)
		defer func() {
			for _, at := range places {
				err = errors.Join(err, c.context.Free(at))
			}
		}()
		stream, err := c.context.Stream()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stream.Destroy()) }()
		for at, data := range before {
			if places[at], err = c.context.Alloc(int64(max(len(data), 1))); err != nil {
				delete(places, at)
				return err
			}
			if err := upload(stream, places[at], data); err != nil {
				return err
			}
		}
		if err := c.launch(stream, kernel, text, l, translate(kernel, l.Arguments, places)); err != nil {
			return err
		}
		for at, data := range before {
			after[at] = make([]byte, len(data))
			if err := download(stream, after[at], places[at]); err != nil {
				return err
			}
		}
		return nil
	})
	return after, err
}

func upload(s driver.Stream, to driver.Address, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	return errors.Join(s.Upload(to, data), s.Wait())
}

func download(s driver.Stream, to []byte, from driver.Address) error {
	if len(to) == 0 {
		return nil
	}
	return errors.Join(s.Download(to, from), s.Wait())
}

// launch runs a kernel to its end.
func (c *card) launch(s driver.Stream, kernel *simgpu.Kernel, text string, l simgpu.Launch, arguments []uint64) (err error) {
	module, err := c.context.Load(text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, module.Unload()) }()
	k, err := module.Kernel(kernel.Name, l.Shared)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(k.Launch(driver.Grid{Blocks: l.Grid, Threads: kernel.Threads, Shared: l.Shared}, arguments...)), s.Wait())
}

// translate has arguments that are addresses in the simulation's memory be those of the card's.
func translate(kernel *simgpu.Kernel, arguments []uint64, places map[simgpu.Address]driver.Address) []uint64 {
	starts := slices.Sorted(maps.Keys(places))
	translated := slices.Clone(arguments)
	for i, size := range kernel.Parameters() {
		at := simgpu.Address(arguments[i])
		below, found := slices.BinarySearch(starts, at)
		if !found {
			below--
		}
		if size == 8 && below >= 0 {
			translated[i] = uint64(places[starts[below]]) + uint64(at-starts[below])
		}
	}
	return translated
}
