package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// SaveOptions say in what a copy differs from its checkpoint. The zero value makes a plain copy.
type SaveOptions struct {
	// Params replace the parameters of a component. A source has the component's names and shapes, such as
	// one that lora.Merge made of it.
	Params map[Kind]compute.ParamSource
	// Type, F32, F16 or BF16, is that of all parameters of the copy. InvalidDType, the default, leaves those of Params in
	// their type and all others as they are stored.
	Type compute.DType
	// Metadata are written into the header of each file that holds a component of Params; nil keeps the file's own.
	Metadata map[string]string
	// Progress, if set, is called after each tensor with the bytes written so far and those of all.
	Progress func(done, total int64)
}

// Save writes the checkpoint to name in the layout it was opened in: a single file with the same keys, those that belong
// to no component included, or a diffusers folder, of which configuration, tokenizer and whatever else lies beside the
// components go along, but not weights that Open did not choose, which would not have the changes. Every file of weights
// becomes a safetensors file. One tensor is in memory at a time. The result appears all at once; a single file replaces what was
// there, a folder must not exist before.
//
// The checkpoint's own files are no place to write to, and 8-bit floats are not written: choose a Type.
func (c *Checkpoint) Save(ctx context.Context, name string, o SaveOptions) error {
	main := c.sources[0]
	if len(c.sources) > 1 {
		return fmt.Errorf("weights: save %s: %s has parts of another file, %s; open it without them", name, c.path, c.sources[1].path)
	}
	if o.Type != compute.InvalidDType && o.Type != compute.F32 && o.Type != compute.F16 && o.Type != compute.BF16 {
		return fmt.Errorf("weights: save %s as %v: want F32, F16 or BF16", name, o.Type)
	}
	s := &saver{SaveOptions: o, ctx: ctx, files: make(map[*File][]*output)}
	for _, f := range main.files {
		if sameFile(f.path, name) {
			return fmt.Errorf("weights: save %s: the checkpoint is read from it; choose another name", name)
		}
		if err := s.list(c, f); err != nil {
			return fmt.Errorf("weights: save %s: %s: %w", name, f.path, err)
		}
	}
	if main.root == nil {
		return writeFile(name, func(w io.Writer) error { return s.encode(w, main.files[0]) })
	}
	return s.writeFolder(main, name)
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// saver is one Save at work.
type saver struct {
	SaveOptions
	ctx         context.Context
	files       map[*File][]*output
	done, total int64
	err         error // the first that a tensor met: a View has no other way to report it
}

// output is a tensor to be written. It implements safetensors.View, and its data are made when they are asked for.
type output struct {
	view
	name    string
	size    int64
	changed bool // it is one of SaveOptions.Params
	load    func() ([]byte, error)
	saver   *saver
}

// large is the size of tensors of which the collector, left alone, would let several that are written already pile up.
const large = 4 << 20

// DataLen implements safetensors.View.
func (o *output) DataLen() uint64 { return uint64(o.size) }

// Data implements safetensors.View.
func (o *output) Data() []byte {
	s := o.saver
	if s.err == nil {
		s.err = context.Cause(s.ctx)
	}
	if s.err != nil {
		return nil
	}
	if o.size >= large {
		runtime.GC()
	}
	data, err := o.load()
	if err == nil && int64(len(data)) != o.size {
		err = fmt.Errorf("%d bytes, want %d", len(data), o.size)
	}
	if err != nil {
		s.err = fmt.Errorf("tensor %q: %w", o.name, err)
		return nil
	}
	s.done += o.size
	if s.Progress != nil {
		s.Progress(s.done, s.total)
	}
	return data
}

// list notes what is to be written for a file.
func (s *saver) list(c *Checkpoint, f *File) error {
	type place struct {
		kind Kind
		name string
	}
	places := make(map[string]place)
	for kind, component := range c.components {
		for name, p := range component.params {
			if p.file == f {
				places[p.key] = place{kind, name}
			}
		}
	}
	for _, key := range f.Names() {
		stored, _ := f.Info(key)
		o := &output{name: key, saver: s}
		o.load = func() ([]byte, error) {
			t, err := f.Tensor(key)
			return t.Data, err
		}
		dtype := stored.DType
		if at, ok := places[key]; ok && c.components[at.kind].params[at.name].typ.DType != compute.InvalidDType {
			var source compute.ParamSource = c.components[at.kind]
			if s.Params[at.kind] != nil {
				source, o.changed = s.Params[at.kind], true
			}
			if o.changed || s.Type != compute.InvalidDType {
				t, err := source.ParamType(at.name)
				if err != nil {
					return err
				}
				if t.Shape.Elements() != stored.Shape.Elements() {
					return fmt.Errorf("tensor %q is %v, its new parameters %v", key, stored.Shape, t)
				}
				to := t.DType
				if s.Type != compute.InvalidDType {
					to = s.Type
				}
				dtype = DType(to.String())
				o.load = func() ([]byte, error) { return paramAs(source, at.name, t.DType, to) }
			}
		}
		lib, ok := dtype.library()
		if !ok {
			return fmt.Errorf("tensor %q: %s is not written; save as F16", key, dtype)
		}
		o.dtype, o.size = lib, int64(stored.Shape.Elements())*int64(dtype.Size())
		o.shape = make([]uint64, len(stored.Shape))
		for i, d := range stored.Shape {
			o.shape[i] = uint64(d)
		}
		s.files[f] = append(s.files[f], o)
		s.total += o.size
	}
	return nil
}

// paramAs is a parameter in another type, rounded to nearest. What does not fit is an error.
func paramAs(source compute.ParamSource, name string, from, to compute.DType) ([]byte, error) {
	data, err := source.ParamData(name)
	if err != nil || from == to {
		return data, err
	}
	values := make([]float32, len(data)/from.Size())
	Widen(values, data, from)
	out := make([]byte, len(values)*to.Size())
	Narrow(out, values, to)
	if i := compute.FirstNonFinite(to, out); i >= 0 && compute.FirstNonFinite(from, data) < 0 {
		return nil, fmt.Errorf("element %d is %v, beyond what %v holds; save as F32 or BF16", i, values[i], to)
	}
	return out, nil
}

// encode writes a file.
func (s *saver) encode(w io.Writer, f *File) error {
	tensors, metadata := make(map[string]*output), f.metadata
	for _, o := range s.files[f] {
		tensors[o.name] = o
		if o.changed && s.Metadata != nil {
			metadata = s.Metadata
		}
	}
	err := safetensors.SerializeToWriter(tensors, metadata, w)
	return errors.Join(s.err, err)
}

// writeFolder writes the files of a folder and copies what lies beside them.
func (s *saver) writeFolder(main *source, name string) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("weights: save %s: it exists already; choose another name for the folder", name)
	}
	temp, err := atomicfile.CreateFolder(name)
	if err != nil {
		return fmt.Errorf("weights: save %s: %w", name, err)
	}
	defer temp.Abort()
	files, above := make(map[string]*File), path.Clean(filepath.ToSlash(main.path))+"/"
	for _, f := range main.files {
		files[strings.TrimPrefix(filepath.ToSlash(f.path), above)] = f
	}
	err = fs.WalkDir(main.root, ".", func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || at == ".":
			return err
		case s.ctx.Err() != nil:
			return context.Cause(s.ctx)
		case strings.HasPrefix(path.Base(at), ".") && entry.IsDir():
			return fs.SkipDir
		case strings.HasPrefix(path.Base(at), "."):
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(temp.Path, filepath.FromSlash(at)), 0o777)
		}
		to := filepath.Join(temp.Path, filepath.FromSlash(at))
		if f := files[at]; f != nil {
			delete(files, at)
			if isPickle(to) {
				to = strings.TrimSuffix(to, filepath.Ext(to)) + ".safetensors"
			}
			return writeFile(to, func(w io.Writer) error { return s.encode(w, f) })
		}
		if isOtherWeights(main.root, at, main.files) {
			return nil
		}
		return copyFile(main.root, at, to)
	})
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%d files of weights were not found again", len(files))
	}
	if err == nil {
		err = temp.Commit()
	}
	if err != nil {
		return fmt.Errorf("weights: save %s: %w", name, err)
	}
	return nil
}

// isOtherWeights reports whether a file at the top of a folder or in that of a component holds weights that are not the ones
// which are open, or is the index of such shards.
func isOtherWeights(root fs.FS, at string, opened []*File) bool {
	if dir := path.Dir(at); dir != "." && !slices.Contains(Kinds[:], Kind(dir)) {
		return false
	}
	switch ext := path.Ext(at); {
	case isWeights(at) || slices.Contains([]string{".onnx", ".pb", ".msgpack", ".h5", ".gguf"}, ext):
		return true
	case ext != ".json" || !strings.Contains(path.Base(at), ".index."):
		return false
	}
	text, err := folder{root, "."}.read(at, maxIndexBytes)
	if err != nil {
		return true
	}
	shardOf, err := ParseIndex(text)
	if err != nil {
		return true
	}
	for _, shard := range shardOf {
		if !slices.ContainsFunc(opened, func(f *File) bool { return strings.HasSuffix(filepath.ToSlash(f.path), path.Join(path.Dir(at), shard)) }) {
			return true
		}
	}
	return false
}

// copyFile copies a file as it is.
func copyFile(root fs.FS, from, to string) error {
	in, err := openfile.OpenFS(root, from)
	if err != nil {
		return fmt.Errorf("%w; take it out of the folder", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
