package studio

import (
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// TestReckoned tells before a first portrait what it takes on this machine, and says how that is known; of small models, and of machines elsewhere,
// it does not pretend to know.
func TestReckoned(t *testing.T) {
	lib, err := library.Open(library.Options{DataDir: t.TempDir(), Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for side, known := range map[int]bool{0: true, 512: true, 128: false} {
		m := work.NewMachine(dev, lib, work.Options{Side: func(library.Checkpoint) int { return side }})
		defer m.Close()
		s := newServer(t, Options{Library: lib, Machine: m})
		if says := s.cost(wizard{}); strings.Contains(says, "It takes about ") != known || strings.Contains(says, "not measured") != known {
			t.Errorf("of pictures of %d pixels it says %q", side, says)
		}
		if one, two := s.reckoned("", 1e14), s.reckoned("", 2e14); (one > 0) != known || math.Abs(two.Seconds()-2*one.Seconds()) > 0.01 {
			t.Errorf("of pictures of %d pixels it takes %v, and twice that %v", side, one, two)
		}
	}
	if says := newServer(t, Options{Library: lib}).cost(wizard{}); strings.Contains(says, "not measured") {
		t.Errorf("of a machine elsewhere it says %q", says)
	}
	r := dataset.Report{Steps: dataset.Steps{StepsPerEpoch: 6, Total: 60}, Buckets: []dataset.BucketReport{
		{Resolution: dataset.Size{W: 512, H: 512}, Count: 10}, {Resolution: dataset.Size{W: 256, H: 512}, Count: 2},
	}}
	if got, want := learning(r), 10*11*learnedUse; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("it takes %g operations, want %g", got, want)
	}
}
