package kohya

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
)

// option is a row of the table.
type option struct {
	name  string // what sd-scripts calls it
	field string // the path to the field of settings that holds its value; "" for one that [Options.Value] is asked for, and for none
	unset string // what sd-scripts takes if nobody names it; "" is nothing, which leaves the field as it is
	kind  kind
	help  string
	gui   place // where the GUI's form has it
}

// group is a part of the table, as help shows it.
type group struct {
	title   string
	options []option
}

// settings are what options set: a training, and what becomes part of one.
type settings struct {
	train.Config
	Set dataset.Set // the one that train_data_dir makes, and the defaults of dataset_config; its Folder has those of subsets

	DatasetConfig                         string
	NetworkArgs                           []string
	DownLRWeight, MidLRWeight, UpLRWeight string
	BlockLRZeroThreshold                  float64
	Use8bitAdam, UseLion                  bool

	idle  []string // options that were given and do nothing here
	wrong []string // and those whose values are errors, which are no reason for a second one
}

// put reads an option's values into its field.
func (o *option) put(s *settings, values []string) error {
	value, err := o.kind.read(values)
	if err != nil || o.field == "" {
		return err
	}
	field, v := o.in(s), reflect.ValueOf(value)
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	field.Set(v)
	return nil
}

// in is the option's field.
func (o *option) in(s *settings) reflect.Value {
	v := reflect.ValueOf(s).Elem()
	for name := range strings.SplitSeq(o.field, ".") {
		v = v.FieldByName(name)
	}
	return v
}

// rows finds options by name, names finds names by fields of a training.
var rows, names = index()

func index() (map[string]*option, map[string]string) {
	all, names := make(map[string]*option), make(map[string]string)
	for _, g := range table {
		for i := range g.options {
			row := &g.options[i]
			all[row.name], names[row.field] = row, row.name
		}
	}
	for _, a := range networkArguments {
		names[a.field] = "network_args " + a.name
	}
	for i := range datasetOptions {
		row := &datasetOptions[i]
		names[row.field] = cmp.Or(names[row.field], row.name)
	}
	for _, field := range []string{"Network.BlockLRWeight", "Trainer.BlockLRWeight"} {
		names[field] = "network_args down_lr_weight, mid_lr_weight or up_lr_weight"
	}
	delete(names, "")
	return all, names
}

// Flags are the flags that fill the fields which a text names, an error's or a warning's, as "-network_dim" for
// "Config.Network.Dim". Fields of folders that only a dataset_config has are called as they are there.
func Flags(text string) map[string]string {
	flags := make(map[string]string)
	for _, path := range fieldPath.FindAllString(text, -1) {
		field := embedded.ReplaceAllString(path, "")
		prefix := "-"
		if at := subsetField.FindStringSubmatch(field); at != nil {
			i, _ := strconv.Atoi(at[1])
			j, _ := strconv.Atoi(at[2])
			field, prefix = "Set.Folder."+at[3], fmt.Sprintf("[[datasets]] %d: [[datasets.subsets]] %d: ", i+1, j+1)
		}
		field = setField.ReplaceAllString(field, "Set.")
		for _, part := range []string{"", "Dataset.", "Trainer.", "Set.", "Set.Folder."} {
			if name := names[part+field]; name != "" {
				flags[path] = prefix + name
			}
		}
	}
	return flags
}

var (
	fieldPath   = regexp.MustCompile(`\b[A-Z]\w*(\[\d+\])?(\.[A-Z]\w*(\[\d+\])?)+`)
	embedded    = regexp.MustCompile(`^(Config|Options|Subset)\.|\b(Objective|Bucketing|CaptionOptions)\.|\[\d+\]$`)
	setField    = regexp.MustCompile(`^(Dataset\.)?Sets\[\d+\]\.`)
	subsetField = regexp.MustCompile(`^(?:Dataset\.)?Sets\[(\d+)\]\.Subsets\[(\d+)\]\.(.*)`)
)
