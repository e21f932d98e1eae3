package kohya

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/dataset"
)

// datasetOptions are those that only a dataset config has.
var datasetOptions = []option{
	{"image_dir", "Set.Folder.ImageDir", "", path, "folder of pictures", elsewhere},
	{"num_repeats", "Set.Folder.Repeats", "", count(1), "how often a picture is used in an epoch", elsewhere},
	{"class_tokens", "Set.Folder.ClassTokens", "", text, "caption of pictures without a caption file", elsewhere},
	{"is_reg", "Set.Folder.Reg", "", onOff, "regularisation pictures", elsewhere},
	{"batch_size", "Set.BatchSize", "", count(1), "pictures in a batch", elsewhere},
	{"network_multiplier", "", "", idleValue, "", elsewhere},
	{"custom_attributes", "", "", idleValue, "", elsewhere},
	{"metadata_file", "", "", refusedValue("metadata files are not read: name an image_dir with caption files beside the pictures"), "", elsewhere},
}

// The tables of a dataset config.
const (
	inGeneral = "[general]"
	inDataset = "[[datasets]]"
	inSubset  = "[[datasets.subsets]]"
)

// scopes are the tables that options may stand in, datasetRows the options.
var scopes, datasetRows = datasetIndex(map[string][]string{
	`batch_size resolution enable_bucket min_bucket_reso max_bucket_reso bucket_reso_steps bucket_no_upscale network_multiplier
		validation_split validation_seed`: {inGeneral, inDataset},
	`resize_interpolation num_repeats shuffle_caption enable_wildcard color_aug flip_aug random_crop keep_tokens keep_tokens_separator
		secondary_separator caption_prefix caption_suffix caption_separator caption_dropout_rate caption_tag_dropout_rate
		caption_dropout_every_n_epochs token_warmup_min token_warmup_step face_crop_aug_range custom_attributes caption_extension class_tokens
		cache_info exif_orientation alpha_over_white`: {inGeneral, inDataset, inSubset},
	`image_dir is_reg alpha_mask conditioning_data_dir metadata_file`: {inSubset},
})

func datasetIndex(lists map[string][]string) (map[string][]string, map[string]*option) {
	tables, all := make(map[string][]string), maps.Clone(rows)
	for i := range datasetOptions {
		all[datasetOptions[i].name] = &datasetOptions[i]
	}
	for list, where := range lists {
		for name := range strings.FieldsSeq(list) {
			tables[name] = where
		}
	}
	maps.DeleteFunc(all, func(name string, _ *option) bool { return tables[name] == nil })
	return tables, all
}

// maxDatasetBytes bounds a dataset config in JSON.
const maxDatasetBytes = 4 << 20

// ReadDatasets reads a dataset config of sd-scripts: tables [general], [[datasets]] and [[datasets.subsets]] in TOML, or the
// same in JSON. An option is looked up in the subset, the dataset, general and defaults, whose Folder has those of subsets; the
// first that has it wins, whatever its value. Types are strict and unknown keys are errors. Where nothing names a
// caption_extension it is .caption, as there. Notes name what is there to no use.
func ReadDatasets(path string, defaults dataset.Set) (sets []dataset.Set, notes []string, err error) {
	data, err := openfile.ReadFile(path, maxDatasetBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("kohya: dataset_config: %w", err)
	}
	read := decode
	if strings.EqualFold(filepath.Ext(path), ".json") {
		read = decodeJSON
	}
	tree, err := read(data)
	if err == nil {
		sets, notes, err = readDatasets(tree, defaults)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("kohya: dataset_config %s: %w", path, err)
	}
	return sets, notes, nil
}

// datasetReader collects what reading a dataset config has to remark.
type datasetReader struct {
	errs  []error
	notes []string
}

// readDatasets reads a decoded config. Numbers are json.Number, int64 or float64.
func readDatasets(tree map[string]any, defaults dataset.Set) ([]dataset.Set, []string, error) {
	var r datasetReader
	if defaults.Folder.CaptionExtension == "" {
		defaults.Folder.CaptionExtension = ".caption"
	}
	general := r.apply(defaults, inGeneral, inGeneral, r.table("general", tree["general"]))
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if name != "general" && name != "datasets" {
			r.refuse("unknown key %.60q, want general and datasets", name)
		}
	}
	datasets := r.tables("datasets", tree["datasets"])
	if len(datasets) == 0 {
		r.refuse("no [[datasets]]: at least one is needed")
	}
	var sets []dataset.Set
	for i, table := range datasets {
		sets = append(sets, r.dataset(general, fmt.Sprintf("[[datasets]] %d", i+1), table))
	}
	if err := invalid.Join(r.errs...); err != nil {
		return nil, nil, err
	}
	return sets, r.notes, nil
}

// dataset reads one of the datasets.
func (r *datasetReader) dataset(general dataset.Set, where string, table map[string]any) dataset.Set {
	subsets := r.tables(where+": subsets", table["subsets"])
	if len(subsets) == 0 {
		r.refuse("%s: no [[datasets.subsets]]: at least one is needed", where)
	}
	table = maps.Clone(table)
	delete(table, "subsets")
	set := r.apply(general, where, inDataset, table)
	for j, table := range subsets {
		where := fmt.Sprintf("%s: [[datasets.subsets]] %d", where, j+1)
		folder := r.apply(set, where, inSubset, table).Folder
		if folder.ImageDir == "" && table["metadata_file"] == nil {
			r.refuse("%s: image_dir is missing", where)
		}
		set.Subsets = append(set.Subsets, folder)
	}
	if set.Resolution == (dataset.Size{}) {
		r.refuse("%s: resolution is missing, 512 is usual", where)
	}
	set.Folder = dataset.Subset{}
	return set
}

func (r *datasetReader) refuse(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

// table is an optional table.
func (r *datasetReader) table(name string, value any) map[string]any {
	table, ok := value.(map[string]any)
	if value != nil && !ok {
		r.refuse("%s is %s, want a table", name, describe(value))
	}
	return table
}

// tables is an optional list of tables.
func (r *datasetReader) tables(name string, value any) (tables []map[string]any) {
	switch list := value.(type) {
	case nil:
	case []map[string]any:
		return list
	case []any:
		for _, element := range list {
			tables = append(tables, r.table("an element of "+name, element))
		}
	default:
		r.refuse("%s is %s, want a list of tables", name, describe(value))
	}
	return tables
}

// apply returns a set with the options of a table at one level of the file.
func (r *datasetReader) apply(set dataset.Set, where, at string, table map[string]any) dataset.Set {
	s := settings{Set: set}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		name := cmp.Or(aliases[key], key)
		row := datasetRows[name]
		switch {
		case row == nil && rows[name] != nil:
			r.refuse("%s: %s is no option of a dataset; it belongs into a config_file or on the command line", where, key)
		case row == nil:
			r.errs = append(r.errs, unknown(slices.Collect(maps.Keys(datasetRows)), key, "%s: unknown key %.60q", where, key))
		case !slices.Contains(scopes[name], at):
			r.refuse("%s: %s belongs into %s", where, key, strings.Join(scopes[name], " or "))
		case row.kind.class == isIdle:
			if note := name + " of a dataset_config has no effect"; !slices.Contains(r.notes, note) {
				r.notes = append(r.notes, note)
			}
		default:
			if err := row.putTyped(&s, table[key]); err != nil {
				r.refuse("%s: %s %w", where, key, err)
			}
		}
	}
	return s.Set
}

// putTyped puts a decoded value into the option's field, if its type is the one that the field has.
func (o *option) putTyped(s *settings, value any) error {
	if o.field != "" {
		typ := types[o.in(s).Kind()]
		if o.name == "validation_split" {
			typ = valueType{pointed, "a number with a point, such as 0.1"}
		}
		if !typ.fits(value) {
			return fmt.Errorf("is %s, want %s", describe(value), typ.want)
		}
	}
	values, err := texts(value)
	if err != nil {
		return err
	}
	return o.put(s, values)
}

// valueType is what a value of a dataset config must be.
type valueType struct {
	fits func(value any) bool
	want string
}

// types are those of fields.
var types = map[reflect.Kind]valueType{
	reflect.Bool:    {is[bool], "true or false"},
	reflect.String:  {is[string], "a text in quotes"},
	reflect.Int:     {whole, "a whole number"},
	reflect.Pointer: {whole, "a whole number"},
	reflect.Float64: {func(v any) bool { return whole(v) || pointed(v) }, "a number"},
	reflect.Array:   {two(pointed), "a list of two numbers with a point, such as [2.0, 4.0]"},
	reflect.Struct:  {func(v any) bool { return whole(v) || two(whole)(v) }, "a whole number or a list of two, width and height"},
}

func is[T any](value any) bool {
	_, ok := value.(T)
	return ok
}

// two recognises a list of two values.
func two(fits func(any) bool) func(any) bool {
	return func(value any) bool {
		list, _ := value.([]any)
		return len(list) == 2 && fits(list[0]) && fits(list[1])
	}
}

// whole reports whether a value is written as a whole number.
func whole(value any) bool {
	switch n := value.(type) {
	case int64:
		return true
	case json.Number:
		_, err := n.Int64()
		return err == nil
	}
	return false
}

// pointed reports whether a value is a number that is not written as a whole one.
func pointed(value any) bool {
	switch n := value.(type) {
	case float64:
		return true
	case json.Number:
		_, err := n.Float64()
		return err == nil && !whole(value)
	}
	return false
}

// describe says what a value is.
func describe(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list"
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case string:
		return fmt.Sprintf("the text %.60q", v)
	}
	return fmt.Sprintf("%.60s", fmt.Sprint(value))
}
