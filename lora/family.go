package lora

import (
	"errors"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// FamilyError refuses a file that is sound but no adapter for the model: a checkpoint, an embedding, a LoRA for another
// family.
type FamilyError struct {
	Path     string
	Found    string // what it is: "a LoRA for SDXL", "a Stable Diffusion 1.x checkpoint", …
	Evidence string // what says so
	Mend     string // what to do instead
}

// Error names the file, what it is, how that was seen, and what to do.
func (e *FamilyError) Error() string {
	return fmt.Sprintf("lora: %s: %s (%s), where a LoRA for this model is expected; %s", e.Path, e.Found, e.Evidence, e.Mend)
}

// KindError refuses an adapter of a kind this package does not apply. It wraps errors.ErrUnsupported.
type KindError struct {
	Path string
	Kind string // "LoHa", "LoKr", "DoRA", "OFT", "GLoRA", "IA3", …
	Key  string // the first tensor of that kind
}

// Error names the file, the kind and the tensor.
func (e *KindError) Error() string {
	return fmt.Sprintf("lora: %s: holds %s (tensor %.200q), which is not supported, and half an adapter is worse than none; "+
		"use a plain LoRA or LoCon version of it, or merge it into a checkpoint with the tool that made it", e.Path, e.Kind, e.Key)
}

// Unwrap is errors.ErrUnsupported.
func (e *KindError) Unwrap() error { return errors.ErrUnsupported }

const (
	needLoRA  = "give a LoRA made for Stable Diffusion 1.4, 1.5 or a fine-tune of one"
	needModel = "give it as the model, and a LoRA here"
)

// families are recognised by a key alone, the first row that matches any key deciding.
var families = []struct {
	found string
	match func(key string) bool
}{
	{"a Control-LoRA", starting("lora_controlnet")},
	{"an AnimateDiff motion LoRA", containing("motion_modules", "temporal_transformer")},
	{"a LoRA for Flux, SD 3 or another diffusion transformer",
		containing("lora_transformer_", "double_blocks", "single_blocks", "joint_blocks", "single_transformer_blocks", "transformer.transformer_blocks", "t5xxl")},
	{"a LoRA for SDXL", containing("lora_te2_", "text_encoder_2", "clip_g", "label_emb", "add_embedding", "transformer_blocks_1_", "transformer_blocks.1.")},
}

func starting(s string) func(string) bool {
	return func(key string) bool { return strings.HasPrefix(key, s) }
}

func containing(any ...string) func(string) bool {
	return func(key string) bool {
		for _, s := range any {
			if strings.Contains(key, s) {
				return true
			}
		}
		return false
	}
}

// recognise tells from its keys that a file is for another family, nil if nothing says so.
func recognise(path string, keys []string) error {
	for _, f := range families {
		for _, key := range keys {
			if f.match(key) {
				return &FamilyError{path, f.found, fmt.Sprintf("it holds %.200q", key), needLoRA}
			}
		}
	}
	return nil
}

// notAdapter explains a file without one tensor of an adapter.
func notAdapter(path string, keys []string) error {
	checkpoint, err := weights.Open(path, weights.Options{})
	if err == nil {
		defer checkpoint.Close()
		found, evidence := "a part of a Stable Diffusion 1.x checkpoint", "it holds the weights of a text encoder or a VAE"
		if checkpoint.Has(weights.KindUNet) {
			found, evidence = "a Stable Diffusion 1.x checkpoint", "it holds the weights of a UNet"
		}
		return &FamilyError{path, found, evidence, needModel}
	}
	if other, ok := errors.AsType[*weights.FamilyError](err); ok {
		return &FamilyError{path, other.Found, other.Evidence, needLoRA}
	}
	evidence := fmt.Sprintf("none of its %d tensors belongs to an adapter", len(keys))
	if len(keys) > 0 {
		evidence += fmt.Sprintf(", such as %.200q", keys[0])
	}
	return &FamilyError{path, "no LoRA", evidence, needLoRA}
}

// foreign explains an adapter of which no module exists in the model.
func foreign(path string, unmatched []string, metadata map[string]string) error {
	evidence := fmt.Sprintf("the model has none of its modules, such as %.200q", unmatched[0])
	for _, key := range []string{"ss_base_model_version", "modelspec.architecture"} {
		if v := metadata[key]; v != "" {
			evidence += fmt.Sprintf("; its %s is %.60q", key, v)
		}
	}
	return &FamilyError{path, "a LoRA for another model", evidence, needLoRA}
}

// widths are the widths of text embeddings, by which families differ that share their names.
var widths = map[int]string{1024: "a LoRA for SD 2.x", 1280: "a LoRA for the SDXL refiner", 2048: "a LoRA for SDXL"}

// misfit explains an adapter with modules that do not fit the model's weights; nil if it has none.
func misfit(a *Adapter) error {
	var misfits []*Module
	for i := range a.Modules {
		if m := &a.Modules[i]; !m.Complete() {
			misfits = append(misfits, m)
		}
	}
	if len(misfits) == 0 {
		return nil
	}
	found := "a LoRA for a model of other shapes"
	for _, m := range misfits {
		l, ok := m.Delta.(LowRank)
		attends := strings.HasSuffix(m.Name, ".attn2.to_k") || strings.HasSuffix(m.Name, ".attn2.to_v")
		if in := l.Down.Shape; ok && attends && len(in) >= 2 && widths[in[1]] != "" && in[1] != m.Shape[1] {
			found = widths[in[1]]
			break
		}
	}
	m := misfits[0]
	evidence := fmt.Sprintf("%d of %d modules do not fit, first %q: its %s", len(misfits), len(a.Modules), m.Name, m.shapes())
	return &FamilyError{a.Path, found, fmt.Sprintf("%s, the weight is %v", evidence, m.Shape), needLoRA}
}

// NonFiniteError names a factor with an element that is not a number, or infinite.
type NonFiniteError struct {
	Path  string // the file
	Key   string // the tensor in it
	Index int    // the first such element, row-major
}

// Error names file, tensor and element.
func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("lora: %s: tensor %q: element %d is NaN or infinite; the training went wrong or the file is damaged: use another version", e.Path, e.Key, e.Index)
}
