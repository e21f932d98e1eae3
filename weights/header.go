package weights

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"

	"github.com/atelier-go/atelier/compute"
)

// Bounds on what a header may hold. The largest real checkpoints have some 3,000 tensors of 100-byte names.
const (
	maxHeaderBytes = 100_000_000
	maxTensors     = 100_000
	maxNameBytes   = 1 << 10
	maxRank        = 8
)

// entry is one line of a header's table.
type entry struct {
	name       string
	dtype      DType
	shape      compute.Shape
	begin, end int64 // relative to the data buffer
}

// parseHeader checks a safetensors header against a data buffer of dataLen bytes and returns its tensors
// in file order and its metadata.
//
// The table itself is read by nlpodyssey/safetensors, which trusts its input more than a stranger's file
// deserves: it keeps the last of two equal names and knows no 8-bit floats. checkHeader therefore reads
// the JSON first, token by token.
func parseHeader(header []byte, dataLen int64) ([]entry, map[string]string, error) {
	plain, eight, err := checkHeader(header)
	if err != nil {
		return nil, nil, err
	}
	var table safetensors.Metadata
	if err := json.Unmarshal(plain, &table); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	infos := table.Tensors()
	entries := make([]entry, 0, len(infos))
	for name, info := range infos {
		e, err := checkEntry(name, info, eight[name])
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
	return entries, table.Metadata(), nil
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
	plain []byte           // the header with 8-bit floats renamed
	eight map[string]DType // the tensors renamed
}

// checkHeader verifies everything about the header's text that encoding/json would let pass: encoding, duplicate
// keys, unknown fields, number syntax, nesting, what follows the object. It returns the header with
// the 8-bit float types (which the library does not know) replaced by U8, and the names where it did so.
func checkHeader(header []byte) (plain []byte, eight map[string]DType, err error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("header: does not begin with '{'")
	}
	walker, err := newJSONWalker("header", header)
	if err != nil {
		return nil, nil, err
	}
	c := &headerChecker{walker, bytes.Clone(header), map[string]DType{}}
	count := 0
	err = c.object("header", func(name string) error {
		if name == "__metadata__" {
			return c.object(name, func(key string) error {
				_, err := c.text(key)
				return err
			})
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
	return c.plain, c.eight, err
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
