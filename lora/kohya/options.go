package kohya

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
)

// Options are the options of a training from a command line, a file or both. The zero value names none and is ready to use.
type Options struct {
	// Defaults stand for what is named nowhere if there is no file; nil means [Recipe].
	Defaults map[string]string

	line, file map[string][]string
	path       string // where file was read
	gui        bool   // file was saved by the GUI
	epochs     int    // the GUI counts steps from, 0 for not
	prompts    string // that the GUI's file has in itself
	notes      []string
}

// Bind defines a flag for every option, so that -name and --name set it. Switches need no value, NAME=VALUE lists may be
// repeated, or be one text with blanks or commas between. The flag config_file reads that file. Wrong values are reported
// by Config, all of them.
func (o *Options) Bind(f *flag.FlagSet) {
	for _, g := range table {
		for _, row := range g.options {
			f.Var(&flagValue{o, row.name}, row.name, row.help)
		}
	}
	for alias, name := range aliases {
		f.Var(&flagValue{o, name}, alias, "the same as "+name)
	}
}

// Parse parses a command line with a set of flags that Options are bound to. Unlike its own Parse it takes several values
// after a list, as in --network_args conv_dim=4 conv_alpha=1, and an unknown flag is answered with the nearest known ones.
// Arguments that are no flags are an error. It returns [flag.ErrHelp] if -h or -help asks for [Options.Usage].
func (o *Options) Parse(f *flag.FlagSet, args []string) error {
	var spread []string
	for i := 0; i < len(args); i++ {
		name, value, given := flagName(args[i])
		if name == "" {
			return fmt.Errorf("kohya: unexpected argument %.60q; want options, which begin with -", args[i])
		}
		known := f.Lookup(name)
		switch {
		case known == nil && (name == "h" || name == "help"):
			return flag.ErrHelp
		case known == nil:
			var names []string
			f.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
			return unknown(names, name, "kohya: there is no option -%.60s", name)
		case isBool(known.Value):
			spread = append(spread, args[i])
			continue
		case !given && i+1 == len(args):
			return fmt.Errorf("kohya: -%s needs a value", name)
		}
		if !given {
			i++
			value = args[i]
		}
		option, ok := known.Value.(*flagValue)
		if ok && option.name == "config_file" {
			if err := o.ReadFile(value); err != nil {
				return err
			}
			continue
		}
		spread = append(spread, "-"+name+"="+value)
		if ok && rows[option.name].kind.class == isList {
			for ; i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"); i++ {
				spread = append(spread, "-"+name+"="+args[i+1])
			}
		}
	}
	output := f.Output()
	defer f.SetOutput(output)
	f.SetOutput(io.Discard)
	return f.Parse(spread)
}

// flagName takes an argument -name, --name or -name=value apart; the name is "" if it is none.
func flagName(arg string) (name, value string, given bool) {
	name, ok := strings.CutPrefix(arg, "-")
	if !ok {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(name, "-"), "=")
}

// flagValue is an option as a flag.
type flagValue struct {
	options *Options
	name    string
}

func (v *flagValue) String() string {
	if v.options == nil {
		return ""
	}
	return v.options.Value(v.name)
}

func (v *flagValue) Set(value string) error {
	o := v.options
	if v.name == "config_file" {
		return o.ReadFile(value)
	}
	if o.line == nil {
		o.line = make(map[string][]string)
	}
	if rows[v.name].kind.class != isList {
		o.line[v.name] = nil
	}
	o.line[v.name] = append(o.line[v.name], value)
	return nil
}

// IsBoolFlag tells package flag which flags stand without a value.
func (v *flagValue) IsBoolFlag() bool {
	return rows[v.name].kind.class == isSwitch || rows[v.name].kind.want == "switch"
}

func isBool(v flag.Value) bool {
	b, ok := v.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// lookup is what an option is and who named it: nobody if that is a default.
func (o *Options) lookup(name string) (values []string, by string) {
	if values, ok := o.line[name]; ok {
		return values, "-" + name
	}
	if values, ok := o.file[name]; ok {
		return values, o.path + ": " + name
	}
	if slices.ContainsFunc(yields[name], o.named) {
		return nil, ""
	}
	value, ok := o.defaults()[name]
	if !ok {
		value = rows[name].unset
	}
	if value == "" {
		return nil, ""
	}
	return []string{value}, ""
}

// named reports whether an option is on the command line or in the file.
func (o *Options) named(name string) bool {
	return o.line[name] != nil || o.file[name] != nil
}

// Denied tells who said that a switch is off: the command line, or a file that somebody wrote; "" if nobody did. The GUI's form
// does not count, where a box without a tick says nothing.
func (o *Options) Denied(name string) (by string) {
	if o.line[name] == nil && o.gui || rows[name] == nil || !o.named(name) {
		return ""
	}
	values, by := o.lookup(name)
	if set, err := truth(values); set || err != nil {
		return ""
	}
	return by
}

// defaults are those that come before sd-scripts'.
func (o *Options) defaults() map[string]string {
	own := o.Defaults
	if own == nil {
		own = recipe
	}
	switch choice := o.line["defaults"]; {
	case len(choice) == 1 && choice[0] == "recipe":
		return own
	case len(choice) == 1 || o.path != "":
		return nil
	}
	return own
}

// Value is an option's value as text, by command line, file or default; "" if there is none. Values of a list have commas
// between.
func (o *Options) Value(name string) string {
	if rows[name] == nil {
		return ""
	}
	values, _ := o.lookup(name)
	return strings.Join(values, ",")
}

// Config makes a training of the options, all but its device and checkpoint, for which pretrained_model_name_or_path and
// vae are to be asked with [Options.Value]. Notes say what of the options is not as it seems. Everything wrong with them is
// reported together; what the training itself finds wrong with their values it will say.
func (o *Options) Config() (config train.Config, notes []string, err error) {
	s := new(settings)
	errs := []error{}
	for _, g := range table {
		for _, row := range g.options {
			values, by := o.lookup(row.name)
			if values == nil {
				continue
			}
			if err := row.put(s, values); err != nil {
				s.wrong = append(s.wrong, row.name)
				errs = append(errs, fmt.Errorf("kohya: %s %w", cmp.Or(by, row.name), err))
				continue
			}
			if set, err := truth(values); row.kind.class == isIdle && (set || err != nil) {
				s.idle = append(s.idle, row.name)
			}
		}
	}
	notes = slices.Clone(o.notes)
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if unnamed := o.unnamed(); len(unnamed) > 0 {
		note("not in %s, so as sd-scripts takes them: %s", o.path, strings.Join(unnamed, ", "))
	}
	if len(s.idle) > 0 {
		note("without effect here: %s", strings.Join(s.idle, ", "))
	}
	errs = append(errs, s.readNetworkArgs(), o.chooseOptimizer(s), o.chooseRates(s))
	if o.named("max_train_steps") && s.Dataset.MaxTrainEpochs > 0 {
		note("max_train_epochs %d decides, max_train_steps %d is not used", s.Dataset.MaxTrainEpochs, s.Dataset.MaxTrainSteps)
	}
	if o.prompts != "" && s.SamplePrompts == "" {
		s.SamplePrompts = filepath.Join(s.OutputDir, promptsFile)
	}
	if set := o.line["text_encoder_lr"]; len(set) > 1 {
		note("text_encoder_lr: the first of %d values is used", len(set))
	}
	datasetNotes, err := o.chooseDataset(s)
	notes, errs = append(notes, datasetNotes...), append(errs, err)
	return s.Config, notes, invalid.Join(errs...)
}

// isWrong reports whether the value of one of the options is an error already.
func (s *settings) isWrong(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.wrong, name) })
}

// unnamed lists the options that the recipe would set and a file leaves to sd-scripts.
func (o *Options) unnamed() (list []string) {
	if o.path == "" || o.gui || len(o.defaults()) > 0 {
		return nil
	}
	for name := range recipe {
		unset := rows[name].unset
		if unset != "" && !o.named(name) && recipe[name] != unset && !slices.ContainsFunc(yields[name], o.named) {
			list = append(list, name+" "+unset)
		}
	}
	slices.Sort(list)
	return list
}

// promptsFile is where the GUI keeps the prompts of its form, below output_dir.
const promptsFile = "sample/prompt.txt"

// WritePrompts writes the sample prompts that the GUI's JSON has in itself to OUTPUT_DIR/sample/prompt.txt, as the GUI does,
// so that they can be changed while training. Config names that file as sample_prompts. Without such prompts, or with
// sample_prompts on the command line, there is nothing to write.
func (o *Options) WritePrompts() error {
	if o.prompts == "" || o.line["sample_prompts"] != nil {
		return nil
	}
	path := filepath.Join(o.Value("output_dir"), promptsFile)
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = atomicfile.WriteFile(path, []byte(o.prompts+"\n"))
	}
	if err != nil {
		return fmt.Errorf("kohya: sample prompts: %w", err)
	}
	return nil
}

// chooseOptimizer heeds the old names of optimizers.
func (o *Options) chooseOptimizer(s *settings) error {
	old := ""
	switch {
	case s.isWrong("optimizer_type"):
		return nil
	case s.Use8bitAdam && s.UseLion:
		return errors.New("kohya: use_8bit_adam and use_lion_optimizer exclude each other; name one optimizer_type")
	case s.Use8bitAdam:
		old = "AdamW8bit"
	case s.UseLion:
		old = "Lion"
	default:
		return nil
	}
	if o.named("optimizer_type") && !strings.EqualFold(s.Trainer.OptimizerType, old) {
		return fmt.Errorf("kohya: optimizer_type is %s, use_8bit_adam or use_lion_optimizer say %s; leave those out", s.Trainer.OptimizerType, old)
	}
	s.Trainer.OptimizerType = old
	return nil
}

// chooseRates gives both networks their learning rates: learning_rate where they have none of their own. The metadata tell what was
// given, as sd-scripts' do, whatever comes of it.
func (o *Options) chooseRates(s *settings) error {
	for _, r := range []struct {
		name string
		rate *float64
		left bool // alone
	}{{"unet_lr", &s.UNetLR, s.Network.TextEncoderOnly}, {"text_encoder_lr", &s.TextEncoderLR, s.Network.UNetOnly}} {
		var given any = *r.rate
		if values, _ := o.lookup(r.name); values == nil {
			given, *r.rate = nil, s.LearningRate
		}
		if r.left {
			*r.rate = 0
		}
		if given != *r.rate {
			s.tell("ss_"+r.name, given)
		}
	}
	if s.UNetLR == 0 && s.TextEncoderLR == 0 && !s.isWrong("learning_rate", "unet_lr", "text_encoder_lr") {
		return errors.New("kohya: nothing would be trained: unet_lr and text_encoder_lr are 0; want numbers such as 1e-4 and 5e-5")
	}
	return nil
}

// tell puts a value into the files' metadata, as Python writes it.
func (s *settings) tell(key string, value any) {
	if s.Metadata == nil {
		s.Metadata = make(map[string]string)
	}
	s.Metadata[key] = python.String(value)
}

// chooseDataset makes the datasets of dataset_config or of train_data_dir.
func (o *Options) chooseDataset(s *settings) (notes []string, err error) {
	if s.DatasetConfig != "" {
		for _, name := range []string{"train_data_dir", "reg_data_dir", "in_json"} {
			if o.named(name) {
				notes = append(notes, fmt.Sprintf("%s is not used: the folders are those of dataset_config %s", name, s.DatasetConfig))
			}
		}
		defaults := s.Set
		defaults.TrainDataDir, defaults.RegDataDir = "", ""
		var more []string
		s.Dataset.Sets, more, err = ReadDatasets(s.DatasetConfig, defaults)
		return append(notes, more...), err
	}
	s.Dataset.Sets = []dataset.Set{s.Set}
	var errs []error
	if s.Set.TrainDataDir == "" && !s.isWrong("train_data_dir") {
		errs = append(errs, errors.New("kohya: train_data_dir is missing: name the folder that holds the REPEATS_NAME folders of photos, or a dataset_config"))
	}
	if s.Set.Resolution == (dataset.Size{}) && !s.isWrong("resolution") {
		errs = append(errs, errors.New("kohya: resolution is missing, 512 is usual"))
	}
	if o.epochs > 0 && s.Dataset.MaxTrainEpochs == 0 && o.line["max_train_steps"] == nil && len(errs) == 0 {
		steps, how := guiSteps(s, o.epochs)
		if steps > 0 {
			s.Dataset.MaxTrainSteps = steps
			notes = append(notes, how)
		}
	}
	return notes, invalid.Join(errs...)
}

// Usage writes what the options are, those first that are used most.
func (o *Options) Usage(w io.Writer) {
	defaults := o.defaults()
	for _, g := range table {
		fmt.Fprintf(w, "\n%s\n", g.title)
		if kind := g.options[0].kind.class; kind == isIdle || kind == isRefused {
			var names []string
			for _, row := range g.options {
				names = append(names, row.name)
			}
			fmt.Fprint(w, wrap("  ", strings.Join(names, ", ")))
			continue
		}
		for _, row := range g.options {
			help := row.help
			if row.kind.want != "" && !strings.Contains(help, row.kind.want) {
				help += ": " + row.kind.want
			}
			value, ok := defaults[row.name]
			if !ok {
				value = row.unset
			}
			if !zero(value) && value != "false" {
				help += " (default " + value + ")"
			}
			fmt.Fprintf(w, "  -%-35s%s", row.name, strings.TrimLeft(wrap(strings.Repeat(" ", 38), help), " "))
		}
	}
}

// wrap breaks a text into lines of a terminal, each with an indent.
func wrap(indent, text string) string {
	const columns = 120
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > columns && line != indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// optionNames are those of the table and their aliases.
func optionNames() []string {
	return slices.Concat(slices.Collect(maps.Keys(rows)), slices.Collect(maps.Keys(aliases)))
}
