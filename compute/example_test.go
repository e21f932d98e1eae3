package compute_test

import (
	"context"
	"fmt"
	"log"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
)

// A program is recorded once, compiled for a device, and run as often as one likes.
func Example() {
	var b compute.Builder
	x := b.Input("x", compute.F32, 2, 3)
	end := b.Scope("proj")
	h := b.Op(compute.Linear{
		X: x, Weight: b.Param("proj.weight", 2, 3), Bias: b.Param("proj.bias", 2),
		Epilogue: compute.Epilogue{Activation: compute.ReLU},
	})
	end()
	b.Output(h)
	program, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}

	var source computetest.Source // a checkpoint, in a real program
	source.Add("proj.weight", compute.F16, []float32{1, 0, -1, 0.5, 0.5, 0.5}, 2, 3)
	source.Add("proj.bias", compute.F16, []float32{0, 1}, 2)

	device := ref.New()
	defer device.Close()
	params, err := device.Load(&source)
	if err != nil {
		log.Fatal(err)
	}
	defer params.Close()
	executable, err := device.Compile(program, params)
	if err != nil {
		log.Fatal(err)
	}
	defer executable.Close()

	in, err := device.NewTensor(compute.F32, 2, 3)
	if err != nil {
		log.Fatal(err)
	}
	defer in.Close()
	out, err := device.NewTensor(compute.F32, 2, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	if err := in.Upload(compute.Floats([]float32{1, 2, 3, 5, 4, 3})); err != nil {
		log.Fatal(err)
	}
	if err := executable.Run(context.Background(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		log.Fatal(err)
	}
	y := make([]float32, 4)
	if err := out.Download(compute.Floats(y)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(y)
	// Output: [0 4 2 7]
}

// The adjoint of a program is recorded after it. Here a low-rank adapter, up·down, is trained beside a frozen layer.
func ExampleGradient() {
	var b compute.Builder
	x := b.Input("x", compute.F32, 1, 2)
	down, up := b.Input("down", compute.F32, 1, 2), b.Input("up", compute.F32, 2, 1)
	frozen := b.Op(compute.Linear{X: x, Weight: b.Param("proj.weight", 2, 2)})
	low := b.Op(compute.MatMul{A: x, B: down, TransposeB: true})
	y := b.Op(compute.MatMul{A: low, B: up, TransposeB: true, Add: frozen})
	loss := b.Op(compute.Loss{Prediction: y, Target: b.Input("target", compute.F32, 1, 2)})
	for _, g := range compute.Gradient(&b, loss, []compute.Value{down, up}) {
		b.Output(g)
	}
	program, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	var source computetest.Source
	source.Add("proj.weight", compute.F16, []float32{1, 0, 0, 1}, 2, 2)
	gradients, err := ref.Evaluate(program, &source, []float64{1, 2}, []float64{1, 1}, []float64{0, 1}, []float64{1, 3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("by down:", gradients[0], "by up:", gradients[1]) // y is (1, 5), the loss its mean squared error
	// Output: by down: [2 4] by up: [0 6]
}

// A mistake is reported once, by Build, with the place in the network where it was made.
func ExampleBuilder() {
	var b compute.Builder
	x := b.Input("hidden_states", compute.F32, 1, 77, 768)
	func() {
		defer b.Scope("down_blocks.1.attentions.0")()
		q := b.Op(compute.Linear{X: x, Weight: b.Param("to_q.weight", 320, 320)})
		b.Output(b.Op(compute.Activate{X: q, Activation: compute.SiLU}))
	}()
	_, err := b.Build()
	fmt.Println(err)
	// Output: compute: down_blocks.1.attentions.0: Linear: weight is [320 320], want [Cout 768]
}
