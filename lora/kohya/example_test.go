package kohya_test

import (
	"flag"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/lora/kohya"
)

func ExampleOptions() {
	var options kohya.Options
	flags := flag.NewFlagSet("train", flag.ContinueOnError)
	options.Bind(flags)
	line := "--pretrained_model_name_or_path v1-5.safetensors --train_data_dir training --network_dim 32 --network_args conv_dim=4 conv_alpha=2 --xformers"
	if err := options.Parse(flags, strings.Fields(line)); err != nil {
		fmt.Println(err)
		return
	}
	config, notes, err := options.Config()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(options.Value("pretrained_model_name_or_path"))
	fmt.Println(config.Network.Dim, config.Network.Alpha, config.Network.ConvDim, config.UNetLR, config.Dataset.Sets[0].Resolution)
	fmt.Println(notes)
	// Output:
	// v1-5.safetensors
	// 32 16 4 0.0001 512x512
	// [without effect here: xformers]
}
