package work

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"math"
	"time"

	"github.com/atelier-go/atelier/internal/picture"
)

// shown says when something was shown last, so that quick steps do not make more previews than anybody can see.
type shown struct{ last time.Time }

// between is the least time between two previews.
const between = 50 * time.Millisecond

// due reports whether it is time for the next, and takes it as shown.
func (s *shown) due() bool {
	if time.Since(s.last) < between {
		return false
	}
	s.last = time.Now()
	return true
}

// previewSide is the most pixels of a preview's side.
const previewSide = 768

// preview is a JPEG of pictures of one size, several side by side in rows.
func preview(pictures []*image.NRGBA) ([]byte, error) {
	cell := pictures[0].Rect.Size()
	columns := int(math.Ceil(math.Sqrt(float64(len(pictures)))))
	rows := (len(pictures) + columns - 1) / columns
	sheet := image.NewNRGBA(image.Rect(0, 0, columns*cell.X, rows*cell.Y))
	for i, p := range pictures {
		at := image.Pt(i%columns*cell.X, i/columns*cell.Y)
		draw.Draw(sheet, image.Rectangle{Min: at, Max: at.Add(cell)}, p, p.Rect.Min, draw.Src)
	}
	sheet = picture.Within(sheet, previewSide, picture.Box, 4)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, sheet, &jpeg.Options{Quality: 80}); err != nil {
		return nil, fmt.Errorf("work: a preview: %w", err)
	}
	return file.Bytes(), nil
}
