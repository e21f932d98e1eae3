package kernel

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
	"github.com/atelier-go/atelier/internal/golden"
)

var update = flag.Bool("update", false, "write the budgets of docs/kernels.md anew")

// count adds up what was counted of a kernel.
func (r *recording) count(kernel string, s simgpu.Stats) {
	if r.stats == nil {
		r.stats = make(map[string]simgpu.Stats)
	}
	r.stats[kernel] = added(r.stats[kernel], s, 1)
}

// added is a plus so many times b.
func added(a, b simgpu.Stats, times int) simgpu.Stats {
	return simgpu.Stats{
		Instructions: a.Instructions + times*b.Instructions, Products: a.Products + times*b.Products, Conflicts: a.Conflicts + times*b.Conflicts,
		Sectors: a.Sectors + times*b.Sectors, FullSectors: a.FullSectors + times*b.FullSectors,
	}
}

// loops are main loops on tensor cores: their kernel, by how its name begins, and an op for which it walks n times as far.
var loops = []struct {
	name, kernel string
	record       func(r *recording, n int) compute.Op
}{
	{"product 128×128", "linear_128x128", func(r *recording, n int) compute.Op {
		return compute.Linear{X: r.half(1, 128, 128*n), Weight: r.param(128, 128*n)}
	}},
	{"product 128×64", "linear_128x64", func(r *recording, n int) compute.Op {
		return compute.Linear{X: r.half(1, 128, 128*n), Weight: r.param(64, 128*n)}
	}},
	{"product 64×64", "linear_64x64", func(r *recording, n int) compute.Op {
		return compute.Linear{X: r.half(1, 64, 256*n), Weight: r.param(64, 256*n)}
	}},
	{"product 32×32", "linear_32x32", func(r *recording, n int) compute.Op {
		return compute.Linear{X: r.half(1, 32, 128*n), Weight: r.param(32, 128*n)}
	}},
	{"product with a transposed weight", "linear_128x128", func(r *recording, n int) compute.Op {
		return compute.LinearInputGradient{DY: r.half(1, 128, 128*n), Weight: r.param(128*n, 128), Channels: 128}
	}},
	{"product of two activations", "linear_128x128", func(r *recording, n int) compute.Op {
		return compute.MatMul{A: r.half(128*n, 128), B: r.half(128*n, 128), TransposeA: true}
	}},
	{"convolution", "conv_128x128", func(r *recording, n int) compute.Op {
		return compute.Conv2D{X: r.half(1, 8, 16, 64*n), Weight: r.param(128, 64*n, 3, 3), Stride: 1, Pad: same}
	}},
	{"convolution of stride 2", "conv_128x128", func(r *recording, n int) compute.Op {
		return compute.Conv2D{X: r.half(1, 16, 32, 64*n), Weight: r.param(128, 64*n, 3, 3), Stride: 2, Pad: same}
	}},
	{"convolution of two parts", "conv_128x128", func(r *recording, n int) compute.Op {
		return compute.Conv2D{X: r.half(1, 8, 16, 32*n), X2: r.half(1, 8, 16, 32*n), Weight: r.param(128, 64*n, 3, 3), Stride: 1, Pad: same}
	}},
	{"convolution of what is enlarged", "conv_128x128", func(r *recording, n int) compute.Op {
		return compute.Conv2D{X: r.half(1, 4, 8, 64*n), Weight: r.param(128, 64*n, 3, 3), Stride: 1, Pad: same, Resize: [2]int{8, 16}}
	}},
	{"input gradient of a convolution", "conv_128x128", func(r *recording, n int) compute.Op {
		return compute.Conv2DInputGradient{DY: r.half(1, 8, 16, 64*n), Weight: r.param(64*n, 128, 3, 3), Height: 8, Width: 16, Channels: 128, Stride: 1, Pad: same}
	}},
	{"attention, heads of 40", "flash_40", attentionOf(40)},
	{"attention, heads of 64", "flash_64", attentionOf(64)},
	{"attention, heads of 80", "flash_80", attentionOf(80)},
	{"attention, heads of 160", "flash_160", attentionOf(160)},
	{"attention, heads of 512", "flash_512", attentionOf(512)},
	{"attention's gradient by queries, heads of 40", "flash_gradient_q_40", gradientOf(40, 0, 1)},
	{"attention's gradient by queries, heads of 80", "flash_gradient_q_80", gradientOf(80, 0, 1)},
	{"attention's gradient by queries, heads of 160", "flash_gradient_q_160", gradientOf(160, 0, 1)},
	{"attention's gradient by keys, heads of 40", "flash_gradient_kv_40", gradientOf(40, 1, 0)},
	{"attention's gradient by keys, heads of 80", "flash_gradient_kv_80", gradientOf(80, 1, 0)},
	{"attention's gradient by keys, heads of 160", "flash_gradient_kv_160", gradientOf(160, 1, 0)},
}

// attentionOf is attention to keys, 64 or more.
func attentionOf(head int) func(r *recording, n int) compute.Op {
	return func(r *recording, n int) compute.Op {
		return compute.Attention{Q: r.half(1, 128, 2*head), K: r.half(1, 64*n, 2*head), V: r.half(1, 64*n, 2*head), Heads: 2}
	}
}

// gradientOf is attention's gradient, with more queries or more keys as n grows.
func gradientOf(head, queries, keys int) func(r *recording, n int) compute.Op {
	return func(r *recording, n int) compute.Op {
		rows := func(n int) compute.Value { return r.half(1, 128*n, 2*head) }
		k, q := 1+keys*(n-1), 1+queries*(n-1)
		return compute.AttentionGradient{Q: rows(q), K: rows(k), V: rows(k), DY: rows(q), Heads: 2}
	}
}

// loop counts what a main loop does: the difference between a walk of twice the length and one, of which what comes before and behind is no part.
func loop(t *testing.T, kernel string, record func(r *recording, n int) compute.Op) (s simgpu.Stats) {
	t.Helper()
	for n, sign := range map[int]int{1: -1, 2: 1} {
		r := new(recording)
		for _, y := range r.Results(record(r, n)) {
			r.Output(r.Op(compute.Activate{X: y})) // so that it is kept in half precision
		}
		p, err := r.Build()
		if err != nil {
			t.Fatal(err)
		}
		r.execute(t, p, Card{Half: true, Multiprocessors: 1}, 1)
		for name, counted := range r.stats {
			if strings.HasPrefix(name, kernel) {
				s = added(s, counted, sign)
			}
		}
	}
	return s
}

// TestBudgets counts what main loops on tensor cores do, and holds it to the table of docs/kernels.md. None has a bank conflict, and all move whole
// sectors, but for heads of 40 channels: rows of 80 bytes begin within a sector and end within one.
func TestBudgets(t *testing.T) {
	var text strings.Builder
	text.WriteString("| main loop | kernel | instructions for each `mma` | sectors |\n|---|---|---|---|\n")
	for _, l := range loops {
		s := loop(t, l.kernel, l.record)
		if s.Products == 0 || s.Conflicts != 0 {
			t.Errorf("%s: %d products and %d bank conflicts", l.name, s.Products, s.Conflicts)
		}
		if s.Sectors > s.FullSectors && !strings.Contains(l.name, "heads of 40") {
			t.Errorf("%s moves %d sectors, %d would do", l.name, s.Sectors, s.FullSectors)
		}
		fmt.Fprintf(&text, "| %s | `%s` | %.2f | %.2f |\n", l.name, l.kernel, float64(s.Instructions)/float64(s.Products), float64(s.Sectors)/float64(s.FullSectors))
	}
	golden.Section(t, "docs/kernels.md", "budgets", text.String(), *update)
}
