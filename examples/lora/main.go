// Lora looks at LoRA files and makes others of them, with the option names of sd-scripts' utilities.
//
//	go run ./examples/lora inspect person.safetensors
//	go run ./examples/lora check person.safetensors
//	go run ./examples/lora merge -model v1-5-pruned.safetensors -lora person.safetensors -ratio 0.6 -lora style.safetensors -output merged.safetensors
//	go run ./examples/lora combine -lora person.safetensors -ratio 0.8 -lora style.safetensors -output both.safetensors
//	go run ./examples/lora resize -model person.safetensors -new_rank 8 -output small.safetensors
//	go run ./examples/lora extract -model_org v1-5-pruned.safetensors -model_tuned portraits.safetensors -dim 16 -output portraits_lora.safetensors
//
// No input is ever written to, and Ctrl-C leaves nothing half done.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	cli.Main("lora", run)
}

// commands are what the program can do.
var commands = []struct {
	name, what, usage string
	run               func(ctx context.Context, c *command) error
}{
	{"inspect", "what a file is: kind, ranks, networks, hashes, how it was trained", "lora inspect person.safetensors", inspect},
	{"check", "the tensors of a file and their sizes; an error if some hold no numbers", "lora check person.safetensors", check},
	{"merge", "LoRAs into a checkpoint",
		"lora merge -model v1-5-pruned.safetensors -lora person.safetensors -output merged.safetensors", merge},
	{"combine", "several LoRAs into one",
		"lora combine -lora person.safetensors -ratio 0.8 -lora style.safetensors -output both.safetensors", combine},
	{"resize", "a LoRA to other ranks",
		"lora resize -model person.safetensors -new_rank 8 -output small.safetensors", resize},
	{"extract", "a LoRA from the difference of two checkpoints",
		"lora extract -model_org v1-5.safetensors -model_tuned tuned.safetensors -output lora.safetensors", extract},
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				usage := fmt.Sprintf("lora %s: %s\n\n  %s\n", c.name, c.what, c.usage)
				err := c.run(ctx, &command{cli.NewFlags("lora "+c.name, usage, log), args[1:], out, log})
				if missing, ok := errors.AsType[*weights.MissingError](err); ok && missing.Err == nil { // no flag here supplies it
					err = fmt.Errorf("%s has no %s, only %v; name a checkpoint that has one", missing.Path, missing.Kind, missing.Holds)
				}
				return cli.InFlags(err, nil)
			}
		}
	}
	fmt.Fprintln(log, "usage: lora COMMAND …, where COMMAND is one of")
	for _, c := range commands {
		fmt.Fprintf(log, "  %-8s %s\n", c.name, c.what)
	}
	fmt.Fprintln(log, "and lora COMMAND -h lists its options")
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
		return flag.ErrHelp
	}
	return fmt.Errorf("there is no command %q", args[0])
}

// command is the command line of one of the commands, and where it reports to.
type command struct {
	*cli.Flags
	args     []string
	out, log io.Writer
}

// file reads the options of a command about one file, which stands behind them or is given as -model.
func (c *command) file() (path string, err error) {
	c.StringVar(&path, "model", "", "`FILE` LoRA; or name it behind the flags")
	if err := c.Parse(c.args, 1); err != nil {
		return "", err
	}
	if c.NArg() == 1 && path != "" {
		return "", fmt.Errorf("unexpected argument %q beside -model", c.Arg(0))
	}
	if path += c.Arg(0); path == "" {
		return "", errors.New("name a LoRA file")
	}
	return path, nil
}

// shapes is the checkpoint that files are made for, where it is not of Stable Diffusion 1.x's own shapes. Files made with
// the built-in tiny model say so themselves.
type shapes struct{ base string }

func (s *shapes) define(c *command) {
	c.StringVar(&s.base, "model-config", "", "`FOLDER` diffusers model that the file is for, if not of SD 1.5 or built in")
}

// targets are the weights that the LoRAs of files can change; the first speaks for all.
func (s *shapes) targets(files ...string) (*lora.Targets, error) {
	open := func() (*weights.Checkpoint, error) { return weights.Open(s.base, weights.Options{}) }
	if s.base == "" {
		if len(files) == 0 || !madeWithTiny(files[0]) {
			return lora.NewTargets(sd15())
		}
		open = func() (*weights.Checkpoint, error) {
			return weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
		}
	}
	checkpoint, err := open()
	if err != nil {
		return nil, fmt.Errorf("-model-config: %w", err)
	}
	defer checkpoint.Close()
	return lora.TargetsOf(checkpoint)
}

// madeWithTiny reports whether the metadata of a file name the built-in model. What is wrong with files is said by who reads them next.
func madeWithTiny(file string) bool {
	f, err := weights.OpenFile(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Metadata()["ss_sd_model_name"] == tinyportrait.Name
}

// ratios are LoRA files, each with its strength.
type ratios struct {
	paths  []string
	values []float64
	given  int // how many have a -ratio of their own
	blocks []lora.BlockWeights
}

func (r *ratios) define(c *command) {
	c.Func("lora", "`FILE` LoRA; repeat it for several", func(path string) error {
		r.paths, r.values, r.blocks = append(r.paths, path), append(r.values, 1), append(r.blocks, nil)
		return nil
	})
	c.Func("ratio", "`NUMBER` strength of the -lora before it (default 1)", func(text string) error {
		if r.given == len(r.paths) || len(r.paths) == 0 {
			return errors.New("write each -ratio behind its -lora")
		}
		r.given = len(r.paths)
		value, err := cli.Number(text)
		if err != nil {
			return err
		}
		r.values[r.given-1] = value
		return nil
	})
}

// open reads the files and says what is in them.
func (r *ratios) open(c *command, t *lora.Targets) (list []lora.Applied, err error) {
	if len(r.paths) == 0 {
		return nil, errors.New("-lora is missing: name a LoRA file")
	}
	for i, path := range r.paths {
		a, err := open(c, path, t)
		if err != nil {
			return nil, err
		}
		list = append(list, lora.Applied{Adapter: a, Strength: lora.Strength{TextEncoder: r.values[i], UNet: r.values[i]}})
	}
	return list, nil
}

// open reads a LoRA and says what is in it, and what of it the model has no place for.
func open(c *command, path string, t *lora.Targets) (*lora.Adapter, error) {
	a, err := lora.Open(path, t)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(c.log, cli.Printable(a.String()))
	printKeys(c.log, "left out, the model has no such module:", a.Unmatched)
	printKeys(c.log, "left out, no part of the LoRA:", a.Ignored)
	return a, nil
}

// printKeys lists up to ten names.
func printKeys(w io.Writer, title string, keys []string) {
	for i, key := range keys {
		if i == 10 {
			fmt.Fprintf(w, "  … and %d more\n", len(keys)-i)
			break
		}
		fmt.Fprintf(w, "  %s %.200q\n", title, key)
	}
}

// output is the file to write.
type output struct {
	path, precision string
}

func (o *output) define(c *command, precision string) {
	c.Output(&o.path, "`FILE` to write; one that exists is replaced")
	c.StringVar(&o.path, "save_to", "", "the same as -output, as sd-scripts call it")
	usage := "`NAME` of the file's numbers: float, fp16 or bf16"
	if precision == "" {
		usage += " (default: as the input)"
	}
	c.StringVar(&o.precision, "save_precision", precision, usage)
}

// check makes sure, before the work, that the file can be written and is none of the inputs.
func (o *output) check(inputs ...string) (compute.DType, error) {
	precision, known := map[string]compute.DType{"": compute.InvalidDType, "float": compute.F32, "fp16": compute.F16, "bf16": compute.BF16}[o.precision]
	if !known {
		return precision, fmt.Errorf("-save_precision is %q, want float, fp16 or bf16", o.precision)
	}
	if o.path == "" {
		return precision, errors.New("-output is missing: name the file to write")
	}
	info, err := os.Stat(o.path)
	for _, input := range inputs {
		if other, otherErr := os.Stat(input); err == nil && otherErr == nil && os.SameFile(info, other) {
			return precision, fmt.Errorf("-output: %s is an input, which is never overwritten; choose another name", o.path)
		}
	}
	if err == nil && info.IsDir() {
		return precision, fmt.Errorf("-output: %s is no free name but a folder, which is never written into; choose another", o.path)
	}
	return precision, cli.Writable("output", o.path)
}

// title names the file in its metadata.
func (o *output) title() string {
	return strings.TrimSuffix(filepath.Base(o.path), filepath.Ext(o.path))
}

// isSafetensors wants the extension by which programs know the format.
func (o *output) isSafetensors() error {
	if filepath.Ext(o.path) != ".safetensors" {
		return fmt.Errorf("-output is %s; want a name that ends in .safetensors", o.path)
	}
	return nil
}

// atOne is a LoRA at its full strength.
func atOne(a *lora.Adapter) lora.Applied {
	return lora.Applied{Adapter: a, Strength: lora.Strength{TextEncoder: 1, UNet: 1}}
}

// write saves a LoRA and says so. One of zeros is not worth a file.
func (o *output) write(c *command, a *lora.Adapter, precision compute.DType) error {
	if !atOne(a).Changes() {
		return errors.New("the result would change nothing: every ratio or block weight is 0, or the LoRAs are all zeros; nothing was written")
	}
	a.Path = o.path
	a.Metadata["modelspec.title"], a.Metadata["ss_output_name"] = o.title(), o.title()
	if err := lora.Write(o.path, a.Modules, precision, a.Metadata); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "wrote", a)
	return nil
}
