package compute

import (
	"cmp"
	"slices"
)

// arenaAlign is the alignment of every block in an arena: a cache line, and what wide vector loads and cuBLAS like.
const arenaAlign = 256

// Layout places every input and result of a program, and the scratch of every node, in one arena.
// Values that are never alive at the same time share storage.
type Layout struct {
	Size    int // bytes of the whole arena
	offsets []int
	scratch []int
}

// Offset is where v begins in the arena, in bytes; -1 for a parameter, which has no place there.
func (l *Layout) Offset(v Value) int { return l.offsets[v.Index()] }

// Scratch is where the scratch of node i begins in the arena, in bytes; -1 if it asked for none.
func (l *Layout) Scratch(i int) int { return l.scratch[i] }

// block is a stretch of arena needed from node first to node last.
type block struct {
	size, first, last int
	offset            int
}

// Plan lays out a program. scratch tells how many bytes of private storage node i needs while it runs; nil means none.
// Inputs are alive from the start and outputs to the end. A view shares its operand's storage, and the result of an
// [Overwriter] takes over that of an operand dying there.
//
// Blocks are placed largest first, each at the lowest offset that no block alive at the same time covers.
// See Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference" (arXiv:2001.03288), section 5.
func Plan(p *Program, scratch func(i int) int) *Layout {
	storage := newStorage(p)
	blocks := make([]*block, len(p.Values), len(p.Values)+len(p.Nodes))
	for i, info := range p.Values {
		if info.Kind == ParamKind || storage.root(i) != i {
			continue
		}
		blocks[i] = &block{size: align(info.Bytes()), first: info.Node, last: storage.last[i]}
	}
	all := slices.DeleteFunc(slices.Clone(blocks), func(b *block) bool { return b == nil })
	private := make([]*block, len(p.Nodes))
	for i := range p.Nodes {
		if scratch == nil || scratch(i) == 0 {
			continue
		}
		private[i] = &block{size: align(scratch(i)), first: i, last: i}
		all = append(all, private[i])
	}

	l := &Layout{Size: place(all), offsets: make([]int, len(p.Values)), scratch: make([]int, len(p.Nodes))}
	for i := range p.Values {
		l.offsets[i] = -1
		if b := blocks[storage.root(i)]; b != nil {
			l.offsets[i] = b.offset
		}
	}
	for i, b := range private {
		l.scratch[i] = -1
		if b != nil {
			l.scratch[i] = b.offset
		}
	}
	return l
}

// place assigns an offset to every block and returns the arena's size.
func place(blocks []*block) int {
	slices.SortStableFunc(blocks, func(a, b *block) int { return cmp.Compare(b.size, a.size) })
	size := 0
	var placed []*block // by offset
	for _, b := range blocks {
		for _, q := range placed {
			if b.first > q.last || q.first > b.last {
				continue
			}
			if b.offset+b.size <= q.offset {
				break
			}
			b.offset = max(b.offset, q.offset+q.size)
		}
		at, _ := slices.BinarySearchFunc(placed, b, func(q, b *block) int { return cmp.Compare(q.offset, b.offset) })
		placed = slices.Insert(placed, at, b)
		size = max(size, b.offset+b.size)
	}
	return size
}

func align(n int) int { return (n + arenaAlign - 1) &^ (arenaAlign - 1) }

// storage groups the values of a program that share storage, and tells how long each group lives.
type storage struct {
	parent []int // towards the group's root; a root is its own parent
	last   []int // last node that needs the group, valid at roots
}

func newStorage(p *Program) *storage {
	s := &storage{parent: make([]int, len(p.Values)), last: make([]int, len(p.Values))}
	for i, info := range p.Values {
		s.parent[i] = i
		s.last[i] = info.Node // an unused result still needs room while it is written
		if info.Output {
			s.last[i] = len(p.Nodes)
		}
	}
	for i, n := range p.Nodes {
		if v, ok := n.Op.(Viewer); ok {
			s.join(n.Out[0].Index(), v.Viewed().Index())
		}
		for _, v := range n.Op.Operands() {
			r := s.root(v.Index())
			s.last[r] = max(s.last[r], i)
		}
	}
	for i, n := range p.Nodes {
		if over, ok := n.Op.(Overwriter); ok {
			s.overwrite(p, i, n, over.Overwritable())
		}
	}
	return s
}

// overwrite lets the result of node i take the place of the first candidate that dies there.
func (s *storage) overwrite(p *Program, i int, n Node, candidates []Value) {
	out := n.Out[0].Index()
	for _, c := range candidates {
		r := s.root(c.Index())
		readers := 0
		for _, v := range n.Op.Operands() {
			if s.root(v.Index()) == r {
				readers++
			}
		}
		if p.Values[r].Kind == ParamKind || s.last[r] != i || readers != 1 || p.Values[r].Bytes() != p.Values[out].Bytes() {
			continue
		}
		s.join(out, r)
		return
	}
}

// join makes value i part of root r's group.
func (s *storage) join(i, r int) {
	from, to := s.root(i), s.root(r)
	s.last[to] = max(s.last[to], s.last[from])
	s.parent[from] = to
}

func (s *storage) root(i int) int {
	for s.parent[i] != i {
		i = s.parent[i]
	}
	return i
}
