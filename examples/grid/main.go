// Grid compares settings: it makes a picture for every combination of the values of up to three axes, and puts them together in one,
// with a legend, as the web UI's X/Y/Z plot does.
//
//	go run ./examples/grid -x "Seed=1-3" -y "CFG Scale=4,7,10" -prompt "portrait of a woman, red hair"
//	go run ./examples/grid -model v1-5-pruned-emaonly.safetensors -lora-dir output -x "LoRA epoch=2-10 (+2)" -y "LoRA weight=0.4-1 (+0.2)" \
//		-prompt "photo of personname man, <lora:personname_lora_v1:1>"
//
// What is finished is kept: interrupted, the same command line goes on from there.
package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

func main() {
	cli.Main("grid", run)
}

// options are the command line.
type options struct {
	model    cli.Model
	device   cli.Device
	output   string
	keep     bool
	look     grid.Look
	axes     grid.Grid
	styles   prompt.Styles
	pipeline sd.Options
	request  sd.Request // of all cells
	image    string     // a file of the picture to begin with
	mask     string
}

const usage = `grid makes a picture for every combination of values, and one of all.

  grid -x "Seed=1-3" -y "CFG Scale=4,7,10" -prompt "portrait of a woman"
  grid -x "Sampler=Euler a,DPM++ 2M" -y "Prompt S/R=red,brown" -prompt "red hair"
`

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("grid", usage, log)
	axis := func(to **grid.Axis) func(string) error {
		return func(text string) (err error) {
			name, values, _ := strings.Cut(text, "=")
			*to, err = grid.Parse(name, values)
			return err
		}
	}
	f.Func("x", "`NAME=VALUES` columns: \"CFG Scale=4-8 (+2)\"; a wrong name is answered with all", axis(&o.axes.X))
	f.Func("y", "`NAME=VALUES` rows", axis(&o.axes.Y))
	f.Func("z", "`NAME=VALUES` grids below each other", axis(&o.axes.Z))
	o.output = "grid.png"
	f.Output(&o.output, "`FILE` PNG to write; until it is there, its pictures are in FILE.cells")
	f.BoolVar(&o.keep, "keep", false, "keep FILE.cells")
	f.BoolVar(&o.look.Bare, "no-legend", false, "pictures alone")
	f.IntVar(&o.look.Margin, "margin", 8, "`PIXELS` between pictures")
	f.Group("Grid", "x", "y", "z", "output", "keep", "no-legend", "margin")

	f.StringVar(&o.request.Prompt, "prompt", "", "`TEXT` what the pictures show; <lora:NAME:0.8> applies a LoRA")
	f.StringVar(&o.request.NegativePrompt, "negative", "", "`TEXT` what they do not show")
	f.Func("styles", "`FILE` styles.csv, for an axis of Styles", func(path string) (err error) {
		o.styles, err = cli.ReadStyles(path)
		return err
	})
	f.Int64Var(&o.request.Seed, "seed", 1, "`NUMBER` of every picture")
	f.IntVar(&o.request.Width, "width", 0, "`PIXELS` a multiple of 8 (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&o.request.Height, "height", 0, "`PIXELS` likewise")
	f.Group("Picture", "prompt", "negative", "styles", "seed", "width", "height", "image")
	f.StringVar(&o.image, "image", "", "`FILE` a picture to begin with")
	f.StringVar(&o.mask, "mask", "", "`FILE` white where it is drawn anew; the rest stays")
	f.Optional(&o.request.Strength, "strength", "`NUMBER` how much of it is drawn anew, 0 to 1 (default: 0.75)")
	f.Request(&o.request)
	f.Model(&o.model)
	f.Weights(&o.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Folders(&o.pipeline)
	f.Upscalers(&o.pipeline)
	f.Group("Model", "model", "checkpoint-dir", "lora-dir", "upscaler-dir")
	f.IntVar(&o.request.Steps, "steps", 20, "`NUMBER` sampling steps")
	named := f.String("sampler", "DPM++ 2M", "`NAME` as in the web UI, ComfyUI or diffusers")
	schedule := f.String("schedule", "Automatic", "`NAME` of the noise levels, likewise")
	o.request.Guidance = f.Float64("cfg", 7.5, "`NUMBER` guidance: how strictly to follow the prompt")
	f.IntVar(&o.request.ClipSkip, "clip-skip", 1, "`NUMBER` as in the web UI: 1 is the text encoder's last layer")
	f.Group("Sampling", "steps", "sampler", "schedule", "cfg", "set")
	f.Device(&o.device)
	f.Precision(&o.device)
	f.Group("Computing", "device", "threads", "precision")
	if err := f.Parse(args, 0); err != nil {
		return o, err
	}
	if o.request.Sampler, o.request.Spacing, err = sampler.Parse(*named, *schedule); err != nil {
		return o, fmt.Errorf("-sampler %q -schedule %q: %w", *named, *schedule, err)
	}
	o.request.VAE = o.model.NameOfVAE(o.pipeline.VAEDirs)
	return o, o.check()
}

func (o *options) check() error {
	switch size := o.axes.Size(); {
	case o.axes == grid.Grid{}:
		return errors.New("no axis: give -x, -y or -z, such as -x \"Seed=1-3\"; grid -h lists the flags")
	case size.X*size.Y*size.Z == 0:
		return errors.New("an axis has no values: a range that ends below its start needs a negative step, as in \"5-1 (-1)\"")
	case o.look.Margin < 0 || o.look.Margin > 1000:
		return fmt.Errorf("-margin is %d, want 0 to 1000", o.look.Margin)
	case o.request.Steps == 0:
		return errors.New("-steps wants a number other than 0")
	case !strings.EqualFold(filepath.Ext(o.output), ".png"):
		return fmt.Errorf("-output is %q, want a name that ends in .png", o.output)
	}
	return cli.Writable("output", o.output)
}

// flags are the flags that fill fields of a request.
var flags = map[string]string{
	"Request.Prompt": "-prompt", "Request.NegativePrompt": "-negative", "Request.Width": "-width", "Request.Height": "-height",
	"Request.Steps": "-steps", "Request.Sampler": "-sampler", "Request.Spacing": "-schedule", "Request.Guidance": "-cfg", "Request.ClipSkip": "-clip-skip",
}

// run does what the command line asks for; the name of the grid goes to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, flags) }()
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	if err := o.readPictures(ctx); err != nil {
		return err
	}
	cells, err := o.cells()
	if err != nil {
		return err
	}
	studio := &studio{options: &o, log: log}
	defer studio.close()
	if studio.device, err = o.device.Open(); err != nil {
		return err
	}
	if err := o.draw(ctx, studio, cells, log); err != nil {
		return err
	}
	kept := func(c grid.Cell) cell { return cells[o.axes.Index(c)] }
	img, err := o.look.Sheet(o.axes, func(c grid.Cell) (image.Point, error) { return kept(c).size() }, func(c grid.Cell) (image.Image, error) { return kept(c).picture() })
	if err != nil {
		return err
	}
	text, err := o.infotext(cells[0].path)
	if err != nil {
		return err
	}
	if err := (sd.Picture{Image: img, Infotext: text}).Save(o.output); err != nil {
		return err
	}
	if !o.keep {
		os.RemoveAll(o.folder())
	}
	fmt.Fprintln(out, o.output)
	return nil
}

// readPictures reads the picture to begin with, and its mask.
func (o *options) readPictures(ctx context.Context) (err error) {
	if o.image == "" {
		if o.mask != "" {
			return errors.New("-mask is about a picture to begin with: give -image FILE")
		}
		return nil
	}
	if _, o.request.Image, err = cli.ReadPicture(ctx, o.image); err != nil {
		return fmt.Errorf("-image: %w", err)
	}
	if o.mask == "" {
		return nil
	}
	if o.request.Inpaint == nil {
		o.request.Inpaint = new(sd.Inpaint)
	}
	if _, o.request.Inpaint.Mask, err = cli.ReadPicture(ctx, o.mask); err != nil {
		return fmt.Errorf("-mask: %w", err)
	}
	return nil
}

// folder is where cells are until the grid is there.
func (o *options) folder() string { return o.output + ".cells" }

// draw makes the cells that are not there, in the order that costs least.
func (o *options) draw(ctx context.Context, s *studio, cells []cell, log io.Writer) error {
	if err := os.MkdirAll(o.folder(), 0o777); err != nil {
		return fmt.Errorf("-output: %w", err)
	}
	for at := range o.axes.Cells() {
		c := cells[o.axes.Index(at)]
		if _, err := os.Stat(c.path); err != nil {
			if err := s.check(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	bar := terminal.NewBar(log, fmt.Sprintf("%d pictures", len(cells)), "step")
	defer bar.Done()
	done, total := 0, 0
	for _, c := range cells {
		total += c.request.Steps
	}
	bar.Set(0, total)
	for at := range o.axes.Cells() {
		c := cells[o.axes.Index(at)]
		if _, err := os.Stat(c.path); err != nil {
			if err := s.draw(ctx, c, func(step, of int) { bar.Set(done+step*c.request.Steps/of, total) }); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		done += c.request.Steps
		bar.Set(done, total)
	}
	return nil
}

// infotext is that of the grid: the first cell's, with the axes.
func (o *options) infotext(first string) (string, error) {
	f, err := os.Open(first)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := infotext.Read(f)
	return o.axes.Text(text).String(), err
}
