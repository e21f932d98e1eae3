// Portrait is the main job from end to end: it trains a LoRA on photos of a person and draws the person before and after.
//
//	go run ./examples/portrait
//	go run ./examples/portrait -model v1-5-pruned-emaonly.safetensors -data training
//
// Without -data it puts sample photos into portraits/training, a folder laid out as one's own photos should be, and without
// -model it teaches the tiny portrait model built into the program, which takes a minute or two.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	cli.Main("portrait", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout) })
}

// portrait is the job.
type portrait struct {
	model                      cli.Model
	on                         cli.Device
	data, output, name, prompt string
	pictures, steps            int

	device     compute.Device
	checkpoint *weights.Checkpoint
	log        io.Writer
}

// flags fill these fields.
var flags = map[string]string{"Config.OutputName": "-name", "Config.OutputDir": "-output"}

const usage = `portrait trains a LoRA on photos of a person and draws the person before and after.

  portrait
  portrait -model v1-5-pruned-emaonly.safetensors -data training
`

func parse(args []string, log io.Writer) (p portrait, err error) {
	f := cli.NewFlags("portrait", usage, log)
	f.StringVar(&p.data, "data", "", "`FOLDER` holds a folder 12_NAME CLASS of photos (default: OUTPUT/training, with sample photos if it is not there)")
	f.StringVar(&p.name, "name", "personname_lora_v1", "`NAME` the LoRA's, without extension")
	f.IntVar(&p.steps, "max_train_steps", 0, "`NUMBER` training steps (default: as many as the model wants)")
	f.Group("Training", "data", "name", "max_train_steps")
	p.output = "portraits"
	f.Output(&p.output, "`FOLDER` where everything is written")
	f.StringVar(&p.prompt, "prompt", "", "`TEXT` what the pictures show (default: the first photo's caption up to a comma)")
	f.IntVar(&p.pictures, "n", 8, "`NUMBER` pictures before and after, with the seeds from 1")
	f.Group("Pictures", "output", "prompt", "n")
	f.Model(&p.model)
	f.Weights(&p.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Group("Model", "model", "vae", "text-encoder", "model-config", "variant")
	f.Device(&p.on)
	f.Group("Computing", "device", "threads")
	if err := f.Parse(args, 0); err != nil {
		return p, err
	}
	if p.pictures < 1 || p.pictures > sd.MaxBatchSize {
		return p, fmt.Errorf("-n is %d, want 1 to %d", p.pictures, sd.MaxBatchSize)
	}
	if p.steps < 0 {
		return p, fmt.Errorf("-max_train_steps is %d, want a number above 0", p.steps)
	}
	p.log = log
	return p, nil
}

// run does what the command line asks for.
func run(ctx context.Context, args []string, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, flags) }()
	p, err := parse(args, log)
	if err != nil {
		return err
	}
	if err := p.findPhotos(); err != nil {
		return err
	}
	if err := cli.Writable("output", p.sheet()); err != nil {
		return err
	}
	if p.checkpoint, err = p.model.Open(ctx, log); err != nil {
		return err
	}
	defer p.checkpoint.Close()
	if p.device, err = p.on.Open(); err != nil {
		return err
	}
	defer p.device.Close()
	if err := p.train(ctx); err != nil {
		return err
	}
	before, err := p.draw(ctx, "before", p.prompt)
	if err != nil {
		return err
	}
	after, err := p.draw(ctx, "after", p.prompt, sd.Adapter{Path: p.adapter()})
	if err != nil {
		return err
	}
	if err := (sd.Picture{Image: sideBySide(before, after)}).Save(p.sheet()); err != nil {
		return err
	}
	p.report()
	return nil
}

// sheet is the path of the picture of all pictures.
func (p *portrait) sheet() string { return filepath.Join(p.output, "before-after.png") }

// adapter is the path of the LoRA.
func (p *portrait) adapter() string { return filepath.Join(p.output, p.name+".safetensors") }

// findPhotos lays out the sample photos if there are no others.
func (p *portrait) findPhotos() error {
	if err := os.MkdirAll(p.output, 0o777); err != nil {
		return fmt.Errorf("-output: %w; choose a folder that can be written to", err)
	}
	var errs []error
	if p.data == "" {
		p.data = filepath.Join(p.output, "training")
		errs = append(errs, layOut(p.data, "12_personname man"))
	}
	if p.model.IsTiny() {
		errs = append(errs, layOut(p.others(), "1_man"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("-output: %w; choose a folder that can be written to", err)
	}
	return nil
}

// others is a folder of pictures of other people.
func (p *portrait) others() string { return filepath.Join(p.output, "reg") }

// layOut copies a folder of the sample photos into dir, whole or not at all, unless dir is there.
func layOut(dir, folder string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	photos, err := fs.Sub(tinyportrait.Photos(), folder)
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".photos-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	whole := filepath.Join(temporary, filepath.Base(dir))
	if err := os.CopyFS(filepath.Join(whole, folder), photos); err != nil {
		return err
	}
	return os.Rename(whole, dir)
}

// dataset is how the photos are used: as in the recipe people follow for SD 1.5, or with the tiny model in larger batches of
// small pictures, among which are some of others, so that these stay as they are. Half of them have no caption: guidance
// leads away from what the model draws without one, and that must not become the person.
func (p *portrait) dataset() dataset.Config {
	set := dataset.Set{
		TrainDataDir: p.data, Folder: dataset.Subset{EXIFOrientation: true},
		Resolution: dataset.Size{W: 512, H: 512}, BatchSize: 2, Bucketing: dataset.Bucketing{Enable: true},
	}
	c := dataset.Config{MaxTrainEpochs: 12, MaxTrainSteps: p.steps, CacheLatents: true}
	if p.model.IsTiny() {
		set.Resolution, set.BatchSize, set.MinReso = dataset.Size{W: 128, H: 128}, 4, 128
		others := dataset.Subset{ImageDir: filepath.Join(p.others(), "1_man"), Repeats: 2}
		others.DropoutRate = 0.5
		set.Subsets = []dataset.Subset{others}
		c.MaxTrainSteps = cmp.Or(p.steps, 1000)
	}
	if c.MaxTrainSteps > 0 {
		c.MaxTrainEpochs = 0
	}
	c.Sets = []dataset.Set{set}
	return c
}

// recipe is how much is learned, and how: as people do it for SD 1.5, and with the larger learning rates that the tiny model
// wants. That learns with its convolutions too; and the noise of several sizes teaches it not to take large shapes and colours,
// such as the sweater's, from the noise that a picture begins with.
func (p *portrait) recipe() train.Config {
	c := train.Config{
		Network: lora.Network{Dim: 16, Alpha: 16}, Trainer: train.Options{MaxGradNorm: 1},
		UNetLR: 1e-4, TextEncoderLR: 5e-5,
	}
	if p.model.IsTiny() {
		c.Network.ConvDim, c.UNetLR, c.TextEncoderLR, c.LRScheduler = 8, 3e-3, 1e-3, "cosine"
		c.Noise.MultiresNoiseIterations = 6
	}
	return c
}

// train makes the LoRA, and finds the prompt in the first caption.
func (p *portrait) train(ctx context.Context) error {
	c := p.recipe()
	c.Device, c.Checkpoint, c.Dataset, c.OutputDir, c.OutputName = p.device, p.checkpoint, p.dataset(), p.output, p.name
	latents, steps := terminal.NewBar(p.log, "latents", "picture"), terminal.NewBar(p.log, "training", "step")
	defer latents.Done()
	defer steps.Done()
	for event, err := range train.Run(ctx, c) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case train.Started:
			if err := p.announce(e.Report); err != nil {
				return err
			}
		case train.LatentsCached:
			latents.Set(e.Done, e.Total)
			steps.Skip()
		case train.StepDone:
			latents.Done()
			steps.Set(e.Step, e.Steps)
		case train.Warning:
			latents.Done()
			steps.Done()
			fmt.Fprintln(p.log, "warning:", cli.Printable(e.Text))
		}
	}
	return nil
}

// announce says what is going to be trained, unless it does not fit.
func (p *portrait) announce(r train.Report) error {
	if p.model.IsTiny() {
		r.Warnings = nil // its learning rates are meant
	}
	fmt.Fprint(p.log, cli.Printable(r.String()))
	if p.prompt == "" {
		p.prompt, _, _ = strings.Cut(r.Dataset.FirstCaption, ",")
	}
	return cli.Fits(r.Memory)
}

// draw makes pictures of a prompt, of the seeds from 1.
func (p *portrait) draw(ctx context.Context, title, prompt string, adapters ...sd.Adapter) (pictures []*image.NRGBA, err error) {
	pipe, err := sd.New(ctx, p.checkpoint, p.device, sd.Options{})
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	bar := terminal.NewBar(p.log, title, "picture")
	defer bar.Done()
	for i := range p.pictures {
		bar.Set(i, p.pictures)
		result, err := pipe.Generate(ctx, sd.Request{Prompt: prompt, Seed: int64(1 + i), Adapters: adapters, Guidance: new(p.guidance())})
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, result.Pictures[0].Image)
	}
	bar.Set(p.pictures, p.pictures)
	return pictures, nil
}

// guidance is how strictly pictures follow the prompt. The tiny model wants less than usual of what its LoRA knows well: with
// 7.5 most backgrounds are the same.
func (p *portrait) guidance() float64 {
	if p.model.IsTiny() {
		return 4
	}
	return 7.5
}

// sideBySide puts rows of pictures of one size below each other.
func sideBySide(rows ...[]*image.NRGBA) *image.NRGBA {
	size := rows[0][0].Bounds().Size()
	sheet := image.NewNRGBA(image.Rect(0, 0, len(rows[0])*size.X, len(rows)*size.Y))
	for y, row := range rows {
		for x, picture := range row {
			at := image.Pt(x*size.X, y*size.Y)
			draw.Draw(sheet, image.Rectangle{at, at.Add(size)}, picture, picture.Bounds().Min, draw.Src)
		}
	}
	return sheet
}

// report says what there is now and what to do with it.
func (p *portrait) report() {
	model, strength := "", "1"
	if !p.model.IsTiny() {
		model, strength = fmt.Sprintf(`-model "%s" `, p.model.Path), "0.6"
	}
	fmt.Fprintf(p.log, `
%s is the LoRA.
%s shows %q, without it above and with it below.

Draw with it:
  go run ./examples/txt2img %s-lora-dir "%s" -cfg %v -prompt "%s, <lora:%s:%s>"
Teach a real model somebody you know, with photos and captions in folders as in %s:
  go run ./examples/portrait -model v1-5-pruned-emaonly.safetensors -data training -output me -name me_v1
`, p.adapter(), p.sheet(), p.prompt, model, p.output, p.guidance(), p.prompt, p.name, strength, p.data)
}
