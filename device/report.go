package device

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/cuda"
)

// Report is what a computer has to compute with, and what "auto" makes of it.
type Report struct {
	CPU  Trial
	CUDA cuda.Survey
	// Trials are those of the cards, in the order of CUDA.Cards.
	Trials []Trial
	Auto   string // the name of the device that "auto" takes
}

// Trial is what came of a device's self-test.
type Trial struct {
	Name string        // the device's; "" if it could not be opened
	Took time.Duration // opening it and the self-test
	Err  error         // nil if it passed
}

// Examine looks for everything that could compute and has each device do the self-test. Cards compute in half precision.
func Examine() Report {
	r := Report{CUDA: cuda.Look()}
	r.CPU = try(func() (compute.Device, error) { return cpu.Open(cpu.Options{}) })
	r.Auto = r.CPU.Name
	for i, card := range r.CUDA.Cards {
		t := Trial{Err: card.Err}
		if t.Err == nil {
			t = try(func() (compute.Device, error) {
				return orNil(cuda.Open(cuda.Options{Card: i, Precision: compute.PrecisionFP16}))
			})
		}
		if r.Trials = append(r.Trials, t); i == 0 && t.Err == nil {
			r.Auto = t.Name
		}
	}
	return r
}

// try opens a device and tests it.
func try(open func() (compute.Device, error)) (t Trial) {
	start := time.Now()
	defer func() { t.Took = time.Since(start) }()
	dev, err := open()
	if err != nil {
		return Trial{Err: err}
	}
	err = SelfTest(dev)
	return Trial{Name: dev.Name(), Err: errors.Join(err, dev.Close())}
}

// String is the report on one screen.
func (r Report) String() string {
	var b strings.Builder
	row := func(title, format string, arguments ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", title, fmt.Sprintf(format, arguments...))
	}
	row("computer", "%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	row("processor", "%v", r.CPU)
	switch {
	case r.CUDA.Err != nil && r.CUDA.Driver == "":
		row("driver", "none: %v", r.CUDA.Err)
	case r.CUDA.Err != nil:
		row("driver", "%s: %v", r.CUDA.Driver, r.CUDA.Err)
	default:
		row("driver", "%s", r.CUDA.Driver)
	}
	for i, card := range r.CUDA.Cards {
		row(fmt.Sprintf("card %d", i), "%s, compute capability %s, %.1f of %.1f GB free", card.Name, card.Capability, float64(card.Free)/1e9, float64(card.Memory)/1e9)
		row("", "%v", r.Trials[i])
	}
	for _, l := range r.CUDA.Libraries {
		switch {
		case l.Missing():
			row(l.Name, "none; it is optional")
		case l.Err != nil:
			row(l.Name, "not used: %v", l.Err)
		default:
			row(l.Name, "%s, %s; used where it is expected to be faster", l.Version, l.Path)
		}
	}
	row("auto", "%s", r.Auto)
	r.room(row)
	b.WriteString("\nNothing of CUDA has run on a card yet: it is proved on a simulated one. If you have a card, this page is worth sending to us.\n")
	return b.String()
}

// String is the device with its trial.
func (t Trial) String() string {
	switch {
	case t.Err != nil:
		return fmt.Sprintf("not of use: %v", t.Err)
	default:
		return fmt.Sprintf("%s: self-test passed in %.1f s", t.Name, t.Took.Seconds())
	}
}

// room tells what Stable Diffusion 1.5 needs of a card, and what fits on the first.
func (r Report) room(row func(title, format string, arguments ...any)) {
	row("needs", "of a card's memory, besides some 0.4 GB of the driver's:")
	for _, need := range cuda.Needs() {
		verdict := ""
		if len(r.CUDA.Cards) > 0 && r.CUDA.Cards[0].Err == nil {
			verdict = ": does not fit"
			if need.Fits(r.CUDA.Cards[0].Free) {
				verdict = ": fits"
			}
		}
		row("", "%4.1f GB  %v%s", float64(need.Bytes)/1e9, need, verdict)
	}
}
