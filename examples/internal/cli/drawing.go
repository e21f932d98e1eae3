package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// Drawing is what the command line of a program that draws says.
type Drawing struct {
	Request sd.Request

	naming            naming
	prompts           string // a file of them
	drawn             bool   // the seed is
	model             Model
	device            Device
	pipeline          sd.Options
	sampler, schedule string
	hires             hires
	faces             faces
	preset            string
	styles            Styles
	refiner           sd.Refiner
}

// RequestFlags are the flags that fill fields of a Drawing's request.
var RequestFlags = map[string]string{
	"Request.Prompt": "-prompt", "Request.NegativePrompt": "-negative", "Request.Width": "-width", "Request.Height": "-height",
	"Request.Steps": "-steps", "Request.Sampler": "-sampler", "Request.Spacing": "-schedule", "Request.Guidance": "-cfg",
	"Request.ClipSkip": "-clip-skip", "Request.BatchSize": "-n", "Request.Noise": "-noise", "Request.VAE": "-vae",
	"Request.Refiner.Checkpoint": "-refiner", "Request.Refiner.SwitchAt": "-refiner-switch",
	"Request.Image": "-image", "Request.Strength": "-strength", "Request.ResizeMode": "-resize-mode",
	"Request.NoiseMultiplier": "-noise-multiplier", "Request.ExtraNoise": "-extra-noise",
	"Request.Inpaint.Mask": "-mask", "Request.Inpaint.Blur": "-mask-blur", "Request.Inpaint.BlurX": "-mask-blur-x", "Request.Inpaint.BlurY": "-mask-blur-y", "Request.Inpaint.Content": "-masked-content",
	"Request.Inpaint.Padding": "-mask-padding",
	"Request.Hires.Scale":     "-hires-scale", "Request.Hires.Width": "-hires-width", "Request.Hires.Height": "-hires-height",
	"Request.Hires.Upscaler": "-hires-upscaler", "Request.Hires.Strength": "-hires-strength", "Request.Hires.Steps": "-hires-steps",
	"Request.Hires.Sampler": "-hires-sampler", "Request.Hires.Spacing": "-hires-schedule", "Request.Hires.Guidance": "-hires-cfg",
	"Request.Faces.Prompt": "-face-prompt", "Request.Faces.NegativePrompt": "-face-negative", "Request.Faces.Strength": "-face-strength",
	"Request.Faces.Width": "-face-size", "Request.Faces.Height": "-face-size", "Request.Faces.Boxes": "-face-box",
	"Request.Hires.Prompt": "-hires-prompt", "Request.Hires.NegativePrompt": "-hires-negative", "Request.Hires.Checkpoint": "-hires-checkpoint",
}

// Picture defines the flags of the picture, under a title of the help with a program's own flags behind them.
func (d *Drawing) Picture(f *Flags, own ...string) {
	f.StringVar(&d.Request.Prompt, "prompt", "", "`TEXT` what the picture shows; <lora:NAME:0.8> applies a LoRA")
	f.StringVar(&d.Request.NegativePrompt, "negative", "", "`TEXT` what it does not show")
	f.Styles(&d.styles)
	d.naming.flags(f)
	f.StringVar(&d.prompts, "prompts-from-file", "", "`FILE` of prompts, one a line, or of lines such as --prompt \"a cat\" --steps 20 --seed 7, put before -prompt")
	f.IntVar(&d.Request.BatchSize, "n", 1, "`NUMBER` pictures to make at once, with consecutive seeds")
	f.Int64Var(&d.Request.Seed, "seed", -1, "`NUMBER` the first picture's; -1 draws one")
	f.IntVar(&d.Request.Width, "width", 0, "`PIXELS` a multiple of 8 (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&d.Request.Height, "height", 0, "`PIXELS` likewise")
	f.Group("Picture", append([]string{"prompt", "negative", "output", "n", "seed", "width", "height"}, own...)...)
}

// Computing defines the flags of the model, of the sampling and of the device.
func (d *Drawing) Computing(f *Flags) {
	f.Model(&d.model)
	f.Weights(&d.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Folders(&d.pipeline)
	f.StringVar(&d.refiner.Checkpoint, "refiner", "", "`NAME` path, or name in -checkpoint-dir or beside -model, of a checkpoint that takes over on the way")
	d.refiner.SwitchAt = f.Float64("refiner-switch", 0.8, "`NUMBER` after which part of the way it does, 0 to 1")
	f.Group("Model", "model", "lora-dir", "embedding-dir", "vae", "vae-dir")

	f.IntVar(&d.Request.Steps, "steps", 20, "`NUMBER` sampling steps")
	f.StringVar(&d.sampler, "sampler", "DPM++ 2M", "`NAME` as in the web UI, ComfyUI or diffusers; a wrong one is answered with all")
	f.StringVar(&d.schedule, "schedule", "Automatic", "`NAME` of the noise levels, likewise")
	d.Request.Guidance = f.Float64("cfg", 7.5, "`NUMBER` guidance: how strictly to follow the prompt")
	f.IntVar(&d.Request.ClipSkip, "clip-skip", 1, "`NUMBER` as in the web UI: 1 is the text encoder's last layer")
	f.StringVar((*string)(&d.Request.Noise), "noise", string(sd.NV), "`NAME` NV, as NVIDIA cards and the web UI make it, or CPU, as PyTorch")
	f.Request(&d.Request)
	f.Group("Sampling", "steps", "sampler", "schedule", "cfg", "set")

	f.Device(&d.device)
	f.Precision(&d.device)
	f.BoolVar(&d.Request.TiledVAE, "tiled-vae", false, "decode in tiles, to save memory")
	f.Group("Computing", "device", "threads", "precision", "tiled-vae")
}

// Parse reads a command line without arguments behind the flags, and completes the request.
func (d *Drawing) Parse(f *Flags, args []string) (err error) {
	if err := f.Parse(args, len(args)); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; put the prompt after -prompt, in quotes", f.Arg(0))
	}
	if d.Request.Sampler, d.Request.Spacing, err = sampler.Parse(d.sampler, d.schedule); err != nil {
		return fmt.Errorf("-sampler %q -schedule %q: %w", d.sampler, d.schedule, err)
	}
	if err := errors.Join(d.second(f), d.faced(f)); err != nil {
		return err
	}
	return d.complete(f)
}

// complete refuses the zeros that stand for defaults in a request, and chooses what is not given.
func (d *Drawing) complete(f *Flags) error {
	for name, side := range map[string]int{"width": d.Request.Width, "height": d.Request.Height} {
		if f.Given(name) && side == 0 {
			return fmt.Errorf("-%s is 0, want a multiple of 8 from 8 to %d", name, sd.MaxSide)
		}
	}
	if d.Request.Steps == 0 || d.Request.BatchSize == 0 {
		return errors.New("-steps and -n want numbers other than 0")
	}
	if d.refiner.Checkpoint != "" {
		d.Request.Refiner = &d.refiner
	} else if f.Given("refiner-switch") {
		return errors.New("-refiner-switch is about another checkpoint: give -refiner NAME")
	}
	if name := d.model.NameOfVAE(d.pipeline.VAEDirs); name != "" {
		d.Request.VAE = name
	}
	if d.drawn = d.Request.Seed < 0; d.drawn {
		d.Request.Seed = int64(rand.Uint32())
	}
	return d.naming.complete(f, d.Request.Seed, d.prompts != "")
}

// Run draws the pictures and saves them; their names go to out, everything else to log.
func (d *Drawing) Run(ctx context.Context, out, log io.Writer) error {
	jobs, err := d.jobs()
	if err != nil {
		return err
	}
	if err := d.naming.writable(d.Request.BatchSize); err != nil {
		return err
	}
	dev, err := d.device.Open()
	if err != nil {
		return err
	}
	defer dev.Close()
	checkpoint, err := d.model.Open(ctx, log)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	d.pipeline.Logger = Warnings(log)
	pipe, err := sd.New(ctx, checkpoint, dev, d.pipeline)
	if err != nil {
		return err
	}
	defer pipe.Close()
	for _, j := range jobs {
		d.applyPreset(&j.request, pipe.Side())
		if err := d.run(ctx, pipe, dev, j, out, log); err != nil {
			return err
		}
	}
	return nil
}

// run draws the pictures of a job and saves them.
func (d *Drawing) run(ctx context.Context, pipe *sd.Pipeline, dev compute.Device, j job, out, log io.Writer) (err error) {
	if j.from != "" {
		fmt.Fprintf(log, "%s: %s\n", j.from, Printable(j.request.Prompt))
		defer func() {
			if err != nil {
				err = fmt.Errorf("%s: %w", j.from, err)
			}
		}()
	}
	if err := announce(pipe, dev, j.request, log); err != nil {
		return err
	}
	result, err := Draw(ctx, pipe, j.request, log)
	if err != nil {
		return err
	}
	for i := range result.Pictures {
		path, err := d.naming.save(j, result, i)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, path)
	}
	return nil
}

// announce says what will be used, and refuses what does not fit into memory.
func announce(pipe *sd.Pipeline, dev compute.Device, r sd.Request, log io.Writer) error {
	memory, err := pipe.Memory(r)
	if err != nil {
		return err
	}
	adapters, err := pipe.Adapters(r)
	if err != nil {
		return err
	}
	for _, a := range adapters {
		fmt.Fprintf(log, "%s; strength %v text encoder, %v UNet\n", Printable(a.Adapter.String()), a.TextEncoder, a.UNet)
	}
	fmt.Fprintf(log, "%s on %s, needs %s of memory\n", pipe.Name(), dev.Name(), terminal.Bytes(memory.Total()))
	return Fits(memory.Total())
}

// Request defines -set.
func (f *Flags) Request(r *sd.Request) {
	f.Func("set", "`FIELD=VALUE` any other field of a request by its JSON name: eta=0.5, variation.strength=0.2, sampler_options.ensd=31337; repeat it for several", func(text string) error {
		return set(r, text)
	})
}

// set reads a field of a request from its name in JSON and a value, that of an inner one with a dot. Words need no quotes.
func set(r *sd.Request, text string) error {
	name, value, _ := strings.Cut(text, "=")
	if !json.Valid([]byte(value)) {
		value = strconv.Quote(value)
	}
	for _, part := range slices.Backward(strings.Split(name, ".")) {
		value = fmt.Sprintf("{%q:%s}", part, value)
	}
	fields := json.NewDecoder(strings.NewReader(value))
	fields.DisallowUnknownFields()
	return fields.Decode(r)
}
