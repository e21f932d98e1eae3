package picture

import (
	"bufio"
	"image"
	"image/color"
	"image/gif"
	"io"
)

// readGIF reads the first frame, which need not fill the picture.
func readGIF(in *io.SectionReader) (layout, error) {
	config, err := gif.DecodeConfig(in)
	if err != nil {
		return layout{}, err
	}
	l := layout{Header: Header{Format: "gif", Width: config.Width, Height: config.Height}}
	l.memory = (1 + 4 + 4) * l.pixels()
	if frames(in, config) > 1 {
		l.Notes = append(l.Notes, animated)
	}
	l.decode = func(in *io.SectionReader) (*image.NRGBA, error) {
		frame, err := gif.Decode(in)
		if err != nil {
			return nil, err
		}
		uncover(frame, config.ColorModel)
		return placed(toNRGBA(frame), l.Width, l.Height, frame.Bounds().Min), nil
	}
	return l, nil
}

// frames counts the frames, up to two.
func frames(in *io.SectionReader, config image.Config) (n int) {
	palette, _ := config.ColorModel.(color.Palette)
	r := bufio.NewReader(io.NewSectionReader(in, 13+3*int64(len(palette)), in.Size())) // behind header and colours
	for n < 2 {
		introducer, err := r.ReadByte()
		if err != nil {
			return n
		}
		switch introducer {
		case 0x2c: // a frame: place and size, colours of its own, the width of codes, data
			var head [9]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return n
			}
			n++
			colours := 0
			if head[8]&0x80 != 0 {
				colours = 3 << (1 + head[8]&7)
			}
			_, err = r.Discard(colours + 1)
		case 0x21: // an extension: its kind, data
			_, err = r.Discard(1)
		default: // the end
			return n
		}
		if err != nil || skipBlocks(r) != nil {
			return n
		}
	}
	return n
}

// skipBlocks skips data in blocks that begin with their length, up to an empty one.
func skipBlocks(r *bufio.Reader) error {
	for {
		length, err := r.ReadByte()
		if err != nil || length == 0 {
			return err
		}
		if _, err := r.Discard(int(length)); err != nil {
			return err
		}
	}
}

// uncover puts the colour back that the standard library blackens in a palette because it is transparent.
func uncover(frame image.Image, whole color.Model) {
	img, ok1 := frame.(*image.Paletted)
	palette, ok2 := whole.(color.Palette)
	if !ok1 || !ok2 || len(img.Palette) != len(palette) {
		return
	}
	for i, c := range img.Palette {
		if _, _, _, a := c.RGBA(); a == 0 {
			hidden := color.NRGBAModel.Convert(palette[i]).(color.NRGBA)
			hidden.A = 0
			img.Palette[i] = hidden
		}
	}
}

// placed lays a frame at a place of an otherwise transparent picture.
func placed(frame *image.NRGBA, width, height int, at image.Point) *image.NRGBA {
	if at == (image.Point{}) && frame.Rect.Dx() == width && frame.Rect.Dy() == height {
		return frame
	}
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	part := frame.Rect.Add(at).Intersect(img.Rect)
	for y := part.Min.Y; y < part.Max.Y; y++ {
		copy(img.Pix[img.PixOffset(part.Min.X, y):][:4*part.Dx()], frame.Pix[frame.PixOffset(part.Min.X-at.X, y-at.Y):])
	}
	return img
}
