package lora

import (
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// part is the role of a tensor in its module, named as kohya's and LyCORIS' files do: module name + "." + part.
type part string

const (
	partDown      part = "lora_down.weight"
	partUp        part = "lora_up.weight"
	partMid       part = "lora_mid.weight"
	partUpBias    part = "lora_up.bias" // PEFT with lora_bias: up is a layer with a bias there
	partEmbedA    part = "lora_embedding_A"
	partEmbedB    part = "lora_embedding_B"
	partAlpha     part = "alpha"
	partScale     part = "scale"  // in place of alpha/rank
	partScalar    part = "scalar" // beside alpha/rank
	partMagnitude part = "dora_scale"
	partPeftNorm  part = "lora_magnitude_vector"
	partHada1A    part = "hada_w1_a"
	partHada1B    part = "hada_w1_b"
	partHada2A    part = "hada_w2_a"
	partHada2B    part = "hada_w2_b"
	partHadaT1    part = "hada_t1"
	partHadaT2    part = "hada_t2"
	partLokr1     part = "lokr_w1"
	partLokr1A    part = "lokr_w1_a"
	partLokr1B    part = "lokr_w1_b"
	partLokr2     part = "lokr_w2"
	partLokr2A    part = "lokr_w2_a"
	partLokr2B    part = "lokr_w2_b"
	partLokrT2    part = "lokr_t2"
	partGloraA1   part = "a1.weight"
	partGloraA2   part = "a2.weight"
	partGloraB1   part = "b1.weight"
	partGloraB2   part = "b2.weight"
	partGloraMid  part = "bm.weight"
	partOftBlocks part = "oft_blocks"
	partOftDiag   part = "oft_diag"
	partRescale   part = "rescale"
	partPeftOFT   part = "oft_R"
	partPeftIA3   part = "ia3_l"
	partOnInput   part = "on_input"
	partDiff      part = "diff"
	partDiffBias  part = "diff_b"
	partNormDiff  part = "w_norm"
	partNormBias  part = "b_norm"
	partSetWeight part = "set_weight"
	partWeight    part = "weight" // IA3's factors beside on_input, else the parameter itself
	partBias      part = "bias"   // the parameter itself
)

// endings are the ends of an adapter's keys, in every spelling, with the part they mark. Those of whole words come first.
var endings = func() (all []ending) {
	all = []ending{
		{".lora_A.weight", partDown}, {".lora_B.weight", partUp}, {".lora_A", partDown}, {".lora_B", partUp}, {".lora_B.bias", partUpBias}, // PEFT, diffusers since 2023
		{".lora.down.weight", partDown}, {".lora.up.weight", partUp}, {".lora.alpha", partAlpha}, // diffusers before
		{".lora_linear_layer.down.weight", partDown}, {".lora_linear_layer.up.weight", partUp}, {".lora_linear_layer.alpha", partAlpha},
		{"_lora.down.weight", partDown}, {"_lora.up.weight", partUp}, {"_lora.alpha", partAlpha}, // diffusers' attention processors
		{".lora_magnitude_vector.weight", partPeftNorm}, {".oft_R.weight", partPeftOFT},
	}
	for _, p := range []part{ // kohya, ComfyUI, OneTrainer, LyCORIS
		partDown, partUp, partMid, partUpBias, partEmbedA, partEmbedB, partAlpha, partScale, partScalar, partMagnitude, partPeftNorm, partHada1A, partHada1B, partHada2A, partHada2B, partHadaT1, partHadaT2,
		partLokr1, partLokr1A, partLokr1B, partLokr2, partLokr2A, partLokr2B, partLokrT2, partGloraA1, partGloraA2, partGloraB1, partGloraB2, partGloraMid, partOftBlocks, partOftDiag, partRescale,
		partPeftOFT, partPeftIA3, partOnInput, partDiff, partDiffBias, partNormDiff, partNormBias, partSetWeight,
	} {
		all = append(all, ending{"." + string(p), p})
	}
	return all
}()

type ending struct {
	end  string
	part part
}

// isSign reports whether a part makes the file that has it an adapter: those that are only numbers may be of anything.
func (p part) isSign() bool { return p != partAlpha && p != partScale && p != partScalar }

// peftName is the name of an adapter that PEFT puts into keys when the model's state is saved rather than the adapter's:
// "default", "default_0" or what the user called it.
var peftName = regexp.MustCompile(`(\.(?:lora_(?:[AB]|embedding_[AB]|magnitude_vector)|hada_\w+|lokr_\w+|ia3_l|oft_R))\.([^.]+)(\.weight|\.bias)?$`)

// withoutPEFTName takes the adapter's name out of a key.
func withoutPEFTName(key string) string {
	m := peftName.FindStringSubmatchIndex(key)
	if m == nil {
		return key
	}
	if name := key[m[4]:m[5]]; m[6] < 0 && (name == "weight" || name == "bias") {
		return key
	}
	return key[:m[3]] + key[m[5]:]
}

// start is what stands before a module's name, flattened, and the network that it tells, "" for none.
type start struct {
	text string
	kind weights.Kind
}

// starts are all starts. Several may stand before a name, one after another.
var starts = []start{
	{"lora_unet_", weights.KindUNet}, {"unet_", weights.KindUNet}, {"oft_unet_", weights.KindUNet},
	{"diffusion_model_", weights.KindUNet}, {"model_diffusion_model_", weights.KindUNet}, // ComfyUI
	{"lora_te_", weights.KindTextEncoder}, {"lora_te1_", weights.KindTextEncoder}, {"oft_te_", weights.KindTextEncoder},
	{"text_encoder_", weights.KindTextEncoder}, {"te_", weights.KindTextEncoder}, {"te1_", weights.KindTextEncoder},
	{"text_encoders_clip_l_", weights.KindTextEncoder}, {"clip_l_", weights.KindTextEncoder}, // ComfyUI, OneTrainer
	{"cond_stage_model_", weights.KindTextEncoder}, {"transformer_", weights.KindTextEncoder},
	{"base_model_model_", ""}, {"lycoris_", ""}, {"module_", ""}, {"_orig_mod_", ""}, // PEFT, LyCORIS, PyTorch's wrappers
}

// peftStart stands before everything else in files that PEFT wrote itself.
const peftStart = "base_model.model."

// splitKey takes the part off the end of a key; ok is false for keys of no adapter.
func splitKey(key string) (module string, p part, ok bool) {
	key = withoutPEFTName(key)
	for _, e := range endings {
		if module, ok = strings.CutSuffix(key, e.end); ok {
			return module, e.part, true
		}
	}
	return key, "", false
}

// splitParam takes the part off the end of a key that names a parameter of the model, as files have it that bring some
// trained whole, and IA3's.
func splitParam(key string) (module string, p part, ok bool) {
	for _, p := range []part{partWeight, partBias} {
		if module, ok = strings.CutSuffix(key, "."+string(p)); ok {
			return strings.TrimSuffix(module, ".base_layer"), p, true
		}
	}
	return key, "", false
}

// resolve finds the layer of the model that a module of a file is meant for.
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

// otherKinds are the adapters this package does not apply, by words that stand between the dots of their keys.
var otherKinds = []struct{ kind, words string }{
	{"LoKr of an early version", "lokr_t1"},
	{"PEFT's BOFT", "boft_R boft_s"},
	{"sparse biases", "bias_indices bias_values bias_size"},
	{"parameters trained whole", "modules_to_save original_module trainable_tokens_delta"},
	{"AdaLoRA", "lora_E ranknum"},
	{"VeRA", "vera_lambda_b vera_lambda_d"},
	{"T-LoRA", "lambda_layer"}, // which differs at each step
}

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
	for word := range strings.SplitSeq(key, ".") {
		if kind := kinds[word]; kind != "" {
			return kind
		}
	}
	return ""
}
