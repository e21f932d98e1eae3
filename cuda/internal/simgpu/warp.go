package simgpu

import "math/bits"

const all = ^uint32(0)

// each visits the lanes of a set.
func each(lanes uint32, visit func(l int)) {
	for ; lanes != 0; lanes &= lanes - 1 {
		visit(bits.TrailingZeros32(lanes))
	}
}

// warp is 32 threads, its lanes, which execute one instruction at a time.
type warp struct {
	block *block
	id    int

	words      [][32]uint32
	longs      [][32]uint64
	preds      []uint32
	given      []uint32 // knownWords at the start
	knownWords []uint32 // the lanes in which a register was written
	knownLongs []uint32
	knownPreds []uint32

	at      path   // the lanes that go on now
	others  []path // those that went another way and wait to be met
	live    uint32 // the lanes that have not ended
	waiting bool   // at a barrier
	open    []transfer
	groups  [][]transfer
	spare   []transfer // for the next group
}

// path is where some lanes go on.
type path struct {
	pc    int
	lanes uint32
}

func (w *warp) read(r int, lanes uint32) *[32]uint32 {
	if lanes&^w.knownWords[r] != 0 {
		w.fail("lane %d reads a register that was never written", bits.TrailingZeros32(lanes&^w.knownWords[r]))
	}
	return &w.words[r]
}

func (w *warp) write(r int, lanes uint32) *[32]uint32 {
	w.knownWords[r] |= lanes
	return &w.words[r]
}

func (w *warp) readLong(r int, lanes uint32) *[32]uint64 {
	if lanes&^w.knownLongs[r] != 0 {
		w.fail("lane %d reads a register that was never written", bits.TrailingZeros32(lanes&^w.knownLongs[r]))
	}
	return &w.longs[r]
}

func (w *warp) writeLong(r int, lanes uint32) *[32]uint64 {
	w.knownLongs[r] |= lanes
	return &w.longs[r]
}

func (w *warp) readPred(r int, lanes uint32) uint32 {
	if lanes&^w.knownPreds[r] != 0 {
		w.fail("lane %d reads a predicate that was never written", bits.TrailingZeros32(lanes&^w.knownPreds[r]))
	}
	return w.preds[r]
}

func (w *warp) writePred(r int, lanes, value uint32) {
	w.knownPreds[r] |= lanes
	w.preds[r] = w.preds[r]&^lanes | value&lanes
}

// whole refuses an instruction for whole warps that only some lanes have reached.
func (w *warp) whole(lanes uint32) {
	if lanes != all {
		w.fail("only %d of 32 lanes take part", bits.OnesCount32(lanes))
	}
}

// newWarp has constants in its registers, and nothing else.
func newWarp(b *block, id int) *warp {
	r := &b.kernel.registers
	w := &warp{
		block: b, id: id,
		words: make([][32]uint32, r.words), longs: make([][32]uint64, r.longs), preds: make([]uint32, r.preds),
		given: make([]uint32, r.words), knownWords: make([]uint32, r.words), knownLongs: make([]uint32, r.longs), knownPreds: make([]uint32, r.preds),
	}
	for at, value := range r.constants {
		w.fill(at, func(int) uint32 { return value })
	}
	for at := range r.specials {
		w.given[at] = all
	}
	return w
}

// reset puts the warp at the kernel's start, with nothing in its registers but constants and where it is.
func (w *warp) reset() {
	copy(w.knownWords, w.given)
	clear(w.knownLongs)
	clear(w.knownPreds)
	for at, name := range w.block.kernel.registers.specials {
		w.fill(at, func(l int) uint32 { return w.where(name, l) })
	}
	w.at, w.others, w.live, w.waiting, w.open, w.groups = path{0, all}, nil, all, false, nil, nil
}

func (w *warp) fill(at int, value func(l int) uint32) {
	w.given[at] = all
	for l := range w.words[at] {
		w.words[at][l] = value(l)
	}
}

// where is what a lane reads from a register that tells where it is.
func (w *warp) where(name string, l int) uint32 {
	axis := int(name[len(name)-1] - 'x')
	switch name[:4] {
	case "%tid":
		return uint32(32*w.id + l)
	case "%cta":
		return uint32(w.block.index[axis])
	}
	return uint32(w.block.launch.Grid[axis])
}

// run executes up to so many instructions, or until a barrier or the end.
func (w *warp) run(quantum int) {
	for range quantum {
		if w.waiting || w.live == 0 {
			return
		}
		w.step()
	}
}

// step executes one instruction for the lanes whose turn it is: of those at different places, the ones furthest behind.
func (w *warp) step() {
	if w.at.pc >= len(w.block.kernel.code) {
		w.at.pc = len(w.block.kernel.code) - 1
		w.fail("the kernel goes on behind its end")
	}
	in := &w.block.kernel.code[w.at.pc]
	w.block.count()
	lanes := w.at.lanes
	if in.guard >= 0 {
		holds := w.readPred(in.guard, lanes)
		if in.negate {
			holds = ^holds
		}
		lanes &= holds
	}
	switch in.flow {
	case branch:
		w.branch(in.target, lanes)
	case barrier:
		w.arrive(lanes)
	case exit:
		w.exit(lanes)
	default:
		if lanes != 0 {
			in.do(w, lanes)
		}
		w.at.pc++
	}
	w.meet()
}

// branch sends some lanes elsewhere.
func (w *warp) branch(target int, lanes uint32) {
	stay := w.at.lanes &^ lanes
	if lanes != 0 && stay != 0 {
		w.others = append(w.others, path{target, lanes})
	}
	if stay == 0 {
		w.at.pc = target
		return
	}
	w.at = path{w.at.pc + 1, stay}
}

func (w *warp) arrive(lanes uint32) {
	if lanes != all {
		w.fail("the barrier is reached by %d of 32 lanes, %d of which have ended", bits.OnesCount32(lanes), 32-bits.OnesCount32(w.live))
	}
	w.at.pc++
	w.waiting = true
}

// exit ends some lanes.
func (w *warp) exit(lanes uint32) {
	w.live &^= lanes
	if w.live == 0 && len(w.open)+len(w.groups) > 0 {
		w.fail("the warp ends while copies are under way")
	}
	w.at = path{w.at.pc + 1, w.at.lanes &^ lanes}
	if w.at.lanes == 0 && len(w.others) > 0 {
		w.at, w.others = w.others[0], w.others[1:]
	}
}

// meet joins lanes that are at one place, and gives the turn to those furthest behind.
func (w *warp) meet() {
	for i := 0; i < len(w.others); i++ {
		if other := &w.others[i]; other.pc < w.at.pc {
			w.at, *other = *other, w.at
			i = -1
		} else if other.pc == w.at.pc {
			w.at.lanes |= other.lanes
			w.others = append(w.others[:i], w.others[i+1:]...)
			i = -1
		}
	}
}
