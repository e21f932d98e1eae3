package cli

import (
	"context"
	"fmt"
	"image"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
)

// ReadPicture reads a picture of any format, upright, and the file as it is, which may have more to say.
func ReadPicture(ctx context.Context, path string) (img *image.NRGBA, file []byte, err error) {
	const max = 1 << 30
	if file, err = openfile.ReadFile(path, max); err != nil {
		return nil, nil, err
	}
	if img, err = picture.Decode(ctx, file, picture.Limits{}); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, file, nil
}
