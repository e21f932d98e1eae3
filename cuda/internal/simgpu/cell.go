package simgpu

// allocation is a piece of memory. What lies between two belongs to nobody.
type allocation struct {
	start  Address
	data   []byte
	grains []grain
	parts  [][halvesOfGrain]cell
	free   []int32 // those of parts that no grain has any more
}

// cell is who touched some bytes of device memory, in the last launch that did.
type cell struct {
	known          bool // they were written at all
	launch         int32
	writer, reader int32 // blocks, counted from 1; several readers are one block that there is not
}

const several = -1

// grain is 16 bytes of an allocation: one cell while they are alike, which they nearly always are, and else one for each two bytes.
type grain struct {
	whole cell
	parts int32 // which of the allocation's has its cells, counted from 1; 0 while it has but one
}

const (
	grainBytes    = 16
	halvesOfGrain = grainBytes / 2
)

// newAllocation holds nothing yet.
func newAllocation(start Address, bytes int) *allocation {
	a := &allocation{start: start, data: make([]byte, bytes), grains: make([]grain, (bytes+grainBytes-1)/grainBytes)}
	for i := range a.data {
		a.data[i] = 0xff // a NaN of every type
	}
	return a
}

// each has the cells of a piece of an allocation changed, and tells which bytes each is of.
func (a *allocation) each(offset, bytes int, change func(c cell, at, n int) cell) {
	for at, end := offset, offset+bytes; at < end; {
		g, next := &a.grains[at/grainBytes], min(end, at-at%grainBytes+grainBytes)
		if g.parts != 0 {
			for parts := &a.parts[g.parts-1]; at < next; at += 2 {
				parts[at/2%halvesOfGrain] = change(parts[at/2%halvesOfGrain], at, 2)
			}
			a.unite(g)
			continue
		}
		c := change(g.whole, at, next-at)
		if next-at == grainBytes {
			g.whole = c
		} else if c != g.whole {
			parts := a.divide(g)
			for ; at < next; at += 2 {
				parts[at/2%halvesOfGrain] = c
			}
		}
		at = next
	}
}

// divide gives each two bytes of a grain a cell of their own.
func (a *allocation) divide(g *grain) *[halvesOfGrain]cell {
	if n := len(a.free); n > 0 {
		g.parts, a.free = a.free[n-1], a.free[:n-1]
	} else {
		a.parts = append(a.parts, [halvesOfGrain]cell{})
		g.parts = int32(len(a.parts))
	}
	parts := &a.parts[g.parts-1]
	for i := range parts {
		parts[i] = g.whole
	}
	return parts
}

// unite leaves a grain a single cell if all are alike.
func (a *allocation) unite(g *grain) {
	parts := &a.parts[g.parts-1]
	for _, c := range parts[1:] {
		if c != parts[0] {
			return
		}
	}
	g.whole = parts[0]
	a.free, g.parts = append(a.free, g.parts), 0
}

// know notes whether a piece of an allocation holds what somebody has written.
func (a *allocation) know(offset, bytes int, known bool) {
	a.each(offset, bytes, func(c cell, _, _ int) cell {
		c.known = known
		return c
	})
}

// mark notes who reads or writes a piece of an allocation, and returns it.
func (w *warp) mark(a *allocation, offset, bytes int, write bool) []byte {
	launch, me := w.block.launchID, w.block.number
	a.each(offset, bytes, func(c cell, at, _ int) cell {
		if !write && c.launch == launch && c.reader == me && c.writer == 0 {
			return c // it was read before
		}
		return w.touch(c, at, write)
	})
	return a.data[offset : offset+bytes]
}

// touch notes who reads or writes what a cell is of, and refuses what depends on the order of blocks.
func (w *warp) touch(c cell, offset int, write bool) cell {
	if c.launch != w.block.launchID {
		c = cell{known: c.known, launch: w.block.launchID}
	}
	me := w.block.number
	switch {
	case c.writer != 0 && c.writer != me:
		w.fail("byte %d of the allocation is written by block %d in the same launch", offset, c.writer-1)
	case write && c.reader != 0 && c.reader != me:
		w.fail("byte %d of the allocation is read by another block in the same launch", offset)
	case !write && !c.known:
		w.fail("byte %d of the allocation was never written", offset)
	}
	switch {
	case write:
		c.writer, c.known = me, true
	case c.reader == 0:
		c.reader = me
	case c.reader != me:
		c.reader = several
	}
	return c
}
