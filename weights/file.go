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
	"github.com/atelier-go/atelier/weights/pickle"
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

// File is an open file of tensors, safetensors or PyTorch's own, which are read when they are asked for. It is safe for
// concurrent use.
//
// That somebody writes to the file while it is open is noticed: reading is then a *ChangedError. A new file renamed into its
// place, which is how Write works, does not touch it.
type File struct {
	path     string
	entries  []entry
	index    map[string]int
	metadata map[string]string
	data     storage
	start    int64    // where the data buffer begins in the file
	extras   []string // what a pickle holds beside its tensors
}

// OpenFile opens and checks a file, of which nothing but the header (the pickle) is read. What it is is told by its content,
// whatever its name: a safetensors file, or what torch.save wrote (.ckpt, .pt, .pth, .bin), which is read without running
// anything in it (see package pickle). Errors name the file and, where one is at fault, the tensor; those of PyTorch's files
// wrap a *pickle.RefusedError or *pickle.FormatError.
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
	if err := file.read(info.Size()); err != nil {
		return fail(errors.Join(err, data.Close()))
	}
	return file, nil
}

// read reads all but the tensors.
func (f *File) read(size int64) error {
	read := f.readHeader
	if pickle.Recognise(f.data) {
		read = f.readPickle
	}
	if err := read(size); err != nil {
		return err
	}
	f.index = make(map[string]int, len(f.entries))
	for i, e := range f.entries {
		f.index[e.name] = i
	}
	return nil
}

func (f *File) readHeader(size int64) error {
	header, err := readHeader(f.data, size)
	if err != nil {
		return err
	}
	f.start = 8 + int64(len(header))
	f.entries, f.metadata, err = parseHeader(header, size-f.start)
	return err
}

// Path is the name the file was opened under.
func (f *File) Path() string { return f.path }

// Metadata is a copy of the header's free-form strings ("format", "modelspec.…", "ss_…"), of a pickle the strings and numbers
// that stand beside its tensors ("epoch", "global_step", "name").
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
	if e.pickled != nil {
		return &tensorReader{e.pickled.Open(), f.path, name}
	}
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
