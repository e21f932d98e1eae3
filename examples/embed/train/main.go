// Train is how a program of yours trains, with kohya's options: train -pretrained_model_name_or_path … -train_data_dir …
package main

import (
	"context"
	"flag"
	"log"
	"os"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	var options kohya.Options
	flags := flag.NewFlagSet("train", flag.ExitOnError)
	options.Bind(flags)
	check(options.Parse(flags, os.Args[1:]))
	config, _, err := options.Config()
	check(err)
	config.Checkpoint, err = weights.Open(options.Value("pretrained_model_name_or_path"), weights.Options{})
	check(err)
	config.Device, err = device.Open("auto", device.Options{})
	check(err)
	config.Progress = func(p train.Progress) {
		log.Printf("%s: %d of %d, average loss %.4f", p.Phase, p.Done, p.Total, p.AverageLoss)
	}
	check(train.Train(context.Background(), config))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
