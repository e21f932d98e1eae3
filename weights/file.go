package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/openfile"
)

// Tensor is one named array: row-major, little-endian.
type Tensor struct {
	Name  string
	DType DType
	Shape compute.Shape // empty for a scalar
	Data  []byte        // exactly Shape.Elements() × DType.Size() bytes
}

// Float32s is a copy of the elements as float32, whatever their type: F16, BF16 and the 8-bit floats
// widen exactly, F64 and integers beyond 2²⁴ round.
func (t Tensor) Float32s() []float32 { return t.DType.float32s(t.Data) }

// File is an open safetensors file, of which tensors are read when they are asked for. It is safe for concurrent use.
//
// That somebody writes to the file while it is open is noticed: reading is then a *ChangedError. A new file renamed into its
// place, which is how Write works, does not touch it.
type File struct {
	path     string
	entries  []entry
	index    map[string]int
	metadata map[string]string
	data     storage
	start    int64 // where the data buffer begins in the file
}

// OpenFile opens and checks a safetensors file. Nothing but its header is read. Errors name the file
// and, where one is at fault, the tensor.
func OpenFile(path string) (*File, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return newFile(f, path)
}

// OpenFileFS is OpenFile for a file of fsys. Those that are no files of the system (embedded, in archives) are read into
// memory.
func OpenFileFS(fsys fs.FS, name string) (*File, error) {
	f, err := openfile.OpenFS(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return newFile(f, name)
}

// newFile takes f over: it is closed at once or with the File.
func newFile(f fs.File, path string) (*File, error) {
	fail := func(err error) (*File, error) { return nil, fmt.Errorf("weights: %s: %w", path, err) }
	info, err := f.Stat()
	if err != nil {
		return fail(errors.Join(err, f.Close()))
	}
	data, err := openStorage(f, info.Size())
	if err != nil {
		return fail(errors.Join(err, f.Close()))
	}
	file := &File{path: path, data: data}
	if err := file.readHeader(info.Size()); err != nil {
		return fail(errors.Join(err, data.Close()))
	}
	return file, nil
}

func (f *File) readHeader(size int64) error {
	header, err := readHeader(f.data, size)
	if err != nil {
		return err
	}
	f.start = 8 + int64(len(header))
	f.entries, f.metadata, err = parseHeader(header, size-f.start)
	if err != nil {
		return err
	}
	f.index = make(map[string]int, len(f.entries))
	for i, e := range f.entries {
		f.index[e.name] = i
	}
	return nil
}

// Path is the name the file was opened under.
func (f *File) Path() string { return f.path }

// Metadata is a copy of the header's free-form strings ("format", "modelspec.…", "ss_…").
func (f *File) Metadata() map[string]string {
	m := make(map[string]string, len(f.metadata))
	maps.Copy(m, f.metadata)
	return m
}

// Names lists the tensors in file order.
func (f *File) Names() []string {
	names := make([]string, len(f.entries))
	for i, e := range f.entries {
		names[i] = e.name
	}
	return names
}

// Has reports whether the file holds the named tensor.
func (f *File) Has(name string) bool {
	_, ok := f.index[name]
	return ok
}

// Info is the named tensor without its Data; ok is false if there is none.
func (f *File) Info(name string) (t Tensor, ok bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	e := f.entries[i]
	return Tensor{Name: e.name, DType: e.dtype, Shape: slices.Clone(e.shape)}, true
}

// Tensor is the named tensor, read anew.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.Info(name)
	if !ok {
		return Tensor{}, fmt.Errorf("weights: %s: no tensor %q among its %d", f.path, name, len(f.entries))
	}
	r := f.reader(name)
	t.Data = make([]byte, r.Size())
	if _, err := r.ReadAt(t.Data, 0); err != nil {
		return Tensor{}, err
	}
	return t, nil
}

// reader reads parts of a tensor, which the file must have.
func (f *File) reader(name string) *tensorReader {
	e := &f.entries[f.index[name]]
	return &tensorReader{io.NewSectionReader(f.data, f.start+e.begin, e.end-e.begin), f.path, name}
}

// tensorReader is the bytes of a tensor.
type tensorReader struct {
	*io.SectionReader
	path, name string
}

// ReadAt implements io.ReaderAt.
func (r *tensorReader) ReadAt(b []byte, off int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := r.SectionReader.ReadAt(b, off)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("weights: %s: tensor %q: %w", r.path, r.name, err)
	}
	return n, err
}

// Close closes the file. Tensors that have been read remain.
func (f *File) Close() error { return f.data.Close() }

// PickleError refuses a PyTorch pickle (.ckpt, .pt, .pth, .bin).
type PickleError struct {
	Path string // may be empty when the error is wrapped in one that names the file
}

// Error says why and what to do instead.
func (e *PickleError) Error() string {
	what := "a PyTorch pickle"
	if e.Path != "" {
		what = e.Path + ": " + what
	}
	return what + ": loading one can run any program hidden in it, so it is refused. Use the model's .safetensors download, " +
		"or convert the file where you trust it: in Python, load it with torch.load(…, weights_only=True) and write its state_dict " +
		"with safetensors.torch.save_file; the A1111 web UI does the same under Checkpoint Merger with format safetensors"
}
