package vae_test

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/vae"
)

// A decoder is recorded for the size of its latents.
func Example() {
	m, err := vae.New(vae.SD15(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var b compute.Builder
	b.Output(m.Decode(&b, b.Input("latents", compute.F32, 1, 96, 64, 4)))
	p, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Type(p.Outputs[0]))
	// Output: F32[1 768 512 3]
}
