package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	_ "golang.org/x/image/webp" // for image.Decode, as bmp, jpeg, png and tiff
)

const (
	// maxPixels is where Pillow refuses a picture as a decompression bomb.
	maxPixels = 178956970
	// minSide is the shorter side below which a picture has less than one latent to show.
	minSide = vaeStep
)

var (
	// imageExtensions are the files read as pictures, in any case. TIFF is beyond sd-scripts.
	imageExtensions = []string{".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
	// otherExtensions are pictures too, which nothing here decodes.
	otherExtensions = []string{".avif", ".gif", ".heic", ".heif", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".psd", ".svg"}
)

func hasExtension(name string, extensions []string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// header is what the first bytes of a picture file tell.
type header struct {
	size        Size // as stored
	orientation int  // EXIF, 1 to 8
}

// readHeader reads size and orientation and refuses sizes that cannot be trained.
func readHeader(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, fmt.Errorf("dataset: picture: %w", err)
	}
	defer f.Close()
	var config image.Config
	var format string
	err = guard(func() (err error) {
		config, format, err = image.DecodeConfig(bufio.NewReader(f))
		return err
	})
	if err != nil {
		return header{}, undecodable(path, err)
	}
	h := header{Size{config.Width, config.Height}, 1}
	switch w, high := int64(h.size.W), int64(h.size.H); {
	case w < minSide || high < minSide:
		return h, fmt.Errorf("dataset: %s: %v pixels, too small to train on (a side needs at least %d): replace or remove it", path, h.size, minSide)
	case w > maxPixels/high: // also where w·high would overflow
		return h, fmt.Errorf("dataset: %s: %v pixels are more than %d million: scale it down, training needs little more than its resolution", path, h.size, maxPixels/1000000)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return h, fmt.Errorf("dataset: picture %s: %w", path, err)
	}
	h.orientation = readOrientation(f, format)
	return h, nil
}

// readPicture decodes a file that readHeader accepted. Colours under transparent pixels are kept as stored.
func readPicture(path string) (*image.NRGBA, error) {
	if _, err := readHeader(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: picture: %w", err)
	}
	defer f.Close()
	var img image.Image
	err = guard(func() (err error) {
		img, _, err = image.Decode(bufio.NewReader(f))
		return err
	})
	if err != nil {
		return nil, undecodable(path, err)
	}
	return nrgba(img), nil
}

func undecodable(path string, err error) error {
	mend := "the file is damaged: save it again or remove it"
	switch {
	case errors.Is(err, image.ErrFormat):
		mend = "it is no JPEG, PNG, WebP, BMP or TIFF, whatever its name says: convert or remove it"
	case unsupported(err):
		mend = "save it as an ordinary JPEG or PNG"
	}
	return fmt.Errorf("dataset: %s: %w; %s", path, err, mend)
}

// unsupported reports whether a decoder understood the file but not this variant of its format.
func unsupported(err error) bool {
	_, inJPEG := errors.AsType[jpeg.UnsupportedError](err)
	_, inPNG := errors.AsType[png.UnsupportedError](err)
	_, inTIFF := errors.AsType[tiff.UnsupportedError](err)
	return inJPEG || inPNG || inTIFF || errors.Is(err, bmp.ErrUnsupported)
}

// guard turns a panic of a decoder on hostile bytes into an error.
func guard(decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder failed: %v", r)
		}
	}()
	return decode()
}

// nrgba converts without premultiplying, so that what lies under a transparent pixel survives.
func nrgba(img image.Image) *image.NRGBA {
	b := img.Bounds()
	if src, ok := img.(*image.NRGBA); ok && b.Min == (image.Point{}) {
		return src
	}
	dst := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA) }
	switch src := img.(type) {
	case *image.YCbCr:
		at = func(x, y int) color.NRGBA { return opaque(src.YCbCrAt(x, y)) }
	case *image.NYCbCrA:
		at = func(x, y int) color.NRGBA {
			c := opaque(src.YCbCr.YCbCrAt(x, y))
			c.A = src.A[src.AOffset(x, y)]
			return c
		}
	case *image.RGBA:
		at = func(x, y int) color.NRGBA {
			c := src.RGBAAt(x, y)
			if c.A == 255 {
				return color.NRGBA(c)
			}
			return color.NRGBAModel.Convert(c).(color.NRGBA)
		}
	case *image.Paletted:
		palette := make([]color.NRGBA, 256) // an index beyond the palette is black
		for i, c := range src.Palette[:min(256, len(src.Palette))] {
			palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		at = func(x, y int) color.NRGBA { return palette[src.ColorIndexAt(x, y)] }
	}
	for y := range b.Dy() {
		row := dst.Pix[y*dst.Stride:]
		for x := range b.Dx() {
			c := at(b.Min.X+x, b.Min.Y+y)
			row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = c.R, c.G, c.B, c.A
		}
	}
	return dst
}

func opaque(c color.YCbCr) color.NRGBA {
	r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
	return color.NRGBA{r, g, b, 255}
}

// transparent reports whether any pixel is not fully opaque.
func transparent(img *image.NRGBA) bool {
	for i := 3; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 255 {
			return true
		}
	}
	return false
}

// overWhite lays the picture on white, leaving its alpha.
func overWhite(img *image.NRGBA) {
	for i := 0; i+3 < len(img.Pix); i += 4 {
		a := int(img.Pix[i+3])
		for c := range 3 {
			img.Pix[i+c] = uint8((int(img.Pix[i+c])*a + 255*(255-a) + 127) / 255)
		}
	}
}
