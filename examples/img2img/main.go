// Img2img draws a picture anew in part, as a prompt says, and writes it as PNG, with its parameters inside for the web UI's "PNG Info".
//
//	go run ./examples/img2img -image sketch.png -prompt "portrait of a woman, red hair, glasses"
//	go run ./examples/img2img -image portrait.png -mask hair.png -prompt "portrait of a woman, blond hair"
//	go run ./examples/img2img -model v1-5-pruned-emaonly.safetensors -image photo.jpg -strength 0.4 -prompt "a man in a suit"
//
// Without -model it uses the tiny portrait model built into the program.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/sd"
)

func main() {
	cli.Main("img2img", run)
}

const usage = `img2img draws a picture anew in part, as a prompt says. -h all lists all flags.

  img2img -image sketch.png -prompt "portrait of a woman, red hair, glasses"
  img2img -model v1-5-pruned-emaonly.safetensors -image photo.jpg -prompt "a man in a suit"
`

// modes are short names of the ways to bring a picture to a size.
var modes = map[string]sd.ResizeMode{"stretch": sd.JustResize, "crop": sd.CropAndResize, "fill": sd.ResizeAndFill, "latent": sd.ResizeLatents}

// run does what the command line asks for; the names of the pictures go to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, cli.RequestFlags) }()
	f, d := cli.NewFlags("img2img", usage, log), new(cli.Drawing)
	image := f.String("image", "", "`FILE` the picture to begin with: JPEG, PNG, WebP, BMP, TIFF or GIF")
	d.Request.Strength = f.Float64("strength", 0.75, "`NUMBER` how much of it is drawn anew, 0 to 1")
	f.Func("resize-mode", "`NAME` how it is brought to the size: stretch (the default), crop, fill or latent", func(name string) error {
		mode, ok := modes[strings.ToLower(name)]
		if !ok {
			return errors.New("want stretch, crop, fill or latent")
		}
		d.Request.ResizeMode = mode
		return nil
	})
	var m mask
	m.flags(f)
	f.Group("Picture to begin with", "image", "strength", "resize-mode", "mask")
	d.Request.NoiseMultiplier = f.Float64("noise-multiplier", 1, "`NUMBER` factor on the noise over the picture")
	f.Float64Var(&d.Request.ExtraNoise, "extra-noise", 0, "`NUMBER` more of it than the sampler expects")
	d.Picture(f, "faces")
	f.Lookup("width").Usage = "`PIXELS` a multiple of 8 (default: the picture's shape, at the model's own side)"
	d.Faces(f)
	d.Computing(f)
	if err := d.Parse(f, args); err != nil {
		return err
	}
	if *image == "" {
		return errors.New("no picture to begin with: give -image FILE")
	}
	if _, d.Request.Image, err = cli.ReadPicture(ctx, *image); err != nil {
		return fmt.Errorf("-image: %w", err)
	}
	if err := m.complete(ctx, f, &d.Request); err != nil {
		return err
	}
	return d.Run(ctx, out, log)
}
