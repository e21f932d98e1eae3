package lora

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Inspection is what a file tells about itself.
type Inspection struct {
	Path     string
	Bytes    int64                 // the size of the file
	Types    map[weights.DType]int // tensors of each element type
	Metadata map[string]string
	Forms    []string // the spellings its keys are in: "kohya", "PEFT", …
	// Adapter is what Open reads, nil where Problem says why it reads nothing: the kind of file that it is, for example.
	Adapter *Adapter
	Problem error
	// ModelHash and LegacyHash are what sshs_model_hash and sshs_legacy_hash of the metadata should be, computed; "" for
	// files that are no adapter.
	ModelHash, LegacyHash string
}

// Inspect looks at a safetensors file that may be an adapter for the model of the targets. The error is about files that
// cannot be read at all.
func Inspect(path string, t *Targets) (*Inspection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	f, err := weights.OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	defer f.Close()
	i := &Inspection{Path: path, Bytes: info.Size(), Types: make(map[weights.DType]int), Metadata: f.Metadata()}
	for _, key := range f.Names() {
		x, _ := f.Info(key)
		i.Types[x.DType]++
		if form := formOf(key); form != "" && !slices.Contains(i.Forms, form) {
			i.Forms = append(i.Forms, form)
		}
	}
	if i.Adapter, i.Problem = read(f, t); i.Problem != nil {
		return i, nil
	}
	if i.ModelHash, err = DataHash(path); err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	if i.Adapter.Hash = i.Metadata["sshs_model_hash"]; !isSHA256(i.Adapter.Hash) {
		i.Adapter.Hash = i.ModelHash
	}
	var tensors []weights.Tensor
	for _, key := range f.Names() {
		x, err := f.Tensor(key)
		if err != nil {
			return nil, fmt.Errorf("lora: %w", err)
		}
		tensors = append(tensors, x)
	}
	hashes := maps.Clone(i.Metadata)
	if addHashes(hashes, tensors) == nil { // 8-bit floats, which nobody else hashes either, are not written
		i.LegacyHash = hashes["sshs_legacy_hash"]
	}
	return i, nil
}

// formOf names the spelling of a key, "" if it belongs to no adapter.
func formOf(key string) string {
	module, p, ok := splitKey(key)
	end := strings.TrimPrefix(key, module)
	switch {
	case !ok || !p.isSign():
		return ""
	case strings.HasPrefix(end, "_lora."):
		return "attention processors of old diffusers"
	case strings.HasPrefix(end, ".lora_A"), strings.HasPrefix(end, ".lora_B"), strings.HasPrefix(key, peftStart),
		slices.Contains([]part{partEmbedA, partEmbedB, partPeftNorm, partPeftOFT, partPeftIA3}, p):
		return "PEFT"
	case strings.HasPrefix(end, ".lora."), strings.HasPrefix(end, ".lora_linear_layer."):
		return "diffusers before PEFT"
	}
	for _, block := range []string{"input_blocks_", "middle_block_", "output_blocks_"} {
		if strings.Contains(module, block) {
			return "kohya with LDM block names"
		}
	}
	if slices.Contains([]part{partDown, partUp}, p) {
		return "kohya"
	}
	return "LyCORIS"
}

// TagCount is a caption tag and how often it was trained on.
type TagCount struct {
	Tag   string
	Count int
}

// TagFrequency reads ss_tag_frequency, which has the tags of each folder of pictures: all of them, added up, the most
// frequent first and equal ones by name. Metadata without it give nothing.
func TagFrequency(metadata map[string]string) ([]TagCount, error) {
	text := metadata["ss_tag_frequency"]
	if text == "" || text == "None" {
		return nil, nil
	}
	var folders map[string]map[string]int
	if err := json.Unmarshal([]byte(text), &folders); err != nil {
		return nil, fmt.Errorf("lora: ss_tag_frequency: %w", err)
	}
	counts := make(map[string]int)
	for _, tags := range folders {
		for tag, n := range tags {
			counts[tag] += n
		}
	}
	list := make([]TagCount, 0, len(counts))
	for tag, n := range counts {
		list = append(list, TagCount{tag, n})
	}
	slices.SortFunc(list, func(a, b TagCount) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Tag, b.Tag)) })
	return list, nil
}

// TensorCheck is what Check finds out about a tensor.
type TensorCheck struct {
	Key              string
	DType            weights.DType
	Shape            compute.Shape
	Factor           bool    // it is the up or down factor of a module
	MeanAbs, MinAbs  float64 // the mean and the least absolute value; 0 of no elements
	NonFinite, First int     // how many elements are NaN or infinite, and the first of them
}

// CheckReport is what Check finds out about a file.
type CheckReport struct {
	Tensors []TensorCheck  // in file order
	Modules int            // with up and down factors
	Parts   map[string]int // tensors of adapters that are neither those nor alphas, such as "hada_w1_a" and "dora_scale"
	Factors int            // up and down tensors: what sd-scripts' check_lora_weights calls the number of modules
	Refused *KindError     // the kind of adapter that Open refuses the file for, nil if its tensors are of none
}

// Check measures every tensor of a file, whatever model it is for. If some are not all numbers, the error is, or joins,
// *NonFiniteErrors, and the report is complete all the same.
func Check(ctx context.Context, path string) (*CheckReport, error) {
	f, err := weights.OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	defer f.Close()
	report, modules, factors := &CheckReport{Parts: make(map[string]int)}, make(map[string]int), map[part]int{partUp: 1, partDown: 2}
	var errs []error
	for _, key := range f.Names() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x, err := f.Tensor(key)
		if err != nil {
			return nil, fmt.Errorf("lora: %w", err)
		}
		c := TensorCheck{Key: key, DType: x.DType, Shape: x.Shape, MinAbs: math.Inf(1)}
		module, p, ok := splitKey(key)
		if c.Factor = ok && (p == partUp || p == partDown); c.Factor {
			report.Factors++
			modules[module] |= factors[p]
		} else if ok && p != partAlpha {
			report.Parts[string(p)]++
		}
		if kind := otherKind(key); kind != "" && report.Refused == nil {
			report.Refused = &KindError{path, kind, key}
		}
		values := x.Float32s()
		for i, v := range values {
			if notFinite(v) {
				if c.NonFinite++; c.NonFinite == 1 {
					c.First = i
				}
				continue
			}
			a := math.Abs(float64(v))
			c.MeanAbs += a / float64(len(values))
			c.MinAbs = min(c.MinAbs, a)
		}
		if math.IsInf(c.MinAbs, 1) {
			c.MinAbs = 0
		}
		if c.NonFinite > 0 {
			errs = append(errs, &NonFiniteError{path, key, c.First})
		}
		report.Tensors = append(report.Tensors, c)
	}
	for _, parts := range modules {
		if parts == factors[partUp]|factors[partDown] {
			report.Modules++
		}
	}
	return report, errors.Join(errs...)
}
