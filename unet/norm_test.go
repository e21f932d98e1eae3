package unet_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// TestEps pins the epsilons of the norms, which the random weights of small models hardly show.
func TestEps(t *testing.T) {
	m := sd15(t)
	var b compute.Builder
	b.Output(m.Apply(&b, b.Input("sample", compute.F32, 1, 8, 8, 4), b.Input("timestep", compute.F32, 1),
		b.Input("encoder_hidden_states", compute.F32, 1, 77, 768)))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, n := range p.Nodes {
		switch op := n.Op.(type) {
		case compute.GroupNorm:
			kind, want := "resnets", 1e-5
			if strings.HasSuffix(n.Path, ".norm") {
				kind, want = "transformers", 1e-6
			}
			counts[kind]++
			if op.Eps != want || op.Groups != 32 {
				t.Errorf("%s: epsilon %g and %d groups, want %g and 32", n.Path, op.Eps, op.Groups, want)
			}
		case compute.LayerNorm:
			counts["tokens"]++
			if op.Eps != 1e-5 {
				t.Errorf("%s: epsilon %g, want 1e-5", n.Path, op.Eps)
			}
		}
	}
	// Two in each of 22 resnets and one at the end; one and three in each of 16 transformers.
	if counts["resnets"] != 45 || counts["transformers"] != 16 || counts["tokens"] != 48 {
		t.Errorf("%v norms, want 45 in resnets, 16 in transformers, 48 of tokens", counts)
	}
}
