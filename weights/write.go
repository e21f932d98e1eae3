package weights

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/nlpodyssey/safetensors"

	"github.com/atelier-go/atelier/internal/atomicfile"
)

// Write stores tensors as a safetensors file at path. The result appears all at once: the bytes go to a
// temporary file in the same folder, reach the disk, and only then take the name, so a failure of any
// kind leaves what was there before. The order of the tensors in the file is by descending element size
// class, then by name, whatever their order in the call: equal arguments give equal bytes.
//
// Tensors are checked first: names unique, not empty and UTF-8; Data as long as shape and type say; types of
// 8-bit floats are refused (use F16).
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	return writeFile(path, func(w io.Writer) error { return Encode(w, tensors, metadata) })
}

// Encode writes tensors to w in the safetensors format, checked and ordered as Write does.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	views := make(map[string]view, len(tensors))
	for _, t := range tensors {
		v, err := newView(t)
		if err != nil {
			return fmt.Errorf("weights: write: tensor %q: %w", t.Name, err)
		}
		if _, dup := views[t.Name]; dup {
			return fmt.Errorf("weights: write: tensor %q appears twice", t.Name)
		}
		views[t.Name] = v
	}
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("weights: write: metadata %q is not UTF-8", k)
		}
	}
	if err := safetensors.SerializeToWriter(views, metadata, w); err != nil {
		return fmt.Errorf("weights: write: %w", err)
	}
	return nil
}

// view is a Tensor as nlpodyssey/safetensors serialises it. The library's own TensorView cannot hold
// a scalar, and nothing in its serialiser compares Data with the shape.
type view struct {
	dtype safetensors.DType
	shape []uint64
	data  []byte
}

func newView(t Tensor) (view, error) {
	dtype, ok := t.DType.library()
	elements := t.Shape.Elements()
	switch {
	case t.Name == "" || t.Name == "__metadata__" || len(t.Name) > maxNameBytes || !utf8.ValidString(t.Name):
		return view{}, errors.New("not a usable name")
	case !ok && t.DType.Size() == 1:
		return view{}, fmt.Errorf("%s is not written; convert it to F16", t.DType)
	case !ok:
		return view{}, fmt.Errorf("unknown dtype %q", string(t.DType))
	case len(t.Shape) > maxRank:
		return view{}, fmt.Errorf("rank %d is beyond %d", len(t.Shape), maxRank)
	case elements < 0 || elements > len(t.Data):
		return view{}, fmt.Errorf("have %d bytes for %s%v", len(t.Data), t.DType, t.Shape)
	case elements*t.DType.Size() != len(t.Data):
		return view{}, fmt.Errorf("have %d bytes, %s%v takes %d", len(t.Data), t.DType, t.Shape, elements*t.DType.Size())
	}
	shape := make([]uint64, len(t.Shape)) // not nil for a scalar: nil would be written as null
	for i, d := range t.Shape {
		shape[i] = uint64(d)
	}
	return view{dtype, shape, t.Data}, nil
}

// DType implements safetensors.View.
func (v view) DType() safetensors.DType { return v.dtype }

// Shape implements safetensors.View.
func (v view) Shape() []uint64 { return v.shape }

// Data implements safetensors.View.
func (v view) Data() []byte { return v.data }

// DataLen implements safetensors.View.
func (v view) DataLen() uint64 { return uint64(len(v.data)) }

// writeFile replaces path by what fill writes, or leaves it alone.
func writeFile(path string, fill func(io.Writer) error) error {
	err := replace(path, fill)
	switch {
	case err == nil:
		return nil
	case atomicfile.IsDiskFull(err):
		return fmt.Errorf("weights: write %s: the disk is full; free some space or choose another folder (what was there before is untouched): %w", path, err)
	}
	return fmt.Errorf("weights: write %s: %w", path, err)
}

func replace(path string, fill func(io.Writer) error) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := fill(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Commit()
}
