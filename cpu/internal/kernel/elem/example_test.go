package elem_test

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/elem"
)

func ExampleKernels_AddScaled() {
	set, err := isa.Choose()
	if err != nil {
		fmt.Println(err)
		return
	}
	// Classifier-free guidance at 7.5: uncond + 7.5·(cond - uncond).
	cond, uncond := []float32{1, 2}, []float32{0, 1}
	k, out := elem.For(set), make([]float32, 2)
	k.AddScaled(out, uncond, -6.5)
	k.AddScaled(out, cond, 7.5)
	fmt.Println(out)
	// Output: [7.5 8.5]
}
