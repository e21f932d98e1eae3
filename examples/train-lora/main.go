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
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	cli.Main("train-lora", func(ctx context.Context, args []string, _, log io.Writer) error { return run(ctx, args, log) })
}

// command is the command line.
type command struct {
	options kohya.Options
	model   cli.Model
	device  cli.Device
}

const usage = `train-lora makes a LoRA of a folder of photos, with the options of kohya's train_network.py, written
with one hyphen or two. -h all lists all of them.

  train-lora -model v1-5-pruned-emaonly.safetensors -data training -output personname_lora_v1
  train-lora -config kohya_gui_settings.json
`

func parse(args []string, log io.Writer) (c *command, err error) {
	c = new(command)
	f := cli.NewFlags("train-lora", usage, log)
	c.options.Bind(f.FlagSet)
	f.Var(f.Lookup("pretrained_model_name_or_path").Value, "model", "`PATH` checkpoint, the same as -pretrained_model_name_or_path (default: built-in tiny model)")
	f.Var(f.Lookup("train_data_dir").Value, "data", "`FOLDER` holds folders of photos, 12_NAME CLASS; the same as -train_data_dir")
	f.Var(f.Lookup("config_file").Value, "config", "`FILE` settings: kohya's TOML or its GUI's JSON; the same as -config_file")
	f.Func("output", "`PATH` the LoRA to write: -output_dir and -output_name in one", func(path string) error {
		dir, name := filepath.Split(strings.TrimSuffix(path, ".safetensors"))
		if dir != "" {
			return errors.Join(f.Set("output_dir", filepath.Clean(dir)), f.Set("output_name", name))
		}
		return f.Set("output_name", name)
	})
	f.Lookup("resume").Usage = "`STATE` folder to go on from, or latest: the last one of this -output, as after Ctrl-C"
	f.Weights(&c.model.Options, "text-encoder", "model-config", "variant")
	f.Device(&c.device)
	f.Group("Model and pictures", "model", "vae", "text-encoder", "model-config", "variant", "data", "config", "resolution")
	f.Group("Learning", "train_batch_size", "max_train_epochs", "network_dim", "network_alpha", "unet_lr", "text_encoder_lr", "optimizer_type")
	f.Group("Output", "output", "resume", "save_every_n_epochs", "sample_prompts", "sample_every_n_epochs")
	f.Group("Computing", "mixed_precision", "device", "threads")
	if err = c.options.Parse(f.FlagSet, args); errors.Is(err, flag.ErrHelp) {
		f.Help(false)
		if slices.Contains(args, "all") {
			c.options.Usage(log)
		}
		return c, err
	}
	c.model.Path, c.model.Options.VAE = c.options.Value("pretrained_model_name_or_path"), c.options.Value("vae")
	if c.model.IsTiny() {
		tiny := kohya.Recipe()
		tiny["resolution"], tiny["min_bucket_reso"] = "128", "128"
		c.options.Defaults = tiny
	}
	return c, err
}

func run(ctx context.Context, args []string, log io.Writer) (err error) {
	defer func() {
		if err != nil {
			err = cli.InFlags(err, kohya.Flags(err.Error()))
		}
	}()
	c, err := parse(args, log)
	if err != nil {
		return err
	}
	config, err := c.config(log)
	if err != nil {
		return err
	}
	if config.Checkpoint, err = c.open(ctx, log); err != nil {
		return err
	}
	defer config.Checkpoint.Close()
	if err := c.agrees(config.Checkpoint); err != nil {
		return err
	}
	if config.Device, err = c.openDevice(config.MixedPrecision, log); err != nil {
		return err
	}
	defer config.Device.Close()
	if err := c.options.WritePrompts(); err != nil {
		return err
	}
	return learn(ctx, config, log)
}

// config is what the options say.
func (c *command) config(log io.Writer) (train.Config, error) {
	config, notes, err := c.options.Config()
	for _, note := range notes {
		fmt.Fprintln(log, "note:", cli.Printable(note))
	}
	if err == nil && config.Resume == "latest" {
		var damaged []error
		if config.Resume, damaged, err = train.LatestState(config.OutputDir, config.OutputName); err != nil {
			return config, fmt.Errorf("-resume latest: %w", err)
		}
		for _, state := range damaged {
			fmt.Fprintln(log, "note: passed over:", cli.Printable(state.Error()))
		}
	}
	return config, err
}

// learn trains, and shows how far it is.
func learn(ctx context.Context, config train.Config, log io.Writer) error {
	bars := newBars(log)
	defer bars.done()
	for event, err := range train.Run(ctx, config) {
		if err != nil {
			return err
		}
		bars.show(event)
		if e, ok := event.(train.Started); ok {
			if err := cli.Fits(e.Report.Memory); err != nil {
				return err
			}
		}
	}
	bars.say("model saved")
	return nil
}

// open opens the checkpoint.
func (c *command) open(ctx context.Context, log io.Writer) (*weights.Checkpoint, error) {
	if c.model.IsTiny() {
		fmt.Fprintln(log, "note: no -model given: this trains the built-in tiny portrait model")
	}
	return c.model.Open(ctx, log)
}

// agrees reports switches that are said to be off, while the checkpoint's files say that they are on.
func (c *command) agrees(checkpoint *weights.Checkpoint) error {
	is := checkpoint.Prediction()
	for _, s := range []struct {
		name, what string
		on         bool
	}{
		{"v_parameterization", "predicts v", is.Type == sampler.VPrediction},
		{"zero_terminal_snr", "was trained with zero terminal SNR", is.ZeroSNR},
	} {
		if by := c.options.Denied(s.name); by != "" && s.on {
			return fmt.Errorf("%s is false, but %s %s (%s): leave it out", by, checkpoint.Path(), s.what, is.Source)
		}
	}
	return nil
}

// openDevice opens the device for a mixed_precision, and says where it computes in another one.
func (c *command) openDevice(precision string, log io.Writer) (compute.Device, error) {
	options := &c.device.Options
	if precision == "bf16" {
		options.Precision = compute.PrecisionBF16
	}
	dev, err := c.device.Open()
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
