package attn

import (
	"math"
	"unsafe"
)

// panel is the working memory of a task for kern.lanes queries.
type panel struct {
	first int       // index of the first query
	q     []float32 // [depth][lanes], scaled
	o     []float32 // [D][lanes], not yet divided by the row sums
	state []float32 // [max | next | sum | correction][lanes]
}

// panelAt is panel i of a task's scratch.
func (p *Plan) panelAt(scratch []float32, tile, i int) panel {
	L := p.kern.lanes
	m := scratch[i*p.panelSize:][:p.panelSize]
	q, m := m[:p.depth*L], m[p.depth*L:]
	return panel{(tile*p.tile + i) * L, q, m[:p.cfg.D*L], m[p.cfg.D*L:]}
}

// attend computes one tile of queries of one batch item and head. Blocks of keys are the outer loop:
// each is read once from far memory and serves every panel of the tile.
func (p *Plan) attend(head, tile int, scratch []float32, a *Args) {
	c, L := &p.cfg, p.kern.lanes
	panels := min(p.tile, (c.T-tile*p.tile*L+L-1)/L)
	s := scratch[p.tile*p.panelSize:]
	for i := range panels {
		m := p.panelAt(scratch, tile, i)
		p.packQueries(m.q, head, m.first, s, a)
		clear(m.o)
		low := float32(math.Inf(-1))
		for l := range L {
			m.state[l], m.state[L+l], m.state[2*L+l] = low, low, 0
		}
	}
	k, v := p.packed(head, a)
	for from := 0; from < c.S; from += p.block {
		for i := range panels {
			m := p.panelAt(scratch, tile, i)
			keys := min(p.block, c.S-from)
			if c.Causal {
				keys = min(keys, m.first+L-from)
			}
			if keys > 0 {
				p.visit(&m, s, k, v, from, keys)
			}
		}
	}
	for i := range panels {
		m := p.panelAt(scratch, tile, i)
		p.store(&m, head, s, a)
	}
}

// visit lets a panel attend to a block of keys.
func (p *Plan) visit(m *panel, s, k, v []float32, from, keys int) {
	c, kern, L := &p.cfg, p.kern, p.kern.lanes
	next := m.state[L : 2*L]
	masked := c.Causal && from+keys > m.first+1
	groups := (keys + kern.keys - 1) / kern.keys
	if masked {
		// The kernel's maximum would see scores that the mask removes.
		correction := m.state[3*L:]
		kern.scores(s, correction, m.q, k[from*p.depth:], p.depth, groups)
		hide(s, L, m.first-from, keys, float32(math.Inf(-1)))
		raise(next, s[:keys*L])
	} else {
		kern.scores(s, next, m.q, k[from*p.depth:], p.depth, groups)
	}
	kern.soften(s, m.state, keys)
	switch { // the least that soften gives is not zero
	case masked && c.BF16:
		hidePairs(s, L, m.first-from, keys)
	case masked:
		hide(s, L, m.first-from, keys, 0)
	}

	rows := c.S
	if c.BF16 {
		rows, from, keys = (rows+1)/2, from/2, (keys+1)/2
	}
	c0 := 0
	for _, w := range p.widths {
		kern.weigh(w, m.o[c0*L:][:w*L], m.state[3*L:], s, v[c0*rows+from*w:], keys)
		c0 += w
	}
}

// hide sets the elements of s for keys that lie after their query to value; lane l sees keys up to first+l.
func hide(s []float32, lanes, first, keys int, value float32) {
	for j := max(first+1, 0); j < keys; j++ {
		row := s[j*lanes:][:min(j-first, lanes)]
		for l := range row {
			row[l] = value
		}
	}
}

// hidePairs is hide with zero for pairs of keys: an even key is the low half of a word.
func hidePairs(s []float32, lanes, first, keys int) {
	w := words(s)
	for j := max(first+1, 0); j < keys; j++ {
		row := w[j/2*lanes:][:min(j-first, lanes)]
		for l := range row {
			row[l] &= 0xffff0000 >> (j % 2 * 16)
		}
	}
}

// words is x seen as bits.
func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// raise lifts each lane of next to the largest value in its column of s.
func raise(next, s []float32) {
	for ; len(s) > 0; s = s[len(next):] {
		for l, x := range s[:len(next)] {
			next[l] = max(next[l], x)
		}
	}
}

// store divides by the row sums and writes a panel's queries to Out, and their statistics to LSE.
func (p *Plan) store(m *panel, head int, s []float32, a *Args) {
	c, L := &p.cfg, p.kern.lanes
	n, h := head/c.Heads, head%c.Heads
	rows := min(L, c.T-m.first)
	inverse := m.state[3*L:]
	for l, sum := range m.state[2*L : 3*L] {
		inverse[l] = 1 / sum
	}
	out := a.Out[(n*c.T+m.first)*c.StrideOut+h*c.outWidth()/c.Heads:]
	if c.Narrow {
		p.kern.transpose(s, m.o, inverse, c.D, L, c.D, rows)
		for l := range rows {
			p.kern.narrow(out[l*c.StrideOut:][:p.depth], s[l*c.D:][:c.D], 1)
		}
	} else {
		p.kern.transpose(out, m.o, inverse, c.StrideOut, L, c.D, rows)
	}
	if a.LSE != nil {
		lse := a.LSE[head*c.T+m.first:]
		for l := range rows {
			lse[l] = float32((float64(m.state[l]) + math.Log2(float64(m.state[2*L+l]))) * math.Ln2)
		}
	}
}
