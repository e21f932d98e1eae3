// Package tiny is what programs that make portraits do otherwise for the built-in tiny model, and its sample photos on disk.
package tiny

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
)

// Pictures fills in what the tiny model wants: it draws faces of 128 pixels in named colours, and follows a prompt best with less guidance
// than usual of what its LoRA knows well.
func Pictures(p *portrait.Pictures) {
	p.Request.Width, p.Request.Height, p.Request.Steps, p.Request.Guidance = 128, 128, 20, new(4.0)
	// Larger than that its VAE smears eyes, so the best are drawn anew in part at their own size.
	p.Hires = &sd.Hires{Scale: 1, Upscaler: sd.Lanczos, Strength: new(0.15), Steps: 10}
	p.Faces = &sd.FacePass{Strength: new(0.0)}
	if p.Preset == "" && p.Prompt == "" {
		p.Prompt = "photo of {person}"
	}
}

// The folders of the sample photos.
const (
	Person = "12_personname man"
	Others = "1_man" // pictures of other people, so that these stay as they are
)

// LayOut copies a folder of the sample photos to dir, whole or not at all, unless dir is there.
func LayOut(dir, folder string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	photos, err := fs.Sub(tinyportrait.Photos(), folder)
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".photos-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	whole := filepath.Join(temporary, filepath.Base(dir))
	if err := os.CopyFS(whole, photos); err != nil {
		return err
	}
	return os.Rename(whole, dir)
}
