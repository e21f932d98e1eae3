package weights

import (
	"fmt"
	"strings"
)

// Kind is one of the three networks of a checkpoint, named as diffusers names their folders.
type Kind string

// The components of Stable Diffusion 1.x that carry weights.
const (
	KindUNet        Kind = "unet"
	KindVAE         Kind = "vae"
	KindTextEncoder Kind = "text_encoder"
)

// Kinds lists the components in the order they are reported.
var Kinds = [...]Kind{KindUNet, KindVAE, KindTextEncoder}

// LDMPrefix is what stands before the component's LDM names in a single-file checkpoint.
func (k Kind) LDMPrefix() string {
	return map[Kind]string{
		KindUNet: "model.diffusion_model.", KindVAE: "first_stage_model.", KindTextEncoder: "cond_stage_model.transformer.",
	}[k]
}

// Diffusers translates a tensor or module name of the component from the original (LDM) naming, without its
// prefix, to diffusers'. Older spellings are brought up to date too: the VAE's query/key/value/proj_attn, text
// encoders without "text_model.". A name it does not know, a current one included, is returned unchanged.
// Whole dot-separated components are compared, never their beginnings.
func (k Kind) Diffusers(name string) string {
	switch k {
	case KindUNet:
		return unetModules.toDiffusers(name)
	case KindVAE:
		return vaeModules.toDiffusers(name)
	case KindTextEncoder:
		switch head, _, _ := strings.Cut(name, "."); head {
		case "embeddings", "encoder", "final_layer_norm":
			return "text_model." + name
		}
	}
	return name
}

// LDM translates a diffusers name of the component to the original naming, without its prefix:
// the inverse of Diffusers.
func (k Kind) LDM(name string) string {
	switch k {
	case KindUNet:
		return unetModules.toLDM(name)
	case KindVAE:
		return vaeModules.toLDM(name)
	}
	return name
}

// module pairs the two names of a block; inner are the names of its parts.
type module struct {
	ldm, diffusers string
	inner          []module
}

// moduleTable finds modules by either name.
type moduleTable struct{ byLDM, byDiffusers map[string]module }

func newModuleTable(modules []module) moduleTable {
	t := moduleTable{map[string]module{}, map[string]module{}}
	for _, m := range modules {
		if _, known := t.byLDM[m.ldm]; !known {
			t.byLDM[m.ldm] = m
		}
		if _, known := t.byDiffusers[m.diffusers]; !known { // the first of several spellings is the original one
			t.byDiffusers[m.diffusers] = m
		}
	}
	return t
}

var (
	unetResnet = []module{
		{ldm: "in_layers.0", diffusers: "norm1"},
		{ldm: "in_layers.2", diffusers: "conv1"},
		{ldm: "emb_layers.1", diffusers: "time_emb_proj"},
		{ldm: "out_layers.0", diffusers: "norm2"},
		{ldm: "out_layers.3", diffusers: "conv2"},
		{ldm: "skip_connection", diffusers: "conv_shortcut"},
	}
	vaeResnet    = []module{{ldm: "nin_shortcut", diffusers: "conv_shortcut"}}
	vaeAttention = []module{
		{ldm: "norm", diffusers: "group_norm"},
		{ldm: "q", diffusers: "to_q"}, {ldm: "k", diffusers: "to_k"}, {ldm: "v", diffusers: "to_v"}, {ldm: "proj_out", diffusers: "to_out.0"},
		{ldm: "query", diffusers: "to_q"}, {ldm: "key", diffusers: "to_k"}, {ldm: "value", diffusers: "to_v"}, {ldm: "proj_attn", diffusers: "to_out.0"},
	}
	unetModules = newModuleTable(listUNetModules())
	vaeModules  = newModuleTable(listVAEModules())
)

// listUNetModules numbers the blocks: LDM counts every resnet and every downsampler on the way down
// (three to a level) and every resnet on the way up.
func listUNetModules() []module {
	list := []module{
		{ldm: "time_embed.0", diffusers: "time_embedding.linear_1"},
		{ldm: "time_embed.2", diffusers: "time_embedding.linear_2"},
		{ldm: "input_blocks.0.0", diffusers: "conv_in"},
		{ldm: "middle_block.0", diffusers: "mid_block.resnets.0", inner: unetResnet},
		{ldm: "middle_block.1", diffusers: "mid_block.attentions.0"},
		{ldm: "middle_block.2", diffusers: "mid_block.resnets.1", inner: unetResnet},
		{ldm: "out.0", diffusers: "conv_norm_out"},
		{ldm: "out.2", diffusers: "conv_out"},
	}
	add := func(inner []module, ldm string, n int, diffusers string, b, j int) {
		list = append(list, module{fmt.Sprintf(ldm, n), fmt.Sprintf(diffusers, b, j), inner})
	}
	for b := range 4 {
		for j := range 2 {
			add(unetResnet, "input_blocks.%d.0", 1+3*b+j, "down_blocks.%d.resnets.%d", b, j)
			if b < 3 {
				add(nil, "input_blocks.%d.1", 1+3*b+j, "down_blocks.%d.attentions.%d", b, j)
			}
		}
		for j := range 3 {
			add(unetResnet, "output_blocks.%d.0", 3*b+j, "up_blocks.%d.resnets.%d", b, j)
			if b > 0 {
				add(nil, "output_blocks.%d.1", 3*b+j, "up_blocks.%d.attentions.%d", b, j)
			}
		}
		if b < 3 {
			add(nil, "input_blocks.%d.0.op", 3+3*b, "down_blocks.%d.downsamplers.%d.conv", b, 0)
		}
	}
	add(nil, "output_blocks.%d.1.conv", 2, "up_blocks.%d.upsamplers.%d.conv", 0, 0) // the only level without attentions
	add(nil, "output_blocks.%d.2.conv", 5, "up_blocks.%d.upsamplers.%d.conv", 1, 0)
	add(nil, "output_blocks.%d.2.conv", 8, "up_blocks.%d.upsamplers.%d.conv", 2, 0)
	return list
}

// listVAEModules numbers the decoder's levels backwards: LDM counts them by resolution, diffusers in
// the order they run.
func listVAEModules() []module {
	var list []module
	for _, side := range []string{"encoder", "decoder"} {
		list = append(list,
			module{ldm: side + ".norm_out", diffusers: side + ".conv_norm_out"},
			module{side + ".mid.block_1", side + ".mid_block.resnets.0", vaeResnet},
			module{side + ".mid.attn_1", side + ".mid_block.attentions.0", vaeAttention},
			module{side + ".mid_block.attentions.0", side + ".mid_block.attentions.0", vaeAttention}, // as old diffusers files have them
			module{side + ".mid.block_2", side + ".mid_block.resnets.1", vaeResnet})
	}
	for i := range 4 {
		for j := range 3 {
			if j < 2 {
				list = append(list, module{fmt.Sprintf("encoder.down.%d.block.%d", i, j), fmt.Sprintf("encoder.down_blocks.%d.resnets.%d", i, j), vaeResnet})
			}
			list = append(list, module{fmt.Sprintf("decoder.up.%d.block.%d", i, j), fmt.Sprintf("decoder.up_blocks.%d.resnets.%d", 3-i, j), vaeResnet})
		}
		list = append(list,
			module{ldm: fmt.Sprintf("encoder.down.%d.downsample.conv", i), diffusers: fmt.Sprintf("encoder.down_blocks.%d.downsamplers.0.conv", i)},
			module{ldm: fmt.Sprintf("decoder.up.%d.upsample.conv", i), diffusers: fmt.Sprintf("decoder.up_blocks.%d.upsamplers.0.conv", 3-i)})
	}
	return list
}

func (t moduleTable) toDiffusers(name string) string {
	m, rest, ok := longestPrefix(t.byLDM, name)
	if !ok {
		return name
	}
	for _, part := range m.inner {
		if after, ok := cutComponents(rest, part.ldm); ok {
			return join(m.diffusers, join(part.diffusers, after))
		}
	}
	return join(m.diffusers, rest)
}

func (t moduleTable) toLDM(name string) string {
	m, rest, ok := longestPrefix(t.byDiffusers, name)
	if !ok {
		return name
	}
	for _, part := range m.inner {
		if after, ok := cutComponents(rest, part.diffusers); ok {
			return join(m.ldm, join(part.ldm, after))
		}
	}
	return join(m.ldm, rest)
}

// longestPrefix finds the entry whose key is the longest run of whole components name begins with.
func longestPrefix(table map[string]module, name string) (m module, rest string, ok bool) {
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		if m, ok = table[name[:end]]; ok {
			return m, strings.TrimPrefix(name[end:], "."), true
		}
	}
	return module{}, name, false
}

// cutComponents removes prefix from name if it is made of name's first whole components.
func cutComponents(name, prefix string) (after string, ok bool) {
	after, ok = strings.CutPrefix(name, prefix)
	if !ok || after != "" && after[0] != '.' {
		return name, false
	}
	return strings.TrimPrefix(after, "."), true
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "." + b
}

// prefixes are what stands before a component's names in files that hold several.
var prefixes = []struct {
	prefix string
	kind   Kind
}{
	{"model.diffusion_model.", KindUNet},
	{"diffusion_model.", KindUNet},
	{"unet.", KindUNet},
	{"first_stage_model.", KindVAE},
	{"vae.", KindVAE},
	{"cond_stage_model.transformer.", KindTextEncoder},
	{"conditioner.embedders.0.transformer.", KindTextEncoder},
	{"text_encoders.clip_l.transformer.", KindTextEncoder},
	{"clip_l.transformer.", KindTextEncoder},
	{"text_encoder.", KindTextEncoder},
}

// bareHeads are the first components of names that stand without a prefix in files of one component.
var bareHeads = map[string]Kind{
	"time_embed": KindUNet, "input_blocks": KindUNet, "middle_block": KindUNet, "output_blocks": KindUNet, "out": KindUNet,
	"time_embedding": KindUNet, "conv_in": KindUNet, "down_blocks": KindUNet, "mid_block": KindUNet, "up_blocks": KindUNet,
	"conv_norm_out": KindUNet, "conv_out": KindUNet,
	"encoder": KindVAE, "decoder": KindVAE, "quant_conv": KindVAE, "post_quant_conv": KindVAE,
	"text_model": KindTextEncoder, "embeddings": KindTextEncoder, "final_layer_norm": KindTextEncoder,
}

// place says which component a checkpoint's key belongs to and its diffusers name there; ok is false
// for keys of no component.
func place(key string) (kind Kind, name string, ok bool) {
	for _, p := range prefixes {
		if rest, found := strings.CutPrefix(key, p.prefix); found {
			return p.kind, p.kind.Diffusers(rest), true
		}
	}
	head, rest, _ := strings.Cut(key, ".")
	kind, ok = bareHeads[head]
	if head == "encoder" && strings.HasPrefix(rest, "layers.") {
		kind = KindTextEncoder
	}
	if !ok {
		return "", key, false
	}
	return kind, kind.Diffusers(key), true
}

// placeIn is place for a file that is known to hold one component.
func placeIn(kind Kind, key string) (name string) {
	if k, name, ok := place(key); ok && k == kind {
		return name
	}
	return kind.Diffusers(key)
}

// ignorable reports whether a component's file may hold the named tensor without anyone reading it:
// buffers that are recomputed, the training loss, the other half of a full CLIP model.
func ignorable(kind Kind, name string) bool {
	if strings.HasSuffix(name, "position_ids") {
		return true
	}
	head, _, _ := strings.Cut(name, ".")
	switch kind {
	case KindVAE:
		return head == "loss" || head == "model_ema"
	case KindTextEncoder:
		switch head {
		case "logit_scale", "text_projection", "visual_projection", "vision_model":
			return true
		}
	}
	return false
}

// emaKey is the name of the EMA copy of a UNet tensor, given its diffusers name: LDM writes
// it without the dots.
func emaKey(name string) string {
	return "model_ema.diffusion_model" + strings.ReplaceAll(KindUNet.LDM(name), ".", "")
}
