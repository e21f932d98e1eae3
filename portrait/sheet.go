package portrait

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/atelier-go/atelier/internal/picture"
)

// How a contact sheet is laid out, in pixels.
const (
	sheetPicture = 192 // longer side of a picture
	sheetGap     = 12
	sheetLine    = 20 // height of a line of text
	sheetLetters = 14
)

// Colours of a contact sheet.
var (
	paper = image.NewUniform(color.Gray{0xfa})
	ink   = image.NewUniform(color.Gray{0x22})
	pale  = image.NewUniform(color.Gray{0x80})
)

// Sheet puts candidates on one picture, the best first, each with its place, its seed, how like the person it is and its faults.
func Sheet(pictures []*image.NRGBA, seeds []int64, ranked []Candidate) (*image.NRGBA, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	letters, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: sheetLetters, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	cell := image.Point{}
	for _, img := range pictures {
		size := fitted(img.Rect.Size(), sheetPicture)
		cell = image.Pt(max(cell.X, size.X), max(cell.Y, size.Y))
	}
	columns := min(len(ranked), max(1, int(math.Ceil(math.Sqrt(float64(len(ranked))*1.4)))))
	rows := (len(ranked) + columns - 1) / max(columns, 1)
	step := cell.Add(image.Pt(sheetGap, sheetGap+2*sheetLine))
	sheet := image.NewNRGBA(image.Rect(0, 0, columns*step.X+sheetGap, rows*step.Y+sheetGap))
	draw.Draw(sheet, sheet.Rect, paper, image.Point{}, draw.Src)
	for place, c := range ranked {
		at := image.Pt(sheetGap+place%columns*step.X, sheetGap+place/columns*step.Y)
		img := thumbnail(pictures[c.Index], sheetPicture)
		draw.Draw(sheet, img.Rect.Add(at), img, image.Point{}, draw.Src)
		write := func(line int, colour image.Image, text string) {
			d := font.Drawer{Dst: sheet, Src: colour, Face: letters}
			d.Dot = fixed.P(at.X, at.Y+cell.Y+(line+1)*sheetLine-4)
			d.DrawString(text)
		}
		write(0, ink, fmt.Sprintf("%d. seed %d", place+1, seeds[c.Index]))
		write(1, pale, c.describe())
	}
	return sheet, nil
}

// describe says in a few words why a candidate has its place.
func (c Candidate) describe() string {
	if len(c.Faults) > 0 {
		return string(c.Faults[0])
	}
	return fmt.Sprintf("likeness %+.2f", c.Likeness)
}

// fitted is a size scaled to a longer side.
func fitted(size image.Point, longer int) image.Point {
	scale := float64(longer) / float64(max(size.X, size.Y, 1))
	return image.Pt(max(1, int(math.Round(float64(size.X)*scale))), max(1, int(math.Round(float64(size.Y)*scale))))
}

// thumbnail is a picture scaled to a longer side.
func thumbnail(img *image.NRGBA, longer int) *image.NRGBA {
	size := fitted(img.Rect.Size(), longer)
	return picture.Resample(img, size, image.Rectangle{Max: size}, picture.Lanczos, 4)
}
