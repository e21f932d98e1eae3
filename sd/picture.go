package sd

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/sd/infotext"
)

// Picture is a finished picture.
type Picture struct {
	Image    *image.NRGBA
	Seed     int64  // with which it is made again, alone
	Infotext string // how it was made, in the web UI's format; "" says nothing
}

// jpegQuality is the web UI's.
const jpegQuality = 80

// Encode writes the picture as PNG with its infotext, where the web UI and every tool that reads its pictures look for it:
// see infotext.Insert.
func (p Picture) Encode(w io.Writer) error { return p.encode(w, png.Encode) }

// EncodeJPEG is Encode in JPEG, which loses detail and has no room for an infotext of more than about 32,000 characters.
func (p Picture) EncodeJPEG(w io.Writer) error {
	return p.encode(w, func(w io.Writer, img image.Image) error {
		return jpeg.Encode(w, img, &jpeg.Options{Quality: jpegQuality})
	})
}

func (p Picture) encode(w io.Writer, in func(io.Writer, image.Image) error) error {
	var b bytes.Buffer
	if err := in(&b, p.Image); err != nil {
		return fmt.Errorf("sd: encoding the picture: %w", err)
	}
	file, err := infotext.Insert(b.Bytes(), p.Infotext)
	if err != nil {
		return fmt.Errorf("sd: %w", err)
	}
	if _, err := w.Write(file); err != nil {
		return fmt.Errorf("sd: writing the picture: %w", err)
	}
	return nil
}

// Save writes the picture to a temporary file beside path and renames it, so that path holds either what it held before or the
// whole new picture: with [Picture.EncodeJPEG] if the name ends in .jpg or .jpeg, else with [Picture.Encode].
func (p Picture) Save(path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("sd: saving %s: %w; choose a folder that exists and can be written", path, err)
	}
	defer f.Abort()
	encode := p.Encode
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".jpg" || ext == ".jpeg" {
		encode = p.EncodeJPEG
	}
	if err := encode(f); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	return nil
}
