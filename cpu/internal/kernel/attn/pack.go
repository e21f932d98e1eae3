package attn

// pack copies one chunk of the keys and values of one batch item and head into the workspace, as the
// kernels want them: K in groups [d][keys], the last group filled up with copies of the last key, so that
// the filling cannot raise a maximum; V in panels [S][width]. For bfloat16, K pairs neighbouring channels
// and V neighbouring keys; what is missing from a last pair is zero.
func (p *Plan) pack(head, chunk int, scratch []float32, a *Args) {
	c := &p.cfg
	n, h := head/c.Heads, head%c.Heads
	k, v := p.packed(head, a)
	srcK := a.K[n*c.S*c.StrideK+h*c.D:]
	srcV := a.V[n*c.S*c.StrideV+h*c.D:]
	from, to := chunk*packKeys, min((chunk+1)*packKeys, c.S)
	for g := from / p.kern.keys; g*p.kern.keys < to; g++ {
		p.packKeys(k, srcK, g*p.kern.keys, scratch)
	}
	if c.BF16 {
		p.packValuePairs(v, srcV, from, to, scratch)
		return
	}
	for j := from; j < to; j++ {
		p.scatter(v, srcV[j*c.StrideV:][:c.D], j, c.S)
	}
}

// packKeys packs the group of keys that starts at key.
func (p *Plan) packKeys(k, src []float32, key int, scratch []float32) {
	c, keys := &p.cfg, p.kern.keys
	dst := k[key*p.depth:][:keys*p.depth]
	rows := min(keys, c.S-key)
	src, stride := src[key*c.StrideK:], c.StrideK
	if c.BF16 {
		for i := range rows {
			p.kern.narrow(scratch[i*p.depth:][:p.depth], src[i*stride:][:c.D], 1)
		}
		src, stride = scratch, p.depth
	}
	p.kern.transpose(dst, src, nil, keys, stride, rows, p.depth)
	for i := rows; i < keys; i++ {
		p.kern.transpose(dst[i:], src[(rows-1)*stride:], nil, keys, stride, 1, p.depth)
	}
}

// scatter stores the channels of a key, or of a pair of keys, as row j of the panels, which have rows rows.
func (p *Plan) scatter(v, row []float32, j, rows int) {
	c0 := 0
	for _, w := range p.widths {
		dst, src := v[c0*rows+j*w:], row[c0:]
		switch w {
		case 10: // by value, as copy is a call
			*(*[10]float32)(dst) = [10]float32(src)
		case 8:
			*(*[8]float32)(dst) = [8]float32(src)
		case 5:
			*(*[5]float32)(dst) = [5]float32(src)
		case 4:
			*(*[4]float32)(dst) = [4]float32(src)
		default:
			copy(dst[:w], src)
		}
		c0 += w
	}
}

func (p *Plan) packValuePairs(v, src []float32, from, to int, scratch []float32) {
	c := &p.cfg
	row, zeros := scratch[:c.D], scratch[c.D:2*c.D]
	clear(zeros)
	for j := from; j < to; j += 2 {
		low, high := src[j*c.StrideV:][:c.D], zeros
		if j+1 < c.S {
			high = src[(j+1)*c.StrideV:][:c.D]
		}
		p.kern.zipRows(row, low, high)
		p.scatter(v, row, j/2, (c.S+1)/2)
	}
}

// packQueries fills the Q part of a panel, [depth][lanes], with scaled queries from t on. Lanes past the
// last query stay as they are: their results are never stored.
func (p *Plan) packQueries(q []float32, head, t int, scratch []float32, a *Args) {
	c, L := &p.cfg, p.kern.lanes
	src := a.Q[(head/c.Heads*c.T+t)*c.StrideQ+head%c.Heads*c.D:]
	rows := min(L, c.T-t)
	if !c.BF16 {
		p.kern.transpose(q, src, p.scales, L, c.StrideQ, rows, c.D)
		return
	}
	for l := range rows {
		p.kern.narrow(scratch[l*p.depth:][:p.depth], src[l*c.StrideQ:][:c.D], p.scale)
	}
	p.kern.transpose(q, scratch, nil, L, p.depth, rows, p.depth)
}
