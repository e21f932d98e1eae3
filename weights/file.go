package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/atelier-go/atelier/compute"
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

// File is an open safetensors file. It is safe for concurrent use; its bytes are read-only and stay
// valid until Close.
//
// Where the platform can, the file is memory-mapped: do not truncate or overwrite it while it is open
// (a new file renamed into its place is harmless, and that is how Write works).
type File struct {
	path     string
	entries  []entry
	index    map[string]int
	metadata map[string]string
	data     storage
	start    int64 // of the data buffer in the file
}

// storage is where a file's bytes are.
type storage interface {
	// bytes are those in [off, off+n); the range has been checked.
	bytes(off, n int64) ([]byte, error)
	// release gives back the memory that holds [off, off+n), which stays readable.
	release(off, n int64)
	close() error
}

// OpenFile opens and checks a safetensors file. Nothing but its header is read. Errors name the file
// and, where one is at fault, the tensor.
func OpenFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return newFile(f, path)
}

// OpenFileFS is OpenFile for a file of fsys. Files of os.DirFS are memory-mapped as OpenFile does;
// others (embedded, in archives) are read into memory.
func OpenFileFS(fsys fs.FS, name string) (*File, error) {
	f, err := fsys.Open(name)
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
	if !info.Mode().IsRegular() {
		return fail(errors.Join(errors.New("not a regular file"), f.Close()))
	}
	data, err := open(f, info.Size())
	if err != nil {
		return fail(errors.Join(err, f.Close()))
	}
	file := &File{path: path, data: data}
	if err := file.readHeader(info.Size()); err != nil {
		return fail(errors.Join(err, data.close()))
	}
	return file, nil
}

// open chooses the storage: a mapping, else reads on demand, else memory.
func open(f fs.File, size int64) (storage, error) {
	osFile, ok := f.(*os.File)
	if !ok {
		b, err := io.ReadAll(io.LimitReader(f, size+1))
		if err == nil && int64(len(b)) != size {
			err = fmt.Errorf("read %d bytes of %d", len(b), size)
		}
		if err != nil {
			return nil, err
		}
		return memory(b), f.Close()
	}
	if size > 0 {
		if m, err := mapFile(osFile, size); err == nil {
			return m, osFile.Close()
		}
	}
	return onDemand{osFile}, nil
}

func (f *File) readHeader(size int64) error {
	if size < 8 {
		head, _ := f.data.bytes(0, size)
		return notSafetensors(head, "shorter than the 8 bytes every safetensors file begins with")
	}
	head, err := f.data.bytes(0, min(size, 512))
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(head)
	if n > maxHeaderBytes {
		return notSafetensors(head, fmt.Sprintf("header length %d is beyond %d bytes", n, maxHeaderBytes))
	}
	if int64(n) > size-8 {
		return notSafetensors(head, fmt.Sprintf("truncated: the header takes %d bytes, the file holds %d after its length; download it again", n, size-8))
	}
	header, err := f.data.bytes(8, int64(n))
	if err != nil {
		return err
	}
	f.start = 8 + int64(n)
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

// notSafetensors explains a file that fails the first checks: what it looks like, else the reason.
func notSafetensors(head []byte, reason string) error {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte{0x80, 2}):
		return &PickleError{}
	case bytes.HasPrefix(head, []byte("GGUF")):
		return errors.New("a GGUF file (of stable-diffusion.cpp or llama.cpp), not safetensors; use the model's safetensors download")
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return errors.New("a Git LFS pointer, not the file itself; run `git lfs pull` in its folder")
	case bytes.HasPrefix(bytes.TrimSpace(head), []byte("<")):
		return errors.New("a web page, not safetensors: the download was refused or needs a login; download it again in a browser")
	}
	return errors.New("not a safetensors file: " + reason)
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

// Tensor is the named tensor. Its Data is the file's own memory: read-only, at any alignment, valid
// until Close.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.Info(name)
	if !ok {
		return Tensor{}, fmt.Errorf("weights: %s: no tensor %q among its %d", f.path, name, len(f.entries))
	}
	e := f.entries[f.index[name]]
	data, err := f.data.bytes(f.start+e.begin, e.end-e.begin)
	if err != nil {
		return Tensor{}, fmt.Errorf("weights: %s: tensor %q: %w", f.path, name, err)
	}
	t.Data = data
	return t, nil
}

// Release gives the memory behind the named tensor back to the system. Its bytes remain readable and
// are fetched again on demand.
func (f *File) Release(name string) {
	if i, ok := f.index[name]; ok {
		e := f.entries[i]
		f.data.release(f.start+e.begin, e.end-e.begin)
	}
}

// Close unmaps the file. Bytes handed out before must not be touched afterwards.
func (f *File) Close() error { return f.data.close() }

// memory is a file that was read whole.
type memory []byte

func (m memory) bytes(off, n int64) ([]byte, error) { return m[off : off+n : off+n], nil }
func (m memory) release(off, n int64)               {}
func (m memory) close() error                       { return nil }

// onDemand reads at every request: the fallback where mapping fails.
type onDemand struct{ f *os.File }

func (o onDemand) bytes(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(o.f, off, n), b); err != nil {
		return nil, err
	}
	return b, nil
}
func (o onDemand) release(off, n int64) {}
func (o onDemand) close() error         { return o.f.Close() }

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
