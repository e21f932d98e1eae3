package lora_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// An adapter is opened for a model and laid over its parameters, which a device packs as if they were the checkpoint's.
func Example() {
	checkpoint, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	params, err := checkpoint.UNet()
	if err != nil {
		log.Fatal(err)
	}
	text, err := checkpoint.TextEncoder()
	if err != nil {
		log.Fatal(err)
	}
	unetConfig, err := unet.ParseConfig(params.Config())
	if err != nil {
		log.Fatal(err)
	}
	clipConfig, err := clip.ParseConfig(text.Config())
	if err != nil {
		log.Fatal(err)
	}

	targets, err := lora.NewTargets(clipConfig, unetConfig)
	if err != nil {
		log.Fatal(err)
	}
	adapter, err := lora.Open("../testdata/tiny-portrait/goldens/lora_kohya.safetensors", targets)
	if err != nil {
		log.Fatal(err)
	}
	merged, err := lora.Merge(params, weights.KindUNet, lora.MergeOptions{}, lora.Applied{Adapter: adapter, Strength: lora.Strength{TextEncoder: 0.6, UNet: 0.6}})
	if err != nil {
		log.Fatal(err)
	}
	weight, err := merged.ParamType("mid_block.attentions.0.proj_in.weight")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q: %d modules, unmatched %v\n", adapter.Metadata["ss_output_name"], len(adapter.Modules), adapter.Unmatched)
	fmt.Println(weight)
	// Output:
	// "personname_lora_v1": 144 modules, unmatched []
	// F16[128 128 1 1]
}

// ExampleResize halves the rank of an adapter, and saves it as F16.
func ExampleResize() {
	checkpoint, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	targets, err := lora.TargetsOf(checkpoint)
	if err != nil {
		log.Fatal(err)
	}
	adapter, err := lora.Open("../testdata/tiny-portrait/goldens/lora_kohya.safetensors", targets)
	if err != nil {
		log.Fatal(err)
	}
	small, report, err := lora.Resize(context.Background(), adapter, lora.ResizeOptions{NewRank: 4})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lora")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := lora.Write(filepath.Join(dir, "small.safetensors"), small.Modules, compute.F16, small.Metadata); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d modules, rank %d to %d, scale %v as before\n", len(report), report[0].OldRank, report[0].NewRank, small.Modules[0].Delta.(lora.LowRank).Scale())
	// Output: 144 modules, rank 8 to 4, scale 0.5 as before
}

func ExampleParseTag() {
	tag, err := lora.ParseTag("personname_lora_v1:0.6:unet=0.9") // of <lora:personname_lora_v1:0.6:unet=0.9>
	fmt.Println(tag.Name, tag.TextEncoder, tag.UNet, err)
	// Output: personname_lora_v1 0.6 0.9 <nil>
}
