package weights

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// zeros is a tensor of zeros.
func zeros(name string, shape ...int) Tensor {
	return Tensor{name, F16, shape, make([]byte, 2*compute.Shape(shape).Elements())}
}

// TestFamilies opens the least of a file that tells each family.
func TestFamilies(t *testing.T) {
	unet := func(edit func(ts []Tensor) []Tensor) []Tensor {
		return edit([]Tensor{zeros("conv_in.weight", 8, 4, 1, 1), zeros("down_blocks.0.resnets.0.conv1.weight", 1), zeros("down_blocks.0.resnets.1.conv1.weight", 1),
			zeros("mid_block.attentions.0.norm.weight", 1), zeros("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, 768)})
	}
	drop := func(part string) func([]Tensor) []Tensor {
		return func(ts []Tensor) []Tensor {
			return slices.DeleteFunc(ts, func(t Tensor) bool { return strings.HasPrefix(t.Name, part) })
		}
	}
	set := func(with Tensor) func([]Tensor) []Tensor {
		return func(ts []Tensor) []Tensor { return append(drop(with.Name)(ts), with) }
	}
	for _, tt := range []struct {
		name    string
		tensors []Tensor
		want    string
	}{
		{"plain", unet(func(ts []Tensor) []Tensor { return ts }), ""},
		{"LoRA, kohya", []Tensor{zeros("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", 1, 1)}, "a LoRA"},
		{"LoRA, PEFT", []Tensor{zeros("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", 1, 1)}, "a LoRA"},
		{"LoRA, diffusers", []Tensor{zeros("unet.down_blocks.0.attn1.to_q.lora.down.weight", 1, 1)}, "a LoRA"},
		{"LoRA, attention processors", []Tensor{zeros("down_blocks.0.attn1.processor.to_q_lora.down.weight", 1, 1)}, "a LoRA"},
		{"LoHa", []Tensor{zeros("lora_unet_x.hada_w1_a", 1, 1)}, "a LoRA"},
		{"LoKr", []Tensor{zeros("lora_unet_x.lokr_w1", 1, 1)}, "a LoRA"},
		{"Control-LoRA", []Tensor{zeros("lora_controlnet", 0), zeros("input_blocks.0.0.weight", 1)}, "a Control-LoRA"},
		{"embedding, web UI", []Tensor{zeros("emb_params", 2, 768)}, "textual inversion"},
		{"embedding, diffusers", []Tensor{zeros("<cat-toy>", 768)}, "textual inversion"},
		{"embedding, SDXL", []Tensor{zeros("clip_l", 1, 768), zeros("clip_g", 1, 1280)}, "textual inversion"},
		{"ControlNet, LDM", []Tensor{zeros("control_model.zero_convs.0.0.weight", 1)}, "a ControlNet"},
		{"ControlNet, LDM bare", []Tensor{zeros("zero_convs.0.0.weight", 1), zeros("input_blocks.0.0.weight", 8, 4, 3, 3)}, "a ControlNet"},
		{"ControlNet, diffusers", unet(set(zeros("controlnet_down_blocks.0.weight", 1))), "a ControlNet"},
		{"ControlNet merged into a checkpoint", []Tensor{zeros("control_model.zero_convs.0.0.weight", 1), zeros("model.diffusion_model.input_blocks.0.0.weight", 8, 4, 3, 3)}, ""},
		{"T2I-Adapter", []Tensor{zeros("adapter.body.0.resnets.0.block1.weight", 1)}, "a T2I-Adapter"},
		{"IP-Adapter", []Tensor{zeros("image_proj.proj.weight", 1), zeros("ip_adapter.1.to_k_ip.weight", 1)}, "an IP-Adapter"},
		{"AnimateDiff", []Tensor{zeros("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", 1)}, "an AnimateDiff"},
		{"scaled fp8", unet(set(zeros("scaled_fp8", 0))), "separate scales"},
		{"scaled fp8 per layer", unet(set(zeros("mid_block.attentions.0.proj_in.scale_weight", 1))), "separate scales"},
		{"SD 2, single", []Tensor{zeros("cond_stage_model.model.transformer.resblocks.0.ln_1.weight", 1)}, "an SD 2.x checkpoint"},
		{"SD 2, UNet", unet(set(zeros("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, 1024))), "an SD 2.x UNet"},
		{"SD 2, text encoder", []Tensor{zeros("text_model.embeddings.token_embedding.weight", 4, 1024), zeros("text_model.final_layer_norm.bias", 4)}, "text encoder of SD 2.x"},
		{"SDXL, single", []Tensor{zeros("conditioner.embedders.1.model.ln_final.weight", 1)}, "an SDXL"},
		{"SDXL, LDM UNet", []Tensor{zeros("model.diffusion_model.label_emb.0.0.weight", 1)}, "an SDXL"},
		{"SDXL, diffusers UNet", unet(set(zeros("add_embedding.linear_1.weight", 1))), "an SDXL"},
		{"SDXL, depth", unet(set(zeros("mid_block.attentions.0.transformer_blocks.1.norm1.weight", 1))), "an SDXL"},
		{"SDXL, width", unet(set(zeros("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, 2048))), "an SDXL UNet"},
		{"SD 3", []Tensor{zeros("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", 1)}, "an SD 3 or Flux"},
		{"Flux", []Tensor{zeros("double_blocks.0.img_attn.qkv.weight", 1)}, "an SD 3 or Flux"},
		{"inpainting", unet(set(zeros("conv_in.weight", 8, 9, 1, 1))), ""},
		{"InstructPix2Pix", unet(set(zeros("conv_in.weight", 8, 8, 1, 1))), "InstructPix2Pix"},
		{"depth", unet(set(zeros("conv_in.weight", 8, 5, 1, 1))), "depth"},
		{"upscaler", unet(set(zeros("conv_in.weight", 8, 7, 1, 1))), "another kind of input"},
		{"distilled, no middle", unet(drop("mid_block")), "a distilled small UNet"},
		{"distilled, one layer", unet(drop("down_blocks.0.resnets.1")), "a distilled small UNet"},
		{"LongCLIP", []Tensor{zeros("text_model.embeddings.position_embedding.weight", 248, 8), zeros("text_model.final_layer_norm.bias", 4)}, "LongCLIP"},
		{"TAESD, diffusers", []Tensor{zeros("decoder.layers.0.weight", 64, 4, 3, 3), zeros("encoder.layers.0.weight", 64, 3, 3, 3)}, "TAESD"},
		{"TAESD, original decoder", []Tensor{zeros("1.weight", 64, 4, 3, 3), zeros("1.bias", 64)}, "TAESD"},
		{"TAESD, original encoder", []Tensor{zeros("0.weight", 64, 3, 3, 3), zeros("0.bias", 64)}, "TAESD"},
		{"TAESD, prefixed", []Tensor{zeros("taesd_decoder.1.weight", 64, 4, 3, 3)}, "TAESD"},
		{"VAE of 16 channels", []Tensor{zeros("decoder.conv_in.weight", 8, 16, 3, 3), zeros("encoder.conv_in.bias", 4)}, "another model family"},
		{"language model", []Tensor{zeros("model.layers.0.mlp.up_proj.weight", 1, 1), zeros("lm_head.weight", 1, 1)}, "nothing of a Stable Diffusion model"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeTensors(t, tt.tensors, nil)
			c, err := Open(path, Options{})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			if err == nil {
				c.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v\nshould name the file and contain %q", err, tt.want)
			}
			if _, ok := errors.AsType[*FamilyError](err); !ok && !strings.HasPrefix(tt.want, "nothing") {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

// TestPartsOfOtherFamilies: SDXL's first text encoder is SD 1.x's, its VAE is not.
func TestPartsOfOtherFamilies(t *testing.T) {
	tiny := mustOpen(t, tinyFolder, Options{})
	tensors := append(tensorsOf(t, component(t, tiny, KindTextEncoder), func(n string) string { return "conditioner.embedders.0.transformer." + n }),
		tensorsOf(t, component(t, tiny, KindVAE), func(n string) string { return "first_stage_model." + KindVAE.LDM(n) })...)
	sdxl := writeTensors(t, append(tensors, zeros("conditioner.embedders.1.model.ln_final.weight", 1)), nil)
	c := mustOpen(t, tinyFolder, Options{TextEncoder: sdxl})
	assertSame(t, component(t, c, KindTextEncoder), component(t, tiny, KindTextEncoder))
	if _, err := Open(tinyFolder, Options{VAE: sdxl}); err == nil || !strings.Contains(err.Error(), "SDXL") {
		t.Errorf("SDXL's VAE: %v", err)
	}
}
