package dataset

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// array is one member of a NumPy .npz archive: float32, float64 or int64 numbers in C order.
type array struct {
	name  string
	shape []int
	data  any // []float32, []float64 or []int64
}

const (
	maxArrays       = 256
	maxArrayBytes   = 64 << 20 // the alpha mask of a 4096×4096 bucket
	maxNPYHeader    = 1 << 12
	npyMagic        = "\x93NUMPY"
	npyHeaderAlign  = 64
	maxArrayDimsNPY = 8
)

// readNPZ reads an archive as numpy.savez or savez_compressed write it. It refuses everything else, pickled objects above
// all, and never takes more memory than maxArrayBytes per array.
func readNPZ(r io.ReaderAt, size int64) ([]array, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("npz: %d arrays, want at most %d", len(z.File), maxArrays)
	}
	var arrays []array
	seen := map[string]bool{}
	for _, member := range z.File {
		name := strings.TrimSuffix(member.Name, ".npy")
		if name == member.Name || seen[name] {
			return nil, fmt.Errorf("npz: member %.60q is no .npy or there twice", member.Name)
		}
		seen[name] = true
		f, err := member.Open()
		if err != nil {
			return nil, fmt.Errorf("npz: %.60q: %w", name, err)
		}
		a, err := readNPY(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("npz: %.60q: %w", name, err)
		}
		a.name = name
		arrays = append(arrays, a)
	}
	return arrays, nil
}

// readNPY reads one array: magic, version, header length, a Python dict, the numbers.
func readNPY(r io.Reader) (array, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return array{}, err
	}
	if string(head[:6]) != npyMagic {
		return array{}, errors.New("no NumPy array")
	}
	var length uint32
	if head[6] == 1 {
		var short uint16
		if err := binary.Read(r, binary.LittleEndian, &short); err != nil {
			return array{}, err
		}
		length = uint32(short)
	} else if err := binary.Read(r, binary.LittleEndian, &length); err != nil {
		return array{}, err
	}
	if length > maxNPYHeader {
		return array{}, fmt.Errorf("header of %d bytes, want at most %d", length, maxNPYHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return array{}, err
	}
	descr, shape, err := parseNPYHeader(string(text))
	if err != nil {
		return array{}, err
	}
	width := map[string]int{"<f4": 4, "<f8": 8, "<i4": 4, "<i8": 8}[descr]
	if width == 0 {
		return array{}, fmt.Errorf("numbers of type %.20q, want <f4, <f8, <i4 or <i8", descr)
	}
	count := 1
	for _, n := range shape {
		if n < 0 || n > maxArrayBytes || count > maxArrayBytes/width/max(n, 1) {
			return array{}, fmt.Errorf("shape %v has more than %d bytes", shape, maxArrayBytes)
		}
		count *= n
	}
	// Reading before allocating by the header's word keeps a short lie short.
	raw, err := io.ReadAll(io.LimitReader(r, int64(count*width)+1))
	if err != nil {
		return array{}, err
	}
	if len(raw) != count*width {
		return array{}, fmt.Errorf("shape %v wants %d bytes, there are %d or more", shape, count*width, len(raw))
	}
	a := array{shape: shape}
	switch descr {
	case "<f4":
		numbers := make([]float32, count)
		for i := range numbers {
			numbers[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		a.data = numbers
	case "<f8":
		numbers := make([]float64, count)
		for i := range numbers {
			numbers[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		a.data = numbers
	case "<i4": // NumPy's int on Windows before version 2
		numbers := make([]int64, count)
		for i := range numbers {
			numbers[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		}
		a.data = numbers
	case "<i8":
		numbers := make([]int64, count)
		for i := range numbers {
			numbers[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		a.data = numbers
	}
	return a, nil
}

// parseNPYHeader reads a dict such as {'descr': '<f4', 'fortran_order': False, 'shape': (4, 72, 56), }.
func parseNPYHeader(text string) (descr string, shape []int, err error) {
	bad := fmt.Errorf("header %.80q is not understood", text)
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "}") {
		return "", nil, bad
	}
	field := func(key string) (string, bool) {
		_, after, found := strings.Cut(text, "'"+key+"':")
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
	var ok bool
	if descr, _, ok = strings.Cut(quoted[1:], "'"); !ok {
		return "", nil, bad
	}
	if tuple, _, ok = strings.Cut(tuple[1:], ")"); !ok {
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

// writeNPZ writes an archive as numpy.savez does: stored, not compressed.
func writeNPZ(w io.Writer, arrays []array) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		f, err := z.CreateHeader(&zip.FileHeader{Name: a.name + ".npy", Method: zip.Store, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			return err
		}
		if err := writeNPY(f, a); err != nil {
			return err
		}
	}
	return z.Close()
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
