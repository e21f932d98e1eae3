package sd

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/sd/infotext"
)

// Picture is a finished picture.
type Picture struct {
	Image    *image.NRGBA
	Seed     int64  // with which it is made again, alone
	Infotext string // how it was made, in the web UI's format; "" says nothing
}

// Encode writes the picture as PNG with its infotext, where the web UI and every tool that reads its pictures look for it:
// see infotext.Insert.
func (p Picture) Encode(w io.Writer) error {
	var b bytes.Buffer
	if err := png.Encode(&b, p.Image); err != nil {
		return fmt.Errorf("sd: encoding PNG: %w", err)
	}
	file, err := infotext.Insert(b.Bytes(), p.Infotext)
	if err != nil {
		return fmt.Errorf("sd: %w", err)
	}
	if _, err := w.Write(file); err != nil {
		return fmt.Errorf("sd: writing PNG: %w", err)
	}
	return nil
}

// Save writes the picture with [Picture.Encode] to a temporary file beside path and renames it, so that path holds either
// what it held before or the whole new picture.
func (p Picture) Save(path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("sd: saving %s: %w; choose a folder that exists and can be written", path, err)
	}
	defer f.Abort()
	if err := p.Encode(f); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	return nil
}
