package weights

import (
	"fmt"
	"strings"
)

// FamilyError refuses a file that is sound but is not what was asked for: an adapter, or a checkpoint
// of another model family.
type FamilyError struct {
	Path     string // the file or folder
	Found    string // what it is: "a LoRA", "an SDXL checkpoint", …
	Evidence string // the tensor (or field) that says so
	Mend     string // what to do instead
}

// Error names the file, what it is, how that was seen, and what to do.
func (e *FamilyError) Error() string {
	return fmt.Sprintf("weights: %s: %s (%s), where a Stable Diffusion 1.x model is expected; %s", e.Path, e.Found, e.Evidence, e.Mend)
}

const (
	needSD15  = "give a Stable Diffusion 1.4 or 1.5 checkpoint or a fine-tune of one"
	needLoRA  = "load it beside a Stable Diffusion 1.5 checkpoint: <lora:NAME:1> in the prompt"
	needPlain = "give the plain text-to-image version of the model"
)

// family is one row of the recognition table.
type family struct {
	found, mend string
	match       func(key string) bool
}

func prefixed(any ...string) func(string) bool {
	return func(key string) bool {
		for _, p := range any {
			if strings.HasPrefix(key, p) {
				return true
			}
		}
		return false
	}
}

func containing(any ...string) func(string) bool {
	return func(key string) bool {
		for _, p := range any {
			if strings.Contains(key, p) {
				return true
			}
		}
		return false
	}
}

// families are recognised by a key alone, the first row that matches any key deciding. Rows that need no
// mend of their own share needSD15.
var families = []family{
	{"a Control-LoRA", needSD15, prefixed("lora_controlnet")},
	{"a LoRA", needLoRA, containing(".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.", "_lora.down.", "_lora.up.",
		".lora_linear_layer.", ".hada_w1_a", ".lokr_w1", ".dora_scale")},
	{"an fp8 file with separate scales", "convert it to plain fp16, or use the model's fp16 download", func(key string) bool {
		return key == "scaled_fp8" || strings.HasSuffix(key, ".scaled_fp8") || strings.HasSuffix(key, ".scale_weight") || strings.HasSuffix(key, ".weight_scale")
	}},
	{"an AnimateDiff motion model", needSD15, containing("motion_modules.", "temporal_transformer.")},
	{"an IP-Adapter", needSD15, prefixed("image_proj.", "ip_adapter.")},
	{"a T2I-Adapter", needSD15, prefixed("adapter.body.", "body.0.block1.")},
	{"an SD 3 or Flux checkpoint", needSD15, containing("joint_blocks.", "double_blocks.", "single_transformer_blocks.", ".attn.add_k_proj.")},
	{"an SDXL checkpoint", needSD15, func(key string) bool {
		return strings.HasPrefix(key, "conditioner.embedders.1.") || strings.HasPrefix(key, "conditioner.embedders.0.model.") ||
			strings.HasPrefix(key, "text_encoder_2.") || strings.Contains(key, "add_embedding.") || strings.Contains(key, "label_emb.") ||
			strings.Contains(key, ".transformer_blocks.1.")
	}},
	{"an SD 2.x checkpoint", needSD15, prefixed("cond_stage_model.model.")},
	{"a TAESD tiny autoencoder", "give a full VAE (248 tensors, such as sd-vae-ft-mse); TAESD only makes previews", func(key string) bool {
		return strings.HasPrefix(key, "taesd_") || strings.HasPrefix(key, "decoder.layers.") ||
			strings.HasPrefix(key, "encoder.layers.") && (strings.Contains(key, ".conv.") || strings.Count(key, ".") == 3)
	}},
}

// recognise returns why a set of keys is not Stable Diffusion 1.x, nil if nothing speaks against it.
// info looks a tensor up by key.
func recognise(path string, keys []string, info func(string) Tensor) *FamilyError {
	refuse := func(f family, key string) *FamilyError {
		return &FamilyError{path, f.found, fmt.Sprintf("it holds %q", key), f.mend}
	}
	for _, f := range families {
		for _, key := range keys {
			if f.match(key) {
				return refuse(f, key)
			}
		}
	}
	hasUNet := false // a ControlNet merged into a whole checkpoint is just left out
	for _, key := range keys {
		hasUNet = hasUNet || strings.HasPrefix(key, "model.diffusion_model.input_blocks.0.")
	}
	controlNet := prefixed("control_model.", "zero_convs.0.", "controlnet_down_blocks.0.", "controlnet_cond_embedding.", "input_hint_block.0.")
	for _, key := range keys {
		if !hasUNet && controlNet(key) {
			return refuse(family{"a ControlNet", needSD15, nil}, key)
		}
	}
	return recogniseSmall(path, keys, info)
}

// recogniseSmall knows the files of a few tensors: textual inversions and the bare TAESD halves.
func recogniseSmall(path string, keys []string, info func(string) Tensor) *FamilyError {
	const mend = "put it into the embeddings folder and its name into the prompt, beside a Stable Diffusion 1.5 checkpoint"
	for _, key := range keys {
		t := info(key)
		switch {
		case key == "emb_params" || key == "string_to_param" || strings.HasPrefix(key, "string_to_param."),
			(key == "clip_l" || key == "clip_g") && len(keys) <= 2,
			len(keys) == 1 && len(t.Shape) <= 2 && isEmbeddingWidth(t.Shape.Last()):
			return &FamilyError{path, "a textual inversion embedding", fmt.Sprintf("it holds %q %s%v", key, t.DType, t.Shape), mend}
		case (key == "0.weight" || key == "1.weight") && len(t.Shape) == 4 && t.Shape[0] == 64:
			return &FamilyError{path, "a TAESD tiny autoencoder", fmt.Sprintf("it holds %q", key), "give a full VAE; TAESD only makes previews"}
		}
	}
	return nil
}

func isEmbeddingWidth(n int) bool { return n == 768 || n == 1024 || n == 1280 }

// recogniseShapes applies the tests that need diffusers names: the families that share all of Stable
// Diffusion's keys and differ in widths or depth.
func recogniseShapes(c *Component) *FamilyError {
	refuse := func(found, name, mend string) *FamilyError {
		return &FamilyError{c.path, found, fmt.Sprintf("%q is %v", name, c.params[name].shape()), mend}
	}
	dim := func(name string, axis int) int {
		if p, ok := c.params[name]; ok && axis < len(p.shape()) {
			return p.shape()[axis]
		}
		return 0
	}
	switch c.kind {
	case KindUNet:
		switch dim("conv_in.weight", 1) {
		case 0, 4, 9: // 9 in checkpoints made for inpainting: the mask and the latents of what it leaves, too
		case 8:
			return refuse("an InstructPix2Pix checkpoint", "conv_in.weight", needPlain)
		case 5:
			return refuse("an SD 2 depth checkpoint", "conv_in.weight", needSD15)
		default:
			return refuse("a UNet for another kind of input", "conv_in.weight", needSD15)
		}
		middle, second := false, false
		for name := range c.params {
			middle = middle || strings.HasPrefix(name, "mid_block.attentions.0.")
			second = second || strings.HasPrefix(name, "down_blocks.0.resnets.1.")
			if strings.HasSuffix(name, ".attn2.to_k.weight") {
				switch dim(name, 1) {
				case 1024:
					return refuse("an SD 2.x UNet", name, needSD15)
				case 1280, 2048:
					return refuse("an SDXL UNet", name, needSD15)
				}
			}
		}
		const distilled = "a distilled small UNet (BK-SDM or its like)"
		switch _, begun := c.params["down_blocks.0.resnets.0.conv1.weight"]; {
		case begun && !middle:
			return &FamilyError{c.path, distilled, "it lacks mid_block.attentions.0", needSD15}
		case begun && !second && c.config == nil: // a configuration may ask for one layer per block
			return &FamilyError{c.path, distilled, "it lacks down_blocks.0.resnets.1", needSD15}
		}
	case KindVAE:
		if n := dim("decoder.conv_in.weight", 1); n != 0 && n != 4 {
			return refuse("a VAE of another model family", "decoder.conv_in.weight", "give a VAE of 4 latent channels, such as sd-vae-ft-mse")
		}
	case KindTextEncoder:
		const position, token = "text_model.embeddings.position_embedding.weight", "text_model.embeddings.token_embedding.weight"
		switch {
		case dim(position, 0) == 248:
			return refuse("a LongCLIP text encoder", position, "give the plain CLIP ViT-L/14 text encoder of 77 positions")
		case dim(token, 1) == 1024:
			return refuse("the text encoder of SD 2.x (OpenCLIP ViT-H)", token, needSD15)
		case dim(token, 1) == 1280:
			return refuse("the second text encoder of SDXL (OpenCLIP ViT-bigG)", token, needSD15)
		}
	}
	return nil
}

// recogniseClass reads the pipeline class of model_index.json.
func recogniseClass(path, class string) *FamilyError {
	for _, f := range []struct{ part, found, mend string }{
		{"XL", "an SDXL pipeline", needSD15},
		{"StableDiffusion3", "an SD 3 pipeline", needSD15},
		{"Flux", "a Flux pipeline", needSD15},
		{"InstructPix2Pix", "an InstructPix2Pix pipeline", needPlain},
		{"Depth2Img", "an SD 2 depth pipeline", needSD15},
		{"Upscale", "an upscaler pipeline", needSD15},
	} {
		if strings.Contains(class, f.part) {
			return &FamilyError{path, f.found, fmt.Sprintf("model_index.json says %q", class), f.mend}
		}
	}
	return nil
}
