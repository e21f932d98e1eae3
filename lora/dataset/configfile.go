package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
)

// Defaults are what options mean that a dataset config file leaves out: the command line's, below it the built-in ones.
type Defaults struct {
	Set    Set
	Subset Subset
}

// maxConfigBytes bounds a dataset config file.
const maxConfigBytes = 4 << 20

// ParseJSON reads a dataset config file of sd-scripts in its JSON form: an optional object "general", a list "datasets", in each
// of them a list "subsets". An option is looked up in the subset, the dataset, general and defaults; the first that has it
// wins, whatever its value. Types are strict and unknown keys are errors. Where nothing names a caption_extension it is
// .caption, as there.
func ParseJSON(data []byte, defaults Defaults) ([]Set, error) {
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("dataset: config of %d bytes, want at most %d", len(data), maxConfigBytes)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("dataset: config: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("dataset: config: text after the JSON object")
	}
	return parseTree(tree, defaults)
}

// scope is where in a config file a key may stand.
type scope uint8

const (
	inGeneral scope = 1 << iota
	inDataset
	inSubset
	inAll = inGeneral | inDataset | inSubset
	inSet = inGeneral | inDataset
)

var scopeNames = map[scope]string{inGeneral: "[general]", inDataset: "[[datasets]]", inSubset: "[[datasets.subsets]]"}

// key is one option of a config file: where it may stand and how its value enters the defaults of its level.
type key struct {
	where scope
	read  func(d *Defaults, value any) error
}

var keys = map[string]key{
	"batch_size":           {inSet, integer(func(d *Defaults) *int { return &d.Set.BatchSize }, 1)},
	"resolution":           {inSet, resolution},
	"enable_bucket":        {inSet, boolean(func(d *Defaults) *bool { return &d.Set.Enable })},
	"min_bucket_reso":      {inSet, integer(func(d *Defaults) *int { return &d.Set.MinReso }, 1)},
	"max_bucket_reso":      {inSet, integer(func(d *Defaults) *int { return &d.Set.MaxReso }, 1)},
	"bucket_reso_steps":    {inSet, integer(func(d *Defaults) *int { return &d.Set.ResoSteps }, 1)},
	"bucket_no_upscale":    {inSet, boolean(func(d *Defaults) *bool { return &d.Set.NoUpscale })},
	"network_multiplier":   {inSet, ignored("network_multiplier has no effect in sd-scripts and none here")},
	"validation_split":     {inSet, float(func(d *Defaults) *float64 { return &d.Set.ValidationSplit })},
	"validation_seed":      {inSet, validationSeed},
	"resize_interpolation": {inAll, interpolation},

	"num_repeats":                    {inAll, integer(func(d *Defaults) *int { return &d.Subset.Repeats }, 1)},
	"shuffle_caption":                {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.Shuffle })},
	"enable_wildcard":                {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.Wildcard })},
	"color_aug":                      {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.ColorAug })},
	"flip_aug":                       {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.FlipAug })},
	"random_crop":                    {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.RandomCrop })},
	"keep_tokens":                    {inAll, integer(func(d *Defaults) *int { return &d.Subset.KeepTokens }, 0)},
	"keep_tokens_separator":          {inAll, text(func(d *Defaults) *string { return &d.Subset.KeepTokensSeparator })},
	"secondary_separator":            {inAll, text(func(d *Defaults) *string { return &d.Subset.SecondarySeparator })},
	"caption_prefix":                 {inAll, text(func(d *Defaults) *string { return &d.Subset.Prefix })},
	"caption_suffix":                 {inAll, text(func(d *Defaults) *string { return &d.Subset.Suffix })},
	"caption_separator":              {inAll, text(func(d *Defaults) *string { return &d.Subset.Separator })},
	"caption_dropout_rate":           {inAll, number(func(d *Defaults) *float64 { return &d.Subset.DropoutRate })},
	"caption_tag_dropout_rate":       {inAll, number(func(d *Defaults) *float64 { return &d.Subset.TagDropoutRate })},
	"caption_dropout_every_n_epochs": {inAll, integer(func(d *Defaults) *int { return &d.Subset.DropoutEveryNEpochs }, 0)},
	"token_warmup_min":               {inAll, integer(func(d *Defaults) *int { return &d.Subset.TokenWarmupMin }, 0)},
	"token_warmup_step":              {inAll, number(func(d *Defaults) *float64 { return &d.Subset.TokenWarmupStep })},
	"face_crop_aug_range":            {inAll, faceRange},
	"custom_attributes":              {inAll, ignored("custom_attributes are not used")},
	"caption_extension":              {inAll, captionExtension},
	"caption_extention":              {inAll, captionExtension}, // the misspelling is an alias there
	"class_tokens":                   {inAll, text(func(d *Defaults) *string { return &d.Subset.ClassTokens })},
	"cache_info":                     {inAll, ignored("cache_info: folders are scanned each time, metadata_cache.json is neither read nor written")},
	"exif_orientation":               {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.EXIFOrientation })},
	"alpha_over_white":               {inAll, boolean(func(d *Defaults) *bool { return &d.Subset.AlphaOverWhite })},

	"image_dir":             {inSubset, text(func(d *Defaults) *string { return &d.Subset.ImageDir })},
	"is_reg":                {inSubset, boolean(func(d *Defaults) *bool { return &d.Subset.Reg })},
	"alpha_mask":            {inSubset, boolean(func(d *Defaults) *bool { return &d.Subset.AlphaMask })},
	"conditioning_data_dir": {inSubset, text(func(d *Defaults) *string { return &d.Subset.ConditioningDataDir })},
	"metadata_file":         {inSubset, refused("metadata files are not read: name an image_dir with caption files beside the pictures")},
}

// parseTree reads a decoded config file. Numbers are json.Number, int64 or float64.
func parseTree(tree map[string]any, defaults Defaults) ([]Set, error) {
	p := parser{}
	if defaults.Subset.CaptionExtension == "" {
		defaults.Subset.CaptionExtension = ".caption"
	}
	general := p.apply(defaults, "[general]", inGeneral, p.table("general", tree["general"]))
	for name := range sorted(tree) {
		if name != "general" && name != "datasets" {
			p.refuse("unknown key %.60q, want general and datasets", name)
		}
	}
	var sets []Set
	datasets := p.tables("datasets", tree["datasets"])
	if len(datasets) == 0 {
		p.refuse("no [[datasets]]: at least one is needed")
	}
	for i, table := range datasets {
		where := fmt.Sprintf("[[datasets]] %d", i+1)
		subsets := p.tables(where+": subsets", table["subsets"])
		if len(subsets) == 0 {
			p.refuse("%s: no [[datasets.subsets]]: at least one is needed", where)
		}
		own := maps.Clone(table)
		delete(own, "subsets")
		level := p.apply(general, where, inDataset, own)
		set := level.Set
		set.Subsets = nil
		for j, table := range subsets {
			where := fmt.Sprintf("%s: [[datasets.subsets]] %d", where, j+1)
			subset := p.apply(level, where, inSubset, table)
			set.notes = subset.Set.notes
			level.Set.notes = set.notes
			if subset.Subset.ImageDir == "" && table["metadata_file"] == nil {
				p.refuse("%s: image_dir is missing", where)
			}
			set.Subsets = append(set.Subsets, subset.Subset)
		}
		if set.Resolution == (Size{}) {
			p.refuse("%s: resolution is missing, 512 is usual", where)
		}
		sets = append(sets, set)
	}
	if err := invalid.Join(p.errs...); err != nil {
		return nil, err
	}
	return sets, nil
}

// parser collects complaints.
type parser struct{ errs []error }

func (p *parser) refuse(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("dataset: config: "+format, args...))
}

// table is an optional table.
func (p *parser) table(name string, value any) map[string]any {
	table, ok := value.(map[string]any)
	if value != nil && !ok {
		p.refuse("%s is %s, want a table", name, describe(value))
	}
	return table
}

// tables is an optional list of tables.
func (p *parser) tables(name string, value any) []map[string]any {
	switch list := value.(type) {
	case nil:
		return nil
	case []map[string]any:
		return list
	case []any:
		var tables []map[string]any
		for _, element := range list {
			tables = append(tables, p.table("an element of "+name, element))
		}
		return tables
	}
	p.refuse("%s is %s, want a list of tables", name, describe(value))
	return nil
}

// apply returns d with the keys of a table at one level of the file.
func (p *parser) apply(d Defaults, where string, at scope, table map[string]any) Defaults {
	d.Set.notes = slices.Clone(d.Set.notes)
	for name, value := range sorted(table) {
		k, known := keys[name]
		switch {
		case !known:
			p.refuse("%s: unknown key %.60q%s", where, name, suggestion(name))
		case k.where&at == 0:
			var places []string
			for _, s := range []scope{inGeneral, inDataset, inSubset} {
				if k.where&s != 0 {
					places = append(places, scopeNames[s])
				}
			}
			p.refuse("%s: %s belongs into %s", where, name, strings.Join(places, " or "))
		default:
			if err := k.read(&d, value); err != nil {
				p.refuse("%s: %s: %w", where, name, err)
			}
		}
	}
	return d
}

// sorted yields a table in the order of its keys, so that messages have one order.
func sorted(table map[string]any) func(yield func(string, any) bool) {
	return func(yield func(string, any) bool) {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if !yield(name, table[name]) {
				return
			}
		}
	}
}

// suggestion names a key that shares a long start or end with an unknown one.
func suggestion(name string) string {
	best, length := "", 4
	for candidate := range sortedKeys() {
		start, end := 0, 0
		for start < min(len(name), len(candidate)) && name[start] == candidate[start] {
			start++
		}
		for end < min(len(name), len(candidate)) && name[len(name)-1-end] == candidate[len(candidate)-1-end] {
			end++
		}
		if n := max(start, end); n > length {
			best, length = candidate, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (is %s meant?)", best)
}

func sortedKeys() func(yield func(string) bool) {
	return slices.Values(slices.Sorted(maps.Keys(keys)))
}

func describe(value any) string {
	switch value.(type) {
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	case string:
		return fmt.Sprintf("the text %.60q", value)
	}
	return fmt.Sprintf("%.60s", fmt.Sprint(value))
}

func boolean(at func(*Defaults) *bool) func(*Defaults, any) error {
	return func(d *Defaults, value any) error {
		b, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%s, want true or false", describe(value))
		}
		*at(d) = b
		return nil
	}
}

func text(at func(*Defaults) *string) func(*Defaults, any) error {
	return func(d *Defaults, value any) error {
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s, want a text in quotes", describe(value))
		}
		*at(d) = s
		return nil
	}
}

// asInteger accepts whole numbers written without a point.
func asInteger(value any) (int64, error) {
	switch n := value.(type) {
	case int64:
		return n, nil
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s, want a whole number", describe(value))
}

// asNumber accepts numbers with or without a point.
func asNumber(value any) (float64, error) {
	switch n := value.(type) {
	case float64:
		return n, nil
	case json.Number:
		if f, err := n.Float64(); err == nil {
			return f, nil
		}
	}
	n, err := asInteger(value)
	if err != nil {
		return 0, fmt.Errorf("%s, want a number", describe(value))
	}
	return float64(n), nil
}

func integer(at func(*Defaults) *int, least int) func(*Defaults, any) error {
	return func(d *Defaults, value any) error {
		n, err := asInteger(value)
		if err == nil && (n < int64(least) || n > maxCount) {
			err = fmt.Errorf("%d, want %d to %d", n, least, maxCount)
		}
		if err != nil {
			return err
		}
		*at(d) = int(n)
		return nil
	}
}

func number(at func(*Defaults) *float64) func(*Defaults, any) error {
	return func(d *Defaults, value any) (err error) {
		*at(d), err = asNumber(value)
		return err
	}
}

// float is strict: sd-scripts refuses a whole number here.
func float(at func(*Defaults) *float64) func(*Defaults, any) error {
	return func(d *Defaults, value any) error {
		if n, err := asInteger(value); err == nil {
			return fmt.Errorf("%d, want a number with a point, such as %d.0", n, n)
		}
		return number(at)(d, value)
	}
}

func resolution(d *Defaults, value any) error {
	sides := []any{value, value}
	if list, ok := value.([]any); ok {
		sides = list
	}
	if len(sides) != 2 {
		return fmt.Errorf("a list of %d, want one number or width and height", len(sides))
	}
	var size Size
	for i, side := range []*int{&size.W, &size.H} {
		if err := integer(func(*Defaults) *int { return side }, 1)(d, sides[i]); err != nil {
			return err
		}
	}
	d.Set.Resolution = size
	return nil
}

func faceRange(d *Defaults, value any) error {
	list, _ := value.([]any)
	if len(list) != 2 {
		return fmt.Errorf("%s, want a list of two numbers, such as [2.0, 4.0]", describe(value))
	}
	var zoom [2]float64
	for i := range zoom {
		if err := float(func(*Defaults) *float64 { return &zoom[i] })(d, list[i]); err != nil {
			return err
		}
	}
	d.Subset.FaceCropAugRange = zoom
	return nil
}

func validationSeed(d *Defaults, value any) error {
	n, err := asInteger(value)
	seed := uint64(n)
	d.Set.ValidationSeed = &seed
	return err
}

func interpolation(d *Defaults, value any) error {
	var name string
	if err := text(func(*Defaults) *string { return &name })(d, value); err != nil {
		return err
	}
	filter, err := Interpolation(name).canonical()
	d.Subset.ResizeInterpolation = filter
	return err
}

func captionExtension(d *Defaults, value any) error {
	var extension string
	if err := text(func(*Defaults) *string { return &extension })(d, value); err != nil {
		return err
	}
	if !strings.HasPrefix(extension, ".") {
		return fmt.Errorf("%s, want an extension with its dot, such as .txt", describe(value))
	}
	d.Subset.CaptionExtension = extension
	return nil
}

func ignored(note string) func(*Defaults, any) error {
	return func(d *Defaults, _ any) error {
		if !slices.Contains(d.Set.notes, note) {
			d.Set.notes = append(d.Set.notes, note)
		}
		return nil
	}
}

func refused(reason string) func(*Defaults, any) error {
	return func(*Defaults, any) error { return errors.New(reason) }
}
