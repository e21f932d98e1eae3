package gemm_test

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// A linear layer of two outputs and three inputs, its weights in binary16.
func Example() {
	weights := []byte{
		0x00, 0x3c, 0x00, 0x40, 0x00, 0x42, // 1 2 3
		0x00, 0x00, 0x00, 0xbc, 0x00, 0x38, // 0 -1 0.5
	}
	w, err := gemm.For(isa.Detected()).Pack(nil, gemm.Linear(weights, compute.F16, 2, 3))
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := gemm.NewPlan(w, gemm.Config{M: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	y := make([]float32, 2)
	args := &gemm.Args{X: []float32{1, 10, 100}, Y: y, Bias: []float32{0.5, 0}}
	scratch := gemm.NewScratch(plan.Need())
	for phase := range plan.Phases() {
		for task := range plan.Tasks(phase) {
			plan.Do(phase, task, scratch, args)
		}
	}
	fmt.Println(y)
	// Output: [321.5 40]
}
