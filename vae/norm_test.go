package vae_test

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/vae"
)

// TestEps pins the epsilon of the norms, which the random weights of small models hardly show.
func TestEps(t *testing.T) {
	m, err := vae.New(vae.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b compute.Builder
	b.Output(m.Encode(&b, b.Input("image", compute.F32, 1, 64, 64, 3)))
	b.Output(m.Decode(&b, b.Input("latent", compute.F32, 1, 8, 8, 4)))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for _, n := range p.Nodes {
		if op, ok := n.Op.(compute.GroupNorm); ok {
			norms++
			if op.Eps != 1e-6 || op.Groups != 32 {
				t.Errorf("%s: epsilon %g and %d groups, want 1e-6 and 32", n.Path, op.Eps, op.Groups)
			}
		}
	}
	// Two in each resnet, 10 of the encoder and 14 of the decoder, one in each attention, one at each end.
	if norms != 52 {
		t.Errorf("%d norms, want 52", norms)
	}
}
