package attn

import (
	"math"
	"unsafe"
)

// pack copies one chunk of the keys and values of one batch item and head into the workspace, as the
// kernels want them: K in groups [d][keys], the last group filled up with copies of the last key, so that
// the filling cannot raise a maximum; V in panels [S][width].
func (p *Plan) pack(head, chunk int, a *Args) {
	c := &p.cfg
	n, h := head/c.Heads, head%c.Heads
	k, v := p.packed(head, a)
	from, to := chunk*packKeys, min((chunk+1)*packKeys, c.S)
	srcK := a.K[n*c.S*c.StrideK+h*c.D:]
	srcV := a.V[n*c.S*c.StrideV+h*c.D:]
	if c.BF16 {
		p.packPairs(k, v, srcK, srcV, from, to)
		return
	}
	for g := from / p.kern.keys; g*p.kern.keys < to; g++ {
		key, keys := g*p.kern.keys, p.kern.keys
		dst := k[key*c.D:][:keys*c.D]
		rows := min(keys, c.S-key)
		p.kern.transpose(dst, srcK[key*c.StrideK:], nil, keys, c.StrideK, rows, c.D)
		for ; rows < keys; rows++ {
			p.kern.transpose(dst[rows:], srcK[(c.S-1)*c.StrideK:], nil, keys, c.StrideK, 1, c.D)
		}
	}
	c0 := 0
	for _, w := range p.widths {
		dst := v[c0*c.S:][:w*c.S]
		for j := from; j < to; j++ {
			copy(dst[j*w:][:w], srcV[j*c.StrideV+c0:])
		}
		c0 += w
	}
}

// packPairs is pack for bfloat16: K pairs neighbouring channels, V neighbouring keys; what is missing
// from a last pair is zero.
func (p *Plan) packPairs(k, v, srcK, srcV []float32, from, to int) {
	c, keys := &p.cfg, p.kern.keys
	for g := from / keys; g*keys < to; g++ {
		dst := words(k[g*keys*p.depth:][:keys*p.depth])
		for i := range keys {
			row := srcK[min(g*keys+i, c.S-1)*c.StrideK:][:c.D]
			for j := range p.depth {
				dst[j*keys+i] = pairOf(row, 2*j, 1)
			}
		}
	}
	pairs := (c.S + 1) / 2
	c0 := 0
	for _, w := range p.widths {
		dst := words(v[c0*pairs:][:w*pairs])
		for j := from / 2; 2*j < to; j++ {
			row := srcV[2*j*c.StrideV+c0:]
			for i := range w {
				low, high := row[i], float32(0)
				if 2*j+1 < c.S {
					high = row[c.StrideV+i]
				}
				dst[j*w+i] = pair(low, high, 1)
			}
		}
		c0 += w
	}
}

// packQueries fills the Q part of a panel, [D][lanes] or pairs of it, with scaled queries from t on.
// Lanes past the last query stay as they are: their results are never stored.
func (p *Plan) packQueries(q []float32, head, t int, a *Args) {
	c, L := &p.cfg, p.kern.lanes
	src := a.Q[(head/c.Heads*c.T+t)*c.StrideQ+head%c.Heads*c.D:]
	rows := min(L, c.T-t)
	if c.BF16 {
		dst := words(q)
		for l := range rows {
			row := src[l*c.StrideQ:][:c.D]
			for j := range p.depth {
				dst[j*L+l] = pairOf(row, 2*j, p.scale)
			}
		}
		return
	}
	p.kern.transpose(q, src, p.scales, L, c.StrideQ, rows, c.D)
}

// words is x seen as bits.
func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// pairOf is the pair row[i], row[i+1] times scale, zero past the end.
func pairOf(row []float32, i int, scale float32) uint32 {
	if i+1 < len(row) {
		return pair(row[i], row[i+1], scale)
	}
	return pair(row[i], 0, scale)
}

// pair rounds low·scale and high·scale to bfloat16, to nearest even, NaN staying NaN.
func pair(low, high, scale float32) uint32 {
	return bfloat16(low*scale) | bfloat16(high*scale)<<16
}

func bfloat16(x float32) uint32 {
	b := math.Float32bits(x)
	if x != x {
		return b>>16 | 0x40
	}
	return (b + 0x7fff + b>>16&1) >> 16
}
