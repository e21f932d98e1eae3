package lora_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// TestOpenErrors opens what is no adapter for the model. Every error names the file and says what to do.
func TestOpenErrors(t *testing.T) {
	targets := loratest.SD15Targets(t)
	zero := func(name string, shape ...int) weights.Tensor {
		return loratest.Tensor(name, lora.Factor{Shape: shape, Data: make([]float32, compute.Shape(shape).Elements())})
	}
	// pair is a whole module with these widths.
	pair := func(module string, in, out int) []weights.Tensor {
		return []weights.Tensor{zero(module+".lora_down.weight", 2, in), zero(module+".lora_up.weight", out, 2)}
	}
	const q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" // [320,320]
	const k = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k" // [320,768]
	const conv = "lora_unet_down_blocks_0_resnets_0_conv1"                           // [320,320,3,3]
	with := func(more ...weights.Tensor) []weights.Tensor { return append(pair(q, 320, 320), more...) }
	bad := zero(k+".lora_down.weight", 2, 768)
	copy(bad.Data[4*5:], loratest.Tensor("", lora.Factor{Data: []float32{float32(math.NaN())}}).Data)
	infinite := weights.Tensor{Name: q + ".alpha", DType: weights.F16, Data: []byte{0x00, 0x7C}}
	huge := weights.Tensor{Name: q + ".alpha", DType: weights.F64, Data: []byte{0, 0, 0, 0, 0, 0, 0xF0, 0x7E}} // beyond float32
	for _, c := range []struct {
		name     string
		tensors  []weights.Tensor
		metadata map[string]string
		found    string // of a *FamilyError
		kind     string // of a *KindError
		say      string
	}{
		{name: "full checkpoint, LDM", tensors: []weights.Tensor{zero("model.diffusion_model.input_blocks.0.0.weight", 320, 4, 3, 3), zero("first_stage_model.quant_conv.weight", 8, 8, 1, 1)},
			found: "a Stable Diffusion 1.x checkpoint", say: "give it as the model"},
		{name: "VAE", tensors: []weights.Tensor{zero("decoder.conv_in.weight", 512, 4, 3, 3)}, found: "a part of a Stable Diffusion 1.x checkpoint", say: "give it as the model"},
		{name: "SDXL checkpoint", tensors: []weights.Tensor{zero("conditioner.embedders.1.model.ln_final.weight", 1280)}, found: "an SDXL checkpoint", say: "conditioner"},
		{name: "embedding", tensors: []weights.Tensor{zero("emb_params", 4, 768)}, found: "a textual inversion embedding", say: "emb_params"},
		{name: "something else", tensors: []weights.Tensor{zero("blocks.0.weight", 3)}, found: "no LoRA", say: "blocks.0.weight"},
		{name: "empty", found: "no LoRA", say: "none of its 0 tensors"},
		{name: "alphas only", tensors: []weights.Tensor{zero("lora_unet_x.alpha")}, found: "no LoRA", say: "lora_unet_x.alpha"},

		{name: "SDXL, second text encoder", tensors: with(pair("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120)...), found: "a LoRA for SDXL", say: "lora_te2_"},
		{name: "SDXL, PEFT", tensors: []weights.Tensor{zero("text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", 2, 1280)}, found: "a LoRA for SDXL", say: "text_encoder_2"},
		{name: "SDXL, deep transformers", tensors: with(pair("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640, 640)...), found: "a LoRA for SDXL", say: "transformer_blocks_1_"},
		{name: "SDXL by width", tensors: pair(k, 2048, 320), found: "a LoRA for SDXL", say: "attn2.to_k"},
		{name: "SD 2 by width", tensors: append(pair(q, 320, 320), pair(k, 1024, 320)...), found: "a LoRA for SD 2.x", say: "1 of 2 modules"},
		{name: "SDXL, ComfyUI", tensors: with(pair("text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1", 1280, 5120)...), found: "a LoRA for SDXL", say: "clip_g"},
		{name: "Flux", tensors: pair("lora_unet_double_blocks_0_img_attn_qkv", 8, 8), found: "a LoRA for Flux, SD 3 or another diffusion transformer", say: "double_blocks"},
		{name: "SD 3", tensors: pair("transformer.transformer_blocks.0.attn.to_q", 8, 8), found: "a LoRA for Flux, SD 3 or another diffusion transformer", say: "to_q"},
		{name: "Control-LoRA", tensors: []weights.Tensor{zero("lora_controlnet")}, found: "a Control-LoRA", say: "lora_controlnet"},
		{name: "motion", tensors: pair("down_blocks.0.motion_modules.0.temporal_transformer.proj_in", 8, 8), found: "an AnimateDiff motion LoRA", say: "motion_modules"},
		{name: "nothing matches", tensors: pair("lora_unet_layers_0_wq", 8, 8), metadata: map[string]string{"ss_base_model_version": "lumina2"},
			found: "a LoRA for another model", say: `ss_base_model_version is "lumina2"`},

		{name: "LoHa of one tensor", tensors: []weights.Tensor{zero(q+".hada_w1_a", 320, 2)}, say: "has no hada_w1_b"},
		{name: "LoKr of one side", tensors: []weights.Tensor{zero(q + ".alpha"), zero(q+".lokr_w1", 2, 2)}, say: "has no lokr_w1 or lokr_w2"},
		{name: "LoHa of another weight", tensors: []weights.Tensor{zero(q+".hada_w1_a", 321, 2), zero(q+".hada_w1_b", 2, 160), zero(q+".hada_w2_a", 321, 2), zero(q+".hada_w2_b", 2, 160)},
			found: "a LoRA for a model of other shapes", say: "factors are [321 2]·[2 160], and [321 2]·[2 160]"},
		{name: "LoKr of another weight", tensors: []weights.Tensor{zero(q+".lokr_w1", 2, 2), zero(q+".lokr_w2", 160, 80)}, found: "a LoRA for a model of other shapes", say: "sides are [2 2] and [160 80]"},
		{name: "DoRA of another weight", tensors: with(zero(q+".dora_scale", 319, 1)), found: "a LoRA for a model of other shapes", say: "319 magnitudes"},
		{name: "DoRA alone", tensors: []weights.Tensor{zero("unet.conv_in.lora_magnitude_vector", 320)}, say: "has no lora_down.weight"},
		{name: "OFT of nothing", tensors: []weights.Tensor{zero("oft_unet_x.oft_blocks", 2, 2, 2)}, found: "a LoRA for another model", say: "oft_unet_x"},
		{name: "OFT of another weight", tensors: []weights.Tensor{zero(q+".oft_blocks", 4, 81, 81)}, found: "a LoRA for a model of other shapes", say: "rotations are [4 81 81]"},
		{name: "OFT, PEFT, of no triangle", tensors: []weights.Tensor{zero("base_model.model.conv_in.oft_R.weight", 2, 29)}, say: "no part of square blocks"},
		{name: "OFT, PEFT, of another weight", tensors: []weights.Tensor{zero("base_model.model.conv_in.oft_R.weight", 2, 28)}, found: "a LoRA for a model of other shapes", say: "conv_in"},
		{name: "OFT, early PEFT", tensors: []weights.Tensor{zero("base_model.model.conv_out.oft_R.weight", 2, 4, 4)}, say: "before PEFT"},
		{name: "IA3 without numbers", tensors: []weights.Tensor{zero(q + ".on_input")}, say: "has no weight"},
		{name: "IA3 of another weight", tensors: []weights.Tensor{zero(q+".weight", 321), zero(q + ".on_input")}, found: "a LoRA for a model of other shapes", say: "factors are 321"},
		{name: "IA3 on two sides", tensors: []weights.Tensor{zero(q+".weight", 320), zero(q+".on_input", 2)}, say: "want a single number"},
		{name: "GLoRA of one tensor", tensors: []weights.Tensor{zero(q+".a1.weight", 2, 2)}, say: "has no a2.weight"},
		{name: "difference of another weight", tensors: with(zero("diffusion_model.out.0.diff_b", 321)), found: "a LoRA for a model of other shapes", say: "difference is [321]"},
		{name: "bias without factors", tensors: with(zero("unet.conv_in.lora_B.bias", 320)), say: "has no lora_down.weight"},
		{name: "bias without factors, with a name", tensors: with(zero("unet.conv_in.lora_B.style.bias", 320)), say: "lora_B.style.bias"},
		{name: "scalars of two", tensors: with(zero(q+".scalar", 2)), say: "want a single number"},
		{name: "PEFT, embedding of one factor", tensors: with(zero("base_model.model.embeddings.token_embedding.lora_embedding_A", 4, 49408)), say: "has no lora_embedding_B"},
		{name: "PEFT, embedding of another width", tensors: with(zero("base_model.model.embeddings.token_embedding.lora_embedding_A.style", 4, 49408), zero("base_model.model.embeddings.token_embedding.lora_embedding_B.style", 769, 4)),
			found: "a LoRA for a model of other shapes", say: "token_embedding"},
		{name: "PEFT, bias of another width", tensors: with(zero("base_model.model.conv_in.bias", 321)), found: "a LoRA for a model of other shapes", say: "replacement is [321]"},
		{name: "PEFT, embedding trained whole", tensors: with(zero("text_encoder.text_model.embeddings.token_embedding.weight", 1, 1)), found: "a LoRA for a model of other shapes", say: "replacement is [1 1]"},

		{name: "PEFT, modules_to_save with its name", tensors: with(zero("base_model.model.conv_out.modules_to_save.default.weight", 4, 320, 3, 3)), kind: "parameters trained whole", say: "conv_out.modules_to_save"},
		{name: "PEFT, tokens", tensors: with(zero("base_model.model.embeddings.token_embedding.trainable_tokens_delta", 1, 768)), kind: "parameters trained whole", say: "trainable_tokens_delta"},
		{name: "sparse biases", tensors: with(zero(q+".bias_indices", 1)), kind: "sparse biases", say: "bias_indices"},
		{name: "BOFT, PEFT", tensors: []weights.Tensor{zero("base_model.model.conv_in.boft_R", 1, 2, 4, 4)}, kind: "PEFT's BOFT", say: "boft_R"},

		{name: "no up", tensors: with(zero(k+".lora_down.weight", 2, 768)), say: "has no lora_up.weight"},
		{name: "no down", tensors: with(zero(k+".lora_up.weight", 320, 2)), say: "has no lora_down.weight"},
		{name: "alpha alone", tensors: with(zero(k + ".alpha")), say: "has no lora_down.weight"},
		{name: "twice", tensors: with(zero("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", 2, 320)), say: "both"},
		{name: "NaN", tensors: with(bad, zero(k+".lora_up.weight", 320, 2)), say: "element 5 is NaN or infinite"},
		{name: "infinite alpha", tensors: with(infinite), say: "element 0 is NaN or infinite"},
		{name: "huge alpha", tensors: with(huge), say: "element 0 is NaN or infinite"},
		{name: "two alphas", tensors: with(zero(q+".alpha", 2)), say: "want a single number"},
		{name: "booleans", tensors: with(weights.Tensor{Name: q + ".alpha", DType: weights.Bool, Data: []byte{1}}), say: "is BOOL; adapters are F32"},
		{name: "rank 0", tensors: []weights.Tensor{zero(q+".lora_down.weight", 0, 320), zero(q+".lora_up.weight", 320, 0)}, say: "has no rank"},
		{name: "scalars", tensors: []weights.Tensor{zero(q + ".lora_down.weight"), zero(q + ".lora_up.weight")}, say: "has no rank"},
		{name: "ranks differ", tensors: []weights.Tensor{zero(q+".lora_down.weight", 2, 320), zero(q+".lora_up.weight", 320, 3)}, found: "a LoRA for a model of other shapes", say: "[320 3]·[2 320], the weight is [320 320]"},
		{name: "transposed", tensors: []weights.Tensor{zero(q+".lora_down.weight", 320, 2), zero(q+".lora_up.weight", 2, 320)}, found: "a LoRA for a model of other shapes", say: "attn1.to_q"},
		{name: "vectors", tensors: []weights.Tensor{zero(q+".lora_down.weight", 2), zero(q+".lora_up.weight", 320)}, found: "a LoRA for a model of other shapes", say: "attn1.to_q"},
		{name: "kernel of another size", tensors: []weights.Tensor{zero(conv+".lora_down.weight", 2, 320, 1, 1), zero(conv+".lora_up.weight", 320, 2, 1, 1)},
			found: "a LoRA for a model of other shapes", say: "resnets.0.conv1"},
		{name: "axes exchanged", tensors: []weights.Tensor{zero(conv+".lora_down.weight", 2, 3, 3, 320), zero(conv+".lora_up.weight", 320, 2, 1, 1)},
			found: "a LoRA for a model of other shapes", say: "resnets.0.conv1"},
		{name: "mid of another size", tensors: []weights.Tensor{zero(conv+".lora_down.weight", 2, 320, 1, 1), zero(conv+".lora_mid.weight", 2, 2, 5, 5), zero(conv+".lora_up.weight", 320, 2, 1, 1)},
			found: "a LoRA for a model of other shapes", say: "with mid [2 2 5 5]"},
		{name: "mid of a linear layer", tensors: with(zero(q+".lora_mid.weight", 2, 2, 1, 1)), found: "a LoRA for a model of other shapes", say: "with mid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := loratest.Write(t, c.tensors, c.metadata)
			_, err := lora.Open(path, targets)
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), path) {
				t.Fatalf("the error is %v\nwant the file and %q in it", err, c.say)
			}
			family, isFamily := errors.AsType[*lora.FamilyError](err)
			if isFamily != (c.found != "") || isFamily && family.Found != c.found {
				t.Errorf("the error is %v\nwant found %q", err, c.found)
			}
			kind, isKind := errors.AsType[*lora.KindError](err)
			if isKind != (c.kind != "") || isKind && (kind.Kind != c.kind || !errors.Is(err, errors.ErrUnsupported)) {
				t.Errorf("the error is %v\nwant kind %q", err, c.kind)
			}
			if _, ok := errors.AsType[*lora.NonFiniteError](err); ok != strings.Contains(c.say, "NaN") {
				t.Errorf("the error is %T", err)
			}
		})
	}
}

// TestOpenFiles opens what is no safetensors file.
func TestOpenFiles(t *testing.T) {
	targets := loratest.TinyTargets(t)
	whole, err := os.ReadFile(kohyaFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		say  string
	}{
		{"empty", nil, "not a safetensors file"},
		{"truncated", whole[:len(whole)-2], "truncated"},
		{"header only", whole[:1000], "truncated"},
		{"a pickle", append([]byte("PK\x03\x04"), whole[:1000]...), "not a sound PyTorch file"},
		{"a web page", append([]byte("<html>"), bytes.Repeat([]byte(" "), 1000)...), "a web page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.safetensors")
			if err := os.WriteFile(path, c.data, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := lora.Open(path, targets)
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error is %v\nwant the file and %q in it", err, c.say)
			}
		})
	}
	if _, err := lora.Open(filepath.Join(t.TempDir(), "nowhere.safetensors"), targets); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
