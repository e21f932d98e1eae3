package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
)

// jpegHeader is what the segments of a JPEG before its first scan tell.
type jpegHeader struct {
	Header
	frame       int64 // where the frame header begins
	progressive bool
	components  []component
	jfif        bool
	adobe       int // the transform of the Adobe marker, −1 without one
	xmp         int // orientation
}

// component is one of the colours of a JPEG.
type component struct{ id, h, v int }

// readJPEG decodes the planes with the standard library and does itself what that does otherwise than libjpeg: telling colour
// spaces, and the interpolation of planes stored at half the size.
func readJPEG(in *io.SectionReader) (layout, error) {
	h, err := readSegments(in)
	if err != nil {
		return layout{}, err
	}
	l := layout{Header: h.Header}
	if l.Orientation == 0 {
		l.Orientation = h.xmp
	}
	l.memory = 4*l.pixels() + h.planeBytes()
	l.decode = h.decode
	return l, nil
}

// planeBytes is what the standard library takes: bytes, and 32-bit coefficients of progressive pictures. The planes of four
// components come back interleaved.
func (h *jpegHeader) planeBytes() int64 {
	most, samples := 1, 0
	for _, c := range h.components {
		most = max(most, c.h*c.v)
		samples += c.h * c.v
	}
	bytes := int64(1)
	if h.progressive {
		bytes += 4
	}
	blocks := int64(h.Width+31) * int64(h.Height+31)
	total := blocks * int64(samples) / int64(most) * bytes
	if len(h.components) == 4 {
		total += 6 * blocks // and two are taken apart again
	}
	return total
}

// maxGarbage bounds what may lie between segments.
const maxGarbage = 1 << 16

// readSegments walks the segments up to the first scan.
func readSegments(in *io.SectionReader) (*jpegHeader, error) {
	h := &jpegHeader{Header: Header{Format: "jpeg"}, adobe: -1}
	r := &counted{r: bufio.NewReader(io.NewSectionReader(in, 2, in.Size()-2)), at: 2}
	for garbage := 0; garbage < maxGarbage; {
		c, err := r.byte()
		if err != nil {
			return nil, err
		}
		if c != 0xff {
			garbage++
			continue
		}
		begin := r.at - 1
		for c == 0xff { // fill bytes
			if c, err = r.byte(); err != nil {
				return nil, err
			}
		}
		switch {
		case c == 0 || c == 1 || c >= 0xd0 && c <= 0xd8: // nothing follows
			continue
		case c == 0xda && h.components != nil:
			return h, nil
		case c == 0xd9 || c == 0xda:
			return nil, errors.New("jpeg: no picture in it")
		}
		if err := h.segment(r, c, begin); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("jpeg: no picture in it")
}

// segment reads one segment; begin is where its marker does.
func (h *jpegHeader) segment(r *counted, marker byte, begin int64) error {
	var b [2]byte
	if err := r.full(b[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(b[:])) - 2
	if n < 0 {
		return errors.New("jpeg: a segment without length")
	}
	isFrame := marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
	if !isFrame && marker != 0xe0 && marker != 0xe1 && marker != 0xee {
		return r.skip(n)
	}
	data := make([]byte, n)
	if err := r.full(data); err != nil {
		return err
	}
	switch {
	case isFrame:
		h.frame, h.progressive = begin, marker == 0xc2
		return h.frameHeader(data)
	case marker == 0xe0:
		h.jfif = h.jfif || bytes.HasPrefix(data, []byte("JFIF\x00"))
	case marker == 0xee && bytes.HasPrefix(data, []byte("Adobe")) && n >= 12:
		h.adobe = int(data[11])
	case bytes.HasPrefix(data, []byte(exifName)) && h.Orientation == 0:
		h.Orientation = exifOrientation(data)
	case bytes.HasPrefix(data, []byte("http://ns.adobe.com/xap/1.0/\x00")):
		h.xmp = xmpOrientation(data)
	}
	return nil
}

func (h *jpegHeader) frameHeader(data []byte) error {
	if len(data) < 6 || len(data) != 6+3*int(data[5]) {
		return errors.New("jpeg: frame header of a wrong length")
	}
	h.Height, h.Width = int(binary.BigEndian.Uint16(data[1:])), int(binary.BigEndian.Uint16(data[3:]))
	h.components = nil
	for c := data[6:]; len(c) > 0; c = c[3:] {
		h.components = append(h.components, component{int(c[0]), max(1, int(c[1]>>4)), max(1, int(c[1]&15))})
	}
	if h.components == nil {
		return errors.New("jpeg: no components")
	}
	return nil
}

// counted is a reader that knows where it is.
type counted struct {
	r  *bufio.Reader
	at int64
}

func (c *counted) byte() (byte, error) {
	b, err := c.r.ReadByte()
	c.at++
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func (c *counted) full(b []byte) error {
	n, err := io.ReadFull(c.r, b)
	c.at += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c *counted) skip(n int) error {
	done, err := c.r.Discard(n)
	c.at += int64(done)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Markers that make the standard library hand over three planes as they are, and four without converting them.
const (
	jfifMarker  = "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
	adobeMarker = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	endMarker   = "\xff\xd9" // which some writers forget
)

func (h *jpegHeader) decode(in *io.SectionReader) (*image.NRGBA, error) {
	marker := jfifMarker
	if len(h.components) == 4 {
		marker = adobeMarker
	}
	rest := &scans{r: io.NewSectionReader(in, h.frame, in.Size()-h.frame)}
	img, err := jpeg.Decode(io.MultiReader(io.NewSectionReader(in, 0, h.frame), strings.NewReader(marker), rest, strings.NewReader(endMarker)))
	if err != nil {
		return nil, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return h.colours(img), nil
	case *image.CMYK:
		return h.inks(img), nil
	}
	return toNRGBA(img), nil
}

// maxScans bounds how often a file may go over all of a picture; encoders do so about ten times.
const maxScans = 100

// scans fails where a file has too many.
type scans struct {
	r    io.Reader
	n    int
	last byte
}

func (s *scans) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	for _, c := range b[:n] {
		if s.last == 0xff && c == 0xda {
			s.n++
		}
		s.last = c
	}
	if s.n > maxScans {
		return 0, fmt.Errorf("jpeg: more than %d scans: %w", maxScans, errVariant)
	}
	return n, err
}

// isRGB tells as libjpeg does whether three components are red, green and blue.
func (h *jpegHeader) isRGB() bool {
	switch {
	case h.jfif:
		return false
	case h.adobe >= 0:
		return h.adobe == 0
	}
	return h.components[0].id == 'R' && h.components[1].id == 'G' && h.components[2].id == 'B'
}

// colours makes a picture of three planes.
func (h *jpegHeader) colours(img *image.YCbCr) *image.NRGBA {
	fx, fy := h.components[0].h/h.components[1].h, h.components[0].v/h.components[1].v
	cb, cr := newPlane(img.Cb, img.CStride, h.Width, h.Height, fx, fy), newPlane(img.Cr, img.CStride, h.Width, h.Height, fx, fy)
	a, b := make([]uint8, h.Width), make([]uint8, h.Width)
	mix := mixYCbCr
	if h.isRGB() {
		mix = mixRGB
	}
	return opaque(h.Width, h.Height, func(y int, line []uint8) {
		mix(line, img.Y[y*img.YStride:], cb.jpegRow(y, a), cr.jpegRow(y, b))
	})
}

func mixRGB(line, r, g, b []uint8) {
	for i := 0; i < len(line); i += 4 {
		line[i], line[i+1], line[i+2] = r[i/4], g[i/4], b[i/4]
	}
}

// mixYCbCr computes in libjpeg's fixed point with 16 fractional bits.
func mixYCbCr(line, ys, cbs, crs []uint8) {
	const half = 1 << 15
	for i := 0; i < len(line); i += 4 {
		y, cb, cr := int32(ys[i/4]), int32(cbs[i/4])-128, int32(crs[i/4])-128
		p := line[i:][:3]
		p[0] = clamp8(y + (91881*cr+half)>>16)
		p[1] = clamp8(y + (-22554*cb-46802*cr+half)>>16)
		p[2] = clamp8(y + (116130*cb+half)>>16)
	}
}

// inks makes a picture of four planes, which img holds interleaved and inverted: cyan, magenta, yellow and black as Adobe
// writes them, 255 for no ink, or luma and chroma of their complements and black.
func (h *jpegHeader) inks(img *image.CMYK) *image.NRGBA {
	fx, fy := h.components[0].h/h.components[1].h, h.components[0].v/h.components[1].v
	cb, cr := inkPlane(img, 1, fx, fy), inkPlane(img, 2, fx, fy)
	first, a, b := make([]uint8, h.Width), make([]uint8, h.Width), make([]uint8, h.Width)
	mix, complement := mixRGB, uint8(0)
	if h.adobe == 2 {
		mix, complement = mixYCbCr, 255
	}
	return opaque(h.Width, h.Height, func(y int, line []uint8) {
		inks := img.Pix[y*img.Stride:][:4*h.Width]
		for x := range first {
			first[x] = 255 - inks[4*x]
		}
		mix(line, first, cb.jpegRow(y, a), cr.jpegRow(y, b))
		for i := 0; i < len(line); i += 4 {
			light := 255 - int32(inks[i+3])
			for c := range 3 {
				line[i+c] = over255(int32(line[i+c]^complement) * light)
			}
		}
	})
}

// over255 is v / 255, rounded.
func over255(v int32) uint8 {
	v += 128
	return uint8((v>>8 + v) >> 8)
}

// inkPlane takes a component out again that the standard library repeated to full size.
func inkPlane(img *image.CMYK, component, fx, fy int) plane {
	p := newPlane(nil, 0, img.Rect.Dx(), img.Rect.Dy(), fx, fy)
	p.stride = p.width
	p.pix = make([]uint8, 0, p.width*p.height)
	for y := range p.height {
		for x := range p.width {
			p.pix = append(p.pix, 255-img.Pix[y*fy*img.Stride+4*x*fx+component])
		}
	}
	return p
}
