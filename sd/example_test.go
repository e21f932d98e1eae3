package sd_test

import (
	"context"
	"fmt"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
)

// The embedded model of drawn portraits makes a picture on the reference device; for real checkpoints and speed see
// Open and the package cpu.
func Example() {
	ctx := context.Background()
	dev := ref.New()
	defer dev.Close()
	pipe, err := sd.OpenFS(ctx, tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pipe.Close()
	result, err := pipe.Generate(ctx, sd.Request{Prompt: "portrait of a woman, red hair, glasses", Steps: 2, Seed: 42})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Pictures[0].Image.Bounds().Size(), "seed", result.Pictures[0].Seed)
	// Output: (128,128) seed 42
}

// Steps shows a run while it goes on.
func ExamplePipeline_Steps() {
	ctx := context.Background()
	dev := ref.New()
	defer dev.Close()
	pipe, err := sd.OpenFS(ctx, tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pipe.Close()
	request := sd.Request{Prompt: "portrait of a man, black beard", Width: 64, Height: 96, Steps: 3, Sampler: sampler.EulerA}
	for step, err := range pipe.Steps(ctx, request) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(step.Index+1, "of", step.Total)
		if step.Last() {
			result, err := step.Result(ctx)
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(result.Pictures[0].Image.Bounds().Size())
		}
	}
	// Output:
	// 1 of 3
	// 2 of 3
	// 3 of 3
	// (64,96)
}

// A LoRA is applied by its name in the prompt, here with less strength than it was trained for, or by its path in
// Request.Adapters.
func ExampleOptions() {
	ctx := context.Background()
	dev := ref.New()
	defer dev.Close()
	pipe, err := sd.OpenFS(ctx, tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{LoRADirs: []string{"../testdata/tiny-portrait/goldens"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pipe.Close()
	request := sd.Request{Prompt: "photo of personname man, <lora:lora_kohya:0.6>", Width: 64, Height: 64, Steps: 1}
	adapters, err := pipe.Adapters(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range adapters {
		fmt.Println(len(a.Modules), "modules at", a.UNet)
	}
	result, err := pipe.Generate(ctx, request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Pictures[0].Image.Bounds().Size())
	// Output:
	// 144 modules at 0.6
	// (64,64)
}
