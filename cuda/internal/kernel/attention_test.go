package kernel

import (
	"fmt"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// attentions are cases of compute.Attention.
type attentions struct {
	samples, queries, keys, heads, head int
	causal                              bool
}

func (a attentions) arrays() (q, k, v []float64) {
	channels := a.heads * a.head
	return numbers(a.samples*a.queries*channels, 1), numbers(a.samples*a.keys*channels, 1.5), numbers(a.samples*a.keys*channels, 1.25)
}

func (a attentions) oracle(t *testing.T) []float64 {
	q, k, v := a.arrays()
	channels := a.heads * a.head
	return oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
		return b.Op(compute.Attention{
			Q: input(q, a.samples, a.queries, channels), K: input(k, a.samples, a.keys, channels), V: input(v, a.samples, a.keys, channels),
			Heads: a.heads, Causal: a.causal,
		})
	})
}

func TestPlainAttention(t *testing.T) {
	for _, test := range []attentions{{1, 1, 1, 1, 1, false}, {2, 9, 5, 3, 8, false}, {1, 35, 35, 2, 40, true}, {1, 7, 77, 1, 33, false}, {1, 4, 40, 1, 160, false}} {
		for _, dtype := range types {
			t.Run(fmt.Sprint(test, dtype), func(t *testing.T) {
				q, keys, v := test.arrays()
				k := PlainAttention{test.head, test.causal, dtype}
				have, _ := job{kernel: k.Kernel(), grid: k.Grid(test.samples, test.queries, test.heads), arguments: []any{
					out{len(q), dtype}, in{q, dtype}, in{keys, dtype}, in{v, dtype}, test.queries, test.keys,
				}}.run(t)
				compare(t, have, test.oracle(t), tolerance(dtype))
			})
		}
	}
}

// TestFlashAttention has heads of every size of the networks, and lengths that fill no tile.
func TestFlashAttention(t *testing.T) {
	for _, test := range []attentions{
		{1, 64, 64, 1, 40, false}, {2, 37, 77, 2, 40, false}, {1, 77, 77, 2, 64, true}, {1, 130, 70, 1, 40, false}, {1, 130, 130, 1, 64, true},
		{1, 66, 1, 1, 80, false}, {1, 20, 77, 2, 80, false}, {1, 9, 40, 2, 160, false}, {1, 33, 20, 1, 512, false}, {1, 1, 1, 1, 8, true}, {1, 5, 70, 3, 24, false},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			q, keys, v := test.arrays()
			k, ok := FlashFor(test.head, test.queries, test.causal)
			if !ok {
				t.Fatal("there is no division")
			}
			have, stats := job{kernel: k.Kernel(), grid: k.Grid(test.samples, test.queries, test.heads), shared: k.Shared(), arguments: []any{
				out{len(q), compute.F16}, in{q, compute.F16}, in{keys, compute.F16}, in{v, compute.F16}, test.heads * test.head, test.queries, test.keys,
			}}.run(t)
			compare(t, have, test.oracle(t), 1e-3)
			if stats.Conflicts != 0 {
				t.Errorf("%d bank conflicts", stats.Conflicts)
			}
		})
	}
	for _, head := range []int{12, 200, 640} {
		if _, ok := FlashFor(head, 64, false); ok {
			t.Errorf("heads of %d are divided", head)
		}
	}
}

// TestFlashGradient has heads of every size of the networks, and lengths that fill no tile.
func TestFlashGradient(t *testing.T) {
	for _, test := range []attentions{
		{1, 70, 66, 1, 40, false}, {2, 37, 77, 2, 40, false}, {1, 77, 77, 1, 64, true}, {1, 130, 130, 1, 24, true}, {1, 66, 2, 1, 80, false},
		{1, 20, 70, 2, 80, false}, {1, 9, 40, 2, 160, false}, {1, 40, 40, 1, 104, true}, {1, 2, 2, 1, 8, true},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			r := new(recording)
			rows := func(n int) compute.Value { return r.half(test.samples, n, test.heads*test.head) }
			q, k, v, dy := rows(test.queries), rows(test.keys), rows(test.keys), rows(test.queries)
			for _, y := range r.Results(compute.AttentionGradient{Q: q, K: k, V: v, DY: dy, Heads: test.heads, Causal: test.causal}) {
				r.Output(y)
			}
			r.verify(t, Card{Half: true, Multiprocessors: 4})
		})
	}
	for _, head := range []int{12, 168, 512} {
		if _, ok := FlashGradientFor(head, 64, false); ok {
			t.Errorf("heads of %d are divided", head)
		}
	}
}
