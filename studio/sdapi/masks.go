package sdapi

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sd"
)

// flatten lays transparent pictures to begin with on the colour of the settings. On white the pipeline lays them itself.
func (o *order) flatten(ctx context.Context) error {
	ground, ok := colourOf(o.background)
	if !ok {
		o.note("img2img_background_color is left: %.40q is no colour such as #ffffff", o.background)
	}
	if !ok || ground == (color.NRGBA{255, 255, 255, 255}) {
		return nil
	}
	for i, file := range o.images {
		img, err := picture.Decode(ctx, file, picture.Limits{})
		if err != nil {
			return err
		}
		if img.Opaque() {
			continue
		}
		if o.images[i], err = encodePNG(canvas.Flatten(img, ground)); err != nil {
			return err
		}
	}
	if len(o.images) > 0 {
		o.r.Image = o.images[0]
	}
	return nil
}

// colourOf reads a colour as the web UI's settings have it, #rrggbb; "" is white.
func colourOf(text string) (color.NRGBA, bool) {
	if text == "" {
		return color.NRGBA{255, 255, 255, 255}, true
	}
	digits, ok := strings.CutPrefix(text, "#")
	v, err := strconv.ParseUint(digits, 16, 32)
	return color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}, ok && err == nil && len(digits) == 6
}

// masks are what return_mask and return_mask_composite ask for, once for all pictures of a request.
func (o *order) masks(ctx context.Context) error {
	in := o.r.Inpaint
	if in == nil || !o.answerMask && !o.answerCutOut {
		return nil
	}
	img, err := picture.Decode(ctx, o.images[0], picture.Limits{})
	if err != nil {
		return err
	}
	drawn, err := picture.Decode(ctx, in.Mask, picture.Limits{})
	if err != nil {
		return err
	}
	setup := canvas.Setup{
		Size: image.Pt(o.r.Width, o.r.Height), Mode: canvas.Mode(max(slices.Index(sd.ResizeModes, o.r.ResizeMode), 0)), Mask: canvas.Mask(drawn, in.Soft == nil), Invert: in.Invert, BlurX: *in.BlurX, BlurY: *in.BlurY,
		Content: canvas.Original, OnlyMasked: in.Only, Padding: *in.Padding,
	}
	if o.mask = grey(canvas.Prepare(img, setup).OverlayMask); o.answerMask {
		o.maskFile, err = encodePNG(o.mask)
	}
	return err
}

// besides are the pictures that go behind one that was drawn: its mask, and what was drawn, cut out with it.
func (o *order) besides(file []byte) (more [][]byte, err error) {
	if o.maskFile != nil {
		more = append(more, o.maskFile)
	}
	if o.mask == nil || !o.answerCutOut {
		return more, nil
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("sdapi: a result is no PNG: %w", err)
	}
	size := img.Bounds().Size()
	mask := picture.Resample(o.mask, size, image.Rectangle{Max: size}, picture.Lanczos, 3)
	cut := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			c := color.NRGBAModel.Convert(img.At(img.Bounds().Min.X+x, img.Bounds().Min.Y+y)).(color.NRGBA)
			c.A = mask.Pix[mask.PixOffset(x, y)]
			if c.A > 0 {
				cut.SetNRGBA(x, y, c)
			}
		}
	}
	out, err := encodePNG(cut)
	return append(more, out), err
}

// grey is a mask as a picture.
func grey(mask *image.Gray) *image.NRGBA {
	img := image.NewNRGBA(image.Rectangle{Max: mask.Rect.Size()})
	for i := range mask.Rect.Dx() * mask.Rect.Dy() {
		v := mask.Pix[i/mask.Rect.Dx()*mask.Stride+i%mask.Rect.Dx()]
		copy(img.Pix[4*i:], []byte{v, v, v, 255})
	}
	return img
}

func encodePNG(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}
