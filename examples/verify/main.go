// Verify makes a picture again from the text inside it, and says how far the two are apart: no byte, if it was made by this program
// on this device.
//
//	go run ./examples/verify woman.png
//	go run ./examples/verify -model v1-5-pruned-emaonly.safetensors -lora-dir loras 00042-1234567890.png
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	cli.Main("verify", run)
}

const usage = `verify makes a picture again from the text inside it, and compares.

  verify woman.png
  verify -model v1-5-pruned-emaonly.safetensors -lora-dir loras 00042-1234567890.png
`

// options are the command line.
type options struct {
	picture  string
	again    string
	vae      string // by its name
	model    cli.Model
	device   cli.Device
	pipeline sd.Options
}

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("verify", usage, log)
	f.Output(&o.again, "`FILE` PNG or JPEG to write the picture made again to (default: none)")
	f.Group("Picture", "output")
	f.Model(&o.model)
	f.Folders(&o.pipeline)
	f.Upscalers(&o.pipeline)
	f.Weights(&o.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Group("Model", "model", "lora-dir", "embedding-dir", "upscaler-dir", "vae", "vae-dir", "checkpoint-dir", "text-encoder", "model-config", "variant")
	f.Device(&o.device)
	f.Precision(&o.device)
	f.Group("Computing", "device", "threads", "precision")
	if err := f.Parse(args, len(args)); err != nil {
		return o, err
	}
	if f.NArg() != 1 {
		return o, errors.New("want one picture; see -h")
	}
	o.picture, o.vae = f.Arg(0), o.model.NameOfVAE(o.pipeline.VAEDirs)
	return o, nil
}

// run does what the command line asks for; the comparison goes to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, nil) }()
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	want, request, text, err := read(ctx, o.picture, log)
	if err != nil {
		return err
	}
	dev, err := o.device.Open()
	if err != nil {
		return err
	}
	defer dev.Close()
	checkpoint, err := o.model.Open(ctx, log)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	if err := sameModel(ctx, checkpoint, text, log); err != nil {
		return err
	}
	o.pipeline.Logger, o.pipeline.Faces = cli.Warnings(log), o.model.Detector()
	pipe, err := sd.New(ctx, checkpoint, dev, o.pipeline)
	if err != nil {
		return err
	}
	defer pipe.Close()
	if o.vae != "" {
		request.VAE = o.vae
	}
	got, err := draw(ctx, pipe, request, log)
	if err != nil {
		return err
	}
	if o.again != "" {
		if err := got.Save(o.again); err != nil {
			return err
		}
	}
	result, err := compare(got.Image, want)
	if err == nil {
		fmt.Fprintf(out, "%s: %s\n", cli.Printable(o.picture), result)
	}
	return err
}

// read reads a picture and the request in it, and names the settings that it does not know.
func read(ctx context.Context, path string, log io.Writer) (img *image.NRGBA, r sd.Request, text infotext.Text, err error) {
	img, file, err := cli.ReadPicture(ctx, path)
	if err != nil {
		return nil, r, text, err
	}
	if text, err = infotext.Read(bytes.NewReader(file)); err != nil {
		return nil, r, text, fmt.Errorf("%s: %w", path, err)
	}
	if len(text.Fields) == 0 {
		return nil, r, text, fmt.Errorf("%s does not say how it was made; take the file that the program wrote, not a copy of the picture", path)
	}
	r, left, err := sd.FromInfotext(text)
	if r.Strength != nil {
		fmt.Fprintln(log, "note: the picture began with another one, which is not in its text")
	}
	for _, f := range left {
		fmt.Fprintf(log, "note: %s is not known here, and the picture may differ\n", cli.Printable(f.Key+": "+f.Value))
	}
	return img, r, text, err
}

// sameModel tells if the picture was made with another checkpoint.
func sameModel(ctx context.Context, c *weights.Checkpoint, text infotext.Text, log io.Writer) error {
	want, ok := text.Get("Model hash")
	if !ok {
		return nil
	}
	hash, err := c.Hash(ctx)
	if err == nil && hash != "" && hash[:min(len(want), len(hash))] != want {
		name, _ := text.Get("Model")
		fmt.Fprintf(log, "note: the picture was made with %s, whose hash begins with %s; this checkpoint's is %.10s\n", cli.Printable(name), cli.Printable(want), hash)
	}
	return err
}

// draw makes the picture again, if it fits into memory.
func draw(ctx context.Context, pipe *sd.Pipeline, r sd.Request, log io.Writer) (picture sd.Picture, err error) {
	memory, err := pipe.Memory(r)
	if err != nil {
		return picture, err
	}
	if err := cli.Fits(memory.Total()); err != nil {
		return picture, err
	}
	result, err := cli.Draw(ctx, pipe, r, log)
	if err != nil {
		return picture, err
	}
	return result.Pictures[0], nil
}

// compare says how far two pictures are apart.
func compare(got, want *image.NRGBA) (string, error) {
	if got.Rect.Size() != want.Rect.Size() {
		return "", fmt.Errorf("the picture made again has %v pixels, the file has %v", got.Rect.Size(), want.Rect.Size())
	}
	greatest, sum, n := 0, 0.0, 0
	for y := range got.Rect.Dy() {
		a, b := got.Pix[y*got.Stride:][:4*got.Rect.Dx()], want.Pix[y*want.Stride:][:4*want.Rect.Dx()]
		for i := range a {
			d := int(a[i]) - int(b[i])
			greatest = max(greatest, d, -d)
			if i%4 < 3 {
				sum, n = sum+float64(d*d), n+1
			}
		}
	}
	if greatest == 0 {
		return "the same to the byte", nil
	}
	return fmt.Sprintf("differs by at most %d of 255, PSNR %.1f dB", greatest, 10*math.Log10(255*255*float64(n)/sum)), nil
}
