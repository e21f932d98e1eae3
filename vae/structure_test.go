package vae_test

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/vae"
)

// TestClaimsSD15 compares the parameters of the default configuration with the 248 of the real checkpoint.
func TestClaimsSD15(t *testing.T) {
	got := golden.Claims{}
	if _, err := vae.New(vae.SD15(), got); err != nil {
		t.Fatal(err)
	}
	want := golden.SD15(t, "vae")
	if len(want) != 248 {
		t.Fatalf("the list has %d parameters, want 248", len(want))
	}
	golden.CheckClaims(t, got, want)
}

// TestCost compares the recorded arithmetic at 512×512 with the published cost.
func TestCost(t *testing.T) {
	m, err := vae.New(vae.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		shape  []int
		record func(*compute.Builder, compute.Value) compute.Value
		want   golden.Cost // GMAC
	}{
		{"encode", []int{1, 512, 512, 3}, m.Encode, golden.Cost{Conv: 532.6, Linear: 4.3 + 4.3, Attention: 17.2}},
		{"decode", []int{1, 64, 64, 4}, m.Decode, golden.Cost{Conv: 1218.6, Linear: 17.2 + 4.3, Attention: 17.2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b compute.Builder
			b.Output(c.record(&b, b.Input("x", compute.F32, c.shape...)))
			p, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			golden.CheckCost(t, p, c.want, 0.1) // the published figures are rounded to 0.1
		})
	}
}
