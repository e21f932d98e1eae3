package weights_test

import (
	"fmt"

	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func ExampleOpenFS() {
	ckpt, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ckpt.Close()
	unet, err := ckpt.UNet()
	if err != nil {
		fmt.Println(err)
		return
	}
	typ, err := unet.ParamType("time_embedding.linear_1.bias")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(typ.DType, len(typ.Shape), ckpt.Prediction().Type)
	// Output: F16 1 epsilon
}

func ExampleKind_Diffusers() {
	fmt.Println(weights.KindUNet.Diffusers("input_blocks.4.0.skip_connection.weight"))
	fmt.Println(weights.KindVAE.LDM("decoder.up_blocks.0.resnets.2.conv1.bias"))
	// Output:
	// down_blocks.1.resnets.0.conv_shortcut.weight
	// decoder.up.3.block.2.conv1.bias
}
