package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"regexp"
	"runtime"
)

// Tags of a TIFF directory, of which EXIF is one.
const (
	tagWidth        = 0x0100
	tagHeight       = 0x0101
	tagBits         = 0x0102
	tagCompression  = 0x0103
	tagPhotometric  = 0x0106
	tagOrientation  = 0x0112
	tagSamples      = 0x0115
	tagRowsPerStrip = 0x0116
	tagTileWidth    = 0x0142
	tagTileHeight   = 0x0143
	tagExtra        = 0x0152
	tagXMP          = 0x02bc
)

// entry is one tag of a directory: its numbers, of which the first is value.
type entry struct {
	count, value uint32
	at           int64 // where the numbers lie
	raw          bool  // they are bytes, which Pillow takes for numbers nowhere but where a TIFF needs them
}

// directory is the first directory of a TIFF structure: its entries of whole numbers.
type directory map[uint16]entry

// widths are the bytes of the types of whole numbers that are read: byte, short, long, signed byte, undefined, the other
// signed ones and the place of a directory.
var widths = map[uint16]int64{1: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4}

// readDirectory reads as much of the first directory as is there.
func readDirectory(r io.ReaderAt) (directory, error) {
	var head [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(head[:2]) {
	case "MM":
		order = binary.BigEndian
	case "II":
	default:
		return nil, errors.New("no TIFF structure")
	}
	at := int64(order.Uint32(head[4:]))
	var count [2]byte
	if _, err := r.ReadAt(count[:], at); err != nil {
		return nil, err
	}
	entries, err := io.ReadAll(io.NewSectionReader(r, at+2, 12*int64(order.Uint16(count[:]))))
	if err != nil {
		return nil, err
	}
	d := make(directory)
	for i := 0; i+12 <= len(entries); i += 12 {
		if e, ok := readEntry(r, order, entries[i:], at+2+int64(i)); ok {
			d[order.Uint16(entries[i:])] = e
		}
	}
	return d, nil
}

// readEntry reads the entry that raw, at a place of the file, describes.
func readEntry(r io.ReaderAt, order binary.ByteOrder, raw []byte, at int64) (entry, bool) {
	e := entry{count: order.Uint32(raw[4:]), at: at + 8}
	kind := order.Uint16(raw[2:])
	width := widths[kind]
	e.raw = kind == 1 || kind == 7
	if width == 0 || e.count == 0 {
		return e, false
	}
	value := raw[8:12]
	if width*int64(e.count) > 4 {
		e.at = int64(order.Uint32(value))
		value = make([]byte, 4)
		if n, _ := r.ReadAt(value, e.at); int64(n) < width {
			return e, false
		}
	}
	switch width {
	case 1:
		e.value = uint32(value[0])
	case 2:
		e.value = uint32(order.Uint16(value))
	case 4:
		e.value = order.Uint32(value)
	}
	return e, true
}

// orientation is that of the directory, 0 if it says nothing sensible.
func (d directory) orientation() int {
	if e := d[tagOrientation]; e.count == 1 && !e.raw && e.value >= 1 && e.value <= 8 {
		return int(e.value)
	}
	return 0
}

// exifOrientation is the orientation in a block of EXIF, with or without its name in front; 0 if there is none.
func exifOrientation(exif []byte) int {
	d, err := readDirectory(bytes.NewReader(bytes.TrimPrefix(exif, []byte(exifName))))
	if err != nil {
		return 0
	}
	return d.orientation()
}

const exifName = "Exif\x00\x00"

var xmpTag = regexp.MustCompile(`tiff:Orientation(?:="|>)([1-8])`)

// xmpOrientation is the orientation in a packet of XMP, which counts where EXIF has none; 0 if there is none.
func xmpOrientation(xmp []byte) int {
	if found := xmpTag.FindSubmatch(xmp); found != nil {
		return int(found[1][0] - '0')
	}
	return 0
}

// Turned reports whether an orientation swaps width and height.
func Turned(orientation int) bool { return orientation >= 5 }

// Orient turns and mirrors a stored picture upright, by its EXIF orientation. Numbers other than 2 to 8 leave it as it is.
func Orient(src *image.NRGBA, orientation int) *image.NRGBA {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	var from func(x, y int) (int, int)
	switch orientation {
	case 2:
		from = func(x, y int) (int, int) { return w - 1 - x, y }
	case 3:
		from = func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case 4:
		from = func(x, y int) (int, int) { return x, h - 1 - y }
	case 5:
		from = func(x, y int) (int, int) { return y, x }
	case 6:
		from = func(x, y int) (int, int) { return y, h - 1 - x }
	case 7:
		from = func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }
	case 8:
		from = func(x, y int) (int, int) { return w - 1 - y, x }
	default:
		return src
	}
	size := image.Rect(0, 0, w, h)
	if Turned(orientation) {
		size = image.Rect(0, 0, h, w)
	}
	if len(src.Pix) > collect { // what the decoder has left makes room
		runtime.GC()
	}
	dst := image.NewNRGBA(size)
	for y := range dst.Rect.Dy() {
		row := dst.Pix[y*dst.Stride:]
		for x := range dst.Rect.Dx() {
			sx, sy := from(x, y)
			*(*[4]uint8)(row[4*x:]) = [4]uint8(src.Pix[sy*src.Stride+4*sx:])
		}
	}
	return dst
}
