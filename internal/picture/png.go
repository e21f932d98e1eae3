package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"image/png"
	"io"
)

// readPNG reads the first frame of an animated one like any other.
func readPNG(in *io.SectionReader) (layout, error) {
	config, err := png.DecodeConfig(in)
	if err != nil {
		return layout{}, err
	}
	l := layout{Header: Header{Format: "png", Width: config.Width, Height: config.Height}, decode: plain(png.Decode)}
	all := pngChunks(in)
	if l.memory, err = pngBytes(in, all, l.pixels()); err != nil {
		return l, err
	}
	l.Orientation = pngOrientation(in, all)
	if _, ok := find(all, "acTL"); ok {
		l.Notes = append(l.Notes, animated)
	}
	return l, nil
}

// pngBytes is what decoding takes: a picture as the standard library stores it, once more for the passes of an interlaced one,
// and ours, which is the same where that has 8 bits of each colour.
func pngBytes(in *io.SectionReader, all []chunk, pixels int64) (int64, error) {
	var head [5]byte // of IHDR, behind width and height: depth, colour type, …, interlaced
	if _, err := in.ReadAt(head[:], 24); err != nil {
		return 0, err
	}
	stored, ours := int64(4), int64(0)
	_, clear := find(all, "tRNS")
	switch {
	case head[0] == 16:
		stored, ours = 8, 4
	case head[1] == 3 || head[1] == 0 && !clear:
		stored, ours = 1, 4
	}
	if head[4] != 0 {
		stored *= 2
	}
	return (stored + ours) * pixels, nil
}

// pngOrientation looks where programs keep it: in EXIF, in EXIF as ImageMagick writes it, in XMP. 0 if it is nowhere.
func pngOrientation(in *io.SectionReader, all []chunk) int {
	if exif, ok := find(all, "eXIf"); ok {
		if o := exifOrientation(exif.bytes(in)); o > 0 {
			return o
		}
	}
	xmp := 0
	for _, c := range all {
		text := c.text(in)
		if profile, ok := bytes.CutPrefix(text, []byte("Raw profile type exif\x00")); ok {
			return exifOrientation(rawProfile(profile, c.name == "zTXt"))
		}
		if c.name == "iTXt" && xmp == 0 {
			xmp = xmpOrientation(text)
		}
	}
	return xmp
}

// text is the chunk if it is one of text.
func (c chunk) text(in *io.SectionReader) []byte {
	switch c.name {
	case "tEXt", "zTXt", "iTXt":
		return c.bytes(in)
	}
	return nil
}

// rawProfile is the EXIF in a text: its name and length on lines of their own, then lines of hexadecimal digits.
func rawProfile(text []byte, compressed bool) []byte {
	if compressed && len(text) > 0 { // behind a byte for the method
		z, err := zlib.NewReader(bytes.NewReader(text[1:]))
		if err != nil {
			return nil
		}
		if text, err = io.ReadAll(io.LimitReader(z, maxText)); err != nil {
			return nil
		}
	}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) < 4 {
		return nil
	}
	digits := bytes.Join(lines[3:], nil)
	exif := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(exif, digits); err != nil {
		return nil
	}
	return exif
}
