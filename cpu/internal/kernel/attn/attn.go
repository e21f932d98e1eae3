package attn

import (
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// Config describes one attention. Q and Out are [N,T,Heads·D], K and V are [N,S,Heads·D].
type Config struct {
	N, T, S  int     // batch, queries, keys
	Heads, D int     // heads and channels of each
	Scale    float64 // factor on Q·Kᵀ; 0: 1/√D
	Causal   bool    // query t attends to keys 0…t only
	BF16     bool    // round Q, K, V and the probabilities to bfloat16; sums stay float32
	Narrow   bool    // round Out too, which then has two bfloat16 in each element; with BF16 and an even D only

	// Elements from one token to the next; 0: Heads·D. Batch items are T or S tokens apart.
	StrideQ, StrideK, StrideV, StrideOut int
}

// Need is the memory a plan asks of its caller, in float32 elements.
type Need struct {
	Workspace int // shared by all tasks of a run, carries K and V from the first phase to the second
	Scratch   int // private to a worker, contents irrelevant between tasks
}

// Args are the operands of one run.
type Args struct {
	Q, K, V, Out []float32
	LSE          []float32 // [N,Heads,T] natural log of Σ exp(scores), for the backward pass; nil: not wanted
	Workspace    []float32 // Need().Workspace elements
}

// Plan is an attention laid out for one shape and kernel set. Run it as
//
//	for phase := range plan.Phases() {
//		every task of range plan.Tasks(phase), in any order, by any worker: plan.Do(phase, task, scratch, args)
//		wait for all of them
//	}
//
// The result does not depend on who does what. A plan is read-only and may be shared. The first phase
// reads K and V and writes Workspace, the second reads Q and Workspace: where K and V have not changed
// and Workspace is intact, the first may be left out.
type Plan struct {
	cfg  Config
	kern *kernels

	scale     float32   // Config.Scale · log2(e): the exponentials are powers of two
	scales    []float32 // the same for every channel
	depth     int       // rows of a Q panel and of K: D, or pairs of channels
	kElems    int       // packed K of one head
	vElems    int       // packed V of one head
	chunks    int       // packing tasks for each batch item and head
	tile      int       // panels of queries in a task
	tiles     int       // tasks for each batch item and head
	block     int       // keys visited between two corrections, a multiple of kern.keys
	widths    []int     // widths of the panels of V, in order
	panelSize int       // scratch for one panel: Q, O and state
}

// packKeys is how many keys one packing task covers; a multiple of every kernel's group.
const packKeys = 192

// New checks cfg and lays out the work for a kernel set. BF16 needs isa.AVX512BF16.
func New(set isa.Set, cfg Config) (*Plan, error) {
	c := &cfg
	if c.N < 1 || c.T < 1 || c.S < 1 || c.Heads < 1 || c.D < 1 {
		return nil, fmt.Errorf("attn: batch %d, %d queries, %d keys, %d heads of %d channels: want at least 1 of each", c.N, c.T, c.S, c.Heads, c.D)
	}
	if c.Narrow && (!c.BF16 || c.D%2 == 1) {
		return nil, fmt.Errorf("attn: a rounded result of heads of %d channels, computed in bfloat16: %v", c.D, c.BF16)
	}
	width := c.Heads * c.D
	for _, s := range []struct {
		stride *int
		width  int
		name   string
	}{{&c.StrideQ, width, "Q"}, {&c.StrideK, width, "K"}, {&c.StrideV, width, "V"}, {&c.StrideOut, c.outWidth(), "Out"}} {
		if *s.stride == 0 {
			*s.stride = s.width
		}
		if *s.stride < s.width {
			return nil, fmt.Errorf("attn: rows of %s are %d apart but %d wide", s.name, *s.stride, s.width)
		}
	}
	kern := kernelsFor(set)
	if c.BF16 {
		if set < isa.AVX512BF16 {
			return nil, fmt.Errorf("attn: the %v set has no bfloat16 kernels", set)
		}
		kern = bf16Kernels
	}
	if c.Scale == 0 {
		c.Scale = 1 / math.Sqrt(float64(c.D))
	}
	p := &Plan{cfg: cfg, kern: kern, depth: c.D}
	p.scale = float32(c.Scale * math.Log2E)
	p.scales = slices.Repeat([]float32{p.scale}, c.D)
	p.kElems = roundUp(c.S, kern.keys) * c.D
	p.vElems = c.S * c.D
	if c.BF16 {
		p.depth = (c.D + 1) / 2
		p.kElems = roundUp(c.S, kern.keys) * p.depth
		p.vElems = (c.S + 1) / 2 * c.D
	}
	p.chunks = (c.S + packKeys - 1) / packKeys
	p.block, p.tile = blocking(kern, c)
	p.tiles = (c.T + p.tile*kern.lanes - 1) / (p.tile * kern.lanes)
	p.widths = splitWidths(kern, c.D)
	p.panelSize = kern.lanes * (p.depth + c.D + stateRows)
	return p, nil
}

// outWidth is the elements of a row of Out.
func (c *Config) outWidth() int {
	if c.Narrow {
		return c.Heads * c.D / 2
	}
	return c.Heads * c.D
}

// blocking chooses keys per block and panels per task. The scores of a block of keys for one panel
// stay in half of a 48 KB first-level cache; the block of K and V is shared by the panels of a task
// and stays, with them, in the second-level cache.
func blocking(k *kernels, c *Config) (block, tile int) {
	const keys, panels, elems = 192, 4, 96 << 10
	block = keys
	tile = min(panels, max(1, elems/(2*c.D*k.lanes)))
	tile = min(tile, (c.T+k.lanes-1)/k.lanes)
	return block, tile
}

// splitWidths covers d channels with panels: all of the widest kind if that divides d, else greedily
// of the others, which halve down to 1.
func splitWidths(k *kernels, d int) []int {
	kinds := k.widths
	if d%kinds[0] != 0 {
		kinds = kinds[1:]
	}
	var widths []int
	for _, w := range kinds {
		for ; d >= w; d -= w {
			widths = append(widths, w)
		}
	}
	return widths
}

// Need is the memory the plan uses.
func (p *Plan) Need() Need {
	c := &p.cfg
	scores := p.block * p.kern.lanes
	if c.BF16 { // rows are rounded there before or after they are transposed
		scores = max(scores, p.kern.lanes*c.D)
	}
	return Need{
		Workspace: c.N * c.Heads * (p.kElems + p.vElems),
		Scratch:   p.tile*p.panelSize + scores,
	}
}

// Phases is the number of phases: K and V are packed, then read by every query.
func (p *Plan) Phases() int { return 2 }

// Tasks is the number of independent tasks in a phase.
func (p *Plan) Tasks(phase int) int {
	n := p.cfg.N * p.cfg.Heads
	if phase == 0 {
		return n * p.chunks
	}
	return n * p.tiles
}

// FLOPs is the arithmetic of one run, two per multiply-add, exponentials not counted. Causal attention
// counts what its mask keeps.
func (p *Plan) FLOPs() int {
	c := &p.cfg
	pairs := c.T * c.S
	if c.Causal {
		m := min(c.T, c.S)
		pairs = m*(m+1)/2 + (c.T-m)*c.S
	}
	return 4 * c.N * c.Heads * pairs * c.D
}

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (p *Plan) Check(a *Args) error {
	c := &p.cfg
	span := func(tokens, stride, width int) int { return (c.N*tokens-1)*stride + width }
	width := c.Heads * c.D
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"Q", len(a.Q), span(c.T, c.StrideQ, width)},
		{"K", len(a.K), span(c.S, c.StrideK, width)},
		{"V", len(a.V), span(c.S, c.StrideV, width)},
		{"Out", len(a.Out), span(c.T, c.StrideOut, c.outWidth())},
		{"Workspace", len(a.Workspace), p.Need().Workspace},
	} {
		if o.have < o.want {
			return fmt.Errorf("attn: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	if want := c.N * c.Heads * c.T; a.LSE != nil && len(a.LSE) < want {
		return fmt.Errorf("attn: LSE has %d elements: want %d", len(a.LSE), want)
	}
	return nil
}

// Do runs one task. The args must pass Check and scratch must hold Need().Scratch elements.
// Out may share storage with none of the other operands.
func (p *Plan) Do(phase, task int, scratch []float32, a *Args) {
	if phase == 0 {
		p.pack(task/p.chunks, task%p.chunks, scratch, a)
		return
	}
	p.attend(task/p.tiles, task%p.tiles, scratch, a)
}

// packed is the part of the workspace that holds K and V of one batch item and head.
func (p *Plan) packed(head int, a *Args) (k, v []float32) {
	w := a.Workspace[head*(p.kElems+p.vElems):]
	return w[:p.kElems:p.kElems], w[p.kElems:][:p.vElems:p.vElems]
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }
