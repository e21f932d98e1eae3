package picture

import (
	"image"
	"image/color"
)

// toNRGBA makes 8 bits of any picture without premultiplying, so that what lies under a transparent pixel survives. Sixteen
// bits lose the lower eight, as in Pillow.
func toNRGBA(img image.Image) *image.NRGBA {
	b := img.Bounds()
	switch src := img.(type) {
	case *image.NRGBA:
		if b.Min == (image.Point{}) {
			return src
		}
	case *image.RGBA:
		if b.Min == (image.Point{}) && src.Opaque() {
			return &image.NRGBA{Pix: src.Pix, Stride: src.Stride, Rect: src.Rect}
		}
	}
	dst := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	convert := converter(img)
	for y := range b.Dy() {
		row := dst.Pix[y*dst.Stride:][:4*b.Dx()]
		convert(b.Min.Y+y, row)
	}
	return dst
}

// converter returns what writes a row of a picture as red, green, blue and alpha.
func converter(img image.Image) func(y int, row []uint8) {
	left := img.Bounds().Min.X
	switch src := img.(type) {
	case *image.Gray:
		return func(y int, row []uint8) { spread(row, src.Pix[src.PixOffset(left, y):], 1) }
	case *image.Gray16:
		return func(y int, row []uint8) { spread(row, src.Pix[src.PixOffset(left, y):], 2) }
	case *image.NRGBA64:
		return func(y int, row []uint8) { high(row, src.Pix[src.PixOffset(left, y):]) }
	case *image.RGBA64:
		if src.Opaque() {
			return func(y int, row []uint8) { high(row, src.Pix[src.PixOffset(left, y):]) }
		}
	case *image.Paletted:
		palette := nrgbaPalette(src.Palette)
		return func(y int, row []uint8) {
			from := src.Pix[src.PixOffset(left, y):]
			for x := range len(row) / 4 {
				*(*[4]uint8)(row[4*x:]) = palette[from[x]]
			}
		}
	}
	return func(y int, row []uint8) {
		for x := range len(row) / 4 {
			c := color.NRGBAModel.Convert(img.At(left+x, y)).(color.NRGBA)
			*(*[4]uint8)(row[4*x:]) = [4]uint8{c.R, c.G, c.B, c.A}
		}
	}
}

// spread makes opaque greys of every step-th byte.
func spread(row, grey []uint8, step int) {
	for x := range len(row) / 4 {
		v := grey[step*x]
		*(*[4]uint8)(row[4*x:]) = [4]uint8{v, v, v, 255}
	}
}

// high takes the higher byte of each pair.
func high(row, wide []uint8) {
	for i := range row {
		row[i] = wide[2*i]
	}
}

// nrgbaPalette has 256 colours: black without opacity for an index beyond the palette.
func nrgbaPalette(p color.Palette) (colours [256][4]uint8) {
	for i, c := range p[:min(256, len(p))] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		colours[i] = [4]uint8{n.R, n.G, n.B, n.A}
	}
	return colours
}

// OverWhite lays the picture on white, leaving its alpha.
func OverWhite(img *image.NRGBA) {
	for i := 0; i+3 < len(img.Pix); i += 4 {
		a := int(img.Pix[i+3])
		for c := range 3 {
			img.Pix[i+c] = uint8((int(img.Pix[i+c])*a + 255*(255-a) + 127) / 255)
		}
	}
}

func clamp8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }
