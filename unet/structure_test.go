package unet_test

import (
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
)

// TestClaimsSD15 compares the parameters of the default configuration with the 686 of the real checkpoint.
func TestClaimsSD15(t *testing.T) {
	got := golden.Claims{}
	if _, err := unet.New(unet.SD15(), got); err != nil {
		t.Fatal(err)
	}
	want := golden.SD15(t, "unet")
	if len(want) != 686 {
		t.Fatalf("the list has %d parameters, want 686", len(want))
	}
	golden.CheckClaims(t, got, want)
}

// TestCost compares the recorded arithmetic of one evaluation at 64×64 latents with the published cost, which counts
// 0.803 TFLOP in all.
func TestCost(t *testing.T) {
	m := sd15(t)
	var b compute.Builder
	b.Output(m.Apply(&b, b.Input("sample", compute.F32, 1, 64, 64, 4), b.Input("timestep", compute.F32, 1),
		b.Input("encoder_hidden_states", compute.F32, 1, 77, 768)))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	golden.CheckCost(t, p, golden.Cost{
		Conv:      200.16,
		Linear:    76.76 + 4*12.79 + 9.02 + 1.48 + 0.03, // feed-forward, projections, shortcuts, context, time
		Attention: 61.25 + 1.78,
	}, 0.03) // the published figures are rounded to 0.01, and there are up to eight in a sum
	total := 0.0
	for i, n := range p.Nodes {
		switch n.Op.(type) {
		case compute.Conv2D, compute.Linear, compute.Attention:
			total += float64(p.FLOPs(i)) / 2e9
		}
	}
	if want := 401.64; math.Abs(total-want) > 0.001*want {
		t.Errorf("one evaluation takes %.2f GMAC, want %.2f", total, want)
	}
	// Whatever else is recorded (norms, activations) is small beside it.
	if all := float64(p.TotalFLOPs()) / 2e9; all > 1.01*total {
		t.Errorf("ops other than products take %.2f GMAC of %.2f", all-total, all)
	}
}

// TestSharedCost shows what two contexts for one latent share: all before the first cross-attention.
func TestSharedCost(t *testing.T) {
	m := sd15(t)
	cost := func(batch, contexts int) int64 {
		var b compute.Builder
		b.Output(m.Apply(&b, b.Input("sample", compute.F32, batch, 64, 64, 4), b.Input("timestep", compute.F32, 1),
			b.Input("encoder_hidden_states", compute.F32, contexts, 77, 768)))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return p.TotalFLOPs()
	}
	plain, shared := cost(2, 2), cost(1, 2)
	// conv_in, a resnet, proj_in, self-attention with four projections and its scores, the query of the cross-attention.
	const c, pixels = 320, 64 * 64
	want := int64(2 * pixels * (9*4*c + 2*9*c*c + 6*c*c + 2*pixels*c))
	if saved := plain - shared; math.Abs(float64(saved-want)) > 0.005*float64(want) {
		t.Errorf("sharing saves %.3f GFLOP of %.3f, want %.3f", float64(saved)/1e9, float64(plain)/1e9, float64(want)/1e9)
	}
}

func sd15(t testing.TB) *unet.Model {
	t.Helper()
	m, err := unet.New(unet.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestConditioningOrder pins the order of execution that Conditioning follows.
func TestConditioningOrder(t *testing.T) {
	m := sd15(t)
	want := []int{320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320}
	got := m.ContextChannels()
	if len(got) != len(want) {
		t.Fatalf("%d cross-attentions, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("cross-attention %d has %d channels, want %d", i, got[i], want[i])
		}
	}
	var b compute.Builder
	time := m.TimeProjections(&b, b.Input("timestep", compute.F32, 1))
	if len(time) != 22 {
		t.Errorf("%d time projections, want one for each of 22 resnets", len(time))
	}
	if err := b.Err(); err != nil {
		t.Error(err)
	}
}

// TestUnevenSizes checks that an upsampler makes the size of the next skip connection, whatever the size of the latents.
func TestUnevenSizes(t *testing.T) {
	for _, c := range []struct {
		name          string
		height, width int
		want          [][2]int // of the three upsamplers
	}{
		{"multiples of 8", 64, 48, [][2]int{{16, 12}, {32, 24}, {64, 48}}},
		{"13×9", 13, 9, [][2]int{{4, 3}, {7, 5}, {13, 9}}},
		{"1×1", 1, 1, [][2]int{{1, 1}, {1, 1}, {1, 1}}},
		{"one more than a multiple of 8", 65, 17, [][2]int{{17, 5}, {33, 9}, {65, 17}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := sd15(t)
			var b compute.Builder
			out := m.Apply(&b, b.Input("sample", compute.F32, 1, c.height, c.width, 4), b.Input("timestep", compute.F32, 1), b.Input("encoder_hidden_states", compute.F32, 1, 77, 768))
			b.Output(out)
			p, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			if want := (compute.Shape{1, c.height, c.width, 4}); !p.Shape(out).Equal(want) {
				t.Errorf("the result is %v, want %v", p.Shape(out), want)
			}
			var got [][2]int
			for _, n := range p.Nodes {
				if conv, ok := n.Op.(compute.Conv2D); ok && conv.Resize != [2]int{} {
					got = append(got, conv.Resize)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("upsamplers make %v, want %v", got, c.want)
			}
		})
	}
}
