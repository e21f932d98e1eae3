package attn

import (
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// GradientArgs are the operands of one run: Q, Y, DY and DQ are [N,T,Heads·D], K, V, DK and DV [N,S,Heads·D].
type GradientArgs struct {
	Q, K, V, DY []float32
	Y, LSE      []float32 // what the attention made, and its Args.LSE, if the plan is one that is given them
	DQ, DK, DV  []float32
	Workspace   []float32 // Need().Workspace elements
}

// Gradient is a plan of the derivative of attention by queries, keys and values. With P = softmax(Q·Kᵀ·scale) and
// dP = DY·Vᵀ, per head
//
//	δ = rowsum(P∘dP),  dS = P∘(dP - δ),  dQ = scale·dS·K,  dK = scale·dSᵀ·Q,  dV = Pᵀ·DY
//
// Scores are made again tile by tile, as in Dao, "FlashAttention-2" (arXiv:2307.08691): with keys across the lanes, for dS and
// from it everything else. That needs log Σ exp(scores) and δ of each query. Where the attention's result is given, δ is
// rowsum(DY∘Y) and the other what it kept; else a pass with queries across the lanes makes both first. A task has some keys
// and some queries of a head. Where several add to one result, each has sums of its own, and these are added up in order at
// the end.
//
// For dQ keys, and for dP values, are taken relative to their means. That shifts dP and δ of a query by one number, and dQ
// not at all, since the rows of dS add up to nothing. But where attention is spread and keys are alike, dQ would otherwise be a
// small difference of large sums.
//
// It is run like a Plan. With BF16 the factors of all products are rounded to bfloat16: Q, K, V, DY, P and dS.
type Gradient struct {
	plan   *Plan // the attention's: how keys are packed
	kern   *kernels
	given  bool      // what the attention made is
	scales []float32 // one for each lane of dK and dQ
	ones   []float32

	block         int // rows visited at a time: whole groups, panels and pairs
	tile          int // panels of keys, or of queries in the first pass, that share what is read of the rows
	keyTiles      int
	queryBlocks   int
	keyParts      int // tasks that share the keys of a head in the second pass, each with all queries of
	queryParts    int // one of as many parts
	perPair       int // elements in a word of P, dS and what they are multiplied by
	each          [gradientPhases]int
	size, scratch int // workspace for one batch item and head, and of a task
}

// The phases of the gradient.
const (
	phaseMeans = iota
	phasePack
	phaseStatistics
	phaseProducts
	phaseSums
	gradientPhases
)

// parts is how many tasks should share the products of a head.
const parts = 4

// NewGradient checks cfg, whose strides must be dense, and lays out the work for a kernel set. If given, the arguments have what the
// attention made.
func NewGradient(set isa.Set, cfg Config, given bool) (*Gradient, error) {
	dense := cfg
	dense.StrideQ, dense.StrideK, dense.StrideV, dense.StrideOut = 0, 0, 0, 0
	if dense != cfg {
		return nil, fmt.Errorf("attn: the gradient of operands whose rows are not dense")
	}
	plan, err := New(set, cfg)
	if err != nil {
		return nil, err
	}
	kern, c := plan.kern, &plan.cfg
	g := &Gradient{plan: plan, kern: kern, given: given, block: 96, perPair: 1}
	if c.BF16 {
		g.perPair = 2
	}
	g.scales = slices.Repeat([]float32{float32(c.Scale)}, kern.lanes)
	g.ones = slices.Repeat([]float32{1}, kern.lanes)
	_, g.tile = blocking(kern, &Config{T: c.S, D: 2 * c.D})
	g.keyTiles = ceil(c.S, g.tile*kern.lanes)
	g.queryBlocks = ceil(c.T, g.block)
	g.keyParts = min(parts, g.keyTiles)
	g.queryParts = min(ceil(parts, g.keyParts), g.queryBlocks)
	g.each = [...]int{
		1, g.keyChunks() + ceil(c.T, packKeys), ceil(c.T, g.tile*kern.lanes), g.keyParts * g.queryParts,
		ceil(c.T, packKeys) + min(g.queryParts-1, 1),
	}
	if given {
		g.each[phaseStatistics] = 0
	}
	g.size = g.memory(nil, 0).size
	g.scratch = g.field(nil).size
	return g, nil
}

func ceil(n, m int) int { return (n + m - 1) / m }

// cutter cuts up memory, or only measures it if there is none.
type cutter struct {
	rest []float32
	size int
}

func (c *cutter) take(n int) (part []float32) {
	c.size += n
	if c.rest != nil {
		part, c.rest = c.rest[:n:n], c.rest[n:]
	}
	return part
}

// memory is the workspace of one batch item and head.
type memory struct {
	size           int
	meanK, meanV   []float32 // [D]
	lse, delta     []float32 // [T]: log2 Σ exp(scores) and δ of each query
	q, dy          []float32 // groups [depth][keys] of scaled queries and of their results' gradients
	rowsQ, rowsDY  []float32 // panels [T][width] of the same, not scaled
	k, v           []float32 // groups of keys and values, until the statistics are made;
	sumDQ          []float32 // then the sums of each part of the keys, [D][lanes] for each panel of queries,
	sumDK, sumDV   []float32 // and those of each part of the queries, [S][D], if there are several
	partDQ, partDK int       // elements in a part
}

func (g *Gradient) memory(workspace []float32, head int) memory {
	c, group := &g.plan.cfg, g.kern.keys
	w := cutter{rest: workspace}
	if workspace != nil {
		w.rest = workspace[head*g.size:]
	}
	m := memory{partDQ: roundUp(c.T, g.kern.lanes) * c.D, partDK: c.S * c.D}
	m.meanK, m.meanV = w.take(c.D), w.take(c.D)
	m.lse, m.delta = w.take(c.T), w.take(c.T)
	m.q, m.dy = w.take(roundUp(c.T, group)*g.plan.depth), w.take(roundUp(c.T, group)*g.plan.depth)
	m.rowsQ, m.rowsDY = w.take(ceil(c.T, g.perPair)*c.D), w.take(ceil(c.T, g.perPair)*c.D)
	later := w
	if !g.given {
		m.k, m.v = w.take(roundUp(c.S, group)*g.plan.depth), w.take(roundUp(c.S, group)*g.plan.depth)
	}
	m.sumDQ = later.take(g.keyParts * m.partDQ)
	if g.queryParts > 1 {
		m.sumDK, m.sumDV = later.take(g.queryParts*m.partDK), later.take(g.queryParts*m.partDK)
	}
	m.size = max(w.size, later.size)
	return m
}

// Need is the memory the plan uses.
func (g *Gradient) Need() Need {
	return Need{Workspace: g.plan.cfg.N * g.plan.cfg.Heads * g.size, Scratch: g.scratch}
}

// Phases is the number of phases.
func (g *Gradient) Phases() int { return gradientPhases }

// Tasks is the number of independent tasks in a phase.
func (g *Gradient) Tasks(phase int) int { return g.plan.cfg.N * g.plan.cfg.Heads * g.each[phase] }

// FLOPs is the arithmetic of the five products that define the gradient, two per multiply-add.
func (g *Gradient) FLOPs() int { return g.plan.FLOPs() / 2 * 5 }

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (g *Gradient) Check(a *GradientArgs) error {
	c := &g.plan.cfg
	queries, keys := c.N*c.T*c.Heads*c.D, c.N*c.S*c.Heads*c.D
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"Q", len(a.Q), queries}, {"K", len(a.K), keys}, {"V", len(a.V), keys}, {"DY", len(a.DY), queries},
		{"Y", len(a.Y), g.ifGiven(queries)}, {"LSE", len(a.LSE), g.ifGiven(c.N * c.Heads * c.T)},
		{"DQ", len(a.DQ), queries}, {"DK", len(a.DK), keys}, {"DV", len(a.DV), keys}, {"Workspace", len(a.Workspace), g.Need().Workspace},
	} {
		if o.have < o.want {
			return fmt.Errorf("attn: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

func (g *Gradient) ifGiven(n int) int {
	if g.given {
		return n
	}
	return 0
}

// Do runs one task. The args must pass Check and scratch must hold Need().Scratch elements.
// The results may share storage with none of the operands.
func (g *Gradient) Do(phase, task int, scratch []float32, a *GradientArgs) {
	head, part := task/g.each[phase], task%g.each[phase]
	m := g.memory(a.Workspace, head)
	switch phase {
	case phaseMeans:
		g.average(m.meanK, a.K[g.first(head, g.plan.cfg.S):])
		g.average(m.meanV, a.V[g.first(head, g.plan.cfg.S):])
	case phasePack:
		if chunks := g.keyChunks(); part < chunks {
			g.packKeys(head, part, scratch, &m, a)
		} else {
			g.packQueries(head, part-chunks, scratch, &m, a)
		}
	case phaseStatistics:
		g.measure(head, part, scratch, &m, a)
	case phaseProducts:
		g.multiply(head, part, scratch, &m, a)
	case phaseSums:
		if chunks := ceil(g.plan.cfg.T, packKeys); part < chunks {
			g.addQueries(head, part, &m, a)
		} else {
			g.addKeys(a.DK[g.first(head, g.plan.cfg.S):], m.sumDK)
			g.addKeys(a.DV[g.first(head, g.plan.cfg.S):], m.sumDV)
		}
	}
}

// keyChunks is the number of tasks that pack one head's keys for the first pass.
func (g *Gradient) keyChunks() int {
	if g.given {
		return 0
	}
	return ceil(g.plan.cfg.S, packKeys)
}

// first is the element at which one head's rows of a [N,tokens,Heads·D] operand begin.
func (g *Gradient) first(head, tokens int) int {
	c := &g.plan.cfg
	return head/c.Heads*tokens*c.Heads*c.D + head%c.Heads*c.D
}

func (g *Gradient) stride() int { return g.plan.cfg.Heads * g.plan.cfg.D }

// average sets mean to that of one head's keys or values.
func (g *Gradient) average(mean, rows []float32) {
	clear(mean)
	g.kern.sumRows(mean, rows, g.plan.cfg.S, g.stride())
	for i := range mean {
		mean[i] /= float32(g.plan.cfg.S)
	}
}

// pack sets dst, [depth][width], to the given number of rows, stride elements apart, times the scales, which may be nil;
// the last row stands for those that are missing. Scratch may be src, if its rows are dense.
func (g *Gradient) pack(dst, src, scales []float32, width, stride, rows int, scratch []float32) {
	depth := g.plan.depth
	if g.plan.cfg.BF16 {
		scale := float32(1)
		if scales != nil {
			scale = scales[0]
		}
		for i := range rows {
			g.kern.narrow(scratch[i*depth:][:depth], src[i*stride:][:g.plan.cfg.D], scale)
		}
		src, stride, scales = scratch, depth, nil
	}
	g.kern.transpose(dst, src, scales, width, stride, rows, depth)
	for i := rows; i < width; i++ {
		g.kern.transpose(dst[i:], src[(rows-1)*stride:], scales, width, stride, 1, depth)
	}
}

// packRows stores rows, stride elements apart, from row first on of panels of so many tokens, or pairs of them; an odd last
// one is paired with zero.
func (g *Gradient) packRows(dst, src []float32, stride, first, rows, tokens int, scratch []float32) {
	d := g.plan.cfg.D
	if !g.plan.cfg.BF16 {
		for i := range rows {
			g.plan.scatter(dst, src[i*stride:][:d], first+i, tokens)
		}
		return
	}
	row, zeros := scratch[:d], scratch[d:2*d]
	clear(zeros)
	for i := 0; i < rows; i += 2 {
		high := zeros
		if i+1 < rows {
			high = src[(i+1)*stride:][:d]
		}
		g.kern.zipRows(row, src[i*stride:][:d], high)
		g.plan.scatter(dst, row, (first+i)/2, ceil(tokens, 2))
	}
}

// packKeys packs a chunk of one head's keys and values as rows of the first pass.
func (g *Gradient) packKeys(head, chunk int, scratch []float32, m *memory, a *GradientArgs) {
	c, keys, depth := &g.plan.cfg, g.kern.keys, g.plan.depth
	at := g.first(head, c.S)
	for key := chunk * packKeys; key < min((chunk+1)*packKeys, c.S); key += keys {
		rows := min(keys, c.S-key)
		g.pack(m.k[key*depth:], a.K[at+key*g.stride():], nil, keys, g.stride(), rows, scratch)
		g.kern.center(scratch, a.V[at+key*g.stride():], m.meanV, rows, g.stride())
		g.pack(m.v[key*depth:], scratch, nil, keys, c.D, rows, scratch)
	}
}

// packQueries packs a chunk of one head's queries and their results' gradients as rows of the second pass, and makes their
// statistics if it can.
func (g *Gradient) packQueries(head, chunk int, scratch []float32, m *memory, a *GradientArgs) {
	c, keys, depth, stride := &g.plan.cfg, g.kern.keys, g.plan.depth, g.stride()
	q, dy := a.Q[g.first(head, c.T):], a.DY[g.first(head, c.T):]
	from, to := chunk*packKeys, min((chunk+1)*packKeys, c.T)
	for t := from; t < to; t += keys {
		g.pack(m.q[t*depth:], q[t*stride:], g.plan.scales, keys, stride, min(keys, to-t), scratch)
		g.pack(m.dy[t*depth:], dy[t*stride:], nil, keys, stride, min(keys, to-t), scratch)
	}
	g.packRows(m.rowsQ, q[from*stride:], stride, from, to-from, c.T, scratch)
	g.packRows(m.rowsDY, dy[from*stride:], stride, from, to-from, c.T, scratch)
	if !g.given {
		return
	}
	g.kern.agree(m.delta[from:to], dy[from*stride:], a.Y[g.first(head, c.T)+from*stride:], m.meanV, stride)
	for t, v := range a.LSE[head*c.T:][from:to] {
		m.lse[from+t] = float32(float64(v) * math.Log2E)
	}
}

// field is the working memory of a task of either pass.
type field struct {
	size   int
	s, dp  []float32 // [block][lanes]: scores, then P, and dP, then dS; s holds a row or two while panels are packed
	twins  []float32 // [block][lanes/2]: pairs of neighbours of dS, for bfloat16
	turned []float32 // [block/lanes][keys of a tile][lanes]: dS with queries across the lanes
	rows   []float32 // [lanes][D]: tokens less their mean
	keys   []float32 // panels [keys of a tile][width]
	panels []float32
}

func (g *Gradient) field(scratch []float32) field {
	L, d := g.kern.lanes, g.plan.cfg.D
	w := cutter{rest: scratch}
	f := field{s: w.take(max(g.block*L, 2*d)), dp: w.take(g.block * L)}
	if g.perPair > 1 {
		f.twins = w.take(g.block * L / 2)
	}
	f.turned = w.take(g.block * g.tileRows())
	f.rows = w.take(max(L, 2) * d)
	f.keys = w.take(g.tileRows() * d)
	f.panels = w.take(g.tile * g.panelSize())
	f.size = w.size
	return f
}

// tileRows is the number of keys in a tile, or of pairs.
func (g *Gradient) tileRows() int { return g.tile * g.kern.lanes / g.perPair }

// gradientPanel is the working memory of a pass for kern.lanes tokens.
type gradientPanel struct {
	first int       // index of the first token
	x, y  []float32 // [depth][lanes]: scaled queries and their results' gradients, or keys and values
	state []float32 // [max | next | sum | mean][lanes], of queries
	dx    []float32 // [D][lanes], of keys: the sums with dS
	dy    []float32 // and those with P
}

func (g *Gradient) panelSize() int {
	return g.kern.lanes * (2*g.plan.depth + max(2*g.plan.cfg.D, stateRows))
}

func (g *Gradient) panelAt(f *field, first, i int) gradientPanel {
	L, d := g.kern.lanes, g.plan.cfg.D
	w := cutter{rest: f.panels[i*g.panelSize():][:g.panelSize()]}
	p := gradientPanel{first: first + i*L, x: w.take(g.plan.depth * L), y: w.take(g.plan.depth * L)}
	p.state = w.rest[:stateRows*L]
	p.dx, p.dy = w.take(d*L), w.take(d*L)
	return p
}

// measure makes the statistics of one tile of queries. Blocks of keys are the outer loop: each serves every panel.
func (g *Gradient) measure(head, tile int, scratch []float32, m *memory, a *GradientArgs) {
	c, L := &g.plan.cfg, g.kern.lanes
	f := g.field(scratch)
	first := tile * g.tile * L
	panels := min(g.tile, ceil(c.T-first, L))
	at := g.first(head, c.T)
	for i := range panels {
		p := g.panelAt(&f, first, i)
		from, rows := at+p.first*g.stride(), min(L, c.T-p.first)
		g.pack(p.x, a.Q[from:], g.plan.scales, L, g.stride(), rows, f.rows)
		g.pack(p.y, a.DY[from:], nil, L, g.stride(), rows, f.rows)
		clear(p.state)
		for l := range 2 * L {
			p.state[l] = float32(math.Inf(-1))
		}
	}
	for from := 0; from < c.S; from += g.block {
		for i := range panels {
			p := g.panelAt(&f, first, i)
			rows := min(g.block, c.S-from)
			if c.Causal {
				rows = min(rows, p.first+L-from)
			}
			if rows > 0 {
				g.meetKeys(&p, &f, m, from, rows)
			}
		}
	}
	for i := range panels {
		p := g.panelAt(&f, first, i)
		for l := range min(L, c.T-p.first) {
			sum := p.state[2*L+l]
			m.lse[p.first+l] = float32(float64(p.state[l]) + math.Log2(float64(sum)))
			m.delta[p.first+l] = p.state[3*L+l] / sum
		}
	}
}

// meetKeys lets a panel of queries meet some keys.
func (g *Gradient) meetKeys(p *gradientPanel, f *field, m *memory, from, rows int) {
	L, depth := g.kern.lanes, g.plan.depth
	next, unused, groups := p.state[L:2*L], f.rows[:L], ceil(rows, g.kern.keys)
	if g.plan.cfg.Causal && from+rows > p.first+1 { // the kernel's maximum would see scores that the mask removes
		g.kern.scores(f.s, unused, p.x, m.k[from*depth:], depth, groups)
		hide(f.s, L, p.first-from, rows, float32(math.Inf(-1)))
		raise(next, f.s[:rows*L])
	} else {
		g.kern.scores(f.s, next, p.x, m.k[from*depth:], depth, groups)
	}
	g.kern.scores(f.dp, unused, p.y, m.v[from*depth:], depth, groups)
	g.kern.expect(f.s, f.dp, p.state, rows)
}

// multiply makes the products of a part of the keys and a part of the queries.
func (g *Gradient) multiply(head, part int, scratch []float32, m *memory, a *GradientArgs) {
	L, d, keyPart, queryPart := g.kern.lanes, g.plan.cfg.D, part/g.queryParts, part%g.queryParts
	f := g.field(scratch)
	low, high := queryPart*g.queryBlocks/g.queryParts*g.block, min((queryPart+1)*g.queryBlocks/g.queryParts*g.block, g.plan.cfg.T)
	sums := m.sumDQ[keyPart*m.partDQ:][:m.partDQ]
	clear(sums[low*d : roundUp(high, L)*d])
	for tile := keyPart * g.keyTiles / g.keyParts; tile < (keyPart+1)*g.keyTiles/g.keyParts; tile++ {
		first := tile * g.tile * L
		panels := min(g.tile, ceil(g.plan.cfg.S-first, L))
		for i := range panels {
			p := g.panelAt(&f, first, i)
			g.packPanel(&p, &f, head, i, m, a)
		}
		for from := low; from < high; from += g.block {
			g.meetQueries(&f, m, sums, first, panels, from, min(g.block, high-from))
		}
		for i := range panels {
			p := g.panelAt(&f, first, i)
			g.store(&p, head, queryPart, m, a)
		}
	}
}

// packPanel fills panel i of a tile with keys and values and clears its sums.
func (g *Gradient) packPanel(p *gradientPanel, f *field, head, i int, m *memory, a *GradientArgs) {
	c, L := &g.plan.cfg, g.kern.lanes
	from, rows := g.first(head, c.S)+p.first*g.stride(), min(L, c.S-p.first)
	g.kern.center(f.rows, a.V[from:], m.meanV, rows, g.stride())
	g.pack(p.y, f.rows, nil, L, c.D, rows, f.rows)
	g.kern.center(f.rows, a.K[from:], m.meanK, rows, g.stride())
	clear(f.rows[rows*c.D:])
	g.packRows(f.keys, f.rows, c.D, i*L, L, g.tile*L, f.s) // missing keys are zeros here, and copies of the last across the lanes
	g.pack(p.x, a.K[from:], nil, L, g.stride(), rows, f.rows)
	clear(p.dx)
	clear(p.dy)
}

// meetQueries lets the panels of a tile of keys meet some queries.
func (g *Gradient) meetQueries(f *field, m *memory, sums []float32, first, panels, from, rows int) {
	c, L, depth := &g.plan.cfg, g.kern.lanes, g.plan.depth
	unused, groups := f.rows[:L], ceil(rows, g.kern.keys)
	pairs := ceil(rows, g.perPair)
	met := 0 // panels with a key that some of the queries see
	for ; met < panels && !(c.Causal && first+met*L >= from+rows); met++ {
		p := g.panelAt(f, first, met)
		g.kern.scores(f.s, unused, p.x, m.q[from*depth:], depth, groups)
		g.kern.scores(f.dp, unused, p.y, m.dy[from*depth:], depth, groups)
		if c.Causal {
			hideEarlier(f.s, L, from-p.first, rows)
		}
		g.kern.derive(f.s, f.dp, f.twins, m.lse[from:], m.delta[from:], rows)
		g.weigh(p.dy, f.s, m.rowsDY, from/g.perPair, pairs, ceil(c.T, g.perPair))
		g.weigh(p.dx, f.dp, m.rowsQ, from/g.perPair, pairs, ceil(c.T, g.perPair))
		g.turn(f, met, rows)
	}
	if met == 0 {
		return
	}
	for q := range ceil(rows, L) {
		dq := sums[(from+q*L)*c.D:][:L*c.D]
		g.weigh(dq, f.turned[q*g.tileRows()*L:], f.keys, 0, met*L/g.perPair, g.tileRows())
	}
}

// turn puts dS of panel i of a tile where its queries are across the lanes.
func (g *Gradient) turn(f *field, i, rows int) {
	L := g.kern.lanes
	width, from := L/g.perPair, f.dp
	if g.perPair > 1 {
		from = f.twins
	}
	for q := 0; q < rows; q += L {
		g.kern.transpose(f.turned[q*g.tileRows()+i*width*L:], from[q*width:], nil, L, width, min(L, rows-q), width)
	}
}

// weigh adds Σ s[row]·v[row] to the sums of a panel, of rows of v from the given one on.
func (g *Gradient) weigh(sums, s, v []float32, from, rows, tokens int) {
	L, c0 := g.kern.lanes, 0
	for _, w := range g.plan.widths {
		g.kern.weigh(w, sums[c0*L:][:w*L], g.ones, s, v[c0*tokens+from*w:], rows)
		c0 += w
	}
}

// store writes the sums of a panel of keys to the results, or to those of a part of the queries.
func (g *Gradient) store(p *gradientPanel, head, queryPart int, m *memory, a *GradientArgs) {
	c, L, stride := &g.plan.cfg, g.kern.lanes, g.stride()
	dk, dv := a.DK, a.DV
	at, rows := g.first(head, c.S)+p.first*stride, min(L, c.S-p.first)
	if g.queryParts > 1 {
		dk, dv, stride, at = m.sumDK, m.sumDV, c.D, queryPart*m.partDK+p.first*c.D
	}
	g.kern.transpose(dk[at:], p.dx, g.scales, stride, L, c.D, rows)
	g.kern.transpose(dv[at:], p.dy, nil, stride, L, c.D, rows)
}

// addQueries adds up dQ of a chunk of one head's queries, in place of the first part.
func (g *Gradient) addQueries(head, chunk int, m *memory, a *GradientArgs) {
	c, L := &g.plan.cfg, g.kern.lanes
	for t := chunk * packKeys; t < min((chunk+1)*packKeys, c.T); t += L {
		sum := m.sumDQ[t*c.D:][:L*c.D]
		for part := 1; part < g.keyParts; part++ {
			add(sum, m.sumDQ[part*m.partDQ+t*c.D:])
		}
		g.kern.transpose(a.DQ[g.first(head, c.T)+t*g.stride():], sum, g.scales, g.stride(), L, c.D, min(L, c.T-t))
	}
}

// addKeys adds up the results of the parts of the queries for one head's keys.
func (g *Gradient) addKeys(dst, sums []float32) {
	c := &g.plan.cfg
	for j := range c.S {
		row := dst[j*g.stride():][:c.D]
		copy(row, sums[j*c.D:])
		for part := 1; part < g.queryParts; part++ {
			add(row, sums[(part*c.S+j)*c.D:])
		}
	}
}

// add adds the first elements of x to sum.
func add(sum, x []float32) {
	x = x[:len(sum)]
	for i := range sum {
		sum[i] += x[i]
	}
}

// hideEarlier removes the scores whose row, a query, lies before its lane, a key: row j is lane first+j's own.
func hideEarlier(s []float32, lanes, first, rows int) {
	for j := range rows {
		row := s[j*lanes:][min(max(first+j+1, 0), lanes):lanes]
		for l := range row {
			row[l] = float32(math.Inf(-1))
		}
	}
}
