package sdapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sd/infotext"
)

// readImage reads a picture of a request: base64, with or without what a page puts before it. URLs are refused: what a stranger sends
// must not make this machine ask others.
func readImage(ctx context.Context, field, text string) (file []byte, img *image.NRGBA, err error) {
	if file, err = readFile(field, text); err != nil {
		return nil, nil, err
	}
	img, err = picture.Decode(ctx, file, picture.Limits{})
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, faulty([]Fault{fault(field, "value_error", "Invalid encoded image: %v", err)})
	}
	if size := img.Rect.Size(); size.X*size.Y > maxPixels {
		return nil, nil, faulty([]Fault{fault(field, "value_error", "the picture has %d×%d pixels, want %d million at most", size.X, size.Y, maxPixels>>20)})
	}
	return file, img, nil
}

// readFile reads a file in base64.
func readFile(field, text string) ([]byte, error) {
	no := func(msg string, args ...any) error { return faulty([]Fault{fault(field, "value_error", msg, args...)}) }
	text = strings.TrimSpace(text)
	switch start := strings.ToLower(text[:min(len(text), 8)]); {
	case text == "":
		return nil, no("Invalid encoded image: there is none")
	case strings.HasPrefix(start, "http://"), strings.HasPrefix(start, "https://"):
		return nil, no("Requests not allowed: pictures are not fetched from URLs; send the file itself in base64")
	case strings.HasPrefix(start, "data:"):
		_, text, _ = strings.Cut(text, ",")
	}
	if base64.StdEncoding.DecodedLen(len(text)) > maxFile {
		return nil, no("the picture's file has more than %d MB", maxFile>>20)
	}
	text = strings.TrimRight(strings.NewReplacer("\n", "", "\r", "", " ", "+", "-", "+", "_", "/").Replace(text), "=")
	file, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, no("Invalid encoded image: no base64 (%v)", err)
	}
	return file, nil
}

// format is how pictures are answered.
type format string

// The formats that can be written.
const (
	asPNG  format = "png"
	asJPEG format = "jpeg"
)

// formatOf is the format that a setting names. What cannot be written is PNG.
func formatOf(setting string) format {
	switch strings.ToLower(setting) {
	case "jpg", "jpeg":
		return asJPEG
	}
	return asPNG
}

// convert makes a file of a format of a PNG with its infotext.
func (f format) convert(file []byte, quality int) ([]byte, error) {
	if f == asPNG {
		return file, nil
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("sdapi: a result is no PNG: %w", err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("sdapi: %w", err)
	}
	meta, err := infotext.Extract(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	// JPEG has no room for the longest texts; the picture then goes without.
	if said, err := infotext.Insert(b.Bytes(), meta.Infotext()); err == nil {
		return said, nil
	}
	return b.Bytes(), nil
}

// tooMany is the answer when too much waits.
func tooMany() error {
	return refuse(http.StatusServiceUnavailable, "%d requests wait already; try again later", maxRequests)
}
