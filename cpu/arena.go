package cpu

import "unsafe"

// arena is a block of memory that grows when a larger program is compiled; it moves then, so kernels hold
// spans of it, not slices.
type arena struct{ bytes []byte }

// grow makes the arena at least n bytes large. Its contents are lost.
func (a *arena) grow(n int) error {
	if n <= len(a.bytes) {
		return nil
	}
	if err := a.free(); err != nil {
		return err
	}
	b, err := allocate(n, true)
	if err != nil {
		return err
	}
	a.bytes = b
	return nil
}

func (a *arena) free() error {
	b := a.bytes
	a.bytes = nil
	return free(b)
}

// span is a stretch of an arena: n elements of four bytes from the given byte offset.
type span struct {
	arena  *arena
	offset int
	n      int
}

func (s span) f32() []float32 {
	if s.n == 0 {
		return nil
	}
	b := s.arena.bytes[s.offset : s.offset+4*s.n]
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), s.n)
}

func (s span) i32() []int32 {
	if s.n == 0 {
		return nil
	}
	b := s.arena.bytes[s.offset : s.offset+4*s.n]
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), s.n)
}

// head is the first n elements of s, tail the others.
func (s span) head(n int) span { return span{s.arena, s.offset, n} }

func (s span) tail(n int) span { return span{s.arena, s.offset + 4*n, s.n - n} }
