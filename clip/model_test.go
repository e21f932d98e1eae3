package clip_test

import (
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
)

// TestSkip counts the layers that are recorded.
func TestSkip(t *testing.T) {
	m, err := clip.New(clip.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ skip, layers int }{{0, 12}, {1, 11}, {11, 1}} {
		var b compute.Builder
		b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, 1, 77), c.skip))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		layers := 0
		for _, n := range p.Nodes {
			if _, ok := n.Op.(compute.Attention); ok {
				layers++
			}
		}
		if layers != c.layers {
			t.Errorf("with %d skipped, %d layers are recorded, want %d", c.skip, layers, c.layers)
		}
		if last := p.Nodes[len(p.Nodes)-1].Path; last != "text_model.final_layer_norm" {
			t.Errorf("with %d skipped, %s is last", c.skip, last)
		}
	}
}
