package pickle

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"path"
	"strings"
	"sync"
)

// maxDeflated bounds a compressed array, which is held in memory when it is read. PyTorch compresses none; some who pack files
// anew do.
const maxDeflated = 256 << 20

// Recognise reports whether a file is one that torch.save may have written, by how it begins. A safetensors file whose header
// is 640 bytes long begins like a pickle, with 0x80 and 2, and is told by the zeros that follow and the header's brace.
func Recognise(file io.ReaderAt) bool {
	var first [9]byte
	n, _ := file.ReadAt(first[:], 0)
	head := first[:n]
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return true
	case len(head) < 2 || head[0] != 0x80 || head[1] < 2 || head[1] > 5:
		return false
	}
	return !bytes.HasSuffix(head[2:], []byte("\x00\x00\x00\x00{"))
}

// Read reads the value that torch.save wrote into a file of size bytes: its dictionaries, lists and numbers at once, while
// tensors are read from r when they are asked for. Errors are a *RefusedError for names, a *FormatError for whatever PyTorch
// would not have written, and those of r.
func Read(r io.ReaderAt, size int64) (any, error) {
	head := make([]byte, min(size, 4))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("PK")) {
		return readArchive(r, size)
	}
	return readStream(r, size)
}

// archive is a ZIP file of torch.save: the pickle is ROOT/data.pkl, the arrays are ROOT/data/KEY.
type archive struct {
	file    io.ReaderAt
	size    int64
	records map[string]*zip.File // by name below ROOT
	arrays  map[string]*storage
}

func readArchive(r io.ReaderAt, size int64) (any, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		if errors.Is(err, zip.ErrFormat) {
			return nil, malformed("it is truncated, or no ZIP archive")
		}
		return nil, err
	}
	a := &archive{file: r, size: size, records: make(map[string]*zip.File), arrays: make(map[string]*storage)}
	root := ""
	for _, f := range z.File {
		if path.Base(f.Name) == "data.pkl" {
			root = strings.TrimSuffix(f.Name, "data.pkl")
		}
	}
	for _, f := range z.File {
		if name, ok := strings.CutPrefix(f.Name, root); ok {
			a.records[name] = f
		}
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	pickle, err := a.open("data.pkl", maxBytes)
	if err != nil {
		return nil, err
	}
	value, _, err := decode(pickle, a.load)
	return value, err
}

// check refuses archives that PyTorch did not write for data.
func (a *archive) check() error {
	if a.records["constants.pkl"] != nil {
		return malformed("it is a TorchScript program (of torch.jit.save), not the weights of a model")
	}
	if a.records["data.pkl"] == nil {
		return malformed("it is a ZIP archive without data.pkl, not a model; if the model is packed in it, unpack it")
	}
	order, err := a.open("byteorder", 16)
	if err != nil {
		return nil // files of older versions do not say, and are little-endian
	}
	if text, err := io.ReadAll(order); err != nil || strings.TrimSpace(string(text)) != "little" {
		return malformed("its numbers are big-endian, written on a machine of another kind")
	}
	return nil
}

// open reads a record of at most max bytes.
func (a *archive) open(name string, max uint64) (io.Reader, error) {
	f := a.records[name]
	if f == nil {
		return nil, malformed("it has no record %.100q", name)
	}
	if f.UncompressedSize64 > max {
		return nil, malformed("its record %.100q takes %d bytes, more than %d", name, f.UncompressedSize64, max)
	}
	r, err := f.Open()
	if err != nil {
		return nil, malformed("its record %.100q cannot be read: %v", name, err)
	}
	return io.LimitReader(r, int64(max)), nil
}

// load finds an array of the archive: ("storage", class, key, device, elements).
func (a *archive) load(id Tuple) (any, error) {
	s, err := newStorage(id)
	if err != nil {
		return nil, err
	}
	if known := a.arrays[s.key]; known != nil {
		if known.dtype != s.dtype || known.bytes != s.bytes {
			return nil, malformed("array %.40q is of two types or sizes", s.key)
		}
		return view{storage: known}, nil
	}
	f := a.records["data/"+s.key]
	if f == nil {
		return nil, malformed("its array %.40q is not in it", s.key)
	}
	if f.UncompressedSize64 < uint64(s.bytes) {
		return nil, malformed("its array %.40q has %d bytes of %d", s.key, f.UncompressedSize64, s.bytes)
	}
	if s.data, err = a.array(f); err != nil {
		return nil, err
	}
	a.arrays[s.key] = s
	return view{storage: s}, nil
}

// array is the bytes of a record.
func (a *archive) array(f *zip.File) (io.ReaderAt, error) {
	at, err := f.DataOffset()
	switch {
	case err != nil:
		return nil, malformed("its record %.100q cannot be found: %v", f.Name, err)
	case f.CompressedSize64 > uint64(a.size-at) || f.Method == zip.Store && f.CompressedSize64 != f.UncompressedSize64:
		return nil, malformed("it is truncated in its record %.100q", f.Name)
	case f.Method == zip.Store:
		return io.NewSectionReader(a.file, at, int64(f.CompressedSize64)), nil
	case f.Method != zip.Deflate || f.UncompressedSize64 > maxDeflated:
		return nil, malformed("its record %.100q of %d bytes is compressed; unpack the file and pack it anew without compression", f.Name, f.UncompressedSize64)
	}
	return lazily(sync.OnceValues(func() (io.ReaderAt, error) {
		b := make([]byte, f.UncompressedSize64)
		packed := io.NewSectionReader(a.file, at, int64(f.CompressedSize64))
		if _, err := io.ReadFull(flate.NewReader(packed), b); err != nil {
			return nil, malformed("its record %.100q does not unpack: %v", f.Name, err)
		}
		return bytes.NewReader(b), nil
	})), nil
}

// newStorage reads a persistent id.
func newStorage(id Tuple) (*storage, error) {
	if len(id) < 5 || id[0] != "storage" {
		return nil, malformed("a persistent id of %d parts", len(id))
	}
	class, _ := id[1].(Name)
	key, ok1 := id[2].(string)
	elements, ok2 := id[4].(int64)
	dtype, ok3 := storages[class]
	if !ok1 || !ok2 || !ok3 || elements < 0 || elements > 1<<56 {
		return nil, malformed("an array of class %q, %T elements and the key %T", class, id[4], id[2])
	}
	return &storage{key: key, dtype: dtype, bytes: elements * dtypeSize[dtype]}, nil
}

// magic is the number that streams begin with.
var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// stream is a file of PyTorch before 1.6: pickles of the magic number, the protocol, the system, the value and the keys of
// arrays, and behind them the arrays.
type stream struct {
	file   io.ReaderAt
	size   int64
	at     int64 // where the next part begins
	arrays map[string]*storage
}

func readStream(r io.ReaderAt, size int64) (any, error) {
	s := &stream{file: r, size: size, arrays: make(map[string]*storage)}
	number, err := s.pickle()
	if err != nil {
		return nil, err
	}
	if n, ok := number.(*big.Int); !ok || n.Cmp(magic) != 0 {
		return nil, malformed("it is a plain pickle, not one of torch.save")
	}
	if _, err := s.pickle(); err != nil {
		return nil, err
	}
	system, err := s.pickle()
	if err != nil {
		return nil, err
	}
	if d, ok := system.(*Dict); ok && d.Get("little_endian") == false {
		return nil, malformed("its numbers are big-endian, written on a machine of another kind")
	}
	value, err := s.pickle()
	if err != nil {
		return nil, err
	}
	return value, s.place()
}

// pickle reads the next pickle.
func (s *stream) pickle() (any, error) {
	v, n, err := decode(io.NewSectionReader(s.file, s.at, s.size-s.at), s.load)
	s.at += n
	return v, err
}

// load notes an array, whose place is not known yet: ("storage", class, key, device, elements, view), the view being (key,
// offset, elements) or None.
func (s *stream) load(id Tuple) (any, error) {
	array, err := newStorage(id)
	if err != nil {
		return nil, err
	}
	if known := s.arrays[array.key]; known != nil {
		if known.dtype != array.dtype || known.bytes != array.bytes {
			return nil, malformed("array %.40q is of two types or sizes", array.key)
		}
		array = known
	}
	s.arrays[array.key] = array
	if len(id) < 6 || id[5] == nil {
		return view{storage: array}, nil
	}
	part, _ := id[5].(Tuple)
	if len(part) != 3 {
		return nil, malformed("a view of array %.40q in %d parts", array.key, len(part))
	}
	offset, ok := part[1].(int64)
	if !ok || offset < 0 || offset > array.bytes {
		return nil, malformed("a view of array %.40q that begins outside", array.key)
	}
	return view{array, offset}, nil
}

// place finds the arrays behind the pickles: each a count of elements and the elements, in the order of the keys.
func (s *stream) place() error {
	v, err := s.pickle()
	if err != nil {
		return err
	}
	for _, key := range items(v) {
		name, _ := key.(string)
		array := s.arrays[name]
		if array == nil || array.data != nil {
			return malformed("it lists array %.40q, which no tensor names, or twice", name)
		}
		var count [8]byte
		if _, err := s.file.ReadAt(count[:], s.at); err != nil {
			return cut(err)
		}
		s.at += 8
		if n := binary.LittleEndian.Uint64(count[:]); n > 1<<56 || int64(n)*dtypeSize[array.dtype] != array.bytes {
			return malformed("array %.40q has %d elements, not as its tensors say", name, n)
		}
		if array.bytes > s.size-s.at {
			return malformed("it is truncated in array %.40q", name)
		}
		array.data = io.NewSectionReader(s.file, s.at, array.bytes)
		s.at += array.bytes
	}
	for key, array := range s.arrays {
		if array.data == nil {
			return malformed("its array %.40q is not in it", key)
		}
	}
	return nil
}
