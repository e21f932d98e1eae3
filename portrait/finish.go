package portrait

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/sd"
)

// Finish writes a finished picture of a person, with the face in it, as the portraits that people need: linkedin.png and cv.png, which
// keep the infotext, and beside each a JPEG of up to MaxJPEG bytes that says nothing but that its colours are sRGB.
func Finish(dir string, p sd.Picture, f face.Face) (linkedIn, cv []string, err error) {
	for _, one := range []struct {
		name  string
		frame Frame
		into  *[]string
	}{{"linkedin", LinkedIn, &linkedIn}, {"cv", CV, &cv}} {
		path := filepath.Join(dir, one.name)
		*one.into = []string{path + ".png", path + ".jpg"}
		p := sd.Picture{Image: one.frame.Crop(p.Image, orMiddle(f, p.Image.Rect.Size())), Seed: p.Seed, Infotext: p.Infotext}
		if err := savePNG(path+".png", p); err != nil {
			return nil, nil, err
		}
		file, err := JPEG(p.Image, MaxJPEG-len(jpegSRGB))
		if err == nil {
			err = atomicfile.WriteFile(path+".jpg", withSRGB(file))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("portrait: %w", err)
		}
	}
	return linkedIn, cv, nil
}

// savePNG is sd.Picture.Save with the colours said.
func savePNG(path string, p sd.Picture) error {
	var b bytes.Buffer
	if err := p.Encode(&b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(path, withSRGB(b.Bytes())); err != nil {
		return fmt.Errorf("portrait: %w", err)
	}
	return nil
}

// orMiddle is a face, or if there is none one where portraits have it, so that what is cropped is the middle.
func orMiddle(f face.Face, size image.Point) face.Face {
	if f.Size > 0 {
		return f
	}
	x, y, s := float64(size.X)/2, float64(size.Y)*0.42, float64(min(size.X, size.Y))*0.4
	return face.Face{Centre: face.Point{X: x, Y: y}, Size: s, Eyes: [2]face.Point{{X: x - s/5, Y: y - s/8}, {X: x + s/5, Y: y - s/8}}}
}

// recheck looks at the finished pictures of candidates, which come the best first: those that have got a fault go behind the others. The
// faces are those in the finished pictures.
func recheck(ctx context.Context, finished []Sketch, detector face.Detector) (order []int, faces []face.Face, err error) {
	faults := make([]int, len(finished))
	for i, s := range finished {
		c, err := candidate(ctx, s.Image, detector)
		if err != nil {
			return nil, nil, err
		}
		order, faces, faults[i] = append(order, i), append(faces, c.Face), len(c.Faults)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(faults[a], faults[b]) })
	return order, faces, nil
}
