package attn_test

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/attn"
)

// Two queries attend to three keys; the second query is so near the last key that it takes its value alone.
func Example() {
	plan, err := attn.New(isa.Generic, attn.Config{N: 1, T: 2, S: 3, Heads: 1, D: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	args := &attn.Args{
		Q:         []float32{0, 0, 0, 100},
		K:         []float32{1, 0, 2, 0, 0, 3},
		V:         []float32{3, 0, 6, 3, 0, 12},
		Out:       make([]float32, 4),
		Workspace: make([]float32, plan.Need().Workspace),
	}
	scratch := make([]float32, plan.Need().Scratch)
	for phase := range plan.Phases() {
		for task := range plan.Tasks(phase) {
			plan.Do(phase, task, scratch, args)
		}
	}
	fmt.Printf("%.3f\n", args.Out)
	// Output: [3.000 5.000 0.000 12.000]
}
