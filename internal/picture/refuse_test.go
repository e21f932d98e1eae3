package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
)

// counted counts the bytes of a file that are read.
type counted struct {
	*bytes.Reader
	read atomic.Int64
}

func (c *counted) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.Reader.ReadAt(b, at)
	c.read.Add(int64(n))
	return n, err
}

// TestBombs: files of a few kilobytes that would be 13,376 pixels wide and high are refused by their headers, all of them
// together by less reading than one of their rows would take.
func TestBombs(t *testing.T) {
	const side = 13376
	total := int64(0)
	for name, enlarge := range map[string]func([]byte){
		"deep.png": pngSide(side), "deep-interlaced.png": pngSide(side), "progressive.jpg": jpegSide(side), "inks.jpg": jpegSide(side), "deep.tif": tiffSide(side), "strip.tif": tiffSide(side),
	} {
		data := readFile(t, "testdata/bomb/"+name)
		enlarge(data)
		in := &counted{Reader: bytes.NewReader(data)}
		_, err := picture.New(in, int64(len(data)), picture.Limits{})
		if e, ok := errors.AsType[*picture.TooLargeError](err); !ok || e.Width != side || e.Height != side || e.Need <= picture.Memory {
			t.Errorf("%s: %v, want that it is too large", name, err)
		}
		total += in.read.Load()
	}
	if total > 8*side {
		t.Errorf("%d bytes were read", total)
	}
}

// TestTurnedLimits refuses a picture that is within the limits as it is stored, and not as it is turned.
func TestTurnedLimits(t *testing.T) {
	exif := "eXIfII*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(exif)-4))
	chunk = binary.BigEndian.AppendUint32(append(chunk, exif...), crc32.ChecksumIEEE([]byte(exif)))
	for _, c := range []struct {
		side   uint32
		turned bool
		ok     bool
	}{{11000, false, true}, {10000, true, true}, {11000, true, false}} {
		data := []byte(pngHeader(c.side, c.side))
		if c.turned {
			data = append(data, chunk...)
		}
		f, err := picture.New(bytes.NewReader(data), int64(len(data)), picture.Limits{})
		if _, large := errors.AsType[*picture.TooLargeError](err); c.ok && (err != nil || f.Orientation > 1 != c.turned) || !c.ok && !large {
			t.Errorf("%d pixels a side, turned %v: %v", c.side, c.turned, err)
		}
	}
}

// pngSide writes the sides of a PNG picture into its header.
func pngSide(side uint32) func([]byte) {
	return func(data []byte) {
		binary.BigEndian.PutUint32(data[16:], side)
		binary.BigEndian.PutUint32(data[20:], side)
		binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	}
}

// jpegSide writes those of a JPEG picture into its frame header.
func jpegSide(side uint16) func([]byte) {
	return func(data []byte) {
		for at := 2; at+9 < len(data); at += 2 + int(binary.BigEndian.Uint16(data[at+2:])) {
			if m := data[at+1]; m == 0xc0 || m == 0xc1 || m == 0xc2 {
				binary.BigEndian.PutUint16(data[at+5:], side)
				binary.BigEndian.PutUint16(data[at+7:], side)
				return
			}
		}
	}
}

// tiffSide writes those of a little-endian TIFF picture into the entries of its directory, as 32-bit numbers.
func tiffSide(side uint32) func([]byte) {
	return func(data []byte) {
		at := int(binary.LittleEndian.Uint32(data[4:]))
		for entry := at + 2; entry < at+2+12*int(binary.LittleEndian.Uint16(data[at:])); entry += 12 {
			if tag := binary.LittleEndian.Uint16(data[entry:]); tag == 256 || tag == 257 || tag == 278 {
				binary.LittleEndian.PutUint16(data[entry+2:], 4)
				binary.LittleEndian.PutUint32(data[entry+8:], side)
			}
		}
	}
}
