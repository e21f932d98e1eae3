package dataset

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
)

// array is one member of a NumPy .npz archive, to be written: numbers in C order.
type array struct {
	name  string
	shape []int
	data  any // []float32, []float64 or []int64
}

const (
	maxArchive      = 1 << 30
	maxArrays       = 256
	maxNPYHeader    = 1 << 12
	npyMagic        = "\x93NUMPY"
	npyHeaderAlign  = 64
	maxArrayDimsNPY = 8
)

// archive is an open .npz archive as numpy.savez or savez_compressed write it. Arrays are read one by one, by those who know
// their shapes, so that a file takes no more memory than what is wanted of it.
type archive struct {
	io.Closer
	size    int64
	members []*zip.File
	places  map[string]int // in members, by names without .npy
}

func openArchive(path string) (*archive, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return nil, err
	}
	a, err := readArchive(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	a.Closer = f
	return a, nil
}

func readArchive(f *os.File) (*archive, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return newArchive(f, info.Size())
}

func newArchive(r io.ReaderAt, size int64) (*archive, error) {
	if size > maxArchive {
		return nil, fmt.Errorf("npz: %d bytes, want at most %d", size, maxArchive)
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("npz: %d arrays, want at most %d", len(z.File), maxArrays)
	}
	a := &archive{size: size, members: z.File, places: make(map[string]int)}
	for i, member := range z.File {
		name, ok := strings.CutSuffix(member.Name, ".npy")
		if ok {
			_, twice := a.places[name]
			ok = !twice
		}
		if !ok {
			return nil, fmt.Errorf("npz: member %.60q is no .npy or there twice", member.Name)
		}
		a.places[name] = i
	}
	return a, nil
}

func (a *archive) has(name string) bool {
	_, ok := a.places[name]
	return ok
}

// element is what arrays are read as.
type element interface{ float32 | int64 }

// readArray reads the array called name, which must have the given shape.
func readArray[T element](a *archive, name string, shape ...int) (numbers []T, err error) {
	err = a.open(name, func(descr string, have []int, r io.Reader) error {
		if !slices.Equal(have, shape) {
			return fmt.Errorf("shape %v, want %v", have, shape)
		}
		numbers, err = readNumbers[T](descr, shape, r)
		return err
	})
	return numbers, err
}

// open hands the header of the array called name and a reader of its numbers to do.
func (a *archive) open(name string, do func(descr string, shape []int, r io.Reader) error) error {
	f, err := a.members[a.places[name]].Open()
	if err != nil {
		return fmt.Errorf("npz: %.60q: %w", name, err)
	}
	descr, shape, err := readNPYHeader(f)
	if err == nil {
		err = do(descr, shape, f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("npz: %.60q: %w", name, err)
	}
	return nil
}

// readNPYHeader reads what is before an array's numbers: magic, version, header length, a Python dict.
func readNPYHeader(r io.Reader) (descr string, shape []int, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, err
	}
	if string(head[:6]) != npyMagic {
		return "", nil, errors.New("no NumPy array")
	}
	var length uint32
	if head[6] == 1 {
		var short uint16
		err = binary.Read(r, binary.LittleEndian, &short)
		length = uint32(short)
	} else {
		err = binary.Read(r, binary.LittleEndian, &length)
	}
	if err != nil {
		return "", nil, err
	}
	if length > maxNPYHeader {
		return "", nil, fmt.Errorf("header of %d bytes, want at most %d", length, maxNPYHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", nil, err
	}
	return parseNPYHeader(string(text))
}

// readNumbers reads exactly as many numbers as the shape has.
func readNumbers[T element](descr string, shape []int, r io.Reader) ([]T, error) {
	count := 1
	for _, n := range shape {
		count *= n
	}
	numbers := make([]T, count)
	var err error
	switch into := any(numbers).(type) {
	case []float32:
		if descr != "<f4" {
			return nil, fmt.Errorf("numbers of type %.20q, want <f4", descr)
		}
		err = binary.Read(r, binary.LittleEndian, into)
	case []int64:
		switch descr {
		case "<i8":
			err = binary.Read(r, binary.LittleEndian, into)
		case "<i4": // NumPy's int on Windows before version 2
			short := make([]int32, count)
			err = binary.Read(r, binary.LittleEndian, short)
			for i, v := range short {
				into[i] = int64(v)
			}
		default:
			return nil, fmt.Errorf("numbers of type %.20q, want <i8 or <i4", descr)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fewer numbers than shape %v has: %w", shape, err)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, fmt.Errorf("more numbers than shape %v has", shape)
	}
	return numbers, nil
}

// parseNPYHeader reads a dict such as {'descr': '<f4', 'fortran_order': False, 'shape': (4, 72, 56), }.
func parseNPYHeader(text string) (descr string, shape []int, err error) {
	bad := fmt.Errorf("header %.80q is not understood", text)
	body, opened := strings.CutPrefix(strings.TrimSpace(text), "{")
	body, closed := strings.CutSuffix(body, "}")
	if !opened || !closed {
		return "", nil, bad
	}
	field := func(key string) (string, bool) {
		_, after, found := strings.Cut(body, "'"+key+"':")
		return strings.TrimSpace(after), found
	}
	quoted, ok1 := field("descr")
	order, ok2 := field("fortran_order")
	tuple, ok3 := field("shape")
	if !ok1 || !ok2 || !ok3 || !strings.HasPrefix(quoted, "'") || !strings.HasPrefix(tuple, "(") {
		return "", nil, bad
	}
	if !strings.HasPrefix(order, "False") {
		return "", nil, errors.New("array in Fortran order, want C order")
	}
	descr, _, quotes := strings.Cut(quoted[1:], "'")
	tuple, _, brackets := strings.Cut(tuple[1:], ")")
	if !quotes || !brackets {
		return "", nil, bad
	}
	for part := range strings.SplitSeq(tuple, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue // after the last comma
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || len(shape) == maxArrayDimsNPY {
			return "", nil, bad
		}
		shape = append(shape, n)
	}
	return descr, shape, nil
}

// suffixed are the names of arrays that say their resolution.
var suffixed = regexp.MustCompile(`_[0-9]+x[0-9]+$`)

// copyOthers copies the arrays of other resolutions than suffix says, as they are; those without one get their own appended.
func (a *archive) copyOthers(z *zip.Writer, suffix string) error {
	own := a.resolution()
	total := int64(0)
	for _, member := range a.members {
		name := strings.TrimSuffix(member.Name, ".npy")
		switch {
		case !suffixed.MatchString(name) && own == "":
			continue // nothing says which resolution it is of
		case !suffixed.MatchString(name):
			name += own
		}
		// Entries that overlap would make a small file a large one.
		if total += int64(member.CompressedSize64); total > a.size || strings.HasSuffix(name, suffix) {
			continue
		}
		if err := copyMember(z, member, name); err != nil {
			return err
		}
	}
	return nil
}

// resolution is what sd-scripts would append to the names of those arrays that have their plain names; empty without any.
func (a *archive) resolution() (suffix string) {
	if !a.has(latentsKey) {
		return ""
	}
	err := a.open(latentsKey, func(_ string, shape []int, _ io.Reader) error {
		if len(shape) == 3 {
			suffix = fmt.Sprintf("_%dx%d", shape[1], shape[2])
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return suffix
}

// copyMember copies a member under another name without unpacking it.
func copyMember(z *zip.Writer, member *zip.File, name string) error {
	header := member.FileHeader
	header.Name = name + ".npy"
	w, err := z.CreateRaw(&header)
	if err != nil {
		return err
	}
	r, err := member.OpenRaw()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

// writeArrays writes arrays as numpy.savez does: stored, not compressed.
func writeArrays(z *zip.Writer, arrays []array) error {
	for _, a := range arrays {
		f, err := z.CreateHeader(&zip.FileHeader{Name: a.name + ".npy", Method: zip.Store, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			return err
		}
		if err := writeNPY(f, a); err != nil {
			return err
		}
	}
	return nil
}

func writeNPY(w io.Writer, a array) error {
	var descr string
	switch a.data.(type) {
	case []float32:
		descr = "<f4"
	case []float64:
		descr = "<f8"
	case []int64:
		descr = "<i8"
	}
	var shape strings.Builder
	for _, n := range a.shape {
		fmt.Fprintf(&shape, "%d, ", n)
	}
	tuple := strings.TrimSuffix(shape.String(), " ") // "(2,)"
	if len(a.shape) > 1 {
		tuple = strings.TrimSuffix(tuple, ",") // "(4, 72, 56)"
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	const before = len(npyMagic) + 4
	padding := npyHeaderAlign - (before+len(text)+1)%npyHeaderAlign
	text += strings.Repeat(" ", padding%npyHeaderAlign) + "\n"
	var b bytes.Buffer
	b.WriteString(npyMagic + "\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(text))))
	b.WriteString(text)
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, a.data)
}
