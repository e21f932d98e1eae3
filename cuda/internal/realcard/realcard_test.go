package realcard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// listener is a test that notes what it is told.
type listener struct {
	testing.TB
	logs, errors []string
}

func (l *listener) Helper() {}

func (l *listener) Logf(format string, args ...any) {
	l.logs = append(l.logs, fmt.Sprintf(format, args...))
}

func (l *listener) Errorf(format string, args ...any) {
	l.errors = append(l.errors, fmt.Sprintf(format, args...))
}

func TestNumber(t *testing.T) {
	t.Setenv(Variable, "")
	if _, ok := Number(t); ok {
		t.Error("a card is used that nobody named")
	}
	t.Setenv(Variable, "1")
	if n, ok := Number(t); n != 1 || !ok {
		t.Errorf("have card %d, %v, want card 1", n, ok)
	}
}

// TestRun has a driver for tests stand in for the real one: a launch is done on copies of memory, at other addresses.
func TestRun(t *testing.T) {
	machine := simdriver.New(simdriver.Options{})
	d, err := driver.New(machine.Library())
	if err != nil {
		t.Fatal(err)
	}
	cards, err := d.Cards()
	if err != nil {
		t.Fatal(err)
	}
	context, err := d.Context(cards[0])
	if err != nil {
		t.Fatal(err)
	}
	opened[7] = &card{cards[0], context}
	t.Cleanup(func() {
		delete(opened, 7)
		if err := context.Close(); err != nil {
			t.Error(err)
		}
		if leaks := machine.Leaks(); len(leaks) > 0 {
			t.Errorf("not given back: %q", leaks)
		}
	})
	t.Setenv(Variable, "7")
	k := ptx.New("scale", 32)
	from, to, factor := k.Pointer("from"), k.Pointer("to"), k.Number("factor")
	k.StoreFloats(to.Index(k.Thread(), 4), 0, k.LoadFloats(from.Index(k.Thread(), 4), 0, 1)[0].Times(factor))
	var memory simgpu.Device
	input := make([]byte, 4*40)
	for i := range 40 {
		binary.LittleEndian.PutUint32(input[4*i:], math.Float32bits(float32(i)))
	}
	x, y := memory.Upload(input), memory.Alloc(4*33)
	l := simgpu.Launch{Grid: [3]int{1, 1, 1}, Arguments: []uint64{uint64(x) + 4*8, uint64(y), uint64(math.Float32bits(2.5))}}
	told := &listener{TB: t}
	if _, err := Run(told, &memory, k.Text(), l); err != nil {
		t.Fatal(err)
	}
	if want := "on the card: scale gives equal bits"; len(told.errors) > 0 || len(told.logs) != 1 || told.logs[0] != want {
		t.Errorf("have %q, %q, want %q", told.errors, told.logs, want)
	}
	back, err := memory.Download(y, 4*32)
	if err != nil {
		t.Fatal(err)
	}
	if have := math.Float32frombits(binary.LittleEndian.Uint32(back[4*31:])); have != 2.5*39 {
		t.Errorf("the last number is %g, want %g", have, 2.5*39)
	}
}

// TestSettle tells bits that differ, and takes those of the card where kernels approximate.
func TestSettle(t *testing.T) {
	for _, approximate := range []bool{false, true} {
		var d simgpu.Device
		at := d.Upload([]byte{1, 2, 3, 4})
		told := &listener{TB: t}
		if err := settle(told, &d, "kernel", approximate, memory{at: {1, 2, 3, 9}}); err != nil {
			t.Fatal(err)
		}
		if (len(told.errors) == 0) != approximate || len(told.logs) != 1 || !strings.Contains(told.logs[0], "in 1 of 2") {
			t.Errorf("approximate %v: have %q, %q", approximate, told.errors, told.logs)
		}
		if have, _ := d.Download(at, 4); !bytes.Equal(have, []byte{1, 2, 3, 9}) {
			t.Errorf("the simulation goes on with %v", have)
		}
	}
}
