package picture

import (
	"fmt"
	"image"
	"io"

	"golang.org/x/image/tiff"
)

// readTIFF reads the first picture of a file.
func readTIFF(in *io.SectionReader) (layout, error) {
	d, err := readDirectory(in)
	if err != nil {
		return layout{}, err
	}
	l := layout{Header: Header{Format: "tiff", Width: clampSide(d[tagWidth]), Height: clampSide(d[tagHeight]), Orientation: d.orientation()}, decode: plain(tiff.Decode)}
	if xmp := d[tagXMP]; l.Orientation == 0 && xmp.count > 0 {
		l.Orientation = xmpOrientation(chunk{at: xmp.at, size: int64(xmp.count)}.bytes(in))
	}
	if d[tagPhotometric].value == 2 && max(d[tagBits].count, d[tagSamples].value) == 4 && d[tagExtra].value == 0 {
		return l, fmt.Errorf("tiff: a fourth channel of no said meaning: %w", errVariant)
	}
	// x/image/tiff takes faxes for white on black either way.
	if c := d[tagCompression].value; c >= 2 && c <= 4 && d[tagPhotometric].value == 1 {
		l.decode = inverted(l.decode)
	}
	l.memory = (d.storedBytes()+d.ownBytes())*l.pixels() + d.blockBytes(l)
	return l, nil
}

// inverted makes a decoder that swaps black and white.
func inverted(decode func(*io.SectionReader) (*image.NRGBA, error)) func(*io.SectionReader) (*image.NRGBA, error) {
	return func(in *io.SectionReader) (*image.NRGBA, error) {
		img, err := decode(in)
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(img.Pix); i += 4 {
			for c := range 3 {
				img.Pix[i+c] = 255 - img.Pix[i+c]
			}
		}
		return img, nil
	}
}

func clampSide(e entry) int { return int(min(e.value, 1<<31-1)) }

// storedBytes is what x/image/tiff takes for a pixel.
func (d directory) storedBytes() int64 {
	samples, wide := max(d[tagBits].count, d[tagSamples].value), d[tagBits].value > 8
	switch {
	case samples >= 3 && wide:
		return 8
	case samples >= 3:
		return 4
	case wide:
		return 2
	}
	return 1
}

// ownBytes is what our picture takes for a pixel beside that.
func (d directory) ownBytes() int64 {
	const premultiplied = 1
	if d.storedBytes() == 4 && d[tagExtra].value != premultiplied {
		return 0
	}
	return 4
}

// blockBytes is what x/image/tiff takes for one strip or tile. Compressed ones are refused only above eight bytes for a
// pixel, and the buffer doubles as it grows.
func (d directory) blockBytes(l layout) int64 {
	pixels := l.pixels()
	if rows := d[tagRowsPerStrip].value; rows > 0 && int64(rows) < int64(l.Height) {
		pixels = int64(l.Width) * int64(rows)
	}
	if w, h := d[tagTileWidth].value, d[tagTileHeight].value; w > 0 && h > 0 {
		pixels = int64(min(w, 1<<30)) * int64(min(h, 1<<30))
	}
	if c := d[tagCompression].value; c == 0 || c == 1 {
		return 2 * d.storedBytes() * pixels
	}
	return 24 * pixels
}
