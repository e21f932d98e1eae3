package kohya

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
)

// place is where the GUI's form has an option: in which section, at which row, and what it is called there.
type place struct {
	section section
	row     int // from 1; 0 is not in the form
	label   string
}

// section is a part of the GUI's form. The numbers are those of [sections].
type section uint8

const (
	noSection section = iota
	modelSection
	launchSection
	foldersSection
	basicSection
	blocksSection
	samplesSection
	advancedSection
)

// sections are what the parts of the form are called, in its order; the first is of what the GUI has no field for.
var sections = [...]string{"Not in kohya's form", "Model", "Accelerate launch", "Folders", "Parameters: basic", "Parameters: blocks", "Parameters: samples", "Parameters: advanced"}

func model(row int, label string) place    { return place{modelSection, row, label} }
func launch(row int, label string) place   { return place{launchSection, row, label} }
func folders(row int, label string) place  { return place{foldersSection, row, label} }
func basic(row int, label string) place    { return place{basicSection, row, label} }
func blocks(row int, label string) place   { return place{blocksSection, row, label} }
func sampling(row int, label string) place { return place{samplesSection, row, label} }
func advanced(row int, label string) place { return place{advancedSection, row, label} }

// elsewhere is the place of what the form has no field for.
var elsewhere place

// Control is what a field of a form is.
type Control string

// The controls.
const (
	Switch Control = "switch" // true or false
	Number Control = "number"
	Text   Control = "text"
	List   Control = "list" // several values, with blanks between
)

// Field is an option as a form shows it.
type Field struct {
	Name    string // what sd-scripts calls it; of network_args without that
	Label   string // what kohya's GUI calls it; "" if it does not have it
	Help    string
	Control Control
	Choices []string // the values there are, if they are few
	Unset   string   // what sd-scripts takes if nobody names it; "" is nothing
}

// Section is a part of a form.
type Section struct {
	Title  string
	Fields []Field
}

// formless are options that say where others are, or what other ones say.
var formless = words(`config_file defaults network_args use_8bit_adam use_lion_optimizer`)

// Form is the options that change a training, in the sections and in the order of kohya's GUI; those that the GUI has no field for
// come last.
func Form() (form []Section) {
	all := make([][]*option, len(sections))
	add := func(o *option) {
		if o.kind.class < isIdle && !formless[o.name] {
			all[o.gui.section] = append(all[o.gui.section], o)
		}
	}
	for _, g := range table {
		for i := range g.options {
			add(&g.options[i])
		}
	}
	for i := range networkArguments {
		add(&networkArguments[i])
	}
	for i, title := range sections {
		slices.SortStableFunc(all[i], func(a, b *option) int { return cmp.Compare(a.gui.row, b.gui.row) })
		s := Section{Title: title}
		for _, o := range all[i] {
			s.Fields = append(s.Fields, o.asField())
		}
		form = append(form, s)
	}
	return append(form[1:], form[0])
}

// asField is the option as a form shows it.
func (o *option) asField() Field {
	f := Field{Name: o.name, Label: o.gui.label, Help: o.help, Unset: o.unset}
	switch o.kind.class {
	case isSwitch:
		f.Control = Switch
	case isNumber:
		f.Control = Number
	case isList:
		f.Control = List
	default:
		f.Control = Text
	}
	if o.kind.want != "" {
		f.Choices = strings.Split(o.kind.want, ", ")
	}
	return f
}

// argument is the network argument of a name, nil if there is none.
func argument(name string) *option {
	if at := slices.IndexFunc(networkArguments, func(a option) bool { return a.name == name }); at >= 0 {
		return &networkArguments[at]
	}
	return nil
}

// Set names an option as a command line would, by the name of a [Field]. It replaces what the command line said; a network argument
// is added to the others. Whether the value is one that it can have, Config says.
func (o *Options) Set(name, value string) error {
	if o.line == nil {
		o.line = make(map[string][]string)
	}
	switch name = cmp.Or(aliases[name], name); {
	case argument(name) != nil:
		o.line["network_args"] = append(o.line["network_args"], name+"="+value)
	case rows[name] == nil || name == "config_file":
		return unknown(optionNames(), name, "kohya: there is no option %.60q", name)
	default:
		o.line[name] = []string{value}
	}
	return nil
}

// Read reads options as [Options.ReadFile] does, from a file that somebody sent. The name is for messages.
func (o *Options) Read(r io.Reader, name string) error {
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("kohya: %s: %w", name, err)
	case len(data) > maxFileBytes:
		return fmt.Errorf("kohya: %s has more than %d bytes: it is no file of options", name, maxFileBytes)
	}
	return o.take(data, name)
}

// Prompts are the sample prompts that the GUI's JSON has in itself, a line for each.
func (o *Options) Prompts() string { return o.prompts }

// Values are the options that have a value, named or by default, by the names of [Field]. Options set to them, with no defaults, are a
// training like this one.
func (o *Options) Values() map[string]string {
	values := make(map[string]string)
	for name, row := range rows {
		if list, _ := o.lookup(name); list != nil && row.kind.class < isIdle && !formless[name] {
			values[name] = strings.Join(list, " ")
		}
	}
	given, _ := o.lookup("network_args")
	for _, piece := range splitArguments(given) {
		if name, value, _ := strings.Cut(piece, "="); argument(name) != nil {
			values[name] = literal(value)
		}
	}
	for old, optimizer := range map[string]string{"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"} {
		if given, _ := o.lookup(old); given != nil {
			if set, _ := truth(given); set {
				values["optimizer_type"] = optimizer
			}
		}
	}
	return values
}

// written are the values as files have them, where sd-scripts' defaults would stand for what is left out.
func (o *Options) written() map[string]string {
	values := o.Values()
	values["caption_extension"] = cmp.Or(values["caption_extension"], ".txt")
	for name, only := range map[string]string{"unet_lr": "network_train_text_encoder_only", "text_encoder_lr": "network_train_unet_only"} {
		if set, _ := truth([]string{values[only]}); !set {
			values[name] = cmp.Or(values[name], values["learning_rate"])
		}
	}
	return values
}

// WriteTOML writes the options that have a value as a config_file of sd-scripts.
func (o *Options) WriteTOML(w io.Writer) error {
	values := o.written()
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if row := rows[name]; row != nil && values[name] != "" {
			fmt.Fprintf(&b, "%s = %s\n", name, row.literal(values[name]))
		}
	}
	if list := joinArguments(values); len(list) > 0 {
		fmt.Fprintf(&b, "network_args = %s\n", tomlList(list))
	}
	if values["network_module"] == "" {
		fmt.Fprintf(&b, "network_module = %q\n", "networks.lora")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// literal is a value as TOML has it, which is how JSON does.
func (o *option) literal(value string) string {
	switch o.kind.class {
	case isSwitch:
		set, err := truth([]string{value})
		if err == nil {
			return strconv.FormatBool(set)
		}
	case isNumber, isList:
		if o.kind.class == isList && o.name != "text_encoder_lr" {
			return tomlList(splitArguments([]string{value}))
		}
		if _, err := python.Float(value); err == nil && !strings.ContainsAny(value, "_") && json.Valid([]byte(value)) {
			return value
		}
	}
	return quoted(value)
}

func tomlList(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = quoted(v)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// quoted is a text as JSON and TOML both write it.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(text) != nil {
		return `""` // a string can always be encoded
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`)
}

// joinArguments are the network arguments among values.
func joinArguments(values map[string]string) (list []string) {
	for _, a := range networkArguments {
		if value := values[a.name]; value != "" {
			list = append(list, a.name+"="+value)
		}
	}
	return list
}

// WriteJSON writes the options as kohya's GUI saves its form, the sample prompts in it. What the form has no field for, and zeros, which
// it drops, are among its additional parameters.
func (o *Options) WriteJSON(w io.Writer, prompts string) error {
	values := o.written()
	f := map[string]any{"LoRA_type": "Standard", "epoch": 1, "lr_warmup": 0, "noise_offset_type": "Original", "additional_parameters": ""}
	if cmp.Or(values["conv_dim"], values["conv_alpha"], values["conv_block_dims"]) != "" {
		f["LoRA_type"], values["conv_dim"] = "Kohya LoCon", cmp.Or(values["conv_dim"], "0")
	}
	if path := values["sample_prompts"]; prompts == "" && isFile(path) {
		prompts, values["sample_prompts"] = path, ""
	}
	unused := words(`multires_noise_iterations multires_noise_discount`) // the form has one kind of noise or the other
	if !zero(values["multires_noise_iterations"]) {
		f["noise_offset_type"], unused = "Multires", words(`noise_offset noise_offset_random_strength adaptive_noise_scale`)
	}
	var additional []string
	for key := range guiForm { // what is not there would be taken from the empty form
		if !guiRules[key] {
			f[key] = ""
		}
	}
	for _, s := range Form() {
		for _, field := range s.Fields {
			if unused[field.Name] || field.Name == "sample_prompts" {
				field.Label = ""
			}
			if argument, ok := o.formValue(f, field, values[field.Name]); ok {
				additional = append(additional, argument)
			}
		}
	}
	delete(f, "network_module")
	f["additional_parameters"] = strings.Join(additional, " ")
	f["sample_prompts"] = prompts
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(f)
}

// formValue puts a value where the GUI's form has it, or gives the argument for its field of further ones.
func (o *Options) formValue(f map[string]any, field Field, value string) (argument string, ok bool) {
	row := rows[field.Name]
	if row == nil { // a network argument
		if value != "" {
			f[field.Name] = value
		}
		return "", false
	}
	if value == "" || field.Label == "" && value == row.unset {
		return "", false
	}
	if field.Label == "" || dropped(row, value) && value != row.unset {
		if set, err := truth([]string{value}); field.Control == Switch && err == nil {
			if !set {
				return "", false
			}
			return "--" + field.Name, true
		}
		return "--" + field.Name + `="` + strings.ReplaceAll(value, `"`, "'") + `"`, true
	}
	if field.Name == "lr_warmup_steps" {
		return "", o.putWarmUp(f, value)
	}
	var v any = value
	if json.Unmarshal([]byte(row.literal(value)), &v) != nil || field.Control == List {
		v = value
	}
	f[guiKey(field.Name)] = v
	return "", false
}

// putWarmUp writes a warm-up as the form has it: a percentage, or steps. It is never an argument.
func (o *Options) putWarmUp(f map[string]any, value string) (argument bool) {
	text, percent := strings.CutSuffix(value, "%")
	n, err := python.Float(text)
	switch {
	case err != nil:
		f["lr_warmup_steps"] = value
	case percent:
		f["lr_warmup"] = n
	case n < 1:
		f["lr_warmup"] = n * 100
	default:
		f["lr_warmup_steps"] = n
	}
	return false
}

// guiKey is the form's key of an option.
func guiKey(name string) string {
	for _, key := range []string{"max_resolution", "optimizer"} {
		if guiNames[key] == name {
			return key
		}
	}
	return name
}
