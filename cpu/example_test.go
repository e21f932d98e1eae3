package cpu_test

import (
	"context"
	"fmt"
	"log"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cpu"
)

// A program is recorded once, compiled for the device and run as often as one likes.
func Example() {
	var b compute.Builder
	x := b.Input("x", compute.F32, 1, 2)
	b.Output(b.Op(compute.Linear{X: x, Weight: b.Param("weight", 3, 2)}))
	program, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}

	dev, err := cpu.Open(cpu.Options{Workers: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	source := new(computetest.Source)
	source.Add("weight", compute.F16, []float32{1, 0, 0, 1, 1, 1}, 3, 2)
	params, err := dev.Load(source)
	if err != nil {
		log.Fatal(err)
	}
	defer params.Close()
	exe, err := dev.Compile(program, params)
	if err != nil {
		log.Fatal(err)
	}
	defer exe.Close()

	in, _ := dev.NewTensor(compute.F32, 1, 2)
	out, _ := dev.NewTensor(compute.F32, 1, 3)
	if err := in.Upload(compute.Floats([]float32{3, 4})); err != nil {
		log.Fatal(err)
	}
	if err := exe.Run(context.Background(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		log.Fatal(err)
	}
	y := make([]float32, 3)
	if err := out.Download(compute.Floats(y)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(y)
	// Output: [3 4 7]
}
