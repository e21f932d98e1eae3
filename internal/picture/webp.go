package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"

	"golang.org/x/image/webp"
)

// frame is what a WebP file shows, or shows first.
type frame struct {
	Header
	at          image.Point // in the picture
	alpha, data chunk       // alpha is empty but for lossy frames that have it
}

// readWebP reads simple, extended and animated files. x/image/webp knows the first and some of the second, so it gets every
// frame as a file of its own.
func readWebP(in *io.SectionReader) (layout, error) {
	all := riffChunks(in, 12, in.Size())
	l := layout{Header: Header{Format: "webp"}}
	first, err := stillFrame(in, all)
	if moving, ok := find(all, "ANMF"); ok {
		l.Notes = append(l.Notes, animated)
		first, err = movingFrame(in, moving)
	}
	if err != nil {
		return l, err
	}
	l.Width, l.Height = first.Width, first.Height
	if canvas, ok := find(all, "VP8X"); ok && len(l.Notes) > 0 {
		if l.Width, l.Height, err = canvasSize(in, canvas); err != nil {
			return l, err
		}
	}
	l.Orientation = webpOrientation(in, all)
	// A lossless picture, and alpha is one, is transformed from one buffer into another.
	stored := int64(8)
	if first.data.name == lossy {
		stored = 2
		if first.alpha.size > 0 {
			stored = 10
		}
	}
	l.memory = stored*first.pixels() + 4*l.pixels()
	l.decode = func(in *io.SectionReader) (*image.NRGBA, error) {
		img, err := first.decode(in)
		if err != nil {
			return nil, err
		}
		return placed(img, l.Width, l.Height, first.at), nil
	}
	return l, nil
}

const (
	lossy    = "VP8 "
	lossless = "VP8L"
)

func webpOrientation(in *io.SectionReader, all []chunk) int {
	if exif, ok := find(all, "EXIF"); ok {
		if o := exifOrientation(exif.bytes(in)); o > 0 {
			return o
		}
	}
	if xmp, ok := find(all, "XMP "); ok {
		return xmpOrientation(xmp.bytes(in))
	}
	return 0
}

// canvasSize is the size of the whole picture that frames are parts of.
func canvasSize(in *io.SectionReader, c chunk) (width, height int, err error) {
	var b [10]byte
	if _, err := io.ReadFull(c.in(in), b[:]); err != nil {
		return 0, 0, err
	}
	return 1 + uint24(b[4:]), 1 + uint24(b[7:]), nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// movingFrame is the frame in an ANMF chunk: place and size, duration, flags and the chunks of a still.
func movingFrame(in *io.SectionReader, c chunk) (frame, error) {
	var b [16]byte
	if _, err := io.ReadFull(c.in(in), b[:]); err != nil {
		return frame{}, err
	}
	f, err := stillFrame(in, riffChunks(in, c.at+16, c.at+c.size))
	f.at = image.Pt(2*uint24(b[0:]), 2*uint24(b[3:]))
	return f, err
}

// stillFrame is the frame among chunks, whose own header tells its size.
func stillFrame(in *io.SectionReader, all []chunk) (f frame, err error) {
	for _, c := range all {
		switch c.name {
		case "ALPH":
			f.alpha = c
			continue
		case lossy, lossless:
			f.data = c
		default:
			continue
		}
		break
	}
	var b [10]byte
	if n, _ := f.data.in(in).ReadAt(b[:], 0); n < len(b) {
		return f, io.ErrUnexpectedEOF
	}
	switch {
	case f.data.name == lossless && b[0] == 0x2f:
		bits := binary.LittleEndian.Uint32(b[1:])
		f.Width, f.Height, f.alpha = 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff), chunk{}
	case f.data.name == lossy && b[3] == 0x9d && b[4] == 1 && b[5] == 0x2a:
		f.Width, f.Height = int(binary.LittleEndian.Uint16(b[6:])&0x3fff), int(binary.LittleEndian.Uint16(b[8:])&0x3fff)
	default:
		return f, errors.New("webp: no picture in it")
	}
	return f, nil
}

func (f *frame) pixels() int64 { return int64(f.Width) * int64(f.Height) }

// decode decodes the frame.
func (f *frame) decode(in *io.SectionReader) (*image.NRGBA, error) {
	img, err := webp.Decode(f.file(in))
	if err != nil {
		return nil, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return fromVP8(img), nil
	case *image.NYCbCrA:
		colours := fromVP8(&img.YCbCr)
		for y := range f.Height {
			for x, a := range img.A[y*img.AStride:][:f.Width] {
				colours.Pix[y*colours.Stride+4*x+3] = a
			}
		}
		return colours, nil
	}
	return toNRGBA(img), nil
}

// file is the frame as a file of its own.
func (f *frame) file(in *io.SectionReader) io.Reader {
	parts := []io.Reader{nil}
	size := 4
	add := func(name string, n int64, data io.Reader) {
		head := binary.LittleEndian.AppendUint32([]byte(name), uint32(n))
		parts = append(parts, strings.NewReader(string(head)), data, strings.NewReader("\x00"[:n&1]))
		size += 8 + int(n+n&1)
	}
	if f.alpha.size > 0 {
		canvas := []byte{0x10, 0, 0, 0} // which has alpha
		for _, n := range []int{f.Width - 1, f.Height - 1} {
			canvas = append(canvas, byte(n), byte(n>>8), byte(n>>16))
		}
		add("VP8X", 10, strings.NewReader(string(canvas)))
		add(f.alpha.name, f.alpha.size, f.alpha.in(in))
	}
	add(f.data.name, f.data.size, f.data.in(in))
	parts[0] = strings.NewReader(fmt.Sprintf("RIFF%sWEBP", binary.LittleEndian.AppendUint32(nil, uint32(size))))
	return io.MultiReader(parts...)
}

// fromVP8 makes colours of VP8's: ITU-R BT.601 in the range of video, 16 to 235, not in JPEG's, which Go's color.YCbCr means.
func fromVP8(img *image.YCbCr) *image.NRGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	cb, cr := newPlane(img.Cb, img.CStride, w, h, 2, 2), newPlane(img.Cr, img.CStride, w, h, 2, 2)
	us, vs := make([]uint8, w), make([]uint8, w)
	return opaque(w, h, func(yy int, line []uint8) {
		us, vs := cb.webpRow(yy, us), cr.webpRow(yy, vs)
		// libwebp's fixed point has 14 fractional bits, of which 8 are dropped at once.
		for x, luma := range img.Y[yy*img.YStride:][:w] {
			y, u, v := int32(luma)*19077>>8, int32(us[x]), int32(vs[x])
			p := line[4*x:][:3]
			p[0] = clamp8((y + v*26149>>8 - 14234) >> 6)
			p[1] = clamp8((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
			p[2] = clamp8((y + u*33050>>8 - 17685) >> 6)
		}
	})
}
