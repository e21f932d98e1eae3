package norm_test

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/norm"
)

// Two groups of one channel each come to mean 0 and variance 1.
func ExampleGroup() {
	g, err := norm.NewGroup(isa.Generic, norm.GroupConfig{N: 1, Rows: 2, C1: 2, Groups: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	args := &norm.GroupArgs{
		X1:        []float32{1, 10, 3, 30},
		Weight:    []float32{1, 1},
		Bias:      []float32{0, 5},
		Out:       make([]float32, 4),
		Workspace: make([]float32, g.Workspace()),
	}
	for phase := range g.Phases() {
		for task := range g.Tasks(phase) {
			g.Do(phase, task, args)
		}
	}
	fmt.Println(args.Out)
	// Output: [-1 4 1 6]
}
