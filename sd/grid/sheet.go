package grid

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// MaxPixels is how many a sheet may have, as in the web UI.
const MaxPixels = 200_000_000

// Look is how a sheet is laid out.
type Look struct {
	Bare   bool // without a legend
	Margin int  // pixels between pictures
}

// layout is where things are on a sheet.
type layout struct {
	Look
	cell      image.Point // the largest picture
	left, top int         // of the legends
	face      font.Face
	size      Cell
}

// Sheet puts the pictures of all cells together: Z below each other, Y in rows, X in columns, each in the middle of its place, on white.
// size is asked for that of each first, then picture for each.
func (l Look) Sheet(g Grid, size func(Cell) (image.Point, error), picture func(Cell) (image.Image, error)) (*image.NRGBA, error) {
	p := layout{Look: l, size: g.Size()}
	for c := range g.Cells() {
		size, err := size(c)
		if err != nil {
			return nil, err
		}
		p.cell = image.Pt(max(p.cell.X, size.X), max(p.cell.Y, size.Y))
	}
	var err error
	if p.face, err = newFace(p.cell); err != nil {
		return nil, err
	}
	if !l.Bare {
		p.legends(g)
	}
	full := p.at(Cell{X: p.size.X, Y: 0, Z: p.size.Z}).Add(image.Pt(0, -p.top))
	if full.X*full.Y > MaxPixels {
		return nil, fmt.Errorf("grid: the sheet is %dx%d pixels, want %d megapixels at most: fewer values, or smaller pictures", full.X, full.Y, MaxPixels/1_000_000)
	}
	sheet := image.NewNRGBA(image.Rect(0, 0, full.X, full.Y))
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	for c := range g.Cells() {
		img, err := picture(c)
		if err != nil {
			return nil, err
		}
		p.put(sheet, p.at(c), img)
	}
	if !l.Bare {
		p.write(sheet, g)
	}
	return sheet, nil
}

// at is where a cell's place begins.
func (p *layout) at(c Cell) image.Point {
	step := p.cell.Add(image.Pt(p.Margin, p.Margin))
	return image.Pt(p.left+p.Margin+c.X*step.X, p.top+p.Margin+c.Y*step.Y+c.Z*(p.top+p.size.Y*step.Y))
}

// legends makes room for labels.
func (p *layout) legends(g Grid) {
	for _, label := range labels(g.Y) {
		for _, line := range p.lines(label, p.cell.X) {
			p.left = max(p.left, font.MeasureString(p.face, line).Ceil()+2*p.gap())
		}
	}
	high := 0
	for _, label := range labels(g.X) {
		high = max(high, len(p.lines(label, p.cell.X)))
	}
	if g.Z != nil {
		high++
	}
	if high > 0 {
		p.top = high*p.line() + p.gap()
	}
}

func labels(a *Axis) []string {
	if a == nil {
		return nil
	}
	return a.Labels()
}

// write writes the legends.
func (p *layout) write(img *image.NRGBA, g Grid) {
	for z := range p.size.Z {
		for x, label := range labels(g.X) {
			lines, at := p.lines(label, p.cell.X), p.at(Cell{X: x, Z: z})
			p.centre(img, lines, at.X+p.cell.X/2, at.Y-p.gap()/2-len(lines)*p.line())
		}
		for y, label := range labels(g.Y) {
			lines, at := p.lines(label, p.cell.X), p.at(Cell{Y: y, Z: z})
			p.centre(img, lines, (p.left+p.Margin)/2, at.Y+(p.cell.Y-len(lines)*p.line())/2)
		}
		if g.Z != nil {
			first, last := p.at(Cell{Z: z}), p.at(Cell{X: p.size.X - 1, Z: z})
			p.centre(img, []string{labels(g.Z)[z]}, (first.X+last.X+p.cell.X)/2, first.Y-p.top+p.gap()/4)
		}
	}
}

// ink is nearly black.
var ink = image.NewUniform(color.Gray{0x22})

// centre writes lines below each other around the middle of a column.
func (p *layout) centre(img draw.Image, lines []string, middle, top int) {
	for i, line := range lines {
		d := font.Drawer{Dst: img, Src: ink, Face: p.face}
		wide := d.MeasureString(line)
		d.Dot = fixed.Point26_6{X: fixed.I(middle) - wide/2, Y: fixed.I(top+i*p.line()) + p.face.Metrics().Ascent}
		d.DrawString(line)
	}
}

func (p *layout) line() int { return p.face.Metrics().Height.Ceil() }

func (p *layout) gap() int { return p.line() * 2 / 3 }

// lines breaks a label into lines of a width, and what is still too long after a few of them.
func (p *layout) lines(label string, width int) (lines []string) {
	const most = 4
	line := ""
	for word := range strings.FieldsSeq(label) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && font.MeasureString(p.face, longer).Ceil() > width {
			lines, longer = append(lines, line), word
		}
		line = longer
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines = append(lines[:most-1], "…")
	}
	for i, line := range lines {
		lines[i] = p.fit(line, width)
	}
	return lines
}

// fit cuts a line to a width.
func (p *layout) fit(line string, width int) string {
	runes := []rune(line)
	for len(runes) > 1 && font.MeasureString(p.face, string(runes)).Ceil() > width {
		runes = append(runes[:len(runes)-2], '…')
	}
	return string(runes)
}

// newFace is a font for pictures of a size.
func newFace(cell image.Point) (font.Face, error) {
	regular, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	points := max(12, min(cell.X, cell.Y)/14)
	return opentype.NewFace(regular, &opentype.FaceOptions{Size: float64(min(points, 40)), DPI: 72, Hinting: font.HintingFull})
}

// put draws a picture in the middle of its place.
func (p *layout) put(sheet *image.NRGBA, place image.Point, img image.Image) {
	size := img.Bounds().Size()
	at := place.Add(p.cell.Sub(size).Div(2))
	draw.Draw(sheet, image.Rectangle{at, at.Add(size)}, img, img.Bounds().Min, draw.Src)
}
