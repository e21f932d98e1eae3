package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nlpodyssey/safetensors"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights/pickle"
)

// Bounds on what a header may hold. The largest real checkpoints have some 3,000 tensors of 100-byte names, the metadata
// of LoRAs some hundred entries.
const (
	maxHeaderBytes = 100_000_000 // the reference implementation has the same bound
	maxTensors     = 100_000
	maxMetadata    = 10_000
	maxNameBytes   = 1 << 10
	maxRank        = 8
)

// readHeader returns the header's text of a file of the given size.
func readHeader(data io.ReaderAt, size int64) ([]byte, error) {
	n, err := headerLength(data, size)
	if err != nil {
		return nil, err
	}
	header := make([]byte, n)
	_, err = data.ReadAt(header, 8)
	return header, err
}

// headerLength is how many bytes the header takes, behind the eight that say so.
func headerLength(data io.ReaderAt, size int64) (int64, error) {
	head := make([]byte, min(size, 512))
	if _, err := data.ReadAt(head, 0); err != nil && err != io.EOF {
		return 0, err
	}
	if size < 8 {
		return 0, notSafetensors(head, "shorter than the 8 bytes every safetensors file begins with")
	}
	n := binary.LittleEndian.Uint64(head)
	if n == 0 && size > 64 {
		return 0, notSafetensors(head, "its header does not begin with '{'")
	}
	if n > maxHeaderBytes {
		return 0, notSafetensors(head, fmt.Sprintf("header length %d is beyond %d bytes", n, maxHeaderBytes))
	}
	if int64(n) > size-8 {
		return 0, notSafetensors(head, fmt.Sprintf("truncated: the header takes %d bytes, the file holds %d after its length; download it again", n, size-8))
	}
	return int64(n), nil
}

// notSafetensors explains a file that fails the first checks: what it looks like, else the reason.
func notSafetensors(head []byte, reason string) error {
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\uFEFF")))
	switch {
	case bytes.HasPrefix(head, []byte("GGUF")):
		return errors.New("a GGUF file (of stable-diffusion.cpp or llama.cpp), not safetensors; use the model's safetensors download")
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return errors.New("a Git LFS pointer, not the file itself; run `git lfs pull` in its folder")
	case bytes.HasPrefix(text, []byte("<")):
		return errors.New("a web page, not safetensors: the download was refused or needs a login; download it again in a browser")
	case isJSON(text):
		return fmt.Errorf("a JSON answer, not safetensors (%.200q): the download was refused or needs a login; download it again in a browser, or with an access token", text)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")), bytes.HasPrefix(head, []byte("Rar!")), bytes.HasPrefix(head, []byte("7z\xbc\xaf")):
		return errors.New("a packed archive, not safetensors; unpack it")
	case bytes.HasPrefix(head, []byte("\x89PNG")), bytes.HasPrefix(head, []byte("\xff\xd8\xff")), bytes.HasPrefix(head, []byte("RIFF")):
		return errors.New("a picture, not safetensors; name the model's file")
	case len(head) > 64 && len(bytes.Trim(head, "\x00")) == 0:
		return errors.New("nothing but zeros, not a safetensors file: the download or copy failed; get it again")
	case len(text) > 0 && bytes.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && !unicode.IsSpace(r) }) < 0:
		return fmt.Errorf("text, not a safetensors file (%.200q): the download failed, or it is another file", text)
	case len(head) == 0:
		return errors.New("an empty file, not a safetensors file: the download or copy failed; get it again")
	}
	return errors.New("not a safetensors file, nor one of PyTorch: " + reason)
}

// isJSON reports whether a text begins like an object or array of JSON.
func isJSON(text []byte) bool {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	next := bytes.TrimSpace(text[1:])
	return len(next) > 0 && bytes.IndexByte([]byte(`"{[}]`), next[0]) >= 0
}

// entry is one line of a header's table.
type entry struct {
	name       string
	dtype      DType
	shape      compute.Shape
	begin, end int64          // relative to the data buffer
	pickled    *pickle.Tensor // in a file of PyTorch, instead of begin and end
}

// parseHeader checks a safetensors header against a data buffer of dataLen bytes and returns its tensors
// in file order and its metadata.
//
// The table itself is read by nlpodyssey/safetensors, which trusts its input more than a stranger's file
// deserves: it keeps the last of two equal names and knows no 8-bit floats. checkHeader therefore reads
// the JSON first, token by token, and takes the metadata out, which may be long and would be read several times over.
func parseHeader(header []byte, dataLen int64) ([]entry, map[string]string, error) {
	c, err := checkHeader(header)
	if err != nil {
		return nil, nil, err
	}
	var table safetensors.Metadata
	if err := json.Unmarshal(c.plain, &table); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	infos := table.Tensors()
	entries := make([]entry, 0, len(infos))
	for name, info := range infos {
		e, err := checkEntry(name, info, c.eight[name])
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), strings.Compare(a.name, b.name))
	})
	at := int64(0)
	for _, e := range entries {
		switch {
		case e.begin < at:
			return nil, nil, fmt.Errorf("tensor %q: starts at byte %d of the data, inside the tensor before it", e.name, e.begin)
		case e.begin > at:
			return nil, nil, fmt.Errorf("tensor %q: starts at byte %d of the data, leaving a hole of %d bytes", e.name, e.begin, e.begin-at)
		}
		at = e.end
	}
	switch {
	case at > dataLen:
		return nil, nil, fmt.Errorf("truncated: the header describes %d bytes of data, the file holds %d; download it again", at, dataLen)
	case at < dataLen:
		return nil, nil, fmt.Errorf("%d unexplained bytes after the last tensor", dataLen-at)
	}
	return entries, c.found, nil
}

// checkEntry turns the library's line of the table into ours: sizes multiplied with overflow checks and
// compared with the offsets.
func checkEntry(name string, info *safetensors.TensorInfo, eight DType) (entry, error) {
	e := entry{name: name, dtype: DType(info.DType.String()), shape: make(compute.Shape, len(info.Shape))}
	if eight != "" {
		e.dtype = eight
	}
	size := uint64(e.dtype.Size())
	for i, d := range info.Shape {
		hi, lo := bits.Mul64(size, d)
		if hi != 0 || lo > 1<<62 || d > 1<<62 {
			return entry{}, fmt.Errorf("shape %v has more elements than any file", info.Shape)
		}
		size, e.shape[i] = lo, int(d)
	}
	begin, end := info.DataOffsets[0], info.DataOffsets[1]
	if begin > end || end > 1<<62 {
		return entry{}, fmt.Errorf("data_offsets [%d %d] are no range", begin, end)
	}
	if end-begin != size {
		return entry{}, fmt.Errorf("data_offsets span %d bytes, %s%v takes %d", end-begin, e.dtype, e.shape, size)
	}
	e.begin, e.end = int64(begin), int64(end)
	return e, nil
}

// headerChecker walks a header's tokens.
type headerChecker struct {
	jsonWalker
	plain []byte            // the header with 8-bit floats renamed, and without metadata
	eight map[string]DType  // the tensors renamed
	found map[string]string // the metadata; nil if there are none
}

// checkHeader verifies everything about the header's text that encoding/json would let pass: encoding, duplicate
// keys, unknown fields, number syntax, nesting, what follows the object. It keeps the header with
// the 8-bit float types (which the library does not know) replaced by U8, and the names where it did so.
func checkHeader(header []byte) (*headerChecker, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, errors.New("header: does not begin with '{'")
	}
	walker, err := newJSONWalker("header", header)
	if err != nil {
		return nil, err
	}
	c := &headerChecker{jsonWalker: walker, plain: bytes.Clone(header), eight: map[string]DType{}}
	count := 0
	err = c.object("header", func(name string) error {
		if name == "__metadata__" {
			return c.takeMetadata()
		}
		if count++; count > maxTensors {
			return fmt.Errorf("header: more than %d tensors", maxTensors)
		}
		if len(name) > maxNameBytes {
			return fmt.Errorf("header: tensor name %.40q… is longer than %d bytes", name, maxNameBytes)
		}
		if err := c.tensor(name); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		return nil
	})
	if err == nil {
		err = c.end()
	}
	return c, err
}

// takeMetadata reads the metadata, and leaves an empty object of them.
func (c *headerChecker) takeMetadata() error {
	begin := c.dec.InputOffset()
	c.found = make(map[string]string)
	if err := c.metadata(func(key, value string) { c.found[key] = value }); err != nil {
		return err
	}
	object := c.plain[begin:c.dec.InputOffset()]
	object = object[bytes.IndexByte(object, '{'):]
	for i := range object {
		object[i] = ' '
	}
	object[0], object[len(object)-1] = '{', '}'
	return nil
}

func (c *headerChecker) tensor(name string) error {
	fields := 0
	err := c.object("entry", func(key string) error {
		fields++
		switch key {
		case "dtype":
			return c.dtype(name)
		case "shape":
			n, err := c.naturals(key)
			if err == nil && n > maxRank {
				err = fmt.Errorf("rank %d is beyond %d", n, maxRank)
			}
			return err
		case "data_offsets":
			n, err := c.naturals(key)
			if err == nil && n != 2 {
				err = fmt.Errorf("data_offsets has %d numbers, want 2", n)
			}
			return err
		}
		return fmt.Errorf("unknown field %.100q", key)
	})
	if err == nil && fields != 3 {
		err = errors.New("want the three fields dtype, shape and data_offsets")
	}
	return err
}

func (c *headerChecker) dtype(name string) error {
	s, err := c.text("dtype")
	t := DType(s)
	switch {
	case err != nil:
		return err
	case foreignDTypes[t]:
		return fmt.Errorf("dtype %s is not supported; convert the file to F16", t)
	case t.Size() == 0:
		return fmt.Errorf("unknown dtype %.40q", s)
	case t == F8E4M3 || t == F8E5M2:
		c.eight[name] = t
		end := c.dec.InputOffset()
		begin := int64(bytes.LastIndexByte(c.plain[:end-1], '"'))
		copy(c.plain[begin:end], `"U8"                                        `[:end-begin]) // as long as seven escaped characters
	}
	return nil
}
