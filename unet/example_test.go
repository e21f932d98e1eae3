package unet_test

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
)

// A network is recorded for the shapes it will run on, here one picture of 512×512 pixels and one prompt. That takes
// no weights yet.
func Example() {
	m, err := unet.New(unet.SD15(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var b compute.Builder
	sample := b.Input("sample", compute.F32, 1, 64, 64, 4)
	timestep := b.Input("timestep", compute.F32, 1)
	context := b.Input("encoder_hidden_states", compute.F32, 1, 77, 768)
	b.Output(m.Apply(&b, sample, timestep, context))
	p, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v of %d parameters, %.2f TFLOP\n", p.Type(p.Outputs[0]), len(p.Params), float64(p.TotalFLOPs())/1e12)
	// Output: F32[1 64 64 4] of 686 parameters, 0.80 TFLOP
}
