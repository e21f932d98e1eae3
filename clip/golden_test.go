package clip_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/weights"
)

// openModel builds the text encoder of a kit.
func openModel(t testing.TB, k golden.Kit) (*clip.Model, *weights.Component) {
	t.Helper()
	params, err := k.Open(t).TextEncoder()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clip.ParseConfig(params.Config())
	if err != nil {
		t.Fatal(err)
	}
	m, err := clip.New(config, params)
	if err != nil {
		t.Fatal(err)
	}
	if err := params.Err(); err != nil {
		t.Fatal(err)
	}
	return m, params
}

// TestGolden compares the hidden states after every layer, and the result with and without a skipped layer, with
// those of transformers.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		m, params := openModel(t, k)
		want := k.Load(t, "clip")
		ids := want.Tensor(t, "input_ids")

		var b compute.Builder
		b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, ids.Shape...), 0))
		probes := []golden.Probe{{Golden: "last_hidden_state", Module: "text_model.final_layer_norm"}}
		for _, name := range want.Names("hidden_states.") {
			module := "text_model.embeddings"
			if i, err := strconv.Atoi(strings.TrimPrefix(name, "hidden_states.")); err != nil {
				t.Fatalf("golden %q", name)
			} else if i > 0 {
				module = "text_model.encoder.layers." + strconv.Itoa(i-1)
			}
			probes = append(probes, golden.Probe{Golden: name, Module: module})
		}
		golden.CheckModules(t, dev, params, &b, want, probes, ids.Int32())

		var skipping compute.Builder
		skipping.Output(m.Forward(&skipping, skipping.Input("input_ids", compute.I32, ids.Shape...), 1))
		out := golden.Run(t, dev, params, &skipping, ids.Int32())
		golden.Check(t, "clip_skip_2", out[0], want.Tensor(t, "clip_skip_2"))
	})
}
