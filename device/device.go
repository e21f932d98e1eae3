// Package device opens compute devices by name. It is the only package that knows all of them.
package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/cuda"
)

// Options configures whichever device is opened. The zero value is the fastest that keeps float32 precision.
type Options struct {
	Workers   int               // CPU goroutines computing at once; 0 means one for each processor
	Precision compute.Precision // what is computed in; FP32 is 0. Devices that lack another run in one they have (compute.Preciser tells)
	Memory    int64             // how many bytes of a card's memory may be taken; 0 is all that is free
	Promoted  bool              // a card sums less exactly, which GeForce cards do faster: see cuda.Options
	Logger    *slog.Logger      // told why "auto" takes no card, as a warning if there is one, and what a card does without; nil means slog.Default()
}

// Open opens a device: "cpu"; "cuda" or "cuda:0" for the first NVIDIA card, "cuda:1" for the second; or "auto" for the first card if it
// is of use and passes a [SelfTest], and the CPU otherwise. Close it after everything that was opened on it.
func Open(name string, o Options) (compute.Device, error) {
	kind, number, numbered := strings.Cut(name, ":")
	card, err := strconv.Atoi(cmp.Or(number, "0"))
	switch {
	case !numbered && (kind == "" || kind == "auto"):
		return auto(o)
	case !numbered && kind == "cpu":
		return cpu.Open(cpu.Options{Workers: o.Workers, Precision: o.Precision})
	case kind == "cuda" && err == nil && numbered == (number != ""):
		return orNil(cuda.Open(o.card(card)))
	}
	return nil, fmt.Errorf("device: no device is called %.40q; there are auto and cpu, and cuda (the first card), cuda:1 …", name)
}

// card are the options of a card.
func (o Options) card(number int) cuda.Options {
	return cuda.Options{Card: number, Precision: o.Precision, Memory: o.Memory, Promoted: o.Promoted, Logger: o.Logger}
}

// orNil keeps a device that failed to open from being one that is not nil.
func orNil(d *cuda.Device, err error) (compute.Device, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// auto opens the first card or the CPU.
func auto(o Options) (compute.Device, error) {
	card, err := orNil(cuda.Open(o.card(0)))
	if err == nil {
		if err = SelfTest(card); err == nil {
			return card, nil
		}
		err = errors.Join(err, card.Close())
	}
	level := slog.LevelWarn
	if errors.Is(err, cuda.ErrNoDevice) {
		level = slog.LevelDebug // most computers have none
	}
	cmp.Or(o.Logger, slog.Default()).Log(context.Background(), level, "computing on the CPU", "reason", err)
	return cpu.Open(cpu.Options{Workers: o.Workers, Precision: o.Precision})
}
