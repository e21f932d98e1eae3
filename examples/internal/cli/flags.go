package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/weights"
)

// Flags are the flags of a program, and a help that leads with the usual case and fits a screen.
type Flags struct {
	*flag.FlagSet
	usage  string
	log    io.Writer // takes the help
	groups []group
}

// group are flags that stand together in the help.
type group struct {
	title string
	names []string
}

// NewFlags begins the flags of a program. Usage says what it does and how it is called as a rule.
func NewFlags(name, usage string, log io.Writer) *Flags {
	f := &Flags{flag.NewFlagSet(name, flag.ContinueOnError), usage, log, nil}
	f.Usage = func() {}
	f.SetOutput(io.Discard) // an error is told once, by Main
	return f
}

// Group lists flags in the help under a title, in this order. Those in no group are listed by -h all only.
func (f *Flags) Group(title string, names ...string) {
	f.groups = append(f.groups, group{title, names})
}

// Parse reads a command line, with up to so many arguments behind the flags. After -h, or -h all, it prints the help and returns
// [flag.ErrHelp].
func (f *Flags) Parse(args []string, arguments int) error {
	switch err := f.FlagSet.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.Help(f.Arg(0) == "all")
		return err
	case err != nil:
		return fmt.Errorf("%w; %s -h lists the flags", err, f.Name())
	case f.NArg() > arguments:
		return fmt.Errorf("unexpected argument %q; flags come first, and text with blanks stands in quotes", f.Arg(arguments))
	}
	return nil
}

// Given reports whether the command line has a flag.
func (f *Flags) Given(name string) (given bool) {
	f.Visit(func(fl *flag.Flag) { given = given || fl.Name == name })
	return given
}

// Help prints the flags of the groups, or all: if there are no groups, in the order of their names.
func (f *Flags) Help(all bool) {
	fmt.Fprintln(f.log, f.usage)
	groups := f.groups
	if rest := f.rest(); all && len(rest) > 0 {
		groups = append(slices.Clone(groups), group{"All others", rest})
	}
	if len(groups) == 0 {
		groups = []group{{"Flags", f.rest()}}
	}
	left := 0
	for _, g := range groups {
		for _, name := range g.names {
			left = max(left, len(f.takes(name)))
		}
	}
	for _, g := range groups {
		fmt.Fprintf(f.log, "%s:\n", g.title)
		for _, name := range g.names {
			fmt.Fprint(f.log, wrap(fmt.Sprintf("%-*s", left, f.takes(name)), f.help(name)))
		}
	}
}

// rest are the names of flags in no group.
func (f *Flags) rest() (names []string) {
	f.VisitAll(func(fl *flag.Flag) {
		if !slices.ContainsFunc(f.groups, func(g group) bool { return slices.Contains(g.names, fl.Name) }) {
			names = append(names, fl.Name)
		}
	})
	return names
}

// takes is a flag with what it takes, which its usage has in back quotes.
func (f *Flags) takes(name string) string {
	kind, _ := flag.UnquoteUsage(f.Lookup(name))
	if kind == "value" {
		kind = "" // nothing is in back quotes
	}
	return strings.TrimRight("  -"+name+" "+kind, " ")
}

// help is what a flag does, without what it takes at the beginning, and with its default.
func (f *Flags) help(name string) string {
	fl := f.Lookup(name)
	kind, help := flag.UnquoteUsage(fl)
	if strings.HasPrefix(fl.Usage, "`") {
		help = strings.TrimPrefix(help, kind)
	}
	if !slices.Contains([]string{"", "0", "false"}, fl.DefValue) {
		help += " (default " + fl.DefValue + ")"
	}
	return help
}

// wrap puts a text behind what is left of it, in lines of a terminal.
func wrap(left, text string) string {
	const columns = 100
	var b strings.Builder
	line := left + " "
	for word := range strings.FieldsSeq(text) {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", len(left)+1)
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// Model defines -model.
func (f *Flags) Model(m *Model) {
	f.StringVar(&m.Path, "model", "", "`PATH` .safetensors file, diffusers folder or Hugging Face name (default: built-in tiny model)")
}

// Weights defines flags that say what to take for, and from, a checkpoint: "vae", "text-encoder", "model-config" and "variant".
func (f *Flags) Weights(o *weights.Options, names ...string) {
	for _, name := range names {
		switch name {
		case "vae":
			f.StringVar(&o.VAE, name, "", "`PATH` file or folder to take the VAE from, or the name of one in -vae-dir")
		case "text-encoder":
			f.StringVar(&o.TextEncoder, name, "", "`PATH` file or folder to take the text encoder from")
		case "model-config":
			f.StringVar(&o.Config, name, "", "`FOLDER` diffusers model whose shapes a file has that is not shaped like SD 1.5")
		case "variant":
			f.StringVar(&o.Variant, name, "", "`NAME` weight files to prefer in a folder: fp16, bf16, non_ema")
		}
	}
}

// Folders defines -lora, -lora-multiplier, -lora-dir, -embedding-dir, -vae-dir and -checkpoint-dir, of which the first is the current folder if it is not given.
func (f *Flags) Folders(o *sd.Options) {
	var given []string
	o.LoRADirs = []string{"."}
	f.Func("lora-dir", "`FOLDER` of LoRAs, and of folders of them; repeat it for several (default: .)", func(list string) error {
		given = append(given, filepath.SplitList(list)...)
		o.LoRADirs = given
		return nil
	})
	f.StringVar(&o.LoRA, "lora", "", "`NAME` a LoRA that every prompt has, if it does not have it by itself")
	f.Optional(&o.LoRAMultiplier, "lora-multiplier", "`NUMBER` the weight of -lora (default: 1)")
	f.Func("embedding-dir", "`FOLDER` of textual inversions that prompts name, likewise", func(list string) error {
		o.EmbeddingDirs = append(o.EmbeddingDirs, filepath.SplitList(list)...)
		return nil
	})
	f.Func("vae-dir", "`FOLDER` of VAEs and TAESD, likewise", func(list string) error {
		o.VAEDirs = append(o.VAEDirs, filepath.SplitList(list)...)
		return nil
	})
	f.Func("checkpoint-dir", "`FOLDER` of checkpoints that are chosen by name, likewise", func(list string) error {
		o.CheckpointDirs = append(o.CheckpointDirs, filepath.SplitList(list)...)
		return nil
	})
}

// Device defines -device and -threads.
func (f *Flags) Device(d *Device) {
	f.StringVar(&d.Name, "device", "auto", "`NAME` auto, cpu or cuda (an NVIDIA card; not tried on one yet)")
	f.IntVar(&d.Options.Workers, "threads", 0, "`NUMBER` processor cores to use (default: all)")
}

// Precision defines -precision.
func (f *Flags) Precision(d *Device) {
	f.TextVar(&d.Options.Precision, "precision", d.Options.Precision, "`NAME` fp32, bf16 or fp16 (faster, less exact), as the device can")
}

// Output defines -output and its short form -o; what is it that is written.
func (f *Flags) Output(path *string, what string) {
	f.StringVar(path, "output", *path, what)
	f.StringVar(path, "o", *path, "the same as -output")
}
