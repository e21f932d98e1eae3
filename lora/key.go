package lora

import (
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// part is the role of a tensor in its module.
type part int

const (
	down part = iota
	up
	mid
	alpha
	parts int = iota
)

// String is the part's name in kohya's files, where each part is module name + "." + this.
func (p part) String() string {
	return [...]string{"lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"}[p]
}

// endings are the ends of an adapter's keys, in every spelling, with the part they mark. Those of whole words come first.
var endings = []struct {
	end  string
	part part
}{
	{".lora_down.weight", down}, {".lora_up.weight", up}, {".lora_mid.weight", mid}, // kohya, ComfyUI, OneTrainer, LyCORIS
	{".lora_A.weight", down}, {".lora_B.weight", up}, {".lora_A", down}, {".lora_B", up}, // PEFT, diffusers since 2023
	{".lora.down.weight", down}, {".lora.up.weight", up}, {".lora.alpha", alpha}, // diffusers before
	{".lora_linear_layer.down.weight", down}, {".lora_linear_layer.up.weight", up}, {".lora_linear_layer.alpha", alpha},
	{"_lora.down.weight", down}, {"_lora.up.weight", up}, {"_lora.alpha", alpha}, // diffusers' attention processors
	{".alpha", alpha},
}

// peftName is the name of an adapter that PEFT puts into keys when the model's state is saved rather than the adapter's:
// "default", "default_0" or what the user called it.
var peftName = regexp.MustCompile(`(\.lora_[AB])\.[^.]+(\.weight)$`)

// start is what stands before a module's name, flattened, and the network that it tells, "" for none.
type start struct {
	text string
	kind weights.Kind
}

// starts are all starts. Several may stand before a name, one after another.
var starts = []start{
	{"lora_unet_", weights.KindUNet}, {"unet_", weights.KindUNet},
	{"diffusion_model_", weights.KindUNet}, {"model_diffusion_model_", weights.KindUNet}, // ComfyUI
	{"lora_te_", weights.KindTextEncoder}, {"lora_te1_", weights.KindTextEncoder},
	{"text_encoder_", weights.KindTextEncoder}, {"te_", weights.KindTextEncoder}, {"te1_", weights.KindTextEncoder},
	{"text_encoders_clip_l_", weights.KindTextEncoder}, {"clip_l_", weights.KindTextEncoder}, // ComfyUI, OneTrainer
	{"cond_stage_model_", weights.KindTextEncoder}, {"transformer_", weights.KindTextEncoder},
	{"base_model_model_", ""}, {"lycoris_", ""}, {"module_", ""}, {"_orig_mod_", ""}, // PEFT, LyCORIS, PyTorch's wrappers
}

// peftStart stands before everything else in files that PEFT wrote itself.
const peftStart = "base_model.model."

// splitKey takes the part off the end of a key; ok is false for keys of no adapter.
func splitKey(key string) (module string, p part, ok bool) {
	key = peftName.ReplaceAllString(key, "$1$2")
	for _, e := range endings {
		if module, ok = strings.CutSuffix(key, e.end); ok {
			return module, e.part, true
		}
	}
	return key, 0, false
}

// resolve finds the module of the model that a module of a file is meant for: its target, or noTarget.
func (t *Targets) resolve(module string) (i int, ok bool) {
	name, kinds := flatten(module), []weights.Kind{weights.KindUNet, weights.KindTextEncoder}
	for {
		if i, ok := t.find(name, kinds...); ok {
			return i, true
		}
		at := slices.IndexFunc(starts, func(s start) bool { return strings.HasPrefix(name, s.text) })
		if at < 0 {
			return 0, false
		}
		name = strings.TrimPrefix(name, starts[at].text)
		if starts[at].kind != "" {
			kinds = []weights.Kind{starts[at].kind}
		}
	}
}

// isParam reports whether a key names a parameter of the model, rather than a part of an adapter.
func (t *Targets) isParam(key string) bool {
	module, ok := strings.CutSuffix(key, ".weight")
	if !ok {
		module, ok = strings.CutSuffix(key, ".bias")
	}
	if ok {
		_, ok = t.resolve(module)
	}
	return ok
}

// otherKinds are the adapters this package does not apply, by words that stand between the dots of their keys.
var otherKinds = []struct{ kind, words string }{
	{"LoHa", "hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2"},
	{"LoKr", "lokr_w1 lokr_w2 lokr_w1_a lokr_w1_b lokr_w2_a lokr_w2_b lokr_t1 lokr_t2"},
	{"DoRA", "dora_scale lora_magnitude_vector"},
	{"OFT", "oft_blocks oft_diag oft_R boft_R boft_s rescale"},
	{"GLoRA", "a1 a2 b1 b2"},
	{"IA3", "on_input ia3_l"},
	{"full differences", "diff diff_b w_norm b_norm set_weight"},
	{"sparse biases", "bias_indices bias_values bias_size"},
	{"LoRA of an embedding", "lora_embedding_A lora_embedding_B"},
	{wholeParameters, "base_layer modules_to_save original_module trainable_tokens_delta"},
	{"AdaLoRA", "lora_E ranknum"},
	{"VeRA", "vera_lambda_b vera_lambda_d"},
	{"LoRA with a scale of its own", "scalar scale"},
}

// wholeParameters is the kind of files with trained parameters of the model beside the adapter's: PEFT's with bias or
// modules_to_save.
const wholeParameters = "parameters trained whole"

// kinds has otherKinds by word.
var kinds = func() map[string]string {
	all := make(map[string]string)
	for _, k := range otherKinds {
		for word := range strings.FieldsSeq(k.words) {
			all[word] = k.kind
		}
	}
	return all
}()

// otherKind names the unsupported kind of adapter that a key belongs to, "" if none.
func otherKind(key string) string {
	isLoRA := false
	for word := range strings.SplitSeq(key, ".") {
		if kind := kinds[word]; kind != "" {
			return kind
		}
		isLoRA = isLoRA || strings.HasPrefix(word, "lora") || strings.HasSuffix(word, "_lora")
		if word == "bias" && isLoRA {
			return "LoRA with biases"
		}
	}
	return ""
}
