package simgpu

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"sort"
	"strings"
)

// Address is one in device memory. The host has nothing there.
type Address uint64

// Device is memory that kernels work on.
type Device struct {
	allocations []*allocation
	next        Address
	launches    int32
}

// guard is how many bytes lie between allocations.
const guard = 1 << 12

// Alloc allocates memory that holds nothing yet.
func (d *Device) Alloc(bytes int) Address {
	if d.next == 0 {
		d.next = 1 << 52
	}
	a := newAllocation(d.next, bytes)
	d.allocations = append(d.allocations, a)
	d.next += Address((bytes + guard + 255) &^ 255)
	return a.start
}

// Free gives back what Alloc or Upload allocated. Its addresses are nobody's for ever.
func (d *Device) Free(at Address) error {
	for i, a := range d.allocations {
		if a.start == at {
			d.allocations = append(d.allocations[:i], d.allocations[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("simgpu: no allocation begins at %#x", at)
}

// Allocations are what is allocated, in the order of addresses, with what it holds: 0xff where nobody has written.
func (d *Device) Allocations() iter.Seq2[Address, []byte] {
	return func(yield func(Address, []byte) bool) {
		for _, a := range d.allocations {
			if !yield(a.start, a.data) {
				return
			}
		}
	}
}

// Upload allocates memory for data.
func (d *Device) Upload(data []byte) Address {
	at := d.Alloc(len(data))
	if err := d.Write(at, data); err != nil {
		panic(err) // there is room for it
	}
	return at
}

// Write copies host memory to the device.
func (d *Device) Write(at Address, data []byte) error {
	a, offset, err := d.inside(at, len(data))
	if err != nil {
		return err
	}
	copy(a.data[offset:], data)
	a.know(offset, len(data), true)
	return nil
}

// Download is a copy of so many bytes, all of which must have been written.
func (d *Device) Download(at Address, bytes int) ([]byte, error) {
	a, offset, err := d.inside(at, bytes)
	if err != nil {
		return nil, err
	}
	a.each(offset, bytes, func(c cell, at, _ int) cell {
		if !c.known && err == nil {
			err = fmt.Errorf("simgpu: byte %d of %d was never written", at-offset, bytes)
		}
		return c
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), a.data[offset:offset+bytes]...), nil
}

// Copy copies within device memory, from and to even addresses. What was never written stays so.
func (d *Device) Copy(to, from Address, bytes int) error {
	source, first, err := d.inside(from, bytes)
	if err != nil {
		return err
	}
	target, offset, err := d.inside(to, bytes)
	if err != nil {
		return err
	}
	copy(target.data[offset:][:bytes], source.data[first:])
	source.each(first, bytes, func(c cell, at, n int) cell {
		target.know(offset+at-first, n, c.known)
		return c
	})
	return nil
}

// inside is find, with an error where nothing is found.
func (d *Device) inside(at Address, bytes int) (a *allocation, offset int, err error) {
	a, offset, ok := d.find(at, bytes)
	if !ok {
		return nil, 0, fmt.Errorf("simgpu: %d bytes at %#x are outside every allocation", bytes, at)
	}
	return a, offset, nil
}

// find is the allocation that holds so many bytes at an address, and where in it they begin.
func (d *Device) find(at Address, bytes int) (a *allocation, offset int, ok bool) {
	i := sort.Search(len(d.allocations), func(i int) bool { return d.allocations[i].start > at }) - 1
	if i < 0 {
		return nil, 0, false
	}
	a = d.allocations[i]
	offset = int(at - a.start)
	return a, offset, offset+bytes <= len(a.data)
}

// place is find, which looks first where it found something last.
func (w *warp) place(at uint64, bytes int) (a *allocation, offset int, ok bool) {
	if a = w.block.recent; a != nil && Address(at) >= a.start && int(Address(at)-a.start)+bytes <= len(a.data) {
		return a, int(Address(at) - a.start), true
	}
	if a, offset, ok = w.block.device.find(Address(at), bytes); ok {
		w.block.recent = a
	}
	return a, offset, ok
}

// access is the bytes at an address that a lane reads or writes.
func (w *warp) access(at uint64, bytes int, write bool) []byte {
	a, offset, ok := w.place(at, bytes)
	if !ok {
		w.fail("%d bytes at %#x are outside every allocation", bytes, at)
	}
	if at%uint64(bytes) != 0 {
		w.fail("%d bytes at %#x are not aligned", bytes, at)
	}
	return w.mark(a, offset, bytes, write)
}

// global is the places of an instruction on device memory.
type global struct {
	base, offset int
	registers    []int
}

func (p *parser) global(addressed, registers string, n int) global {
	name, offset := address(addressed)
	return global{p.long(name), offset, p.vector(registers, n)}
}

// width is how many registers a mnemonic with .v2 or .v4 has.
func width(s statement) int {
	for n, text := range map[int]string{2: ".v2.", 4: ".v4."} {
		if strings.Contains(s.mnemonic, text) {
			return n
		}
	}
	return 1
}

// each hands out the bytes that each lane reads or writes and counts how well they lie together.
func (g global) each(w *warp, lanes uint32, bytes int, write bool, visit func(lane int, data []byte)) {
	base := w.readLong(g.base, lanes)
	if lanes == all && consecutive(base, uint64(bytes)) && (base[0]+uint64(g.offset))%uint64(bytes) == 0 {
		if a, offset, ok := w.place(base[0]+uint64(g.offset), bytes*len(base)); ok {
			data := w.mark(a, offset, bytes*len(base), write)
			for l := range base {
				visit(l, data[l*bytes:(l+1)*bytes])
			}
			w.block.stats.FullSectors += len(data) / 32
			w.block.stats.Sectors += (offset+len(data)-1)/32 - offset/32 + 1
			return
		}
	}
	var sectors sectors
	var data []byte
	var before uint64
	for ; lanes != 0; lanes &= lanes - 1 {
		l := bits.TrailingZeros32(lanes) & 31
		at := base[l] + uint64(g.offset)
		if data == nil || write || at != before { // neighbours often read the same
			data, before = w.access(at, bytes, write), at
		}
		visit(l, data)
		sectors.add(at, bytes)
	}
	sectors.count(&w.block.stats)
}

// consecutive reports whether each address is so many bytes behind the one before.
func consecutive(at *[32]uint64, bytes uint64) bool {
	for l := 1; l < len(at); l++ {
		if at[l] != at[l-1]+bytes {
			return false
		}
	}
	return true
}

func (p *parser) loadGlobal(s statement) step {
	g := p.global(s.operands[1], s.operands[0], width(s))
	return func(w *warp, lanes uint32) {
		var registers [4]*values
		for i, r := range g.registers {
			registers[i] = &w.words[r]
		}
		g.each(w, lanes, 4*len(g.registers), false, func(l int, data []byte) {
			for i := range g.registers {
				registers[i][l] = binary.LittleEndian.Uint32(data[4*i:])
			}
		})
		for _, r := range g.registers {
			w.write(r, lanes)
		}
	}
}

func (p *parser) storeGlobal(s statement) step {
	g := p.global(s.operands[0], s.operands[1], width(s))
	return func(w *warp, lanes uint32) {
		var registers [4]*values
		for i, r := range g.registers {
			registers[i] = w.read(r, lanes)
		}
		g.each(w, lanes, 4*len(g.registers), true, func(l int, data []byte) {
			for i := range g.registers {
				binary.LittleEndian.PutUint32(data[4*i:], registers[i][l])
			}
		})
	}
}

func (p *parser) loadHalf(s statement) step {
	g := p.global(s.operands[1], s.operands[0], 1)
	return func(w *warp, lanes uint32) {
		g.each(w, lanes, 2, false, func(l int, data []byte) {
			w.write(g.registers[0], 1<<l)[l] = uint32(binary.LittleEndian.Uint16(data))
		})
	}
}

func (p *parser) storeHalf(s statement) step {
	g := p.global(s.operands[0], s.operands[1], 1)
	return func(w *warp, lanes uint32) {
		g.each(w, lanes, 2, true, func(l int, data []byte) {
			binary.LittleEndian.PutUint16(data, uint16(w.read(g.registers[0], 1<<l)[l]))
		})
	}
}

// loadParam reads a parameter.
func (p *parser) loadParam(s statement) step {
	name, _ := address(s.operands[1])
	parameter, ok := p.names[name]
	if !ok || (parameter.size == 8) != (s.mnemonic == "ld.param.u64") {
		panic(mistake(name + " is no parameter of this type"))
	}
	if parameter.size == 8 {
		d := p.long(s.operands[0])
		return func(w *warp, lanes uint32) {
			v, y := binary.LittleEndian.Uint64(w.block.params[parameter.offset:]), w.writeLong(d, lanes)
			each(lanes, func(l int) { y[l] = v })
		}
	}
	d := p.result(s.operands[0])
	return func(w *warp, lanes uint32) {
		v, y := binary.LittleEndian.Uint32(w.block.params[parameter.offset:]), w.write(d, lanes)
		each(lanes, func(l int) { y[l] = v })
	}
}

// sectors are the pieces of 32 bytes that a warp's access touches.
type sectors struct {
	touched [64]uint64
	n       int
	bytes   int
}

func (s *sectors) add(at uint64, bytes int) {
	s.bytes += bytes
	for sector := at / 32; sector <= (at+uint64(bytes)-1)/32; sector++ {
		if s.n > 0 && s.touched[s.n-1] == sector || slices.Contains(s.touched[:s.n], sector) {
			continue
		}
		s.touched[s.n] = sector
		s.n++
	}
}

// count adds the sectors, and those that the bytes would fill.
func (s *sectors) count(stats *Stats) {
	stats.Sectors += s.n
	stats.FullSectors += (s.bytes + 31) / 32
}
