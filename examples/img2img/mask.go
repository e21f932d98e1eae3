package main

import (
	"context"
	"fmt"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/sd"
)

// mask is what the command line says of the part that is drawn.
type mask struct {
	file    string
	inpaint sd.Inpaint
	soft    bool
}

// own are the flags that only mean something beside -mask.
var own = []string{"only-masked", "mask-invert", "mask-blur", "mask-blur-x", "mask-blur-y", "masked-content", "mask-padding", "soft"}

// flags defines them.
func (m *mask) flags(f *cli.Flags) {
	f.StringVar(&m.file, "mask", "", "`FILE` a picture, white where it is drawn anew; the rest stays")
	f.BoolVar(&m.inpaint.Only, "only-masked", false, "cut the masked part out, draw it at the whole size and put it back")
	f.BoolVar(&m.inpaint.Invert, "mask-invert", false, "draw anew what is black in the mask")
	m.inpaint.Blur = f.Float64("mask-blur", 4, "`PIXELS` of the mask's edge")
	f.Optional(&m.inpaint.BlurX, "mask-blur-x", "`PIXELS` from left to right (default: -mask-blur)")
	f.Optional(&m.inpaint.BlurY, "mask-blur-y", "`PIXELS` from top to bottom (default: -mask-blur)")
	f.StringVar((*string)(&m.inpaint.Content), "masked-content", string(sd.OriginalContent), `what is drawn over: original, fill, "latent noise" or "latent nothing"`)
	m.inpaint.Padding = f.Int("mask-padding", 32, "`PIXELS` around the masked part that -only-masked cuts out too")
	f.BoolVar(&m.soft, "soft", false, "soft inpainting: grey in the mask is drawn in part")
}

// complete reads the mask into a request.
func (m *mask) complete(ctx context.Context, f *cli.Flags, r *sd.Request) (err error) {
	if m.file == "" {
		for _, name := range own {
			if f.Given(name) {
				return fmt.Errorf("-%s is about a mask: give -mask FILE", name)
			}
		}
		return nil
	}
	if _, m.inpaint.Mask, err = cli.ReadPicture(ctx, m.file); err != nil {
		return fmt.Errorf("-mask: %w", err)
	}
	if m.soft {
		m.inpaint.Soft = new(sd.Soft)
	}
	r.Inpaint = &m.inpaint
	return nil
}
