package clip_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
)

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       func(c *clip.Config) // what differs from SD15
	}{
		{"no file", ``, func(*clip.Config) {}},
		{"empty", `{}`, func(*clip.Config) {}},
		{"null is absent", `{"hidden_size": null, "hidden_act": null}`, func(*clip.Config) {}},
		{"historical ids", `{"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}`, func(*clip.Config) {}},
		{"unknown fields", `{"torch_dtype": "float16", "projection_dim": 768, "new": []}`, func(*clip.Config) {}},
		{"all", `{"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
			"max_position_embeddings": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu"}`,
			func(c *clip.Config) {
				*c = clip.Config{VocabSize: 100, HiddenSize: 32, IntermediateSize: 64, NumHiddenLayers: 3, NumAttentionHeads: 4,
					MaxPositionEmbeddings: 16, LayerNormEps: 1e-6, HiddenAct: "gelu"}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := clip.ParseConfig([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			want := clip.SD15()
			if c.want(&want); got != want {
				t.Errorf("have %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		name, json string
		say        []string // what the error has to name
	}{
		{"not JSON", `hidden_size: 768`, []string{"config.json"}},
		{"not an object", `768`, []string{"config.json"}},
		{"truncated", `{"hidden_size": 7`, []string{"config.json"}},
		{"wrong type", `{"hidden_size": "large"}`, []string{"hidden_size", `"large"`}},
		{"zero", `{"vocab_size": 0}`, []string{"vocab_size is 0"}},
		{"negative", `{"num_attention_heads": -12}`, []string{"num_attention_heads is -12"}},
		{"too many layers", `{"num_hidden_layers": 1000000000}`, []string{"num_hidden_layers"}},
		{"too wide", `{"intermediate_size": 1000000000}`, []string{"intermediate_size"}},
		{"heads", `{"num_attention_heads": 7}`, []string{"hidden_size 768", "num_attention_heads 7"}},
		{"epsilon", `{"layer_norm_eps": 0}`, []string{"layer_norm_eps"}},
		{"activation", `{"hidden_act": "swish"}`, []string{"hidden_act", `"swish"`, "quick_gelu"}},
		{"all at once", `{"vocab_size": 0, "hidden_size": 0, "hidden_act": ""}`, []string{"vocab_size", "hidden_size", "hidden_act"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := clip.ParseConfig([]byte(c.json))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range append(c.say, "clip: ") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

// FuzzParseConfig records the network of whatever configuration is accepted.
func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"hidden_act": "gelu", "num_hidden_layers": 1, "max_position_embeddings": 1}`,
		`{"vocab_size": 16777216, "hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 256, "num_attention_heads": 1024, "max_position_embeddings": 4096}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := clip.ParseConfig(data)
		if err != nil {
			return
		}
		m, err := clip.New(c, nil)
		if err != nil {
			t.Fatalf("ParseConfig accepts what New refuses: %v", err)
		}
		var b compute.Builder
		b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, 2, c.MaxPositionEmbeddings), c.NumHiddenLayers-1))
		b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, 2, 1), 0))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Shape(p.Outputs[1]), (compute.Shape{2, 1, c.HiddenSize}); !got.Equal(want) {
			t.Errorf("the result is %v, want %v", got, want)
		}
	})
}
