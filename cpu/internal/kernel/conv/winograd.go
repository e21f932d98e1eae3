package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// winograd is F(4×4,3×3): V[xi][tile][C] = Bᵀ·d·B of each tile, U[xi][C][Cout] = G·g·Gᵀ, M[tile][xi] = V[xi]·U[xi] and
// Y = Aᵀ·M·A + …, in panels of NR output channels.
//
// Of V and U the smaller one is made first, for all workers, and of the other one a worker makes for itself what it needs,
// so that this stays in its own cache:
//
//	few tiles     transform   V                                    a task is a few tiles
//	              multiply    U of a panel, M and Y of it          a task is a panel, perhaps of a part of the tiles
//	many tiles    transform   U                                    a task is a panel
//	              multiply    V of a block of tiles, M and Y of it a task is a block
//
// Few tiles of very many channels are cut into blocks for which the first two phases are repeated, because V should stay in
// the shared cache between them.
type winograd struct {
	cfg    Config
	w      *gemm.Weights
	t      *transforms
	points *points
	oh, ow int
	th, tw int // tiles down and across an image

	ys, xs []int32 // stored row and column by padded coordinate, -1 beyond the end
	zero   []float32
	twice  bool // the input is resized by exactly two: row and column 2 of V are zero

	tiles  int  // in all
	many   bool // U is made first
	block  int  // most tiles in a block
	blocks int
	parts  int                 // parts of a block in the multiply phase
	part   int                 // most tiles in a part
	passes int                 // passes over the channels
	depth  int                 // most channels in one pass
	fixed  bool                // V and U are rounded to 16-bit integers
	size   int                 // bytes of an element of V and U
	plane  int                 // float32 from one xi of V to the next
	room   [scratchEnd + 1]int // where the parts of a worker's scratch begin
}

const (
	// maxV bounds V of few tiles, in float32: it should stay in the last-level cache between the phases.
	maxV = 3 << 20
	// maxU bounds U of many tiles.
	maxU = 10 << 20
	// maxBlock is how many of many tiles a worker takes at a time: M of a panel should fit part of a core's second-level cache.
	maxBlock = 64
	// blocksPerWorker is how many blocks each worker should find.
	blocksPerWorker = 4
	// maxDepth is how many input channels of two rows of U are kept at a time: they should fit half of
	// a core's second-level cache. So many share a scale where they are rounded.
	maxDepth = 320
	// transformTiles is the number of tiles that one task of the transform phase covers.
	transformTiles = 4
	// leastPart is the fewest tiles for which U is worth transforming again.
	leastPart = 48
)

// newWinograd lays out the work so that what is made first takes at most about v float32 if that is V, and u if it is U.
func newWinograd(w *gemm.Weights, cfg Config, v, u int) *winograd {
	p := &winograd{cfg: cfg, w: w, t: transformsFor(w.Kern), points: whole}
	p.oh, p.ow = cfg.Output()
	p.th, p.tw = (p.oh+3)/4, (p.ow+3)/4
	ih, iw := cfg.input()
	// The last tile may reach beyond the bottom and right padding; what it reads there only enters
	// outputs that are not stored.
	p.ys, p.xs = cfg.axes(max(0, 4*p.th+2-ih-cfg.PadTop-cfg.PadBottom), max(0, 4*p.tw+2-iw-cfg.PadLeft-cfg.PadRight))
	p.tiles = cfg.N * p.th * p.tw
	p.size = 4
	if p.fixed = cfg.Fixed && w.Kern.HasBF16(); p.fixed {
		p.size, p.points = 2, balanced
	}
	p.twice = !p.fixed && cfg.ResizeH == 2*cfg.H && cfg.ResizeW == 2*cfg.W && cfg.PadTop == 1 && cfg.PadLeft == 1
	p.zero = make([]float32, max(cfg.C1, cfg.C2))

	C, nr := cfg.C1+cfg.C2, w.Kern.NR
	p.many = p.tiles > cfg.Cout && 36*C*cfg.Cout <= u
	p.passes = (C + maxDepth - 1) / maxDepth
	p.depth = ((C+p.passes-1)/p.passes + 15) &^ 15
	p.passes = (C + p.depth - 1) / p.depth
	p.parts = 1
	if p.many {
		p.cut(min(maxBlock, p.tiles/(blocksPerWorker*max(cfg.Workers, 1))))
	} else {
		p.cut(v / (36 * C))
		for panels := w.Panels(); panels*p.parts < 2*cfg.Workers && p.block/(p.parts+1) >= leastPart; {
			p.parts++
		}
	}
	p.part = (p.block + p.parts - 1) / p.parts
	// 36 streams a multiple of 4 KB apart would share one set of the first-level cache.
	p.plane = p.block*p.depth*p.size/4 + 16

	sizes := [scratchEnd]int{
		scratchTmp: 36 * 16, scratchZero: nr, scratchEdge: 16 * nr, scratchInitial: cfg.N * nr,
		scratchKernel: 12 * p.kernel(), scratchProduct: p.part * 36 * nr, scratchSpare: w.Spare(),
	}
	if w.Turned() {
		sizes[scratchTurned] = 9 * p.depth * nr
	}
	if p.fixed {
		sizes[scratchTile], sizes[scratchFactors], sizes[scratchColumns] = 36*p.pitch(), planeClasses*nr, planeClasses*nr
	}
	if p.many { // U and its scales are not a worker's own
		sizes[scratchInput], sizes[scratchKernel], sizes[scratchColumns] = p.inputs(), 0, 0
	}
	for i, n := range sizes {
		p.room[i+1] = p.room[i] + n
	}
	return p
}

// cut cuts the tiles into blocks of about most.
func (p *winograd) cut(most int) {
	most = max(most, p.w.Kern.MR)
	p.blocks = (p.tiles + most - 1) / most
	p.block = (p.tiles + p.blocks - 1) / p.blocks
	p.blocks = (p.tiles + p.block - 1) / p.block
}

// The parts of a worker's scratch.
const (
	scratchTmp     = iota // what the transforms use
	scratchZero           // a row of zeros
	scratchFactors        // what U is multiplied by where it is rounded
	scratchColumns        // scales of U then
	scratchEdge           // a tile that is not stored whole
	scratchInitial        // bias and per-channel term of each image
	scratchKernel         // two rows of U
	scratchProduct        // M
	scratchTurned         // taps that are turned over, where the weights do not have them as they are needed
	scratchSpare          // what turning needs
	scratchTile           // a tile of V that is to be rounded
	scratchInput          // V of a block
	scratchEnd
)

// in is a part of a worker's scratch.
func (p *winograd) in(s *gemm.Scratch, part int) []float32 {
	return s.Floats[p.room[part]:p.room[part+1]]
}

func (p *winograd) Algorithm() Algorithm     { return Winograd }
func (p *winograd) FLOPs() int               { return p.cfg.FLOPs() }
func (p *winograd) Check(a *gemm.Args) error { return checkArgs(&p.cfg, p.Need(), a) }

// Phases is 2, or 2 for each block of few tiles.
func (p *winograd) Phases() int {
	if p.many {
		return 2
	}
	return 2 * p.blocks
}

func (p *winograd) Need() gemm.Need {
	n := gemm.Need{Workspace: p.inputs(), Scratch: p.room[scratchEnd], Rows: max(p.part, 36)}
	if p.many {
		n.Workspace = p.w.Panels() * p.passes * p.kernels()
	}
	return n
}

// inputs is the float32 of V of a block: 36 planes a pass and, of a rounded one, the scales of each pass, xi and tile.
func (p *winograd) inputs() int {
	if p.fixed {
		return p.passes * 36 * (p.plane + p.block)
	}
	return p.passes * 36 * p.plane
}

// kernel is the float32 of a plane of U of a pass of a panel.
func (p *winograd) kernel() int { return p.depth * p.w.Kern.NR * p.size / 4 }

// kernels is the float32 of U of a pass of a panel: 36 planes and, of rounded ones, their scales.
func (p *winograd) kernels() int {
	n := 36 * p.kernel()
	if p.fixed {
		n += planeClasses * p.w.Kern.NR
	}
	return n
}

// pitch is the float32 from one row to the next of the transform of a tile that is about to be rounded.
func (p *winograd) pitch() int { return p.depth + 16 }

// scales are those of a pass's rounded V: a row of tiles for each xi.
func (p *winograd) scales(pass int, v []float32) []float32 {
	return v[p.passes*36*p.plane+pass*36*p.block:][:36*p.block]
}

// blockTiles is the number of tiles in block b.
func (p *winograd) blockTiles(b int) int { return min(p.block, p.tiles-b*p.block) }

func (p *winograd) Tasks(phase int) int {
	switch {
	case p.many && phase == 0:
		return p.w.Panels() * p.passes
	case p.many:
		return p.blocks
	case phase%2 == 0:
		return (p.blockTiles(phase/2) + transformTiles - 1) / transformTiles
	}
	return p.parts * p.w.Panels()
}

func (p *winograd) Do(phase, task int, s *gemm.Scratch, a *gemm.Args) {
	b := phase / 2
	switch {
	case p.many && phase == 0:
		p.transformKernels(task/p.passes, task%p.passes, s, a)
	case p.many:
		v := p.in(s, scratchInput)
		p.transform(task, 0, p.blockTiles(task), v, s, a)
		for panel := range p.w.Panels() {
			p.multiply(task, 0, p.blockTiles(task), panel, v, s, a)
		}
	case phase%2 == 0:
		t0 := task * transformTiles
		p.transform(b, t0, min(t0+transformTiles, p.blockTiles(b)), a.Workspace, s, a)
	default:
		part, panel := task/p.w.Panels(), task%p.w.Panels()
		t0 := part * p.part
		if t1 := min(t0+p.part, p.blockTiles(b)); t0 < t1 {
			p.multiply(b, t0, t1, panel, a.Workspace, s, a)
		}
	}
}

// transform fills V for tiles t0 to t1 of block b.
func (p *winograd) transform(b, t0, t1 int, v []float32, s *gemm.Scratch, a *gemm.Args) {
	c1, c2 := p.cfg.C1, p.cfg.C2
	for t := t0; t < t1; t++ {
		n, ty, tx := p.tile(b*p.block + t)
		for pass := range p.passes {
			c0, depth := p.channels(pass)
			to, stride := v[p.at(pass, 0, t):], p.plane*4
			if p.fixed {
				to, stride = p.in(s, scratchTile), p.pitch()*4
			}
			first := max(0, min(depth, c1-c0)) // so many are of X
			p.transformPart(to, stride, a.X, c1, c0, first, n, ty, tx, s)
			p.transformPart(to[first:], stride, a.X2, c2, c0+first-c1, depth-first, n, ty, tx, s)
			if p.fixed {
				dst := (*int16)(unsafe.Pointer(&v[p.at(pass, 0, t)]))
				p.t.fixRows(dst, p.plane*4, &to[0], stride, depth, &p.scales(pass, v)[t], p.block*4)
			}
		}
	}
}

// transformPart transforms some channels, from c0 on, of x at a tile.
func (p *winograd) transformPart(to []float32, stride int, x []float32, width, c0, channels, n, ty, tx int, s *gemm.Scratch) {
	if channels == 0 {
		return
	}
	rows := (*[36]unsafe.Pointer)(s.Rows)
	p.tileRows(rows, x[c0:], width, n, ty, tx)
	p.t.input(&to[0], stride, rows, channels, &p.in(s, scratchTmp)[0], p.points)
}

// channels are those of a pass.
func (p *winograd) channels(pass int) (first, count int) {
	first = pass * p.depth
	return first, min(p.depth, p.cfg.C1+p.cfg.C2-first)
}

// at is where V of a pass, xi and tile of a block begins, [tile][depth] within each of p.plane float32.
func (p *winograd) at(pass, xi, tile int) int {
	return (pass*36+xi)*p.plane + tile*p.depth*p.size/4
}

// tile locates a tile: its image and its row and column there.
func (p *winograd) tile(i int) (n, ty, tx int) {
	return i / (p.th * p.tw), i / p.tw % p.th, i % p.tw
}

// tileRows points at the 6×6 pixels under a tile.
func (p *winograd) tileRows(rows *[36]unsafe.Pointer, x []float32, width, n, ty, tx int) {
	base, zero := unsafe.Pointer(&x[0]), unsafe.Pointer(&p.zero[0])
	xs := p.xs[4*tx:][:6]
	for i, iy := range p.ys[4*ty:][:6] {
		line := (n*p.cfg.H + int(iy)) * p.cfg.W
		for j, ix := range xs {
			if iy < 0 || ix < 0 {
				rows[6*i+j] = zero
			} else {
				rows[6*i+j] = unsafe.Add(base, (line+int(ix))*width*4)
			}
		}
	}
}

// multiply computes panel's channels of tiles t0 to t1 of block b, whose transformed input is v.
func (p *winograd) multiply(b, t0, t1, panel int, v []float32, s *gemm.Scratch, a *gemm.Args) {
	k := p.w.Kern
	nr := k.NR
	zero, init, m := p.in(s, scratchZero), p.in(s, scratchInitial), p.in(s, scratchProduct)
	clear(zero)
	p.bias(init, panel*nr, a)
	if p.twice {
		p.clearSkipped(m[:(t1-t0)*36*nr])
	}
	tiles := t1 - t0
	heights := (tiles + k.MR - 1) / k.MR
	tile := &s.Tile
	for pass := range p.passes {
		_, depth := p.channels(pass)
		*tile = gemm.Tile{Seg: &depthSteps[depth*p.size/4], Segs: 1, CStride: 36 * nr * 4}
		for pair, rows := range rowPairs {
			u, scales := p.made(pair, panel, pass, a)
			if !p.many {
				u, scales = p.in(s, scratchKernel), p.in(s, scratchColumns)
				p.weights(u, scales, pair, panel, pass, s)
			}
			for plane := range 12 {
				i, j := rows[plane/6], plane%6
				if p.twice && (i == 2 || j == 2) {
					continue
				}
				xi := 6*i + j
				from := unsafe.Pointer(&v[p.at(pass, xi, t0)])
				for t := range tiles {
					s.Rows[t] = unsafe.Add(from, t*p.depth*p.size)
				}
				tile.B = &u[plane*p.kernel()]
				if p.fixed {
					tile.ColumnScale = &scales[(4*classes[i]+classes[j])*nr]
				}
				for h := range heights {
					m0, m1 := h*tiles/heights, (h+1)*tiles/heights
					tile.Rows = &s.Rows[m0]
					tile.C = &m[(m0*36+xi)*nr]
					tile.Init, tile.InitStride = tile.C, tile.CStride
					if pass == 0 {
						tile.Init, tile.InitStride = &zero[0], 0
					}
					if p.fixed {
						tile.RowScale = &p.scales(pass, v)[xi*p.block+t0+m0]
						k.MulInt16(tile, m1-m0)
					} else {
						k.Mul(tile, m1-m0)
					}
				}
			}
		}
	}
	for t := range tiles {
		n, ty, tx := p.tile(b*p.block + t0 + t)
		p.store(n, ty, tx, panel*nr, m[t*36*nr:][:36*nr], init[n*nr:][:nr], s, a)
	}
}

// transformKernels makes U of one pass of a panel for all blocks.
func (p *winograd) transformKernels(panel, pass int, s *gemm.Scratch, a *gemm.Args) {
	for pair := range rowPairs {
		u, scales := p.made(pair, panel, pass, a)
		p.weights(u, scales, pair, panel, pass, s)
	}
}

// made is the place of two rows of U that are made first, and of the scales of all its rows if it is rounded.
func (p *winograd) made(pair, panel, pass int, a *gemm.Args) (u, scales []float32) {
	if !p.many {
		return nil, nil
	}
	all := a.Workspace[(panel*p.passes+pass)*p.kernels():][:p.kernels()]
	return all[12*pair*p.kernel():], all[36*p.kernel():]
}

// planeClasses is the number of classes of planes of U, those of its row times those of its column.
const planeClasses = 4 * 4

// weights makes two rows of U, twelve planes of NR output channels by the input channels of a pass. Rounded, they have scales by class of
// plane, which are made with the first two.
func (p *winograd) weights(u, scales []float32, pair, panel, pass int, s *gemm.Scratch) {
	C, nr := p.cfg.C1+p.cfg.C2, p.w.Kern.NR
	c0, depth := p.channels(pass)
	var first *byte
	stride, dtype := C*nr*p.w.DType.Size(), p.w.DType
	if taps := p.in(s, scratchTurned); len(taps) == 0 {
		first = p.w.Raw(panel, c0)
	} else {
		if pair == 0 {
			for tap := range 9 {
				p.w.Panel(taps[tap*depth*nr:][:depth*nr], p.in(s, scratchSpare), panel, tap*C+c0, depth)
			}
		}
		first, stride, dtype = (*byte)(unsafe.Pointer(&taps[0])), depth*nr*4, compute.F32
	}
	if !p.fixed {
		p.t.weights(&u[0], 4*p.kernel(), first, stride, depth*nr, dtype, pair, p.points)
		return
	}
	factors := p.in(s, scratchFactors)
	if pair == 0 {
		p.t.bound(&factors[0], &scales[0], first, stride, depth, dtype, p.points)
	}
	p.t.fixWeights((*int16)(unsafe.Pointer(&u[0])), 4*p.kernel(), first, stride, depth/2, &factors[0], dtype, pair, p.points)
}

// depthSteps[n] is n: an addressable segment length for every depth.
var depthSteps = func() (d [maxDepth + 16]int) {
	for i := range d {
		d[i] = i
	}
	return d
}()

// bias sets init[n] to the bias and per-channel term of NR channels from n0 on, for every image n, with
// zeros beyond Cout.
func (p *winograd) bias(init []float32, n0 int, a *gemm.Args) {
	nr := p.w.Kern.NR
	cols := min(nr, p.cfg.Cout-n0)
	clear(init)
	for n := range p.cfg.N {
		row := init[n*nr:][:cols]
		if a.Bias != nil {
			copy(row, a.Bias[n0:n0+cols])
		}
		if a.PerChannel != nil {
			for j, v := range a.PerChannel[n*p.cfg.Cout+n0:][:cols] {
				row[j] += v
			}
		}
	}
}

// clearSkipped zeroes the products that are not computed because V is zero there: row and column 2.
func (p *winograd) clearSkipped(m []float32) {
	nr := p.w.Kern.NR
	for ; len(m) > 0; m = m[36*nr:] {
		clear(m[12*nr : 18*nr])
		for i := range 6 {
			clear(m[(6*i+2)*nr:][:nr])
		}
	}
}

// store writes one tile of NR channels from n0 on, or what of it lies inside the image and below Cout.
func (p *winograd) store(n, ty, tx, n0 int, m, init []float32, s *gemm.Scratch, a *gemm.Args) {
	nr, cout, scratch := p.w.Kern.NR, p.cfg.Cout, &p.in(s, scratchTmp)[0]
	at := ((n*p.oh+4*ty)*p.ow+4*tx)*cout + n0
	h, w, cols := min(4, p.oh-4*ty), min(4, p.ow-4*tx), min(nr, cout-n0)
	if h == 4 && w == 4 && cols == nr {
		var residual *float32
		if a.Residual != nil {
			residual = &a.Residual[at]
		}
		p.t.output(&a.Y[at], p.ow*cout*4, cout*4, &m[0], &init[0], residual, scratch, p.points)
		return
	}
	edge := p.in(s, scratchEdge)
	p.t.output(&edge[0], 4*nr*4, nr*4, &m[0], &init[0], nil, scratch, p.points)
	for i := range h {
		for j := range w {
			from := at + (i*p.ow+j)*cout
			sum := edge[(4*i+j)*nr:][:cols]
			if a.Residual != nil { // read before Y is written: it may be Y
				for c, v := range a.Residual[from:][:cols] {
					sum[c] += v
				}
			}
			copy(a.Y[from:], sum)
		}
	}
}
