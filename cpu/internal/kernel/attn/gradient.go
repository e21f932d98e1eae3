package attn

import (
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// GradientArgs are the operands of one run: Q, DY and DQ are [N,T,Heads·D], K, V, DK and DV [N,S,Heads·D].
type GradientArgs struct {
	Q, K, V, DY []float32
	DQ, DK, DV  []float32
	Workspace   []float32 // Need().Workspace elements
}

// Gradient is a plan of the derivative of attention by queries, keys and values. With P = softmax(Q·Kᵀ·scale) and
// dP = DY·Vᵀ, per head
//
//	δ = rowsum(P∘dP),  dS = P∘(dP - δ),  dQ = scale·dS·K,  dK = scale·dSᵀ·Q,  dV = Pᵀ·DY
//
// Scores are made again tile by tile, as in Dao et al., "FlashAttention" (arXiv:2205.14135), but twice, so that no task
// adds to another's sums. A pass with queries across the lanes needs no forward pass: it keeps the running maximum,
// sum and δ of a query, and dQ as the two sums of dS·K = (P∘dP)·K - δ·(P·K). These would all but cancel where dP varies
// little from key to key, as it does where attention is spread; so dP and δ are taken relative to a shift, the δ of the
// first block of keys. A pass with keys across the lanes then makes dK and dV. The statistics enter that one as a channel
// more: a query has -log Σ exp(scores) there and a key 1, so that a score is the logarithm of its probability; DY has -δ
// and V has 1.
//
// It is run like a Plan.
type Gradient struct {
	plan    *Plan // the attention's: how keys are packed
	kern    *kernels
	queries side
	keys    side
	scales  []float32 // one for each lane of dK
	ones    []float32
	block   int // rows visited at a time
}

// side is what queries and keys have in common: T or S tokens, each with two rows of D channels, Q and DY or K and V.
type side struct {
	tokens, chunks int
	tile           int // panels in a task
	tiles          int // tasks for each batch item and head
	depth          int // channels of a row in groups
}

// NewGradient checks cfg, whose strides must be dense, and lays out the work for a kernel set. BF16 is not looked at:
// gradients are float32.
func NewGradient(set isa.Set, cfg Config) (*Gradient, error) {
	cfg.BF16 = false
	dense := cfg
	dense.StrideQ, dense.StrideK, dense.StrideV, dense.StrideOut = 0, 0, 0, 0
	if dense != cfg {
		return nil, fmt.Errorf("attn: the gradient of operands whose rows are not dense")
	}
	plan, err := New(set, cfg)
	if err != nil {
		return nil, err
	}
	kern := plan.kern
	g := &Gradient{plan: plan, kern: kern, block: roundUp(96, kern.keys)}
	g.queries, g.keys = g.side(cfg.T, cfg.D+1), g.side(cfg.S, cfg.D)
	g.scales = slices.Repeat([]float32{float32(plan.cfg.Scale)}, kern.lanes)
	g.ones = slices.Repeat([]float32{1}, kern.lanes)
	return g, nil
}

func (g *Gradient) side(tokens, depth int) side {
	_, tile := blocking(g.kern, &Config{T: tokens, D: 2 * g.plan.cfg.D})
	panels := (tokens + g.kern.lanes - 1) / g.kern.lanes
	return side{tokens, (tokens + packKeys - 1) / packKeys, tile, (panels + tile - 1) / tile, depth}
}

// rowSet is one head's tokens packed for the pass in which they are the rows.
type rowSet struct {
	x, y   []float32 // groups [depth][keys] of Q and DY, or of K and V
	vx, vy []float32 // Q and DY, or K and nothing, in panels [tokens][width]
}

// size is the workspace of one rowSet.
func (g *Gradient) size(s *side) int {
	return 2*roundUp(s.tokens, g.kern.keys)*s.depth + 2*s.tokens*g.plan.cfg.D
}

func (g *Gradient) rowSet(w []float32, s *side, head int) rowSet {
	w = w[head*g.size(s):]
	n, m := roundUp(s.tokens, g.kern.keys)*s.depth, s.tokens*g.plan.cfg.D
	return rowSet{w[:n:n], w[n : 2*n : 2*n], w[2*n:][:m:m], w[2*n+m:][:m:m]}
}

// memory is the workspace, cut up.
type memory struct {
	statistics []float32 // [N,Heads,T][-log2 Σ exp(scores), -δ]
	queries    []float32 // a rowSet for each batch item and head
	keys       []float32
}

func (g *Gradient) split(w []float32) memory {
	c := &g.plan.cfg
	statistics, queries := 2*c.N*c.Heads*c.T, c.N*c.Heads*g.size(&g.queries)
	return memory{w[:statistics], w[statistics:][:queries], w[statistics+queries:]}
}

// Need is the memory the plan uses.
func (g *Gradient) Need() Need {
	c := &g.plan.cfg
	return Need{
		Workspace: c.N * c.Heads * (2*c.T + g.size(&g.queries) + g.size(&g.keys)),
		Scratch:   max(g.queries.tile, g.keys.tile)*g.panelSize() + 2*g.block*g.kern.lanes,
	}
}

// The phases of the gradient.
const (
	packKeyRows = iota
	passQueries // makes dQ and the statistics
	packQueryRows
	passKeys // makes dK and dV
	gradientPhases
)

// Phases is the number of phases.
func (g *Gradient) Phases() int { return gradientPhases }

// Tasks is the number of independent tasks in a phase.
func (g *Gradient) Tasks(phase int) int {
	return g.plan.cfg.N * g.plan.cfg.Heads * g.each(phase)
}

// each is the number of tasks for one batch item and head.
func (g *Gradient) each(phase int) int {
	return [...]int{g.keys.chunks, g.queries.tiles, g.queries.chunks, g.keys.tiles}[phase]
}

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
		{"DQ", len(a.DQ), queries}, {"DK", len(a.DK), keys}, {"DV", len(a.DV), keys}, {"Workspace", len(a.Workspace), g.Need().Workspace},
	} {
		if o.have < o.want {
			return fmt.Errorf("attn: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

// Do runs one task. The args must pass Check and scratch must hold Need().Scratch elements.
// The results may share storage with none of the operands.
func (g *Gradient) Do(phase, task int, scratch []float32, a *GradientArgs) {
	m := g.split(a.Workspace)
	head, part := task/g.each(phase), task%g.each(phase)
	switch phase {
	case packKeyRows:
		g.packKeyRows(head, part, &m, a)
	case passQueries:
		p := g.queryPass(head, &m, a)
		g.pass(&p, part, scratch)
	case packQueryRows:
		g.packQueryRows(head, part, &m, a)
	case passKeys:
		p := g.keyPass(head, &m, a)
		g.pass(&p, part, scratch)
	}
}

// first is the element at which one head's rows of a [N,tokens,Heads·D] operand begin.
func (g *Gradient) first(head, tokens int) int {
	c := &g.plan.cfg
	return head/c.Heads*tokens*c.Heads*c.D + head%c.Heads*c.D
}

func (g *Gradient) stride() int { return g.plan.cfg.Heads * g.plan.cfg.D }

// packKeyRows packs a chunk of one head's keys and values as rows.
func (g *Gradient) packKeyRows(head, chunk int, m *memory, a *GradientArgs) {
	at, d := g.first(head, g.keys.tokens), g.plan.cfg.D
	set := g.rowSet(m.keys, &g.keys, head)
	k, v := a.K[at:], a.V[at:]
	from, to := chunk*packKeys, min((chunk+1)*packKeys, g.keys.tokens)
	for key := from; key < to; key += g.kern.keys {
		g.plan.packKeys(set.x, k, key, nil)
		g.plan.packKeys(set.y, v, key, nil)
	}
	for j := from; j < to; j++ {
		g.plan.scatter(set.vx, k[j*g.stride():][:d], j, g.keys.tokens)
	}
}

// packQueryRows packs a chunk of one head's queries and their result's gradients, with their statistics, as rows.
func (g *Gradient) packQueryRows(head, chunk int, m *memory, a *GradientArgs) {
	s, at, d, keys, stride := &g.queries, g.first(head, g.queries.tokens), g.plan.cfg.D, g.kern.keys, g.stride()
	set := g.rowSet(m.queries, s, head)
	q, dy, statistics := a.Q[at:], a.DY[at:], m.statistics[2*head*s.tokens:]
	from, to := chunk*packKeys, min((chunk+1)*packKeys, s.tokens)
	for t := from; t < to; t += keys {
		rows := min(keys, to-t)
		x, y := set.x[t*s.depth:][:keys*s.depth], set.y[t*s.depth:][:keys*s.depth]
		if rows < keys {
			clear(x)
			clear(y)
		}
		g.kern.transpose(x, q[t*stride:], nil, keys, stride, rows, d)
		g.kern.transpose(y, dy[t*stride:], nil, keys, stride, rows, d)
		for i := range rows {
			x[d*keys+i], y[d*keys+i] = statistics[2*(t+i)], statistics[2*(t+i)+1]
		}
	}
	for t := from; t < to; t++ {
		g.plan.scatter(set.vx, q[t*stride:][:d], t, s.tokens)
		g.plan.scatter(set.vy, dy[t*stride:][:d], t, s.tokens)
	}
}

// pass is one way through the scores of a head: tokens of one side across the lanes, those of the other as rows.
type pass struct {
	lanes, rows *side
	x, y        []float32 // what the lanes hold: Q and DY, or K and V
	set         rowSet
	dx, dy      []float32 // results of the lanes: dQ, or dK and dV
	statistics  []float32 // those of the queries across the lanes; nil in the pass of the keys
}

func (g *Gradient) queryPass(head int, m *memory, a *GradientArgs) pass {
	at := g.first(head, g.queries.tokens)
	return pass{
		lanes: &g.queries, rows: &g.keys, x: a.Q[at:], y: a.DY[at:], set: g.rowSet(m.keys, &g.keys, head),
		dx: a.DQ[at:], statistics: m.statistics[2*head*g.queries.tokens:],
	}
}

func (g *Gradient) keyPass(head int, m *memory, a *GradientArgs) pass {
	at := g.first(head, g.keys.tokens)
	return pass{
		lanes: &g.keys, rows: &g.queries, x: a.K[at:], y: a.V[at:], set: g.rowSet(m.queries, &g.queries, head),
		dx: a.DK[at:], dy: a.DV[at:],
	}
}

// gradientPanel is the working memory of a pass for kern.lanes tokens.
type gradientPanel struct {
	first  int       // index of the first token
	x, y   []float32 // [D+1][lanes]
	dx, dy []float32 // [D][lanes]: the sums with P∘dP or dS, and those with P
	state  []float32 // [max | next | sum | correction][lanes]
	shift  []float32 // [lanes]: what dP and δ of the queries are relative to
	delta  []float32 // [lanes]
}

func (g *Gradient) panelSize() int { return g.kern.lanes * (4*g.plan.cfg.D + 2 + stateRows + 2) }

func (g *Gradient) panelAt(scratch []float32, first, i int) gradientPanel {
	L, d := g.kern.lanes, g.plan.cfg.D
	m := scratch[i*g.panelSize():][:g.panelSize()]
	take := func(rows int) []float32 {
		part := m[: rows*L : rows*L]
		m = m[rows*L:]
		return part
	}
	return gradientPanel{first + i*L, take(d + 1), take(d + 1), take(d), take(d), take(stateRows), take(1), take(1)}
}

// visible is the range of rows that some of the lanes from first on meet.
func (g *Gradient) visible(p *pass, first int) (from, to int) {
	switch {
	case !g.plan.cfg.Causal:
		return 0, p.rows.tokens
	case p.statistics == nil: // the queries from the first key on
		return min(first, p.rows.tokens) / g.kern.keys * g.kern.keys, p.rows.tokens
	}
	return 0, min(first+g.kern.lanes, p.rows.tokens)
}

// pass computes one tile of lanes. Blocks of rows are the outer loop: each serves every panel of the tile.
func (g *Gradient) pass(p *pass, tile int, scratch []float32) {
	L := g.kern.lanes
	first := tile * p.lanes.tile * L
	panels := min(p.lanes.tile, (p.lanes.tokens-first+L-1)/L)
	s := scratch[max(g.queries.tile, g.keys.tile)*g.panelSize():]
	for i := range panels {
		m := g.panelAt(scratch, first, i)
		g.packLanes(p, &m)
	}
	for from := 0; from < p.rows.tokens; from += g.block {
		for i := range panels {
			m := g.panelAt(scratch, first, i)
			low, high := g.visible(p, m.first)
			if low, high = max(low, from), min(high, from+g.block); low >= high {
				continue
			}
			if p.statistics != nil {
				g.visitKeys(p, &m, s, low, high-low)
			} else {
				g.visitQueries(p, &m, s, low, high-low)
			}
		}
	}
	for i := range panels {
		m := g.panelAt(scratch, first, i)
		if p.statistics != nil {
			g.settle(p, &m)
		}
		g.store(p, &m)
	}
}

// packLanes fills a panel with tokens and clears its sums.
func (g *Gradient) packLanes(p *pass, m *gradientPanel) {
	L, d, stride := g.kern.lanes, g.plan.cfg.D, g.stride()
	rows := min(L, p.lanes.tokens-m.first)
	if rows < L {
		clear(m.x)
		clear(m.y)
	}
	for _, sums := range [...][]float32{m.dx, m.dy, m.state, m.shift, m.delta} {
		clear(sums)
	}
	if p.statistics != nil { // else scores are logarithms of probabilities, and their maximum counts as 0
		low := float32(math.Inf(-1))
		for l := range 2 * L {
			m.state[l] = low
		}
	}
	g.kern.transpose(m.x, p.x[m.first*stride:], g.plan.scales, L, stride, rows, d)
	g.kern.transpose(m.y, p.y[m.first*stride:], nil, L, stride, rows, d)
	copy(m.x[d*L:], g.ones) // what a key multiplies the statistics of a query with
	copy(m.y[d*L:], g.ones)
}

// blocks are the scratch for a block of rows: P and dP, later dS or P∘dP.
func (g *Gradient) blocks(s []float32) (p, dp []float32) {
	n := g.block * g.kern.lanes
	return s[:n:n], s[n:][:n:n]
}

// visitKeys lets a panel of queries meet some keys.
func (g *Gradient) visitKeys(p *pass, m *gradientPanel, s []float32, from, rows int) {
	L, d := g.kern.lanes, g.plan.cfg.D
	next, correction := m.state[L:2*L], m.state[3*L:]
	probability, dp := g.blocks(s)
	groups := (rows + g.kern.keys - 1) / g.kern.keys
	masked := g.plan.cfg.Causal && from+rows > m.first+1
	if masked { // the kernel's maximum would see scores that the mask removes
		g.kern.scores(probability, correction, m.x, p.set.x[from*d:], d, groups)
		hide(probability, L, m.first-from, rows, float32(math.Inf(-1)))
		raise(next, probability[:rows*L])
	} else {
		g.kern.scores(probability, next, m.x, p.set.x[from*d:], d, groups)
	}
	g.kern.scores(dp, correction, m.y, p.set.y[from*d:], d, groups)
	g.kern.soften(probability, m.state, rows)
	if masked { // the least that soften gives is not zero
		hide(probability, L, m.first-from, rows, 0)
	}
	if from == 0 {
		g.kern.dot(m.shift, dp, probability, rows)
		for l, sum := range m.state[2*L : 3*L] {
			m.shift[l] /= sum
		}
	}
	g.kern.combine(dp, probability, m.shift, m.delta, correction, rows)
	g.weigh(m.dx, correction, dp, p.set.vx, from, rows, p.rows.tokens)
	g.weigh(m.dy, correction, probability, p.set.vx, from, rows, p.rows.tokens)
}

// visitQueries lets a panel of keys meet some queries.
func (g *Gradient) visitQueries(p *pass, m *gradientPanel, s []float32, from, rows int) {
	L, depth := g.kern.lanes, p.rows.depth
	unused := m.state[3*L:]
	probability, ds := g.blocks(s)
	groups := (rows + g.kern.keys - 1) / g.kern.keys
	g.kern.scores(probability, unused, m.x, p.set.x[from*depth:], depth, groups)
	g.kern.scores(ds, unused, m.y, p.set.y[from*depth:], depth, groups)
	clear(m.state)
	g.kern.soften(probability, m.state, rows)
	if g.plan.cfg.Causal {
		hideEarlier(probability, L, from-m.first, rows)
	}
	g.kern.combine(ds, probability, m.shift, m.delta, g.ones, rows)
	g.weigh(m.dx, g.ones, ds, p.set.vx, from, rows, p.rows.tokens)
	g.weigh(m.dy, g.ones, probability, p.set.vy, from, rows, p.rows.tokens)
}

// weigh adds Σ s[row]·v[row] to the corrected sums of a panel.
func (g *Gradient) weigh(sums, correction, s, v []float32, from, rows, tokens int) {
	L, c0 := g.kern.lanes, 0
	for _, w := range g.plan.widths {
		g.kern.weigh(w, sums[c0*L:][:w*L], correction, s, v[c0*tokens+from*w:], rows)
		c0 += w
	}
}

// settle turns the sums of a panel of queries into dS·K, keeps their statistics and leaves the factor of each lane as the
// correction.
func (g *Gradient) settle(p *pass, m *gradientPanel) {
	L := g.kern.lanes
	factor := m.state[3*L:]
	for l, sum := range m.state[2*L : 3*L] {
		m.delta[l] /= sum
		factor[l] = float32(g.plan.cfg.Scale) / sum
	}
	for c := 0; c < len(m.dx); c += L {
		for l, delta := range m.delta {
			m.dx[c+l] -= delta * m.dy[c+l]
		}
	}
	for l := range min(L, p.lanes.tokens-m.first) {
		log := float64(m.state[l]) + math.Log2(float64(m.state[2*L+l]))
		at := p.statistics[2*(m.first+l):]
		at[0], at[1] = float32(-log), -(m.shift[l] + m.delta[l])
	}
}

// store writes a panel's sums to the results.
func (g *Gradient) store(p *pass, m *gradientPanel) {
	L, d, stride := g.kern.lanes, g.plan.cfg.D, g.stride()
	rows := min(L, p.lanes.tokens-m.first)
	if p.statistics != nil {
		g.kern.transpose(p.dx[m.first*stride:], m.dx, m.state[3*L:], stride, L, d, rows)
		return
	}
	g.kern.transpose(p.dx[m.first*stride:], m.dx, g.scales, stride, L, d, rows)
	g.kern.transpose(p.dy[m.first*stride:], m.dy, nil, stride, L, d, rows)
}

// hideEarlier clears the elements of s whose row, a query, lies before its lane, a key: row j is lane first+j's own.
func hideEarlier(s []float32, lanes, first, rows int) {
	for j := range rows {
		clear(s[j*lanes:][min(max(first+j+1, 0), lanes):lanes])
	}
}
