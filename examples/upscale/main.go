// Upscale makes a picture larger with a model of the ESRGAN family and writes it as PNG, with the parameters that the picture has
// inside.
//
//	go run ./examples/upscale -upscaler RealESRGAN_x4plus.pth portrait.png
//	go run ./examples/upscale -upscaler 4x-UltraSharp.pth -scale 2 -output large.png portrait.png
//	go run ./examples/upscale -upscaler realesr-general-x4v3.pth -weak realesr-general-wdn-x4v3.pth -denoise 0.5 photo.jpg
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/esrgan"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
)

func main() {
	cli.Main("upscale", run)
}

// options are the command line.
type options struct {
	picture, upscaler, output string
	scale                     float64
	device                    cli.Device
	network                   esrgan.Options
}

const usage = `upscale makes a picture larger with a model of the ESRGAN family.

  upscale -upscaler RealESRGAN_x4plus.pth portrait.png
  upscale -upscaler 4x-UltraSharp.pth -scale 2 -output large.png portrait.png
`

// flags are the flags that fill fields.
var flags = map[string]string{
	"Options.Tile": "-tile", "Options.Overlap": "-overlap", "Options.Denoise": "-denoise", "Options.Weak": "-weak", "Size": "-scale",
}

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("upscale", usage, log)
	f.StringVar(&o.upscaler, "upscaler", "", "`FILE` .pth or .safetensors: ESRGAN, BSRGAN, Real-ESRGAN or its compact form")
	f.Float64Var(&o.scale, "scale", 0, "`NUMBER` how many times larger along a side, from 0.1 to 16 (default: the model's own)")
	f.Output(&o.output, "`FILE` PNG to write (default: the picture's name with -large)")
	f.Group("Picture", "upscaler", "scale", "output")
	f.StringVar(&o.network.Weak, "weak", "", "`FILE` model of the same form that removes less noise, to mix with")
	f.Float64Var(&o.network.Denoise, "denoise", 0.5, "`NUMBER` share of -upscaler beside -weak, from 0 to 1")
	f.Group("Noise", "weak", "denoise")
	f.Device(&o.device)
	f.Precision(&o.device)
	f.IntVar(&o.network.Tile, "tile", 192, "`PIXELS` side of the tiles the picture is cut into; smaller ones take less memory")
	f.IntVar(&o.network.Overlap, "overlap", 32, "`PIXELS` what two tiles share")
	f.Group("Computing", "device", "threads", "precision", "tile", "overlap")
	if err := f.Parse(args, 1); err != nil {
		return o, err
	}
	if !f.Given("denoise") && o.network.Weak == "" {
		o.network.Denoise = 0
	}
	o.picture = f.Arg(0)
	return o, o.complete(f.Given("scale"))
}

// complete asks for what is missing and chooses what is not given.
func (o *options) complete(scaled bool) error {
	switch {
	case o.picture == "":
		return errors.New("no picture: put its name behind the flags; upscale -h lists them")
	case o.upscaler == "":
		return errors.New("no model: give -upscaler FILE, such as RealESRGAN_x4plus.pth or any other model of the ESRGAN family")
	case scaled && !(o.scale >= 0.1 && o.scale <= 16):
		return fmt.Errorf("-scale is %v, want from 0.1 to 16", o.scale)
	}
	if o.output == "" {
		o.output = strings.TrimSuffix(o.picture, filepath.Ext(o.picture)) + "-large.png"
	}
	if !strings.EqualFold(filepath.Ext(o.output), ".png") {
		return fmt.Errorf("-output is %q, want a name that ends in .png", o.output)
	}
	return cli.Writable("output", o.output)
}

// run does what the command line asks for; the name of the picture goes to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, flags) }()
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	img, file, err := cli.ReadPicture(ctx, o.picture)
	if err != nil {
		return err
	}
	dev, err := o.device.Open()
	if err != nil {
		return err
	}
	defer dev.Close()
	bar := terminal.NewBar(log, "upscaling", "tile")
	defer bar.Done()
	o.network.Progress = bar.Set
	up, err := esrgan.Open(o.upscaler, dev, o.network)
	if err != nil {
		return err
	}
	defer up.Close()
	size := o.size(img.Rect.Size(), up.Scale())
	memory, err := up.Memory(img.Rect.Size())
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "%v to %v on %s, needs %s of memory\n", img.Rect.Size(), size, dev.Name(), terminal.Bytes(memory.Total()))
	if err := cli.Fits(memory.Total()); err != nil {
		return err
	}
	large, err := up.Resize(ctx, img, size.X, size.Y)
	if err != nil {
		return err
	}
	bar.Done()
	if err := (sd.Picture{Image: large, Infotext: parameters(file)}).Save(o.output); err != nil {
		return err
	}
	fmt.Fprintln(out, o.output)
	return nil
}

// size is what the picture is to become.
func (o *options) size(from image.Point, own int) image.Point {
	scale := o.scale
	if scale == 0 {
		scale = float64(own)
	}
	side := func(n int) int { return max(int(math.Round(float64(n)*scale)), 1) }
	return image.Pt(side(from.X), side(from.Y))
}

// parameters are those that a picture file has inside, if any.
func parameters(file []byte) string {
	m, err := infotext.Extract(bytes.NewReader(file))
	if err != nil {
		return ""
	}
	return m.Infotext()
}
