package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// winograd is F(4×4,3×3). The output is cut into 4×4 tiles and the tiles into blocks whose transformed
// input V fits the shared cache. Each block takes two phases:
//
//	transform   V[xi][tile][C] = Bᵀ·d·B            a task is a few tiles
//	multiply    M[tile][xi][NR] = V[xi]·U[xi],     a task is a panel of NR output channels, perhaps
//	            Y = Aᵀ·M·A + …                     of a part of the block's tiles
//
// U = G·g·Gᵀ is made from the packed weights as it is needed, two rows of six xi and depth channels at a
// time, so that it stays in a core's own cache, and is used for all tiles of the task.
type winograd struct {
	cfg    Config
	w      *gemm.Weights
	t      *transforms
	oh, ow int
	th, tw int // tiles down and across an image

	ys, xs []int32 // stored row and column by padded coordinate, -1 beyond the end
	zero   []float32
	twice  bool // the input is resized by exactly two: row and column 2 of V are zero

	tiles  int // in all
	block  int // most tiles in a block
	blocks int
	parts  int // parts of a block in the multiply phase
	part   int // most tiles in a part
	depth  int // most channels in one pass
	turned int // float32 of the nine taps of a pass, turned over, or 0 where w has them as they are needed
	plane  int // float32 from one xi of V to the next
}

const (
	// maxV bounds V, in float32: it should stay in the last-level cache between the phases.
	maxV = 3 << 20
	// maxDepth is how many input channels of two rows of U are kept at a time: they should fit half of
	// a core's second-level cache.
	maxDepth = 320
	// transformTiles is the number of tiles that one task of the transform phase covers.
	transformTiles = 4
	// leastPart is the fewest tiles for which U is worth transforming again.
	leastPart = 48
)

// newWinograd lays out the work so that V takes at most about budget float32.
func newWinograd(w *gemm.Weights, cfg Config, budget int) *winograd {
	p := &winograd{cfg: cfg, w: w, t: transformsFor(w.Kern)}
	p.oh, p.ow = cfg.Output()
	p.th, p.tw = (p.oh+3)/4, (p.ow+3)/4
	ih, iw := cfg.input()
	// The last tile may reach beyond the bottom and right padding; what it reads there only enters
	// outputs that are not stored.
	p.ys, p.xs = cfg.axes(max(0, 4*p.th+2-ih-cfg.PadTop-cfg.PadBottom), max(0, 4*p.tw+2-iw-cfg.PadLeft-cfg.PadRight))
	p.twice = cfg.ResizeH == 2*cfg.H && cfg.ResizeW == 2*cfg.W && cfg.PadTop == 1 && cfg.PadLeft == 1
	p.zero = make([]float32, max(cfg.C1, cfg.C2))

	C := cfg.C1 + cfg.C2
	p.tiles = cfg.N * p.th * p.tw
	most := max(budget/(36*C), w.Kern.MR)
	p.blocks = (p.tiles + most - 1) / most
	p.block = (p.tiles + p.blocks - 1) / p.blocks
	p.blocks = (p.tiles + p.block - 1) / p.block
	p.parts = 1
	for panels := w.Panels(); panels*p.parts < 2*cfg.Workers && p.block/(p.parts+1) >= leastPart; {
		p.parts++
	}
	p.part = (p.block + p.parts - 1) / p.parts
	passes := (C + maxDepth - 1) / maxDepth
	p.depth = ((C+passes-1)/passes + 15) &^ 15
	if w.Turned() {
		p.turned = 9 * p.depth * w.Kern.NR
	}
	// 36 streams a multiple of 4 KB apart would share one set of the first-level cache.
	p.plane = p.block*C + 16
	return p
}

func (p *winograd) Algorithm() Algorithm     { return Winograd }
func (p *winograd) FLOPs() int               { return p.cfg.FLOPs() }
func (p *winograd) Check(a *gemm.Args) error { return checkArgs(&p.cfg, p.Need(), a) }
func (p *winograd) Phases() int              { return 2 * p.blocks }

func (p *winograd) Need() gemm.Need {
	nr := p.w.Kern.NR
	return gemm.Need{
		Workspace: 36 * p.plane,
		Scratch:   scratchTmp + 17*nr + p.cfg.N*nr + p.turned + p.w.Spare() + 12*p.depth*nr + p.part*36*nr,
		Rows:      max(p.part, 36),
	}
}

// scratchTmp is the float32 that the transforms use as scratch.
const scratchTmp = 36 * 16

// blockTiles is the number of tiles in block b.
func (p *winograd) blockTiles(b int) int { return min(p.block, p.tiles-b*p.block) }

func (p *winograd) Tasks(phase int) int {
	if phase%2 == 0 {
		return (p.blockTiles(phase/2) + transformTiles - 1) / transformTiles
	}
	return p.parts * p.w.Panels()
}

func (p *winograd) Do(phase, task int, s *gemm.Scratch, a *gemm.Args) {
	b := phase / 2
	if phase%2 == 0 {
		t0 := task * transformTiles
		p.transform(b, t0, min(t0+transformTiles, p.blockTiles(b)), s, a)
		return
	}
	part, panel := task/p.w.Panels(), task%p.w.Panels()
	t0 := part * p.part
	if t1 := min(t0+p.part, p.blockTiles(b)); t0 < t1 {
		p.multiply(b, t0, t1, panel, s, a)
	}
}

// transform fills V for tiles t0 to t1 of block b.
func (p *winograd) transform(b, t0, t1 int, s *gemm.Scratch, a *gemm.Args) {
	C := p.cfg.C1 + p.cfg.C2
	rows := (*[36]unsafe.Pointer)(s.Rows)
	for t := t0; t < t1; t++ {
		n, ty, tx := p.tile(b*p.block + t)
		v := &a.Workspace[t*C]
		p.tileRows(rows, a.X, p.cfg.C1, n, ty, tx)
		p.t.input(v, p.plane*4, rows, p.cfg.C1, &s.Floats[0])
		if p.cfg.C2 > 0 {
			p.tileRows(rows, a.X2, p.cfg.C2, n, ty, tx)
			p.t.input(&a.Workspace[t*C+p.cfg.C1], p.plane*4, rows, p.cfg.C2, &s.Floats[0])
		}
	}
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

// multiply computes panel's channels of tiles t0 to t1 of block b.
func (p *winograd) multiply(b, t0, t1, panel int, s *gemm.Scratch, a *gemm.Args) {
	k := p.w.Kern
	nr, C := k.NR, p.cfg.C1+p.cfg.C2
	f := s.Floats[scratchTmp:]
	take := func(n int) []float32 {
		part := f[:n:n]
		f = f[n:]
		return part
	}
	zero, edge, init, u, m := take(nr), take(16*nr), take(p.cfg.N*nr), take(12*p.depth*nr), take(p.part*36*nr)
	taps := kernels{turned: take(p.turned), spare: take(p.w.Spare())}
	clear(zero)
	p.bias(init, panel*nr, a)
	if p.twice {
		p.clearSkipped(m[:(t1-t0)*36*nr])
	}

	tiles := t1 - t0
	heights := (tiles + k.MR - 1) / k.MR
	tile := &s.Tile
	for c0 := 0; c0 < C; c0 += p.depth {
		depth := min(p.depth, C-c0)
		*tile = gemm.Tile{Seg: &depthSteps[depth], Segs: 1, CStride: 36 * nr * 4}
		p.kernels(&taps, panel, c0, depth)
		for pair, rows := range rowPairs {
			p.t.weights(&u[0], p.depth*nr*4, taps.first, taps.stride, depth*nr, taps.dtype, pair)
			for plane := range 12 {
				i, j := rows[plane/6], plane%6
				if p.twice && (i == 2 || j == 2) {
					continue
				}
				xi := 6*i + j
				v := unsafe.Pointer(&a.Workspace[xi*p.plane+t0*C+c0])
				for t := range tiles {
					s.Rows[t] = unsafe.Add(v, t*C*4)
				}
				tile.B = &u[plane*p.depth*nr]
				for h := range heights {
					m0, m1 := h*tiles/heights, (h+1)*tiles/heights
					tile.Rows = &s.Rows[m0]
					tile.C = &m[(m0*36+xi)*nr]
					tile.Init, tile.InitStride = tile.C, tile.CStride
					if c0 == 0 {
						tile.Init, tile.InitStride = &zero[0], 0
					}
					k.Mul(tile, m1-m0)
				}
			}
		}
	}
	for t := range tiles {
		n, ty, tx := p.tile(b*p.block + t0 + t)
		p.store(n, ty, tx, panel*nr, m[t*36*nr:][:36*nr], init[n*nr:][:nr], edge, s, a)
	}
}

// kernels are those of NR output channels and some input channels: nine taps of [depth][NR] elements, stride bytes apart.
type kernels struct {
	first         *byte
	stride        int
	dtype         compute.DType
	turned, spare []float32 // room for those that have to be turned over
}

// kernels finds the kernels of a panel for depth input channels from c0 on.
func (p *winograd) kernels(k *kernels, panel, c0, depth int) {
	C, nr := p.cfg.C1+p.cfg.C2, p.w.Kern.NR
	if p.turned == 0 {
		k.first, k.stride, k.dtype = p.w.Raw(panel, c0), C*nr*p.w.DType.Size(), p.w.DType
		return
	}
	for tap := range 9 {
		p.w.Panel(k.turned[tap*depth*nr:][:depth*nr], k.spare, panel, tap*C+c0, depth)
	}
	k.first, k.stride, k.dtype = (*byte)(unsafe.Pointer(&k.turned[0])), depth*nr*4, compute.F32
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
func (p *winograd) store(n, ty, tx, n0 int, m, init, edge []float32, s *gemm.Scratch, a *gemm.Args) {
	nr, cout := p.w.Kern.NR, p.cfg.Cout
	at := ((n*p.oh+4*ty)*p.ow+4*tx)*cout + n0
	h, w, cols := min(4, p.oh-4*ty), min(4, p.ow-4*tx), min(nr, cout-n0)
	if h == 4 && w == 4 && cols == nr {
		var residual *float32
		if a.Residual != nil {
			residual = &a.Residual[at]
		}
		p.t.output(&a.Y[at], p.ow*cout*4, cout*4, &m[0], &init[0], residual, &s.Floats[0])
		return
	}
	p.t.output(&edge[0], 4*nr*4, nr*4, &m[0], &init[0], nil, &s.Floats[0])
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
