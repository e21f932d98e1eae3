// Train-lora makes a LoRA of a folder of photos, with the options of kohya's trainer and the defaults of the recipe people
// follow with it.
//
//	go run ./examples/train-lora -model v1-5-pruned-emaonly.safetensors -data training -output personname_lora_v1
//	go run ./examples/train-lora -config kohya_gui_settings.json
//
// The folder holds one folder for each subject, named REPEATS_NAME CLASS, as in "training/12_personname man", with photos
// and captions (.txt) in it. A configuration is what kohya's GUI saves as JSON, or the TOML that train_network.py takes as
// config_file. Without -model it uses the tiny portrait model built into the program. On a CPU a real model takes a night.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/atelier-go/atelier/examples/internal/cli"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/hub"
)

func main() {
	cli.Main("train-lora", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stderr) })
}

// command is the command line.
type command struct {
	options kohya.Options
	device  string
	threads int
	path    string // of the checkpoint, once that is open; "" for the built-in one
}

// short are names of options for people who type them.
var short = map[string]string{
	"model": "pretrained_model_name_or_path", "data": "train_data_dir", "output": "output_name", "config": "config_file",
}

func parse(args []string, log io.Writer) (c *command, err error) {
	c = new(command)
	f := flag.NewFlagSet("train-lora", flag.ContinueOnError)
	c.options.Bind(f)
	for name, option := range short {
		f.Var(f.Lookup(option).Value, name, "the same as "+option)
	}
	f.StringVar(&c.device, "device", "auto", "auto or cpu")
	f.IntVar(&c.threads, "threads", 0, "processors to use (default: all)")
	if err = c.options.Parse(f, args); errors.Is(err, flag.ErrHelp) {
		usage(log)
	}
	if c.model() == "" {
		tiny := kohya.Recipe()
		tiny["resolution"], tiny["min_bucket_reso"] = "128", "128"
		c.options.Defaults = tiny
	}
	return c, err
}

func (c *command) model() string { return c.options.Value("pretrained_model_name_or_path") }

func (c *command) weights() weights.Options { return weights.Options{VAE: c.options.Value("vae")} }

func usage(w io.Writer) {
	fmt.Fprint(w, `train-lora makes a LoRA of a folder of photos.

  train-lora -model PATH -data FOLDER -output NAME
  train-lora -config FILE.json

Options are those of kohya's train_network.py, with one hyphen or two. First of all:
  -model PATH     the same as -pretrained_model_name_or_path (default: the built-in tiny portrait model)
  -data FOLDER    the same as -train_data_dir
  -output NAME    the same as -output_name
  -config FILE    the same as -config_file
  -resume latest  go on from the last state of this -output, as after Ctrl-C; or name the state's folder
  -device NAME    auto or cpu (default auto)
  -threads N      processors to use (default: all)
`)
	new(kohya.Options).Usage(w)
}

func run(ctx context.Context, args []string, log io.Writer) (err error) {
	c, err := parse(args, log)
	if err != nil {
		return err
	}
	config, notes, err := c.options.Config()
	for _, note := range notes {
		fmt.Fprintln(log, "note:", note)
	}
	if err != nil {
		return err
	}
	if config.Resume == "latest" {
		if config.Resume, err = train.LatestState(config.OutputDir, config.OutputName); err != nil {
			return fmt.Errorf("-resume latest: %w", err)
		}
	}
	if config.Checkpoint, err = c.open(ctx, log); err != nil {
		return err
	}
	defer config.Checkpoint.Close()
	if config.Device, err = c.openDevice(config.MixedPrecision, log); err != nil {
		return err
	}
	defer config.Device.Close()
	if err := c.options.WritePrompts(); err != nil {
		return err
	}

	bars := newBars(log)
	defer bars.done()
	config.Report = func(r train.Report) { fmt.Fprint(log, r) }
	config.Progress = bars.show
	config.Sample = sd.TrainingSamples(func(ctx context.Context) (*sd.Pipeline, error) {
		if c.path == "" {
			return sd.OpenFS(ctx, tinyportrait.FS(), tinyportrait.Name, config.Device, sd.Options{Weights: c.weights()})
		}
		return sd.Open(ctx, c.path, config.Device, sd.Options{Weights: c.weights()})
	})
	if err := train.Train(ctx, config); err != nil {
		return err
	}
	bars.say("model saved")
	return nil
}

// open opens the checkpoint, which is downloaded if it has the name of one on the hub.
func (c *command) open(ctx context.Context, log io.Writer) (*weights.Checkpoint, error) {
	path := c.model()
	if path == "" {
		fmt.Fprintln(log, "note: no -model given: this trains the built-in tiny portrait model")
		return weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, c.weights())
	}
	if _, err := os.Stat(path); err != nil && hub.IsID(path) {
		client, err := hub.New()
		if err != nil {
			return nil, err
		}
		bar := terminal.NewBar(log, "downloading", "MB")
		client.Progress = func(p hub.Progress) { bar.Set(int(p.Done/1e6), int(p.Total/1e6)) }
		path, err = client.Snapshot(ctx, path)
		bar.Done()
		if err != nil {
			return nil, err
		}
	}
	c.path = path
	return weights.Open(path, c.weights())
}

// openDevice opens the device for a mixed_precision, and says where it computes in another one.
func (c *command) openDevice(precision string, log io.Writer) (compute.Device, error) {
	options := device.Options{Workers: c.threads}
	if precision == "bf16" {
		options.Precision = compute.PrecisionBF16
	}
	dev, err := device.Open(c.device, options)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(log, "device:", dev.Name())
	if precision == "fp16" {
		fmt.Fprintln(log, "note: mixed_precision fp16: a CPU computes in float32, which is more exact; losses are scaled as with fp16")
	}
	if real, ok := dev.(compute.Preciser); ok && real.Precision() != options.Precision {
		fmt.Fprintln(log, "note: mixed_precision bf16: this processor has no instructions for it and computes in float32")
	}
	return dev, nil
}
