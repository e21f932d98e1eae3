package cpu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
)

// onDisk is a source that is read where it lies, as a checkpoint is.
type onDisk struct {
	computetest.Source
	short int    // bytes that are missing at the end
	fails string // the parameter that cannot be read
}

// broken reads everything and fails, as a file does that has changed meanwhile.
type broken struct{ io.ReaderAt }

var errBroken = errors.New("the file has changed")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	n, _ := b.ReaderAt.ReadAt(p, off)
	return n, errBroken
}

func (s *onDisk) OpenParam(name string) io.ReaderAt {
	data, _ := s.Source.ParamData(name)
	r := bytes.NewReader(data[:len(data)-s.short])
	if name == s.fails {
		return broken{r}
	}
	return r
}

func (s *onDisk) ParamData(name string) ([]byte, error) {
	return nil, errors.New("asked for in whole")
}

// compileOnDisk compiles a linear layer on rows of a table of 2 million numbers, of which one is odd, and tells the Go memory that
// it took.
func compileOnDisk(t *testing.T, odd float32, short int, fails string) (garbage uint64, err error) {
	t.Helper()
	const rows, width = 2000, 1000
	values := make([]float32, rows*width)
	values[rows*width-7] = odd
	s := &onDisk{short: short, fails: fails}
	s.Add("table", compute.F32, values, rows, width)
	s.Add("weight", compute.F16, make([]float32, width*width), width, width)
	var b compute.Builder
	ids := b.Input("ids", compute.I32, 1, 4)
	x := b.Op(compute.Embed{IDs: ids, Table: b.Param("table", rows, width)})
	b.Output(b.Op(compute.Linear{X: x, Weight: b.Param("weight", width, width)}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := opener(Options{Workers: 2})(t)
	params, err := d.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { params.Close() })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	exe, err := d.Compile(program, params)
	runtime.ReadMemStats(&after)
	if exe != nil {
		t.Cleanup(func() { exe.Close() })
	}
	return after.TotalAlloc - before.TotalAlloc, err
}

// TestReadInPlace packs parameters of 10 MB without making as much garbage.
func TestReadInPlace(t *testing.T) {
	garbage, err := compileOnDisk(t, 0, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		t.Logf("on %s all memory is the garbage collector's", runtime.GOOS)
	} else if garbage > 1<<20 {
		t.Errorf("%d bytes are garbage", garbage)
	}
}

// TestReadRefused: what is read in pieces is checked as a whole.
func TestReadRefused(t *testing.T) {
	for _, c := range []struct {
		odd   float32
		short int
		fails string
		want  string
	}{
		{float32(math.NaN()), 0, "", `"table": element 1999993 is not a finite number`},
		{float32(math.Inf(-1)), 0, "", `"table": element 1999993 is not a finite number`},
		{0, 3, "", "bytes, want"},
		{0, 0, "table", errBroken.Error()},
		{0, 0, "weight", errBroken.Error()},
	} {
		_, err := compileOnDisk(t, c.odd, c.short, c.fails)
		if err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("the error is %v, want %s", err, c.want)
		}
	}
}

// inWhole is a source that has parameters only in whole, as merging has, and counts how often each is asked for.
type inWhole struct {
	computetest.Source
	asked sync.Map
}

func (s *inWhole) ParamData(name string) ([]byte, error) {
	count, _ := s.asked.LoadOrStore(name, new(atomic.Int32))
	count.(*atomic.Int32).Add(1)
	return s.Source.ParamData(name)
}

// TestMadeOnce: what is not on a disk may be long in the making.
func TestMadeOnce(t *testing.T) {
	s := new(inWhole)
	s.Add("table", compute.F32, make([]float32, 12), 4, 3)
	s.Add("weight", compute.F32, make([]float32, 6), 2, 3)
	var b compute.Builder
	x := b.Op(compute.Embed{IDs: b.Input("ids", compute.I32, 1, 2), Table: b.Param("table", 4, 3)})
	b.Output(b.Op(compute.Linear{X: x, Weight: b.Param("weight", 2, 3)}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := opener(Options{Workers: 2})(t)
	params, err := d.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Close()
	exe, err := d.Compile(program, params)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	for _, name := range []string{"table", "weight"} {
		if count, ok := s.asked.Load(name); !ok || count.(*atomic.Int32).Load() != 1 {
			t.Errorf("%s was not asked for once", name)
		}
	}
}
