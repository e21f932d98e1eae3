package picture

import (
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
	if exif, ok := find(all, "eXIf"); ok {
		l.Orientation = exifOrientation(exif.bytes(in))
	}
	for _, c := range all {
		if l.Orientation == 0 && c.name == "iTXt" {
			l.Orientation = xmpOrientation(c.bytes(in))
		}
	}
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
