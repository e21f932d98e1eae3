package clip

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/configjson"
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

// ParseConfig reads a config.json. No data means SD15, and so do fields that are absent or null. Token ids in it are
// historical and ignored, and so are fields that do not concern the text model. All complaints are reported together.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	r := configjson.New("clip", data)
	r.Read("vocab_size", &c.VocabSize)
	r.Read("hidden_size", &c.HiddenSize)
	r.Read("intermediate_size", &c.IntermediateSize)
	r.Read("num_hidden_layers", &c.NumHiddenLayers)
	r.Read("num_attention_heads", &c.NumAttentionHeads)
	r.Read("max_position_embeddings", &c.MaxPositionEmbeddings)
	r.Read("layer_norm_eps", &c.LayerNormEps)
	r.Read("hidden_act", &c.HiddenAct)
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	return c, nil
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
	r := configjson.New("clip", nil)
	r.Between("vocab_size", c.VocabSize, 1, 1<<24)
	r.Between("hidden_size", c.HiddenSize, 1, 16384)
	r.Between("intermediate_size", c.IntermediateSize, 1, 65536)
	r.Between("num_hidden_layers", c.NumHiddenLayers, 1, 256)
	r.Between("num_attention_heads", c.NumAttentionHeads, 1, 1024)
	r.Between("max_position_embeddings", c.MaxPositionEmbeddings, 1, 4096)
	if c.NumAttentionHeads > 0 && c.HiddenSize%c.NumAttentionHeads != 0 {
		r.Errorf("hidden_size %d does not divide into num_attention_heads %d", c.HiddenSize, c.NumAttentionHeads)
	}
	if !(c.LayerNormEps > 0 && c.LayerNormEps < 1) {
		r.Errorf("layer_norm_eps is %g, want a small positive number", c.LayerNormEps)
	}
	if _, ok := c.activation(); !ok {
		r.Errorf("hidden_act is %.40q, want quick_gelu or gelu", c.HiddenAct)
	}
	return r.Err()
}
