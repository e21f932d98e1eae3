package lora

import (
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

// endings are the ends of an adapter's keys, in every spelling, with the part they mark.
var endings = []struct {
	end  string
	part part
}{
	{".lora_down.weight", down}, {".lora_up.weight", up}, {".lora_mid.weight", mid}, {".alpha", alpha}, // kohya
	{".lora_A.weight", down}, {".lora_B.weight", up}, // PEFT, diffusers since 2023
	{".lora_A.default.weight", down}, {".lora_B.default.weight", up},
	{".lora.down.weight", down}, {".lora.up.weight", up}, // diffusers before
	{".lora_linear_layer.down.weight", down}, {".lora_linear_layer.up.weight", up},
	{"_lora.down.weight", down}, {"_lora.up.weight", up}, // diffusers' attention processors
}

// starts are what stands before a module's name, with the network it belongs to.
var starts = []struct {
	start string
	kind  weights.Kind
}{
	{"lora_unet_", weights.KindUNet}, {"unet.", weights.KindUNet}, {"diffusion_model.", weights.KindUNet},
	{"lora_te_", weights.KindTextEncoder}, {"lora_te1_", weights.KindTextEncoder},
	{"text_encoder.", weights.KindTextEncoder}, {"te.", weights.KindTextEncoder},
}

// peftStart stands before everything else in files that PEFT wrote itself.
const peftStart = "base_model.model."

// splitKey takes the part off the end of a key; ok is false for keys of no adapter.
func splitKey(key string) (module string, p part, ok bool) {
	for _, e := range endings {
		if module, ok = strings.CutSuffix(key, e.end); ok {
			return module, e.part, true
		}
	}
	return key, 0, false
}

// resolve finds the target that a module of a file is meant for.
func (t *Targets) resolve(module string) (i int, ok bool) {
	module = strings.TrimPrefix(module, peftStart)
	for _, s := range starts {
		if name, ok := strings.CutPrefix(module, s.start); ok {
			return t.find(name, s.kind)
		}
	}
	return t.find(strings.TrimPrefix(module, "lycoris_"), weights.KindUNet, weights.KindTextEncoder)
}

// otherKinds are the adapters this package does not apply, by the ends of their keys.
var otherKinds = []struct {
	kind string
	ends []string
}{
	{"LoHa", []string{".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2"}},
	{"LoKr", []string{".lokr_w1", ".lokr_w2", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t1", ".lokr_t2"}},
	{"DoRA", []string{".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".lora_magnitude_vector.default.weight"}},
	{"OFT", []string{".oft_blocks", ".oft_diag", ".oft_R.weight"}},
	{"GLoRA", []string{".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"}},
	{"IA3", []string{".on_input"}},
	{"full differences", []string{".diff", ".diff_b", ".w_norm", ".b_norm", ".set_weight"}},
	{"sparse biases", []string{".bias_indices", ".bias_values", ".bias_size"}},
	{"LoRA with biases", []string{".lora_up.bias", ".lora_down.bias", ".lora_A.bias", ".lora_B.bias", ".lora.up.bias", ".lora.down.bias"}},
}

// otherKind names the unsupported kind of adapter that a key belongs to, "" if none.
func otherKind(key string) string {
	for _, k := range otherKinds {
		for _, end := range k.ends {
			if strings.HasSuffix(key, end) {
				return k.kind
			}
		}
	}
	return ""
}
