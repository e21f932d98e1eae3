// Txt2img makes a picture from a prompt and writes it as PNG, with its parameters inside for the web UI's "PNG Info".
//
//	go run ./examples/txt2img -prompt "portrait of a woman, red hair, glasses"
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -prompt "a lighthouse at dawn" -seed 7
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -prompt "photo of personname man, <lora:personname_lora_v1:0.6>"
//
// Without -model it uses the tiny portrait model built into the program.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

func main() {
	cli.Main("txt2img", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

// options are the command line.
type options struct {
	model    cli.Model
	device   cli.Device
	output   string
	pipeline sd.Options
	request  sd.Request
	styles   cli.Styles
}

const usage = `txt2img makes a picture from a prompt.

  txt2img -prompt "portrait of a woman, red hair, glasses"
  txt2img -model v1-5-pruned-emaonly.safetensors -prompt "a lighthouse at dawn" -seed 7
`

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("txt2img", usage, log)
	f.StringVar(&o.request.Prompt, "prompt", "", "`TEXT` what the picture shows; <lora:NAME:0.8> applies a LoRA")
	f.StringVar(&o.request.NegativePrompt, "negative", "", "`TEXT` what it does not show")
	f.Styles(&o.styles)
	f.Output(&o.output, "`FILE` PNG or JPEG to write (default: SEED.png); -n appends -2, -3 and so on")
	f.IntVar(&o.request.BatchSize, "n", 1, "`NUMBER` pictures to make at once, with consecutive seeds")
	f.Int64Var(&o.request.Seed, "seed", -1, "`NUMBER` the first picture's; -1 draws one")
	f.IntVar(&o.request.Width, "width", 0, "`PIXELS` a multiple of 8 (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&o.request.Height, "height", 0, "`PIXELS` likewise")
	f.Group("Picture", "prompt", "negative", "output", "n", "seed", "width", "height")

	f.Model(&o.model)
	f.Weights(&o.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Folders(&o.pipeline)
	f.Group("Model", "model", "lora-dir", "embedding-dir", "vae", "vae-dir", "text-encoder", "model-config", "variant")

	f.IntVar(&o.request.Steps, "steps", 20, "`NUMBER` sampling steps")
	named := f.String("sampler", "DPM++ 2M", "`NAME` as in the web UI, ComfyUI or diffusers; a wrong one is answered with all")
	schedule := f.String("schedule", "Automatic", "`NAME` of the noise levels, likewise")
	o.request.Guidance = f.Float64("cfg", 7.5, "`NUMBER` guidance: how strictly to follow the prompt")
	f.IntVar(&o.request.ClipSkip, "clip-skip", 1, "`NUMBER` as in the web UI: 1 is the text encoder's last layer")
	f.StringVar((*string)(&o.request.Noise), "noise", string(sd.NV), "`NAME` NV, as NVIDIA cards and the web UI make it, or CPU, as PyTorch")
	f.Func("set", "`FIELD=VALUE` any other field of a request by its JSON name: eta=0.5, variation.strength=0.2, sampler_options.ensd=31337; repeat it for several", func(text string) error {
		return set(&o.request, text)
	})
	f.Group("Sampling", "steps", "sampler", "schedule", "cfg", "clip-skip", "noise", "set")

	f.Device(&o.device)
	f.Precision(&o.device)
	f.BoolVar(&o.request.TiledVAE, "tiled-vae", false, "decode in tiles, to save memory")
	f.Group("Computing", "device", "threads", "precision", "tiled-vae")
	if err := f.Parse(args, len(args)); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; put the prompt after -prompt, in quotes", f.Arg(0))
	}
	if o.request.Sampler, o.request.Spacing, err = sampler.Parse(*named, *schedule); err != nil {
		return o, fmt.Errorf("-sampler %q -schedule %q: %w", *named, *schedule, err)
	}
	return o, o.complete(f)
}

// complete refuses the zeros that stand for defaults in a request, and chooses what is not given.
func (o *options) complete(f *cli.Flags) error {
	for name, side := range map[string]int{"width": o.request.Width, "height": o.request.Height} {
		if f.Given(name) && side == 0 {
			return fmt.Errorf("-%s is 0, want a multiple of 8 from 8 to %d", name, sd.MaxSide)
		}
	}
	if o.request.Steps == 0 || o.request.BatchSize == 0 {
		return errors.New("-steps and -n want numbers other than 0")
	}
	if name := o.model.NameOfVAE(o.pipeline.VAEDirs); name != "" {
		o.request.VAE = name
	}
	if o.request.Seed < 0 {
		o.request.Seed = int64(rand.Uint32())
	}
	if o.output == "" {
		o.output = fmt.Sprintf("%d.png", o.request.Seed)
	}
	if err := o.styles.Apply(&o.request); err != nil {
		return err
	}
	if ext := strings.ToLower(filepath.Ext(o.output)); ext != ".png" && ext != ".jpg" && ext != ".jpeg" {
		return fmt.Errorf("-output is %q, want a name that ends in .png or .jpg", o.output)
	}
	return nil
}

// path is that of the picture with an index.
func (o *options) path(i int) string {
	if i == 0 {
		return o.output
	}
	ext := filepath.Ext(o.output)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(o.output, ext), i+1, ext)
}

// writable finds out before the work whether the pictures can be written.
func (o *options) writable() error {
	for i := range min(o.request.BatchSize, sd.MaxBatchSize) {
		if err := cli.Writable("output", o.path(i)); err != nil {
			return err
		}
	}
	return nil
}

// run does what the command line asks for; the names of the pictures go to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, flags) }()
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	if err := o.writable(); err != nil {
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
	pipe, err := sd.New(ctx, checkpoint, dev, o.pipeline)
	if err != nil {
		return err
	}
	defer pipe.Close()
	if err := announce(pipe, dev, o.request, log); err != nil {
		return err
	}
	result, err := cli.Draw(ctx, pipe, o.request, log)
	if err != nil {
		return err
	}
	for i, picture := range result.Pictures {
		if err := picture.Save(o.path(i)); err != nil {
			return err
		}
		fmt.Fprintln(out, o.path(i))
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
		fmt.Fprintf(log, "%s; strength %v text encoder, %v UNet\n", cli.Printable(a.Adapter.String()), a.TextEncoder, a.UNet)
	}
	fmt.Fprintf(log, "%s on %s, needs %s of memory\n", pipe.Name(), dev.Name(), terminal.Bytes(memory.Total()))
	return cli.Fits(memory.Total())
}

// flags are the flags that fill fields of a request.
var flags = map[string]string{
	"Request.Prompt": "-prompt", "Request.NegativePrompt": "-negative", "Request.Width": "-width", "Request.Height": "-height",
	"Request.Steps": "-steps", "Request.Sampler": "-sampler", "Request.Spacing": "-schedule", "Request.Guidance": "-cfg",
	"Request.ClipSkip": "-clip-skip", "Request.BatchSize": "-n", "Request.Noise": "-noise",
	"Request.VAE": "-vae",
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
