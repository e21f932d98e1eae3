package clip_test

import (
	"fmt"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
)

// A prompt becomes a sequence of tokens, and those the hidden states that the UNet attends to.
func Example() {
	tokens := clip.Default()
	sequence, dropped := tokens.Sequence(tokens.Encode("a lighthouse at dawn"))
	fmt.Println(sequence[:6], len(sequence), len(dropped))

	m, err := clip.New(clip.SD15(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var b compute.Builder
	b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, 1, len(sequence)), 0))
	p, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Type(p.Outputs[0]))
	// Output:
	// [49406 320 13717 536 7689 49407] 77 0
	// F32[1 77 768]
}
