package ref_test

import (
	"fmt"
	"log"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
)

// Evaluate runs a program in float64, for checks of other devices and of gradients.
func ExampleEvaluate() {
	var b compute.Builder
	x := b.Input("x", compute.F32, 4)
	b.Output(b.Op(compute.Activate{X: x, Activation: compute.SiLU}))
	program, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	out, err := ref.Evaluate(program, new(computetest.Source), []float64{-1, 0, 0.5, 3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.7f\n", out[0])
	// Output: [-0.2689414 0.0000000 0.3112297 2.8577224]
}
