package clip_test

import (
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
)

// TestClaimsSD15 compares the parameters of the default configuration with the 196 of the real checkpoint.
func TestClaimsSD15(t *testing.T) {
	got := golden.Claims{}
	if _, err := clip.New(clip.SD15(), got); err != nil {
		t.Fatal(err)
	}
	want := golden.SD15(t, "text_encoder")
	if len(want) != 196 {
		t.Fatalf("the list has %d parameters, want 196", len(want))
	}
	golden.CheckClaims(t, got, want)
}

// TestCost compares the recorded arithmetic of one sequence of 77 tokens with the published 6.65 GMAC.
func TestCost(t *testing.T) {
	m, err := clip.New(clip.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b compute.Builder
	b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, 1, 77), 0))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	// The scores are counted in full although the mask hides half of them: 12 layers · 2 · 77² · 768.
	attention := 12 * 2 * 77 * 77 * 768 / 1e9
	golden.CheckCost(t, p, golden.Cost{Linear: 6.65 - attention, Attention: attention}, 0.005)
}
