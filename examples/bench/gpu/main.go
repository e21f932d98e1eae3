// Gpu is the first hour with a card: it proves on the card what was proved in simulation, has the card find out how it computes fastest, times it
// beside PyTorch, and writes one report.
//
//	go run ./examples/bench/gpu -model v1-5-pruned-emaonly.safetensors
//
// It is started in the repository, whose tests it builds and runs. What a stage came to is kept in a folder: a second start goes on with what
// is missing or failed. A stage that fails is in the report, and the next one begins.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/cli"
)

func main() {
	cli.Main("gpu", func(ctx context.Context, args []string, out, log io.Writer) error {
		return run(ctx, args, out, log, func() machine { return examined(device.Examine()) })
	})
}

// options are the command line.
type options struct {
	model                      cli.Model
	card, rounds               int
	output, python, repository string
	redo                       []string
}

const usage = `gpu is the first hour with an NVIDIA card: kernels against their simulation, the suite that all devices run, results of others,
timings beside PyTorch, and a report.

  gpu -model v1-5-pruned-emaonly.safetensors
  gpu -model v1-5-pruned-emaonly.safetensors -python peers-venv/bin/python
  gpu -model v1-5-pruned-emaonly.safetensors -redo bench
`

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("gpu", usage, log)
	f.Model(&o.model)
	f.IntVar(&o.card, "card", 0, "`NUMBER` of the card, in the driver's order")
	f.IntVar(&o.rounds, "rounds", 20, "`NUMBER` runs of what is timed, after one that does not count")
	f.StringVar(&o.python, "python", "python3", "`PROGRAM` Python that has PyTorch and diffusers; \"\" leaves PyTorch out")
	f.StringVar(&o.repository, "repository", ".", "`FOLDER` of Atelier's source")
	f.Group("What is done", "model", "card", "rounds", "python", "repository")
	f.StringVar(&o.output, "output", "gpu-report", "`FOLDER` for the report and what stages came to")
	redo := f.String("redo", "", "`LIST` stages to do again, of "+strings.Join(names, ","))
	f.Group("Report", "output", "redo")
	if err := f.Parse(args, 0); err != nil {
		return o, err
	}
	if o.card < 0 {
		return o, fmt.Errorf("-card is %d, want 0 or more", o.card)
	}
	if o.rounds < 1 || o.rounds > 1000 {
		return o, fmt.Errorf("-rounds is %d, want 1 to 1000", o.rounds)
	}
	if *redo != "" {
		o.redo = strings.Split(*redo, ",")
	}
	for _, name := range o.redo {
		if !slices.Contains(names, name) {
			return o, fmt.Errorf("-redo: there is no stage %q, want some of %s", name, strings.Join(names, ","))
		}
	}
	return o, o.absolute()
}

// absolute makes paths those that hold in every folder, as tests run in their packages'.
func (o *options) absolute() error {
	var err error
	for _, path := range []*string{&o.output, &o.repository} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(o.repository, "cuda", "cuda_test.go")); err != nil {
		return fmt.Errorf("-repository %s is not Atelier's source: %w; start the program there, or name it", o.repository, err)
	}
	for _, path := range []*string{&o.model.Path, &o.python} {
		if _, err := os.Stat(*path); err == nil && *path != "" { // else it is a name
			if *path, err = filepath.Abs(*path); err != nil {
				return err
			}
		}
	}
	return nil
}

// run looks for the card before anything is written.
func run(ctx context.Context, args []string, out, log io.Writer, look func() machine) error {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	m := look()
	if err := m.choose(o.card); err != nil {
		return err
	}
	h := hour{options: o, machine: m, log: log}
	if err := h.claim(); err != nil {
		return err
	}
	if err := h.do(ctx, h.stages()); err != nil {
		return err
	}
	fmt.Fprintf(out, "the report is %s\n", filepath.Join(o.output, "report.md"))
	if failed := h.failed(); len(failed) > 0 {
		return errors.New("stages failed, as the report tells: " + strings.Join(failed, ", "))
	}
	return nil
}
