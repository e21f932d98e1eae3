package lora_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// open opens a file that has to be an adapter for the targets.
func open(t testing.TB, path string, targets *lora.Targets) *lora.Adapter {
	t.Helper()
	a, err := lora.Open(path, targets)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func kohyaFile() string {
	return filepath.Join("..", "testdata", "tiny-random", "goldens", "lora_kohya.safetensors")
}

func TestOpenCounts(t *testing.T) {
	targets := loratest.TinyTargets(t)
	for _, c := range []struct {
		file       string
		text, unet int
	}{
		{"lora_kohya", 18, 192}, // three layers of six; 16 transformers of twelve
		{"lora_locon", 18, 256},
		{"lora_peft", 18, 192},
	} {
		t.Run(c.file, func(t *testing.T) {
			a := open(t, filepath.Join(loratest.TinyRandom(t), "goldens", c.file+".safetensors"), targets)
			count := map[weights.Kind]int{}
			for _, m := range a.Modules {
				count[m.Kind]++
				if loratest.LowRank(m).Scale() != 0.5 && c.file != "lora_locon" {
					t.Errorf("%s: scale %v, want 0.5", m.Name, loratest.LowRank(m).Scale())
				}
			}
			if count[weights.KindTextEncoder] != c.text || count[weights.KindUNet] != c.unet {
				t.Errorf("%v\nwant %d modules of the text encoder and %d of the UNet", a, c.text, c.unet)
			}
			if len(a.Unmatched)+len(a.Ignored) > 0 || len(a.Hash) != 64 {
				t.Errorf("unmatched %q, ignored %q, hash %q", a.Unmatched, a.Ignored, a.Hash)
			}
		})
	}
}

// naming is a way to spell the keys of an adapter.
type naming struct {
	name     string
	module   func(lora.Target) string // "" for what the format cannot hold
	down, up string
	alpha    string // "" where the format has none
}

func flat(name string) string { return strings.ReplaceAll(name, ".", "_") }

// byKind spells the modules of the two networks.
func byKind(unet, text func(name string) string) func(lora.Target) string {
	return func(t lora.Target) string {
		if t.Kind == weights.KindUNet {
			return unet(t.Name)
		}
		return text(t.Name)
	}
}

// prefixed puts something before a name.
func prefixed(prefix string) func(string) string {
	return func(name string) string { return prefix + name }
}

// processor is the spelling of diffusers' old attention processors.
func processor(prefix string) func(string) string {
	return func(name string) string {
		parent, part, ok := strings.Cut(name, ".to_")
		if !ok {
			return ""
		}
		return prefix + parent + ".processor.to_" + strings.TrimSuffix(part, ".0")
	}
}

// oldText is the spelling of old text encoder adapters.
func oldText(name string) string {
	parent, part, ok := strings.Cut(name, ".self_attn.")
	if !ok {
		return ""
	}
	return "text_encoder." + parent + ".self_attn.to_" + strings.TrimSuffix(part, "_proj")
}

func ldm(name string) string { return weights.KindUNet.LDM(name) }

var namings = []naming{
	{"kohya", lora.Target.Key, ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"kohya with lora_te1", byKind(func(n string) string { return "lora_unet_" + flat(n) }, func(n string) string { return "lora_te1_" + flat(n) }),
		".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"kohya with LDM blocks", byKind(func(n string) string { return "lora_unet_" + flat(ldm(n)) }, func(n string) string { return "lora_te_" + flat(n) }),
		".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"LyCORIS", byKind(func(n string) string { return "lycoris_" + flat(n) }, func(n string) string { return "lycoris_" + flat(n) }),
		".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"kohya modules, PEFT parts", lora.Target.Key, ".lora_A.weight", ".lora_B.weight", ".alpha"},
	{"LDM with dots", byKind(func(n string) string { return "diffusion_model." + ldm(n) }, prefixed("te.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"PEFT", byKind(prefixed("unet."), prefixed("text_encoder.")), ".lora_A.weight", ".lora_B.weight", ""},
	{"PEFT, transformers 5", byKind(prefixed("unet."), func(n string) string { return "text_encoder." + strings.TrimPrefix(n, "text_model.") }),
		".lora_A.weight", ".lora_B.weight", ""},
	{"PEFT's own", byKind(prefixed("base_model.model."), prefixed("base_model.model.")), ".lora_A.default.weight", ".lora_B.default.weight", ""},
	{"PEFT with an adapter's name", byKind(prefixed("unet."), prefixed("text_encoder.")), ".lora_A.default_0.weight", ".lora_B.default_0.weight", ""},
	{"PEFT with a user's name", byKind(prefixed("unet.base_model.model."), prefixed("text_encoder.base_model.model.")), ".lora_A.my style-2.weight", ".lora_B.my style-2.weight", ""},
	{"PEFT without weight", byKind(prefixed("unet."), prefixed("text_encoder.")), ".lora_A", ".lora_B", ".alpha"},
	{"PEFT of wrapped models", byKind(prefixed("module.base_model.model."), prefixed("base_model.model._orig_mod.")), ".lora_A.weight", ".lora_B.weight", ""},
	{"ComfyUI's extraction", byKind(func(n string) string { return "diffusion_model." + ldm(n) }, prefixed("text_encoders.clip_l.transformer.")), ".lora_down.weight", ".lora_up.weight", ""},
	{"ComfyUI's extraction, diffusers' names", byKind(prefixed("diffusion_model."), prefixed("text_encoders.clip_l.transformer.")), ".lora_down.weight", ".lora_up.weight", ""},
	{"ComfyUI's text encoder alone", byKind(prefixed("model.diffusion_model."), prefixed("clip_l.transformer.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"OneTrainer", byKind(prefixed("lora_unet."), prefixed("lora_te.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"OneTrainer, lora_te1", byKind(prefixed("lora_unet."), prefixed("lora_te1.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"OneTrainer, OMI", byKind(func(n string) string { return "unet." + ldm(n) }, prefixed("clip_l.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"checkpoints' names", byKind(func(n string) string { return "model.diffusion_model." + ldm(n) }, prefixed("cond_stage_model.transformer.")), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"the web UI's own", byKind(func(n string) string { return "diffusion_model_" + flat(ldm(n)) }, func(n string) string { return "transformer_" + flat(n) }), ".lora_down.weight", ".lora_up.weight", ".alpha"},
	{"diffusers, processors with alphas", byKind(processor("unet."), oldText), "_lora.down.weight", "_lora.up.weight", "_lora.alpha"},
	{"diffusers, middle age", byKind(prefixed("unet."), prefixed("text_encoder.")), ".lora.down.weight", ".lora.up.weight", ""},
	{"diffusers, middle age, text", byKind(prefixed("unet."), prefixed("text_encoder.")), ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", ""},
	{"diffusers, attention processors", byKind(processor("unet."), oldText), "_lora.down.weight", "_lora.up.weight", ""},
	{"diffusers, oldest", byKind(processor(""), func(string) string { return "" }), "_lora.down.weight", "_lora.up.weight", ""},
}

// TestNamings renames the tensors of a file and wants the same adapter.
func TestNamings(t *testing.T) {
	targets := loratest.TinyTargets(t)
	original := open(t, kohyaFile(), targets)
	for _, c := range namings {
		t.Run(c.name, func(t *testing.T) {
			var tensors []weights.Tensor
			var want []lora.Module
			for _, m := range original.Modules {
				module := c.module(m.Target)
				if module == "" {
					continue
				}
				tensors = append(tensors, loratest.Tensor(module+c.down, loratest.LowRank(m).Down), loratest.Tensor(module+c.up, loratest.LowRank(m).Up))
				if c.alpha != "" {
					tensors = append(tensors, loratest.Tensor(module+c.alpha, lora.Factor{Data: []float32{float32(loratest.LowRank(m).Alpha)}}))
				} else {
					m = loratest.WithAlpha(m, float64(m.Rank()))
				}
				want = append(want, m)
			}
			if len(want) < 64 {
				t.Fatalf("only %d modules", len(want))
			}
			a := open(t, loratest.Write(t, tensors, nil), targets)
			if len(a.Unmatched)+len(a.Ignored) > 0 {
				t.Errorf("unmatched %.300q, ignored %.300q", a.Unmatched, a.Ignored)
			}
			if !reflect.DeepEqual(a.Modules, want) {
				t.Errorf("%v differs from the original, %v", a, original)
			}
		})
	}
}

// TestPublishedKeys resolves keys as the tools' own files have them, against Stable Diffusion 1.5.
func TestPublishedKeys(t *testing.T) {
	targets := loratest.SD15Targets(t)
	shapes := map[string]compute.Shape{}
	for _, target := range targets.All() {
		shapes[target.Name] = target.Shape
	}
	for _, c := range []struct{ key, module string }{
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"},
		{"lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"},
		{"lora_unet_input_blocks_0_0.lora_down.weight", "conv_in"},
		{"lora_unet_out_2.lora_down.weight", "conv_out"},
		{"lora_unet_time_embed_2.lora_down.weight", "time_embedding.linear_2"},
		{"lora_unet_input_blocks_6_0_op.lora_down.weight", "down_blocks.1.downsamplers.0.conv"},
		{"lora_unet_input_blocks_10_0_in_layers_2.lora_down.weight", "down_blocks.3.resnets.0.conv1"},
		{"lora_unet_middle_block_2_emb_layers_1.lora_down.weight", "mid_block.resnets.1.time_emb_proj"},
		{"lora_unet_output_blocks_2_1_conv.lora_down.weight", "up_blocks.0.upsamplers.0.conv"},
		{"lora_unet_output_blocks_8_2_conv.lora_down.weight", "up_blocks.2.upsamplers.0.conv"},
		{"lora_unet_output_blocks_9_0_skip_connection.lora_down.weight", "up_blocks.3.resnets.0.conv_shortcut"},
		{"lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj.lora_down.weight", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"},
		{"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"},
		{"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0.lora.down.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"},
		{"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.lora.down.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"},
		{"unet.up_blocks.1.attentions.2.transformer_blocks.0.attn2.processor.to_out_lora.down.weight", "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0"},
		{"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_k.lora.down.weight", "mid_block.attentions.0.transformer_blocks.0.attn1.to_k"},
		{"diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_k.lora_down.weight", "mid_block.attentions.0.transformer_blocks.0.attn1.to_k"},
		{"text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.lora_down.weight", "text_model.embeddings.token_embedding"},
		{"mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_k_lora.down.weight", "mid_block.attentions.0.transformer_blocks.0.attn1.to_k"},
		{"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", "text_model.encoder.layers.0.self_attn.q_proj"},
		{"lora_te_text_model_encoder_layers_11_mlp_fc1.lora_down.weight", "text_model.encoder.layers.11.mlp.fc1"},
		{"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "text_model.encoder.layers.0.self_attn.q_proj"},
		{"text_encoder.encoder.layers.0.self_attn.q_proj.lora_A.weight", "text_model.encoder.layers.0.self_attn.q_proj"},
		{"text_encoder.text_model.encoder.layers.0.self_attn.out_proj.lora_linear_layer.down.weight", "text_model.encoder.layers.0.self_attn.out_proj"},
		{"text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora.down.weight", "text_model.encoder.layers.0.self_attn.out_proj"},
		{"text_encoder.text_model.encoder.layers.3.self_attn.to_v_lora.down.weight", "text_model.encoder.layers.3.self_attn.v_proj"},
	} {
		t.Run(c.key, func(t *testing.T) {
			shape, ok := shapes[c.module]
			if !ok {
				t.Fatalf("%q is no module", c.module)
			}
			m := loratest.RandomModule(loratest.Rand(), lora.Target{Shape: shape}, 1)
			upKey := strings.NewReplacer("lora_down", "lora_up", "lora_A", "lora_B", ".down.", ".up.").Replace(c.key)
			a := open(t, loratest.Write(t, []weights.Tensor{loratest.Tensor(c.key, loratest.LowRank(m).Down), loratest.Tensor(upKey, loratest.LowRank(m).Up)}, nil), targets)
			if len(a.Modules) != 1 || a.Modules[0].Name != c.module || loratest.LowRank(a.Modules[0]).Scale() != 1 {
				t.Errorf("have %+v of scale %v, want %s of scale 1", a.Modules[0].Target, loratest.LowRank(a.Modules[0]).Scale(), c.module)
			}
		})
	}
}

// TestAlpha stores alpha 3 of a rank-4 module in every way there is.
func TestAlpha(t *testing.T) {
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 4)
	pair := []weights.Tensor{loratest.Tensor(m.Key()+".lora_down.weight", loratest.LowRank(m).Down), loratest.Tensor(m.Key()+".lora_up.weight", loratest.LowRank(m).Up)}
	le := binary.LittleEndian
	for _, c := range []struct {
		dtype weights.DType
		data  []byte
	}{
		{weights.F64, le.AppendUint64(nil, math.Float64bits(3))},
		{weights.F32, le.AppendUint32(nil, math.Float32bits(3))},
		{weights.F16, []byte{0x00, 0x42}},
		{weights.BF16, []byte{0x40, 0x40}},
		{weights.I64, le.AppendUint64(nil, 3)},
		{weights.I32, le.AppendUint32(nil, 3)},
	} {
		for _, shape := range []compute.Shape{{}, {1}} {
			t.Run(string(c.dtype)+shape.String(), func(t *testing.T) {
				a := open(t, loratest.Write(t, append(pair[:2:2], weights.Tensor{Name: m.Key() + ".alpha", DType: c.dtype, Shape: shape, Data: c.data}), nil), targets)
				if got := loratest.LowRank(a.Modules[0]).Scale(); got != 0.75 {
					t.Errorf("the scale is %v, want 0.75", got)
				}
			})
		}
	}
}

// TestAdapterMetadata reads scales from the header, where diffusers keeps them.
func TestAdapterMetadata(t *testing.T) {
	targets := loratest.TinyTargets(t)
	var tensors []weights.Tensor
	for _, target := range targets.All() {
		switch target.Name {
		case "mid_block.attentions.0.proj_in", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
			"up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "text_model.encoder.layers.0.mlp.fc1":
			m := loratest.RandomModule(loratest.Rand(), target, 4)
			name := string(target.Kind) + "." + target.Name
			tensors = append(tensors, loratest.Tensor(name+".lora_A.weight", loratest.LowRank(m).Down), loratest.Tensor(name+".lora_B.weight", loratest.LowRank(m).Up))
		}
	}
	for _, c := range []struct {
		name, metadata       string
		text, projIn, q, upQ float64 // scales
		err                  string
	}{
		{name: "none", text: 1, projIn: 1, q: 1, upQ: 1},
		{name: "alpha", metadata: `{"unet.r": 4, "unet.lora_alpha": 8, "text_encoder.r": 4, "text_encoder.lora_alpha": 2.0}`,
			text: 0.5, projIn: 2, q: 2, upQ: 2},
		{name: "one network", metadata: `{"unet.lora_alpha": 8}`, text: 1, projIn: 2, q: 2, upQ: 2},
		{name: "rslora", metadata: `{"unet.lora_alpha": 8, "unet.use_rslora": true, "text_encoder.lora_alpha": 8, "text_encoder.use_rslora": false}`,
			text: 2, projIn: 4, q: 4, upQ: 4},
		{name: "pattern by end", metadata: `{"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 12}, "text_encoder.alpha_pattern": null}`,
			text: 1, projIn: 2, q: 3, upQ: 3},
		{name: "pattern by expression, first counts", metadata: `{"unet.lora_alpha": 8, "unet.alpha_pattern": {"up_blocks.[0-9].*to_q": 4, "to_q": 16}}`,
			text: 1, projIn: 2, q: 4, upQ: 1},
		{name: "no JSON", metadata: `{`, err: "lora_adapter_metadata: unexpected end"},
		{name: "alpha is a word", metadata: `{"unet.lora_alpha": "four"}`, err: "unet.lora_alpha"},
		{name: "pattern is a list", metadata: `{"unet.lora_alpha": 4, "unet.alpha_pattern": [1]}`, err: "unet.alpha_pattern"},
		{name: "pattern does not compile", metadata: `{"unet.lora_alpha": 4, "unet.alpha_pattern": {"(": 1}}`, err: "unet.alpha_pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			metadata := map[string]string{}
			if c.metadata != "" {
				metadata["lora_adapter_metadata"] = c.metadata
			}
			a, err := lora.Open(loratest.Write(t, tensors, metadata), targets)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v\nwant %q in it", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]float64{
				"text_model.encoder.layers.0.mlp.fc1": c.text, "mid_block.attentions.0.proj_in": c.projIn,
				"mid_block.attentions.0.transformer_blocks.0.attn1.to_q": c.q, "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": c.upQ,
			}
			for i := range a.Modules {
				if m := &a.Modules[i]; math.Abs(loratest.LowRank(*m).Scale()-want[m.Name]) > 1e-12 {
					t.Errorf("%s: scale %v, want %v", m.Name, loratest.LowRank(*m).Scale(), want[m.Name])
				}
			}
			if len(a.Modules) != len(want) {
				t.Errorf("%d modules, want %d", len(a.Modules), len(want))
			}
		})
	}
}

// TestAdapterConfig reads the scale of a PEFT folder's file from the configuration beside it.
func TestAdapterConfig(t *testing.T) {
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 4)
	for _, c := range []struct {
		name, start, config string
		scale               float64
		err                 string
	}{
		{name: "PEFT", start: "base_model.model.", config: `{"peft_type": "LORA", "r": 4, "lora_alpha": 2, "alpha_pattern": {}}`, scale: 0.5},
		{name: "PEFT with a pattern", start: "base_model.model.", config: `{"lora_alpha": 2, "alpha_pattern": {"fc1|q_proj|k_proj|v_proj": 12}}`, scale: 3},
		{name: "no configuration", start: "base_model.model.", scale: 1},
		{name: "somebody else's configuration", start: "text_encoder.", config: `{"lora_alpha": 2}`, scale: 1},
		{name: "broken", start: "base_model.model.", config: `{`, err: "adapter_config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := loratest.Write(t, []weights.Tensor{loratest.Tensor(c.start+m.Name+".lora_A.weight", loratest.LowRank(m).Down), loratest.Tensor(c.start+m.Name+".lora_B.weight", loratest.LowRank(m).Up)}, nil)
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), "adapter_config.json"), []byte(c.config), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			a, err := lora.Open(path, targets)
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v\nwant %q in it", err, c.err)
				}
			case err != nil:
				t.Error(err)
			case loratest.LowRank(a.Modules[0]).Scale() != c.scale:
				t.Errorf("the scale is %v, want %v", loratest.LowRank(a.Modules[0]).Scale(), c.scale)
			}
		})
	}
}

// TestHash takes the hash from the metadata where it is one, and else from the tensor data.
func TestHash(t *testing.T) {
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 2)
	tensors := []weights.Tensor{loratest.Tensor(m.Key()+".lora_down.weight", loratest.LowRank(m).Down), loratest.Tensor(m.Key()+".lora_up.weight", loratest.LowRank(m).Up)}
	given := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name, metadata string
		computed       bool
	}{{"given", given, false}, {"none", "", true}, {"short", "abc", true}, {"no digits", given[:63] + "x", true}} {
		t.Run(c.name, func(t *testing.T) {
			path := loratest.Write(t, tensors, map[string]string{"sshs_model_hash": c.metadata})
			want := given
			if c.computed {
				_, data := fileParts(t, path)
				want = hexSHA256(data)
			}
			if got := open(t, path, targets).Hash; got != want {
				t.Errorf("the hash is %q, want %q", got, want)
			}
		})
	}
}

// TestUnmatched lists what does not belong to the model.
func TestUnmatched(t *testing.T) {
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 2)
	a := open(t, loratest.Write(t, []weights.Tensor{
		loratest.Tensor(m.Key()+".lora_down.weight", loratest.LowRank(m).Down), loratest.Tensor(m.Key()+".lora_up.weight", loratest.LowRank(m).Up),
		loratest.Tensor("lora_unet_nowhere.lora_down.weight", loratest.LowRank(m).Down), loratest.Tensor("something", loratest.LowRank(m).Up),
		loratest.Tensor("bundle_emb.name.string_to_param.*", loratest.LowRank(m).Up),
	}, nil), targets)
	if want := []string{"lora_unet_nowhere.lora_down.weight", "something"}; !reflect.DeepEqual(a.Unmatched, want) {
		t.Errorf("unmatched are %q, want %q", a.Unmatched, want)
	}
	if want := []string{"bundle_emb.name.string_to_param.*"}; !reflect.DeepEqual(a.Ignored, want) {
		t.Errorf("ignored are %q, want %q", a.Ignored, want)
	}
	if e := a.Embeddings; len(e) != 1 || e[0].Name != "name" || !reflect.DeepEqual(e[0].Vectors, loratest.LowRank(m).Up) {
		t.Errorf("embeddings are %v", e)
	}
	if say := a.String(); !strings.HasSuffix(say, ": 1 modules (1 text encoder, 0 UNet) of rank 2; 2 tensors unmatched, 1 ignored") {
		t.Error(say)
	}
}

// TestBundledEmbeddings reads both forms of their keys, and leaves out those of other models.
func TestBundledEmbeddings(t *testing.T) {
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 2)
	vectors, one := loratest.RandomFactor(loratest.Rand(), 3, 8), loratest.RandomFactor(loratest.Rand(), 8)
	file := func(more ...weights.Tensor) string {
		return loratest.Write(t, append(more,
			loratest.Tensor(m.Key()+".lora_down.weight", loratest.LowRank(m).Down), loratest.Tensor(m.Key()+".lora_up.weight", loratest.LowRank(m).Up)), nil)
	}
	a := open(t, file(
		loratest.Tensor("bundle_emb.first.string_to_param.*", vectors), loratest.Tensor("bundle_emb.second.emb_params", one),
		loratest.Tensor("bundle_emb.other.a", vectors), loratest.Tensor("bundle_emb.other.b", vectors), loratest.Tensor("bundle_emb.nothing", one),
	), targets)
	if want := []lora.Embedding{{"first", vectors}, {"second", one}}; !reflect.DeepEqual(a.Embeddings, want) {
		t.Errorf("have %v, want %v", a.Embeddings, want)
	}
	if len(a.Ignored) != 5 || len(a.Unmatched) != 0 {
		t.Errorf("ignored %q, unmatched %q", a.Ignored, a.Unmatched)
	}
	one.Data[2] = float32(math.NaN())
	if _, err := lora.Open(file(loratest.Tensor("bundle_emb.broken.x", one)), targets); !isNonFinite(err) {
		t.Errorf("vectors that are no numbers: %v", err)
	}
}

func isNonFinite(err error) bool {
	_, ok := errors.AsType[*lora.NonFiniteError](err)
	return ok
}
