package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
)

const orientationTag = 0x0112

// readOrientation is the EXIF orientation of a picture file, 1 (upright) to 8; 1 where there is none or it makes no sense.
// Where EXIF lies: JPEG in an APP1 segment, PNG in an eXIf chunk, WebP in an EXIF chunk; a TIFF file is its own.
func readOrientation(r io.ReadSeeker, format string) int {
	var tiff []byte
	switch format {
	case "jpeg":
		tiff = exifOfJPEG(r)
	case "png":
		tiff = exifOfPNG(r)
	case "webp":
		tiff = exifOfWebP(r)
	case "tiff":
		return orientationOfTIFF(r)
	}
	if tiff = bytes.TrimPrefix(tiff, []byte("Exif\x00\x00")); tiff == nil {
		return 1
	}
	return orientationOfTIFF(bytes.NewReader(tiff))
}

// exifOfJPEG walks the segments before the first scan.
func exifOfJPEG(r io.ReadSeeker) []byte {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil || b[0] != 0xFF || b[1] != 0xD8 {
		return nil
	}
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil || b[0] != 0xFF || b[1] == 0xDA || b[1] == 0xD9 {
			return nil
		}
		length := int64(binary.BigEndian.Uint16(b[2:])) - 2
		if length < 0 {
			return nil
		}
		if b[1] != 0xE1 {
			if _, err := r.Seek(length, io.SeekCurrent); err != nil {
				return nil
			}
			continue
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil
		}
		if bytes.HasPrefix(data, []byte("Exif\x00\x00")) { // APP1 also carries XMP
			return data
		}
	}
}

// exifOfPNG walks chunks of big-endian length, name, data and four bytes of checksum.
func exifOfPNG(r io.ReadSeeker) []byte {
	return exifOfChunks(r, 8, "eXIf", func(head [8]byte) (string, int64, int64) {
		length := int64(binary.BigEndian.Uint32(head[:4]))
		return string(head[4:]), length, length + 4
	})
}

// exifOfWebP walks chunks of name, little-endian length and data padded to an even number of bytes.
func exifOfWebP(r io.ReadSeeker) []byte {
	return exifOfChunks(r, 12, "EXIF", func(head [8]byte) (string, int64, int64) {
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		return string(head[:4]), length, length + length&1
	})
}

// exifOfChunks returns the data of the chunk called name. parse splits a chunk's head into its name, the length of its
// data and the distance to the next head.
func exifOfChunks(r io.ReadSeeker, start int64, name string, parse func(head [8]byte) (string, int64, int64)) []byte {
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return nil
	}
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil
		}
		id, length, skip := parse(head)
		if id == name {
			data := make([]byte, min(length, 1<<16)) // the first directory lies at the start
			n, _ := io.ReadFull(r, data)
			return data[:n]
		}
		if _, err := r.Seek(skip, io.SeekCurrent); err != nil {
			return nil
		}
	}
}

// orientationOfTIFF looks the tag up in the first directory of a TIFF structure.
func orientationOfTIFF(r io.ReadSeeker) int {
	var b [12]byte
	if _, err := io.ReadFull(r, b[:8]); err != nil {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(b[:2]) == "MM" {
		order = binary.BigEndian
	}
	if _, err := r.Seek(int64(order.Uint32(b[4:])), io.SeekStart); err != nil {
		return 1
	}
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return 1
	}
	for range order.Uint16(b[:2]) {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 1
		}
		if order.Uint16(b[:]) == orientationTag {
			if o := int(order.Uint16(b[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
	}
	return 1
}

// turned reports whether an orientation swaps width and height.
func turned(orientation int) bool { return orientation >= 5 }

// orient turns and mirrors a stored picture upright.
func orient(src *image.NRGBA, orientation int) *image.NRGBA {
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
	if turned(orientation) {
		size = image.Rect(0, 0, h, w)
	}
	dst := image.NewNRGBA(size)
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			sx, sy := from(x, y)
			copy(dst.Pix[dst.PixOffset(x, y):][:4], src.Pix[src.PixOffset(sx, sy):])
		}
	}
	return dst
}
