package cpu

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"testing/fstest"
)

func TestLinuxCores(t *testing.T) {
	// Two cores of two threads each and two without, as on hybrid processors; threads of a core are not neighbours.
	system := make(fstest.MapFS)
	for p, list := range []string{"0,2\n", "1,3\n", "0,2\n", "1,3\n", "4\n", "5\n"} {
		system[fmt.Sprintf("cpu%d/topology/thread_siblings_list", p)] = &fstest.MapFile{Data: []byte(list)}
	}
	for _, c := range []struct {
		allowed []int
		want    int
	}{
		{[]int{0, 1, 2, 3, 4, 5}, 4},
		{[]int{0, 2}, 1},
		{[]int{2, 3, 5}, 3},
		{[]int{0, 6}, 0}, // nothing is known of processor 6
	} {
		if got := sysCores(system, c.allowed); got != c.want {
			t.Errorf("processors %v: %d cores, want %d", c.allowed, got, c.want)
		}
	}
}

func TestWindowsCores(t *testing.T) {
	record := func(relation uint32, mask uint64) (r []byte) {
		r = binary.LittleEndian.AppendUint32(r, relation)
		r = binary.LittleEndian.AppendUint32(r, 48)
		r = append(r, make([]byte, 22)...)
		r = binary.LittleEndian.AppendUint16(r, 1)
		r = binary.LittleEndian.AppendUint64(r, mask)
		return append(r, make([]byte, 8)...)
	}
	var records []byte
	for _, r := range [][]byte{record(0, 0b000011), record(0, 0b001100), record(3, 0b111111), record(0, 0b010000), record(0, 0b100000)} {
		records = append(records, r...)
	}
	for _, c := range []struct {
		mask uint64
		want int
	}{{0, 4}, {0b111111, 4}, {0b000011, 1}, {0b101010, 3}} {
		if got := windowsCores(records, c.mask); got != c.want {
			t.Errorf("mask %b: %d cores, want %d", c.mask, got, c.want)
		}
	}
	if got := windowsCores(records[:100], 0); got != 2 {
		t.Errorf("of a list that is cut off: %d cores, want 2", got)
	}
}

// TestUsualWorkers wants no more workers than Go would run, whatever the machine has.
func TestUsualWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if n := usual(); n != 1 {
		t.Errorf("%d workers where Go may use one processor", n)
	}
	runtime.GOMAXPROCS(1000)
	if n, c := usual(), cores(); c > 0 && n != c {
		t.Errorf("%d workers on %d cores", n, c)
	}
}
