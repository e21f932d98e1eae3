package clip

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// Config is what models vary of transformers' CLIPTextModel, in the words of its config.json.
type Config struct {
	VocabSize             int
	HiddenSize            int
	IntermediateSize      int
	NumHiddenLayers       int
	NumAttentionHeads     int
	MaxPositionEmbeddings int
	LayerNormEps          float64
	HiddenAct             string // "quick_gelu" or "gelu"
}

// SD15 is the text tower of CLIP ViT-L/14, the text encoder of Stable Diffusion 1.x.
func SD15() Config {
	return Config{
		VocabSize: 49408, HiddenSize: 768, IntermediateSize: 3072, NumHiddenLayers: 12, NumAttentionHeads: 12,
		MaxPositionEmbeddings: 77, LayerNormEps: 1e-5, HiddenAct: "quick_gelu",
	}
}

// ParseConfig reads a config.json. No data means SD15, and so do fields that are absent or null. The token ids in it
// are historical and ignored.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	if len(data) == 0 {
		return c, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, fmt.Errorf("clip: config.json: %w", err)
	}
	var errs []error
	for name, field := range map[string]any{
		"vocab_size": &c.VocabSize, "hidden_size": &c.HiddenSize, "intermediate_size": &c.IntermediateSize,
		"num_hidden_layers": &c.NumHiddenLayers, "num_attention_heads": &c.NumAttentionHeads,
		"max_position_embeddings": &c.MaxPositionEmbeddings, "layer_norm_eps": &c.LayerNormEps, "hidden_act": &c.HiddenAct,
	} {
		if value := raw[name]; len(value) > 0 && string(value) != "null" {
			if err := json.Unmarshal(value, field); err != nil {
				errs = append(errs, fmt.Errorf("clip: config.json: %s is %.40s: %w", name, value, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return c, c.validate()
}

// activation is HiddenAct as an op attribute.
func (c Config) activation() (a compute.Activation, ok bool) {
	switch c.HiddenAct {
	case "quick_gelu":
		return compute.QuickGELU, true
	case "gelu":
		return compute.GELU, true
	}
	return compute.Identity, false
}

// validate bounds the network, so that a hostile configuration cannot ask for one nobody could hold.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("clip: config.json: "+format, args...)) }
	for _, f := range []struct {
		name    string
		n, high int
	}{
		{"vocab_size", c.VocabSize, 1 << 24}, {"hidden_size", c.HiddenSize, 16384}, {"intermediate_size", c.IntermediateSize, 65536},
		{"num_hidden_layers", c.NumHiddenLayers, 256}, {"num_attention_heads", c.NumAttentionHeads, 1024},
		{"max_position_embeddings", c.MaxPositionEmbeddings, 4096},
	} {
		if f.n < 1 || f.n > f.high {
			bad("%s is %d, want 1 to %d", f.name, f.n, f.high)
		}
	}
	if c.NumAttentionHeads > 0 && c.HiddenSize%c.NumAttentionHeads != 0 {
		bad("hidden_size %d does not divide into num_attention_heads %d", c.HiddenSize, c.NumAttentionHeads)
	}
	if !(c.LayerNormEps > 0 && c.LayerNormEps < 1) {
		bad("layer_norm_eps is %g, want a small positive number", c.LayerNormEps)
	}
	if _, ok := c.activation(); !ok {
		bad("hidden_act is %.40q, want quick_gelu or gelu", c.HiddenAct)
	}
	return errors.Join(errs...)
}
