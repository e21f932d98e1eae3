package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// ExampleRun trains the smallest of models for two steps. A real training has another checkpoint, a resolution of 512, a
// rank of 16 and twelve epochs.
func ExampleRun() {
	ckpt, err := weights.Open(filepath.Join("..", "..", "testdata", "tiny-random", "model"), weights.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ckpt.Close()
	dev := ref.New()
	defer dev.Close()
	dir, err := os.MkdirTemp("", "lora")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	config := train.Config{
		Device: dev, Checkpoint: ckpt,
		Dataset: dataset.Config{
			Sets:         []dataset.Set{{Resolution: dataset.Size{W: 64, H: 64}, TrainDataDir: filepath.Join("..", "..", "tinyportrait", "photos"), BatchSize: 2}},
			CacheLatents: true, MaxTrainSteps: 2, Seed: 1,
		},
		Network: lora.Network{Dim: 4, Alpha: 4}, Trainer: train.Options{MaxGradNorm: 1},
		UNetLR: 1e-4, TextEncoderLR: 5e-5, OutputDir: dir, OutputName: "personname_lora_v1",
	}
	for event, err := range train.Run(context.Background(), config) {
		if err != nil {
			log.Fatal(err)
		}
		switch e := event.(type) {
		case train.StepDone:
			fmt.Printf("step %d of %d\n", e.Step, e.Steps)
		case train.Saved:
			fmt.Println(filepath.Base(e.Path))
		}
	}
	// Output:
	// step 1 of 2
	// step 2 of 2
	// personname_lora_v1.safetensors
}
