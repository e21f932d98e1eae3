package pickle

import (
	"bytes"
	"io"
	"math/bits"
	"slices"
	"sync"
)

// storage is an array in the file, of which tensors are views.
type storage struct {
	key   string
	dtype string
	bytes int64
	data  io.ReaderAt // set once the place of the bytes is known
}

// view is a storage from an element on: what a persistent id names.
type view struct {
	*storage
	offset int64 // elements
}

// Tensor is an array, or a view of one, that is still in the file.
type Tensor struct {
	DType string // of the elements, spelled as safetensors spells it: "F32", "F16", "BF16", …
	Shape []int  // empty for a scalar

	storage *storage
	begin   int64 // of the first element, in bytes
	strides []int64
}

// Limits of a tensor. One that repeats its elements (strides of 0) is no more than the file's bytes would be, up to maxRepeated.
const (
	maxRank     = 8
	maxRepeated = 1 << 20
)

// rebuildTensor is given storage, offset, size, stride, and what belongs to training.
func rebuildTensor(args Tuple) (any, error) {
	if len(args) < 4 {
		return nil, malformed("a tensor of %d arguments", len(args))
	}
	v, ok := args[0].(view)
	if !ok {
		return nil, malformed("a tensor of no storage")
	}
	return newTensor(v, args, v.dtype)
}

// rebuildTyped is given storage, offset, size, stride, requires_grad, hooks and the element type.
func rebuildTyped(args Tuple) (any, error) {
	if len(args) < 7 {
		return nil, malformed("a typed tensor of %d arguments", len(args))
	}
	v, ok := args[0].(view)
	name, _ := args[6].(Name)
	dtype, known := dtypes[name]
	if !ok || !known {
		return nil, malformed("a typed tensor of no storage or type")
	}
	return newTensor(v, args, dtype)
}

// newTensor checks that the tensor lies within its storage.
func newTensor(v view, args Tuple, dtype string) (*Tensor, error) {
	size, stride := items(args[2]), items(args[3])
	if len(size) != len(stride) || len(size) > maxRank {
		return nil, malformed("a tensor of %d sizes and %d strides", len(size), len(stride))
	}
	offset, ok := args[1].(int64)
	if !ok || offset < 0 {
		return nil, malformed("a tensor without a place in its storage")
	}
	t := &Tensor{DType: dtype, storage: v.storage, Shape: make([]int, len(size)), strides: make([]int64, len(size))}
	elements := uint64(1)
	last := uint64(0) // the farthest element behind the first
	for i := range size {
		n, ok1 := size[i].(int64)
		s, ok2 := stride[i].(int64)
		if !ok1 || !ok2 || n < 0 || s < 0 {
			return nil, malformed("a tensor whose size or stride is no natural number")
		}
		t.Shape[i], t.strides[i] = int(n), s
		overflow, low := bits.Mul64(elements, uint64(n))
		far, way := bits.Mul64(uint64(max(n-1, 0)), uint64(s))
		if elements, last = low, last+way; overflow != 0 || far != 0 || way > 1<<60 || last > 1<<60 || elements > 1<<60 {
			return nil, malformed("a tensor of more elements than any file")
		}
	}
	width := dtypeSize[dtype]
	begin, end := uint64(v.offset)*uint64(dtypeSize[v.dtype])+uint64(offset)*uint64(width), uint64(0)
	if elements > 0 {
		end = begin + (last+1)*uint64(width)
	}
	switch stored := uint64(v.bytes); {
	case offset > 1<<59 || end > stored:
		return nil, malformed("a tensor that ends at byte %d of storage %.40q, which has %d", end, v.key, stored)
	case elements*uint64(width) > max(stored, maxRepeated):
		return nil, malformed("a tensor of %d elements repeated out of %d bytes", elements, stored)
	}
	t.begin = int64(begin)
	return t, nil
}

// Bytes is the size of the tensor's elements, each counted once.
func (t *Tensor) Bytes() int64 {
	n := dtypeSize[t.DType]
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// Open reads the elements in row-major order, little-endian. It is safe for concurrent use, and so are several of one tensor.
// A tensor that lies in another order in the file is arranged in memory when it is first read.
func (t *Tensor) Open() *io.SectionReader {
	if t.contiguous() {
		return io.NewSectionReader(t.storage.data, t.begin, t.Bytes())
	}
	return io.NewSectionReader(lazily(sync.OnceValues(t.arrange)), 0, t.Bytes())
}

// contiguous reports whether the elements lie in row-major order.
func (t *Tensor) contiguous() bool {
	run := int64(1)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.strides[i] != run {
			return t.Bytes() == 0
		}
		run *= int64(t.Shape[i])
	}
	return true
}

// arrange gathers the elements from where they lie.
func (t *Tensor) arrange() (io.ReaderAt, error) {
	width, last := dtypeSize[t.DType], int64(0)
	for i, n := range t.Shape {
		last += int64(n-1) * t.strides[i]
	}
	from := make([]byte, (last+1)*width)
	if n, err := t.storage.data.ReadAt(from, t.begin); n < len(from) {
		return nil, cut(err)
	}
	to := make([]byte, 0, t.Bytes())
	index, at := make([]int, len(t.Shape)), int64(0)
	for int64(len(to)) < t.Bytes() {
		to = append(to, from[at*width:][:width]...)
		for i := range slices.Backward(index) {
			index[i]++
			at += t.strides[i]
			if index[i] < t.Shape[i] {
				break
			}
			at -= int64(t.Shape[i]) * t.strides[i]
			index[i] = 0
		}
	}
	return bytes.NewReader(to), nil
}

// lazily reads what a function opens.
type lazily func() (io.ReaderAt, error)

// ReadAt implements io.ReaderAt.
func (open lazily) ReadAt(b []byte, off int64) (int, error) {
	r, err := open()
	if err != nil {
		return 0, err
	}
	return r.ReadAt(b, off)
}
