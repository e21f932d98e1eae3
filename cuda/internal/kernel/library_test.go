package kernel

import (
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// TestLibraries says which ops libraries have a part in, and which are for own kernels alone.
func TestLibraries(t *testing.T) {
	const product, graph, apart = "cuBLASLt", "cuDNN", "cuDNN, the epilogue apart"
	same := compute.SamePadding(1)
	for name, test := range map[string]struct {
		record func(b *compute.Builder, x compute.Value) compute.Op // x is halves [1,4,4,16]
		want   []string
	}{
		"Linear": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Linear{X: x, Weight: b.Param("w", 3, 16)}
		}, []string{product}},
		"a window of one pixel": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, Weight: b.Param("w", 8, 16, 1, 1), Stride: 1, Bias: b.Param("b", 8)}
		}, []string{product, graph, apart}},
		"without an epilogue": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, Weight: b.Param("w", 8, 16, 3, 3), Stride: 2, Pad: same}
		}, []string{graph}},
		"an activation that graphs do not have": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, Weight: b.Param("w", 8, 16, 3, 3), Stride: 1, Pad: same, Epilogue: compute.Epilogue{Activation: compute.GELU}}
		}, []string{apart}},
		"two parts": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, X2: x, Weight: b.Param("w", 8, 32, 3, 3), Stride: 1, Pad: same}
		}, []string{graph}},
		"enlarged": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, Weight: b.Param("w", 8, 16, 3, 3), Stride: 1, Pad: same, Resize: [2]int{8, 8}}
		}, nil},
		"channels that are not in eights": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2D{X: x, Weight: b.Param("w", 4, 16, 3, 3), Stride: 1, Pad: same}
		}, nil},
		"the input gradient of Linear": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.LinearInputGradient{DY: x, Weight: b.Param("w", 16, 24), First: 8, Channels: 16}
		}, []string{product}},
		"that by channels where no address may begin": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.LinearInputGradient{DY: x, Weight: b.Param("w", 16, 24), First: 4, Channels: 16}
		}, nil},
		"the input gradient of Conv2D": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2DInputGradient{DY: x, Weight: b.Param("w", 16, 8, 3, 3), Height: 8, Width: 8, Channels: 8, Stride: 2, Pad: same}
		}, []string{graph}},
		"that by some channels": {func(b *compute.Builder, x compute.Value) compute.Op {
			return compute.Conv2DInputGradient{DY: x, Weight: b.Param("w", 16, 16, 3, 3), Height: 4, Width: 4, Channels: 8, Stride: 1, Pad: same}
		}, nil},
		"another op": {func(b *compute.Builder, x compute.Value) compute.Op { return compute.Activate{X: x} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var b compute.Builder
			x := b.Op(compute.Activate{X: b.Input("x", compute.F32, 1, 4, 4, 16)})
			b.Output(b.Op(test.record(&b, x)))
			p, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			for half, want := range map[bool][]string{true: test.want, false: nil} {
				k := New(Card{Half: half, Multiprocessors: 28})
				stored := k.Store(p)
				var have []string
				for _, w := range k.Libraries(stored, stored.Nodes[1]) {
					have = append(have, w.Name)
					if w.IsProduct() != (w.Name == product) || w.With(2).Launches[0].Algorithm != 2 {
						t.Errorf("%s: %+v", w.Name, w)
					}
				}
				if !slices.Equal(have, want) {
					t.Errorf("in half precision %v: %q, want %q", half, have, want)
				}
			}
		})
	}
}
