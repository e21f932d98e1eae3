// Txt2img makes a picture from a prompt and writes it as PNG, with its parameters inside for the web UI's "PNG Info".
//
//	go run ./examples/txt2img -prompt "portrait of a woman, red hair, glasses"
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -prompt "a lighthouse at dawn" -seed 7
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -prompt "photo of personname man, <lora:personname_lora_v1:0.6>"
//
// Without -model it uses the tiny portrait model built into the program.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/examples/internal/cli"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights/hub"
)

func main() {
	cli.Main("txt2img", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

// options are the command line.
type options struct {
	model, device, out, sampler, schedule string
	threads                               int
	precision                             compute.Precision
	pipeline                              sd.Options
	request                               sd.Request
}

func parse(args []string, usage io.Writer) (o options, err error) {
	f := flag.NewFlagSet("txt2img", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.model, "model", "", "checkpoint: a .safetensors file, a diffusers folder or a hub name such as runwayml/stable-diffusion-v1-5 (default: the built-in tiny portrait model)")
	f.StringVar(&o.pipeline.Weights.VAE, "vae", "", "take the VAE from this file or folder")
	f.StringVar(&o.pipeline.Weights.TextEncoder, "text-encoder", "", "take the text encoder from this file or folder")
	f.StringVar(&o.pipeline.Weights.Config, "config", "", "diffusers folder with configurations for a single-file model that is not shaped like SD 1.5")
	f.StringVar(&o.pipeline.Weights.Variant, "variant", "", "weight files to prefer in a folder: fp16, bf16, non_ema")
	f.Func("lora-dir", "`folder` to look for the LoRAs in that <lora:NAME:0.8> in the prompt names, and below it; several like PATH, or by repeating the flag (default: the current one)", func(list string) error {
		o.pipeline.LoRADirs = append(o.pipeline.LoRADirs, filepath.SplitList(list)...)
		return nil
	})
	f.StringVar(&o.device, "device", "auto", "auto or cpu")
	f.IntVar(&o.threads, "threads", 0, "processors to use (default: all)")
	f.TextVar(&o.precision, "precision", compute.PrecisionFP32, "of matrix products: fp32, or bf16 (faster, slightly different pictures)")
	f.StringVar(&o.request.Prompt, "prompt", "", "what the picture shows; <lora:NAME:0.8> applies a LoRA with that strength")
	f.StringVar(&o.request.NegativePrompt, "negative", "", "what it does not show")
	f.IntVar(&o.request.Width, "width", 0, "pixels, a multiple of 8 (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&o.request.Height, "height", 0, "pixels, a multiple of 8 (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&o.request.Steps, "steps", 20, "sampling steps")
	f.StringVar(&o.sampler, "sampler", "DPM++ 2M", "one of: "+list(sampler.Names()))
	f.StringVar(&o.schedule, "schedule", "Automatic", "Automatic or one of: "+list(sampler.Spacings()))
	o.request.Guidance = f.Float64("cfg", 7.5, "guidance: how strictly to follow the prompt")
	f.IntVar(&o.request.ClipSkip, "clip-skip", 1, "as in the web UI: 1 is the text encoder's last layer")
	f.Int64Var(&o.request.Seed, "seed", -1, "of the first picture; -1 draws one")
	f.IntVar(&o.request.BatchSize, "n", 1, "pictures to make at once, with consecutive seeds")
	f.StringVar((*string)(&o.request.Noise), "noise", string(sd.NV), "random generator: NV, as NVIDIA cards and the web UI, or CPU, as PyTorch on CPU")
	f.BoolVar(&o.request.TiledVAE, "tiled-vae", false, "decode in tiles, to save memory")
	f.StringVar(&o.out, "o", "", "PNG file to write (default: SEED.png; with -n, -2, -3 and so on are appended)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; put the prompt after -prompt, in quotes", f.Arg(0))
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, side := range map[string]int{"width": o.request.Width, "height": o.request.Height} {
		if given[name] && side == 0 {
			return o, fmt.Errorf("-%s is 0, want a multiple of 8 from 8 to %d", name, sd.MaxSide)
		}
	}
	if o.request.Steps == 0 || o.request.BatchSize == 0 {
		return o, errors.New("-steps and -n want numbers other than 0")
	}
	if o.request.Sampler, o.request.Spacing, err = sampler.Parse(o.sampler, o.schedule); err != nil {
		return o, fmt.Errorf("-sampler %q -schedule %q: %w", o.sampler, o.schedule, err)
	}
	if len(o.pipeline.LoRADirs) == 0 {
		o.pipeline.LoRADirs = []string{"."}
	}
	if o.request.Seed < 0 {
		o.request.Seed = int64(rand.Uint32())
	}
	if o.out == "" {
		o.out = fmt.Sprintf("%d.png", o.request.Seed)
	}
	if !strings.EqualFold(filepath.Ext(o.out), ".png") {
		return o, fmt.Errorf("-o is %q, want a name that ends in .png", o.out)
	}
	return o, nil
}

// run does what the command line asks for; the names of the pictures go to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	if err := writable(o.out); err != nil {
		return err
	}
	dev, err := device.Open(o.device, device.Options{Workers: o.threads, Precision: o.precision})
	if err != nil {
		return flagError{fmt.Errorf("-device %s: %w", o.device, err)}
	}
	defer dev.Close()
	var pipe *sd.Pipeline
	if o.model == "" {
		pipe, err = sd.OpenFS(ctx, tinyportrait.FS(), tinyportrait.Name, dev, o.pipeline)
	} else {
		pipe, err = openModel(ctx, o, dev, log)
	}
	if err != nil {
		return err
	}
	defer pipe.Close()
	memory, err := pipe.Memory(o.request)
	if err != nil {
		return flagError{err}
	}
	adapters, err := pipe.Adapters(o.request)
	if err != nil {
		return flagError{err}
	}
	for _, a := range adapters {
		fmt.Fprintf(log, "%v; strength %v text encoder, %v UNet\n", a.Adapter, a.TextEncoder, a.UNet)
	}
	fmt.Fprintf(log, "%s on %s, needs %s of memory\n", pipe.Name(), dev.Name(), terminal.Bytes(memory.Total()))

	result, err := generate(ctx, pipe, o.request, log)
	if err != nil {
		return err
	}
	for i, picture := range result.Pictures {
		path := o.out
		if i > 0 {
			path = fmt.Sprintf("%s-%d.png", strings.TrimSuffix(o.out, filepath.Ext(o.out)), i+1)
		}
		if err := picture.Save(path); err != nil {
			return err
		}
		fmt.Fprintln(out, path)
	}
	return nil
}

// openModel opens a checkpoint by path, or by hub name, downloading it first if need be.
func openModel(ctx context.Context, o options, dev compute.Device, log io.Writer) (*sd.Pipeline, error) {
	path := o.model
	if _, err := os.Stat(path); err != nil && hub.IsID(path) {
		client, err := hub.New()
		if err != nil {
			return nil, err
		}
		client.Variant = o.pipeline.Weights.Variant
		bar := terminal.NewBar(log, "downloading", "MB")
		client.Progress = func(p hub.Progress) { bar.Set(int(p.Done/1e6), int(p.Total/1e6)) }
		path, err = client.Snapshot(ctx, o.model)
		bar.Done()
		if err != nil {
			return nil, err
		}
	}
	return sd.Open(ctx, path, dev, o.pipeline)
}

// generate runs the request under a progress bar.
func generate(ctx context.Context, pipe *sd.Pipeline, r sd.Request, log io.Writer) (*sd.Result, error) {
	bar := terminal.NewBar(log, "sampling", "step")
	defer bar.Done()
	bar.Set(0, r.Steps)
	for step, err := range pipe.Steps(ctx, r) {
		if err != nil {
			return nil, err
		}
		bar.Set(step.Index+1, step.Total)
		if step.Last() {
			bar.Done()
			return step.Result(ctx)
		}
	}
	return nil, errors.New("the sampler made no steps")
}

// flagError says what is wrong with fields in the words of the command line.
type flagError struct{ error }

func (e flagError) Unwrap() error { return e.error }

// Error says it of every field, or is the error itself if it is of none.
func (e flagError) Error() string {
	var says []string
	for _, field := range invalid.Fields(e.error) {
		says = append(says, field.Say(cmp.Or(flags[field.Field], field.Field)))
	}
	return cmp.Or(strings.Join(says, "\n"), e.error.Error())
}

// flags are the flags that fill fields.
var flags = map[string]string{
	"Request.Prompt": "-prompt", "Request.NegativePrompt": "-negative", "Request.Width": "-width", "Request.Height": "-height",
	"Request.Steps": "-steps", "Request.Sampler": "-sampler", "Request.Spacing": "-schedule", "Request.Guidance": "-cfg",
	"Request.ClipSkip": "-clip-skip", "Request.BatchSize": "-n", "Request.Noise": "-noise",
	"Options.LoRADirs": "-lora-dir", "Options.Workers": "-threads", "Options.Precision": "-precision",
}

// writable finds out before the work, not after it, that the picture cannot be written.
func writable(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".atelier-*")
	if err != nil {
		return fmt.Errorf("-o %s: %w; choose a folder that exists and can be written", path, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func list[S ~string](names []S) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}
