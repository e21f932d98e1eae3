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
	for event, err := range train.Run(context.Background(), config) {
		check(err)
		if e, ok := event.(train.StepDone); ok {
			log.Printf("step %d of %d, average loss %.4f", e.Step, e.Steps, e.AverageLoss)
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
