// Train-lora makes a LoRA of a folder of photos, with the option names of kohya's trainer and the defaults of the recipe
// people follow with it.
//
//	go run ./examples/train-lora -model v1-5-pruned-emaonly.safetensors -train_data_dir training -output_name personname_lora_v1
//
// The folder holds one folder for each subject, named REPEATS_NAME CLASS, as in "training/12_personname man", with photos
// and captions (.txt) in it. On a CPU a real model takes a night.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "train-lora:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	model      string
	threads    int
	resolution int
	precision  string
	set        dataset.Set
	train      lora.TrainConfig
}

func parse(args []string, log io.Writer) (o options, err error) {
	f := flag.NewFlagSet("train-lora", flag.ContinueOnError)
	f.SetOutput(log)
	t := &o.train
	f.StringVar(&o.model, "model", "", "checkpoint: a .safetensors file or a diffusers folder (default: the built-in tiny portrait model)")
	f.IntVar(&o.threads, "threads", 0, "processors to use (default: all)")
	f.StringVar(&o.set.TrainDataDir, "train_data_dir", "", "folder of REPEATS_NAME folders with photos and captions")
	f.StringVar(&o.set.RegDataDir, "reg_data_dir", "", "folder of REPEATS_NAME folders with regularisation pictures")
	f.BoolVar(&o.set.Folder.EXIFOrientation, "exif_orientation", true, "turn photos the way the camera was held")
	f.IntVar(&o.resolution, "resolution", 0, "pixels of a side (default: the model's own, 512 for SD 1.5)")
	f.IntVar(&o.set.BatchSize, "train_batch_size", 2, "pictures in a batch")
	f.IntVar(&t.Dataset.MaxTrainEpochs, "max_train_epochs", 12, "times through all repeats")
	f.IntVar(&t.Dataset.MaxTrainSteps, "max_train_steps", 0, "steps, instead of epochs")
	f.Uint64Var(&t.Dataset.Seed, "seed", 0, "of everything random")
	f.IntVar(&t.Network.Dim, "network_dim", 16, "rank")
	f.Float64Var(&t.Network.Alpha, "network_alpha", 16, "changes are scaled by alpha/rank")
	f.BoolVar(&t.Network.UNetOnly, "network_train_unet_only", false, "leave the text encoder alone")
	f.Float64Var(&t.UNetLR, "unet_lr", 1e-4, "learning rate of the UNet")
	f.Float64Var(&t.TextEncoderLR, "text_encoder_lr", 5e-5, "learning rate of the text encoder")
	f.StringVar(&t.LRScheduler, "lr_scheduler", "constant", "how learning rates change with the steps")
	f.StringVar(&t.LRWarmupSteps, "lr_warmup_steps", "", "steps, or a part of all as 0.1 or 10%")
	f.IntVar(&t.SaveEveryNEpochs, "save_every_n_epochs", 0, "also save every so many epochs")
	f.StringVar(&t.OutputDir, "output_dir", ".", "folder for the LoRA")
	f.StringVar(&t.OutputName, "output_name", "last", "its name, without extension")
	f.StringVar(&o.precision, "save_precision", "fp16", "of the file: fp16, bf16 or float")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.set.TrainDataDir == "" {
		return o, errors.New("-train_data_dir is missing: name the folder that holds the REPEATS_NAME folders of photos")
	}
	if t.Dataset.MaxTrainSteps > 0 {
		t.Dataset.MaxTrainEpochs = 0
	}
	if t.Network.UNetOnly {
		t.TextEncoderLR = 0
	}
	precisions := map[string]compute.DType{"fp16": compute.F16, "bf16": compute.BF16, "float": compute.F32}
	if t.SavePrecision = precisions[o.precision]; t.SavePrecision == compute.InvalidDType {
		return o, fmt.Errorf("-save_precision is %q, want fp16, bf16 or float", o.precision)
	}
	return o, nil
}

func run(ctx context.Context, args []string, log io.Writer) (err error) {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	t := &o.train
	if o.model == "" {
		t.Checkpoint, err = weights.OpenFS(tinyportrait.FS(), weights.Options{})
		o.resolution = max(o.resolution, 128)
	} else {
		t.Checkpoint, err = weights.Open(o.model, weights.Options{})
	}
	if err != nil {
		return err
	}
	defer t.Checkpoint.Close()
	if t.Device, err = device.Open("auto", device.Options{Workers: o.threads}); err != nil {
		return err
	}
	defer t.Device.Close()
	if o.resolution == 0 {
		o.resolution = 512
	}
	o.set.Resolution = dataset.Size{W: o.resolution, H: o.resolution}
	o.set.Enable = true
	o.set.MinReso = min(256, o.resolution)
	t.Dataset.Sets = []dataset.Set{o.set}
	t.Dataset.CacheLatents = true

	bar := terminal.NewBar(log, "latents", "picture")
	t.Progress = func(p lora.Progress) {
		switch p.Phase {
		case "latents":
			if bar.Set(float64(p.Done), float64(p.Total)); p.Done == p.Total {
				bar.Done()
				bar = terminal.NewBar(log, "steps", "step")
			}
		case "steps":
			bar.Set(float64(p.Done), float64(p.Total))
			fmt.Fprintf(log, "loss %.4f ", p.AverageLoss)
		case "warning":
			fmt.Fprintln(log, "warning:", p.Warning)
		}
	}
	err = lora.Train(ctx, *t)
	bar.Done()
	return err
}
