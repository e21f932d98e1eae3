package cpu

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/elem"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

const (
	// pieceBytes is about how much is read at once: what was read is still in a core's own cache when it is packed.
	pieceBytes = 256 << 10
	// stretchBytes is about how much a worker packs at once. That is a huge page, which two workers would both ask for and fill with
	// zeros if they began to write to it at the same time.
	stretchBytes = 2 << 20
)

// loading is a parameter on its way from its source to a packed form.
type loading struct {
	packing
	typ    compute.Type
	place  io.ReaderAt // where it lies; nil where the source has it only in whole
	bytes  []byte      // to be filled
	packed *packed
}

// stretch is some parts of a parameter, from first to end.
type stretch struct {
	*loading
	first, end int
}

// loadings are the requested forms that are not there yet, the largest first.
func (p *params) loadings(requests []packing) (fresh []*loading, err error) {
	if p.loaded == nil {
		return nil, errClosed
	}
	asked := make(map[packKey]bool)
	for _, r := range requests {
		if p.loaded[r.key] != nil || asked[r.key] {
			continue
		}
		asked[r.key] = true
		l := &loading{packing: r}
		if err := l.find(p.source); err != nil {
			return nil, err
		}
		fresh = append(fresh, l)
	}
	largestFirst(fresh)
	return fresh, nil
}

var errClosed = errors.New("cpu: the parameters are closed")

// largestFirst sorts, so that no worker is left with a large one while the others have none.
func largestFirst(all []*loading) {
	slices.SortStableFunc(all, func(a, b *loading) int { return cmp.Compare(b.size, a.size) })
}

// find looks for the parameter in a source.
func (l *loading) find(source compute.ParamSource) (err error) {
	if l.typ, err = source.ParamType(l.key.name); err != nil {
		return l.fault(err)
	}
	if opener, ok := source.(compute.ParamOpener); ok {
		l.place = opener.OpenParam(l.key.name)
	} else {
		l.place = nil
	}
	return nil
}

// room is the bytes that parameters take when each begins at a cache line.
func (l *loading) room() int { return (l.size + 63) &^ 63 }

// part is how many bytes of the parameter a part is made of.
func (l *loading) part() int {
	switch all := l.typ.Bytes(); {
	case l.fill == nil:
		return min(pieceBytes, all)
	case l.rows == 0:
		return all
	default:
		return l.rows * (all / l.typ.Shape[0])
	}
}

// parts is how many there are.
func (l *loading) parts() int { return (l.typ.Bytes() + l.part() - 1) / l.part() }

// stretches are the tasks of loading a parameter. One that is only to be had in whole is one task.
func (l *loading) stretches() (all []stretch) {
	parts := l.parts()
	step := max(1, stretchBytes*parts/max(l.size, l.typ.Bytes()))
	if l.place == nil {
		step = parts
	}
	for first := 0; first < parts; first += step {
		all = append(all, stretch{l, first, min(first+step, parts)})
	}
	return all
}

// freshMemory is memory from allocate that is written to for the first time.
type freshMemory struct {
	bytes []byte
	small atomic.Bool // whether its pages are no longer huge
}

// load reads parameters and packs them to where they belong, which may be fresh memory, on all workers.
func (p *params) load(all []*loading, fresh *freshMemory) error {
	var tasks []stretch
	piece := pieceBytes
	for _, l := range all {
		tasks = append(tasks, l.stretches()...)
		piece = max(piece, l.part())
	}
	spare := 4 * gemm.For(p.device.set).PackSpare()
	each := (spare + piece + 63) &^ 63
	scratch, err := allocate(each*p.device.pool.workers, false)
	if err != nil {
		return err
	}
	packers := make([]packer, p.device.pool.workers)
	for i := range packers {
		own := scratch[i*each:][:each]
		packers[i] = packer{p.source, fresh, elem.For(p.device.set), own[spare:], floats(own[:spare])}
	}
	failed := make([]error, len(tasks))
	err = p.device.each(len(tasks), func(task, worker int) { failed[task] = packers[worker].load(tasks[task]) })
	for _, e := range append(failed, free(scratch)) {
		err = cmp.Or(err, e)
	}
	return err
}

// packer is what a worker loads with.
type packer struct {
	source compute.ParamSource
	fresh  *freshMemory // nil if it was written to before
	elem   *elem.Kernels
	piece  []byte    // what was read last
	spare  []float32 // see gemm.Kernel.PackInto
}

// begin says where the packed form will be.
func (l *loading) begin(block []byte) {
	if l.fill == nil {
		l.packed = &packed{table: l.place, dtype: l.typ.DType}
		return
	}
	l.bytes = block[:l.size:l.size]
	l.packed = l.view(l.bytes)
}

// load reads some parts piece by piece, looks through them and packs them.
func (w *packer) load(s stretch) error {
	l, place := s.loading, s.place
	if place == nil {
		whole, err := l.whole(w.source)
		if err != nil {
			return err
		}
		place = whole
	}
	each, packed := l.part(), l.size/l.parts()
	if w.fresh != nil {
		w.fresh.touch(l.bytes[s.first*packed : s.end*packed])
	}
	for at := s.first; at < s.end; {
		n := min(max(1, pieceBytes/each), s.end-at)
		piece := w.piece[:min(n*each, l.typ.Bytes()-at*each)]
		if err := w.read(piece, l, place, at*each); err != nil {
			return l.fault(err)
		}
		if l.fill != nil {
			if err := l.fill(l.bytes[at*packed:][:n*packed], piece, w.spare); err != nil {
				return l.fault(err)
			}
		}
		at += n
	}
	return nil
}

// whole is a parameter that its source has no other way.
func (l *loading) whole(source compute.ParamSource) (io.ReaderAt, error) {
	data, err := source.ParamData(l.key.name)
	if err == nil && len(data) != l.typ.Bytes() {
		err = l.short(len(data))
	}
	if err != nil {
		return nil, l.fault(err)
	}
	place := bytes.NewReader(data)
	if l.fill == nil {
		l.packed.table = place
	}
	return place, nil
}

// read reads a piece that begins at byte from, and looks for what is no number.
func (w *packer) read(piece []byte, l *loading, place io.ReaderAt, from int) error {
	n, err := place.ReadAt(piece, int64(from))
	if err != nil && err != io.EOF {
		return err
	}
	if n < len(piece) {
		return l.short(from + n)
	}
	if i := w.elem.FirstNonFinite(l.typ.DType, piece); i >= 0 {
		return fmt.Errorf("element %d is not a finite number; the checkpoint is damaged, download or convert it again", from/l.typ.DType.Size()+i)
	}
	return nil
}

// short says that there are fewer bytes, or more, than the type asks for.
func (l *loading) short(have int) error {
	return fmt.Errorf("it has %d bytes, want %d for %v", have, l.typ.Bytes(), l.typ)
}

// fault says which parameter an error is about.
func (l *loading) fault(err error) error { return fmt.Errorf("cpu: parameter %q: %w", l.key.name, err) }
