package picture

import (
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"strings"

	"golang.org/x/image/bmp"
)

// bmpHeader is the two headers of a BMP.
type bmpHeader struct {
	pixels        int64 // where they begin
	size          int64 // of the second header
	width, height int   // height is negative if the first row comes first
	bits          int
	compression   uint32
	colours       int // of the palette
}

// readBMP reads what x/image/bmp reads and puts what differs in form alone into the form that knows: the headers of OS/2,
// and gaps before the pixels.
func readBMP(in *io.SectionReader) (layout, error) {
	h, err := readBMPHeader(in)
	if err != nil {
		return layout{}, err
	}
	l := layout{Header: Header{Format: "bmp", Width: h.width, Height: max(h.height, -h.height)}}
	l.memory = (1 + 4) * l.pixels()
	l.decode = func(in *io.SectionReader) (*image.NRGBA, error) {
		file, err := h.canonical(in)
		if err != nil {
			return nil, err
		}
		return plain(func(io.Reader) (image.Image, error) { return bmp.Decode(file) })(in)
	}
	return l, nil
}

const (
	bmpFile  = 14 // bytes of the first header
	bmpCore  = 12 // bytes of the second as in OS/2
	bmpInfo  = 40 // bytes of the second as in Windows, at least
	bmpMasks = 3  // the compression whose pixels are described by masks
)

func readBMPHeader(in *io.SectionReader) (*bmpHeader, error) {
	var b [bmpFile + bmpInfo]byte
	n, _ := in.ReadAt(b[:], 0)
	if n < bmpFile+bmpCore {
		return nil, io.ErrUnexpectedEOF
	}
	h := &bmpHeader{pixels: int64(binary.LittleEndian.Uint32(b[10:])), size: int64(binary.LittleEndian.Uint32(b[14:]))}
	if h.size == bmpCore {
		h.width, h.height = int(binary.LittleEndian.Uint16(b[18:])), int(binary.LittleEndian.Uint16(b[20:]))
		h.bits = int(binary.LittleEndian.Uint16(b[24:]))
	} else {
		if h.size < bmpInfo || n < len(b) {
			return nil, fmt.Errorf("bmp: header of %d bytes: %w", h.size, errVariant)
		}
		h.width, h.height = int(int32(binary.LittleEndian.Uint32(b[18:]))), int(int32(binary.LittleEndian.Uint32(b[22:])))
		h.bits, h.compression = int(binary.LittleEndian.Uint16(b[28:])), binary.LittleEndian.Uint32(b[30:])
		h.colours = int(min(binary.LittleEndian.Uint32(b[46:]), 256))
	}
	if h.bits <= 8 && h.colours == 0 {
		h.colours = 1 << h.bits
	}
	if h.bits > 8 {
		h.colours = 0
	}
	return h, nil
}

// canonical is the file with Windows' header, a palette of four bytes each and no gap.
func (h *bmpHeader) canonical(in *io.SectionReader) (io.Reader, error) {
	if h.compression == bmpMasks && !h.opaqueMasks(in) {
		return in, nil // which x/image/bmp looks at
	}
	head := append([]byte("BM"), make([]byte, bmpFile-2+bmpInfo)...)
	binary.LittleEndian.PutUint32(head[14:], bmpInfo)
	binary.LittleEndian.PutUint32(head[18:], uint32(h.width))
	binary.LittleEndian.PutUint32(head[22:], uint32(h.height))
	binary.LittleEndian.PutUint16(head[26:], 1)
	binary.LittleEndian.PutUint16(head[28:], uint16(h.bits))
	if h.compression != bmpMasks {
		binary.LittleEndian.PutUint32(head[30:], h.compression)
	}
	binary.LittleEndian.PutUint32(head[46:], uint32(h.colours))
	palette, err := h.palette(in)
	if err != nil {
		return nil, err
	}
	head = append(head, palette...)
	binary.LittleEndian.PutUint32(head[10:], uint32(len(head)))
	return io.MultiReader(strings.NewReader(string(head)), io.NewSectionReader(in, h.pixels, in.Size()-h.pixels)), nil
}

// opaqueMasks reports whether masks describe the usual order of 32 bits without alpha.
func (h *bmpHeader) opaqueMasks(in *io.SectionReader) bool {
	var masks [16]byte
	if _, err := in.ReadAt(masks[:], bmpFile+bmpInfo); err != nil || h.bits != 32 {
		return false
	}
	if h.size < 56 { // which ends before the mask of alpha
		clear(masks[12:])
	}
	return string(masks[:]) == "\x00\x00\xff\x00\x00\xff\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00"
}

// palette is that of the file with four bytes a colour: OS/2 writes three.
func (h *bmpHeader) palette(in *io.SectionReader) ([]byte, error) {
	each := 4
	if h.size == bmpCore {
		each = 3
	}
	raw := make([]byte, each*h.colours)
	if _, err := in.ReadAt(raw, bmpFile+h.size); err != nil {
		return nil, err
	}
	var palette []byte
	for ; len(raw) > 0; raw = raw[each:] {
		palette = append(palette, raw[0], raw[1], raw[2], 0)
	}
	return palette, nil
}
