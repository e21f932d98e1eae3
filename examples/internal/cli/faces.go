package cli

import (
	"errors"
	"fmt"
	"image"
	"strings"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// faces is what a command line says of the passes that draw faces anew.
type faces struct {
	sd.FacePass
	on bool
}

// Detector finds the faces that a model draws: photos of people, or what the built-in one draws.
func (m *Model) Detector() sd.FaceDetector {
	if m.IsTiny() {
		return drawn.Detector{}
	}
	return face.Cascades{}
}

// Faces defines the flags of the face pass, each of which asks for it.
func (d *Drawing) Faces(f *Flags) {
	p := &d.faces
	f.BoolVar(&p.on, "faces", false, "draw each face anew at the model's own side; more by -face- flags")
	f.StringVar(&p.Prompt, "face-prompt", "", "`TEXT` for them, with [SEP] between several, [SKIP] for none (default: -prompt)")
	f.StringVar(&p.NegativePrompt, "face-negative", "", "`TEXT` what they do not show, likewise (default: -negative)")
	f.Optional(&p.Strength, "face-strength", "`NUMBER` how much of them is drawn anew, 0 to 1 (default: 0.4)")
	f.IntVar(&p.Width, "face-size", 0, "`PIXELS` side of the square that each is drawn at (default: the model's own)")
	f.Func("face-box", "`LEFT,TOP,RIGHT,BOTTOM` where a face is, in pixels of the finished picture, instead of finding it; repeat it for several", func(text string) error {
		var box image.Rectangle
		if n, err := fmt.Sscanf(strings.ReplaceAll(text, ",", " "), "%d %d %d %d", &box.Min.X, &box.Min.Y, &box.Max.X, &box.Max.Y); n < 4 || err != nil {
			return errors.New("want four numbers such as 40,24,88,72")
		}
		p.Boxes = append(p.Boxes, box)
		return nil
	})
}

// faced puts the face pass into the request if a flag asks for it.
func (d *Drawing) faced(f *Flags) error {
	p := &d.faces
	for _, name := range []string{"face-prompt", "face-negative", "face-strength", "face-size", "face-box"} {
		p.on = p.on || f.Given(name)
	}
	if f.Given("face-size") && p.Width == 0 {
		return errors.New("-face-size is 0, want a number above it")
	}
	if p.Height = p.Width; p.on {
		d.Request.Faces = &p.FacePass
	}
	d.pipeline.Faces = d.model.Detector()
	return nil
}
