package simgpu

import (
	"encoding/binary"
	"math/bits"
)

// sharedWord is what is known of four bytes of a block's shared memory. Epochs are counted by barriers, on from block to block.
type sharedWord struct {
	written, read int32  // the epochs of the last write and of readers
	writer        int8   // the warp of the last write
	pending       int8   // the warp, counted from 1, whose copy to here is under way
	readers       uint32 // the warps that read in epoch read
}

// sharedGrain is what is known of 16 bytes of shared memory: once for all, as long as they are accessed together.
type sharedGrain struct {
	divided bool
	words   [4]sharedWord // the first is all if it is not divided
}

// words are what is known of as many bytes as an instruction accesses, which lie in one grain.
func (b *block) words(at uint32, bytes int) []sharedWord {
	g := &b.shadow[at/16]
	if !g.divided {
		if bytes == 16 {
			return g.words[:1]
		}
		g.divided, g.words[1], g.words[2], g.words[3] = true, g.words[0], g.words[0], g.words[0]
	}
	return g.words[at/4%4:][:bytes/4]
}

// use checks an access to shared memory and notes it.
func (w *warp) use(at uint32, bytes int, write bool) []byte {
	b := w.block
	if int(at)+bytes > len(b.shared) {
		w.fail("shared byte %d is beyond the %d that the launch has", at, len(b.shared))
	}
	if at%uint32(bytes) != 0 {
		w.fail("%d bytes at shared byte %d are not aligned", bytes, at)
	}
	words := b.words(at, bytes)
	for i := range words {
		w.note(&words[i], at+4*uint32(i), write)
	}
	return b.shared[at : at+uint32(bytes)]
}

func (w *warp) note(s *sharedWord, at uint32, write bool) {
	epoch, me := w.block.epoch, uint32(1)<<w.id
	if !write && s.read == epoch && s.readers&me != 0 && s.pending == 0 && s.written != epoch {
		return // as before
	}
	switch {
	case s.pending != 0:
		w.fail("shared byte %d is still being copied to by warp %d", at, s.pending-1)
	case s.written == epoch && int(s.writer) != w.id:
		w.fail("shared byte %d was written by warp %d since the last barrier", at, s.writer)
	case !write && s.written < w.block.start:
		w.fail("shared byte %d was never written", at)
	case write && s.read == epoch && s.readers&^me != 0:
		w.fail("shared byte %d was read by warp %d since the last barrier", at, bits.TrailingZeros32(s.readers&^me))
	}
	if write {
		s.written, s.writer = epoch, int8(w.id)
		return
	}
	if s.read != epoch {
		s.read, s.readers = epoch, 0
	}
	s.readers |= me
}

// sharedAddress is the places of an address in shared memory.
type sharedAddress struct{ base, offset int }

func (p *parser) sharedAddress(operand string) sharedAddress {
	name, offset := address(operand)
	return sharedAddress{p.word(name), offset}
}

// at is where each lane points.
func (a sharedAddress) at(w *warp, lanes uint32) (at [32]uint32) {
	base := w.read(a.base, lanes)
	each(lanes, func(l int) { at[l] = base[l] + uint32(a.offset) })
	return at
}

func (p *parser) loadShared(s statement) step {
	d, a := p.vector(s.operands[0], width(s)), p.sharedAddress(s.operands[1])
	return func(w *warp, lanes uint32) {
		at := a.at(w, lanes)
		var registers [4]*values
		for i, r := range d {
			registers[i] = &w.words[r]
		}
		var data []byte
		before := uint32(0)
		each(lanes, func(l int) {
			if data == nil || at[l] != before { // neighbours often read the same
				data, before = w.use(at[l], 4*len(d), false), at[l]
			}
			for i := range d {
				registers[i][l] = binary.LittleEndian.Uint32(data[4*i:])
			}
		})
		for _, r := range d {
			w.write(r, lanes)
		}
		if len(d) == 4 {
			w.conflicts16(at, lanes)
		} else {
			w.conflicts(at, lanes)
		}
	}
}

func (p *parser) storeShared(s statement) step {
	a, d := p.sharedAddress(s.operands[0]), p.word(s.operands[1])
	return func(w *warp, lanes uint32) {
		at, x := a.at(w, lanes), w.read(d, lanes)
		each(lanes, func(l int) { binary.LittleEndian.PutUint32(w.use(at[l], 4, true), x[l]) })
		w.conflicts(at, lanes)
	}
}

// conflicts counts how often an access of words takes longer because several lie in one of the 32 banks.
func (w *warp) conflicts(at [32]uint32, lanes uint32) {
	var words [32]int // of each bank
	most := 1
	for left := lanes; left != 0; left &= left - 1 {
		l := bits.TrailingZeros32(left)
		bank := at[l] / 4 % 32
		if words[bank] > 0 && earlier(&at, lanes, 0, l) {
			continue
		}
		words[bank]++
		most = max(most, words[bank])
	}
	w.block.stats.Conflicts += most - 1
}

// earlier reports whether one of some lanes, from first on and before l, points where lane l does.
func earlier(at *[32]uint32, lanes uint32, first, l int) bool {
	for i := first; i < l; i++ {
		if at[i] == at[l] && lanes>>i&1 != 0 {
			return true
		}
	}
	return false
}

// transfer is a copy of 16 bytes to shared memory that is under way.
type transfer struct {
	to   uint32
	data [16]byte
}

// copyAsync is cp.async. What it reads is read at once; where it writes nobody may look before it was waited for.
func (p *parser) copyAsync(s statement) step {
	to := p.sharedAddress(s.operands[0])
	name, offset := address(s.operands[1])
	from, size := p.long(name), p.word(s.operands[3])
	if s.operands[2] != "16" {
		panic(mistake("only copies of 16 bytes are known"))
	}
	return func(w *warp, lanes uint32) {
		at, source, n := to.at(w, lanes), w.readLong(from, lanes), w.read(size, lanes)
		var sectors sectors
		each(lanes, func(l int) {
			t := transfer{to: at[l]}
			switch address := source[l] + uint64(offset); n[l] {
			case 16:
				copy(t.data[:], w.access(address, 16, false))
				sectors.add(address, 16)
			case 0:
			default:
				w.fail("lane %d copies %d of 16 bytes", l, n[l])
			}
			w.begin(t)
		})
		sectors.count(&w.block.stats)
		w.conflicts16(at, lanes)
	}
}

// conflicts16 counts conflicts of accesses of 16 bytes, of which a quarter of the warp goes at a time. Lanes at one place share it.
func (w *warp) conflicts16(at [32]uint32, lanes uint32) {
	for quarter := range 4 {
		var pieces [8]int // of each group of four banks
		for l := 8 * quarter; l < 8*quarter+8; l++ {
			bank := at[l] / 16 % 8
			if lanes>>l&1 == 0 || pieces[bank] > 0 && earlier(&at, lanes, 8*quarter, l) {
				continue
			}
			if pieces[bank]++; pieces[bank] > 1 {
				w.block.stats.Conflicts++
			}
		}
	}
}

func (w *warp) begin(t transfer) {
	w.use(t.to, 16, true)
	words := w.block.words(t.to, 16)
	for i := range words {
		words[i].pending = int8(w.id + 1)
	}
	w.open = append(w.open, t)
}

func (p *parser) commit(s statement) step {
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		w.groups, w.open = append(w.groups, w.open), w.spare
		w.spare = nil
	}
}

func (p *parser) await(s statement) step {
	n := int(literal(s.operands[0]))
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		for len(w.groups) > n {
			for _, t := range w.groups[0] {
				w.land(t)
			}
			w.spare = w.groups[0][:0]
			w.groups = append(w.groups[:0], w.groups[1:]...)
		}
	}
}

// land ends a copy: its bytes are there for the warp, and for others after the next barrier.
func (w *warp) land(t transfer) {
	copy(w.block.shared[t.to:], t.data[:])
	words := w.block.words(t.to, 16)
	for i := range words {
		words[i].pending, words[i].written, words[i].writer = 0, w.block.epoch, int8(w.id)
	}
}
