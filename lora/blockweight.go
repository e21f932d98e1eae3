package lora

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/weights"
)

// BlockWeights multiply the strength of an adapter, block by block: that of the text encoder, called BASE, then those of
// the UNet's 25 blocks, IN00 to IN11, MID, and OUT00 to OUT11. Nil is 1 for all.
type BlockWeights []float64

// shortBlocks are where the 17 numbers of the short form stand among the 26: BASE and the blocks with a transformer.
var shortBlocks = []int{0, 2, 3, 5, 6, 8, 9, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25}

// ParseBlockWeights reads a JSON list of 26 numbers, or of the 17 for BASE, IN01, 02, 04, 05, 07, 08, MID and OUT03 to
// 11, as "lbws" of sd-scripts' svd_merge_lora has it. Blocks that the short form leaves out have 1.
func ParseBlockWeights(text string) (BlockWeights, error) {
	var list []float64
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("lora: lbws is %.200q: %w; want a list such as [1,0,0.5,…]", text, err)
	}
	switch len(list) {
	case Blocks + 1:
		return list, nil
	case len(shortBlocks):
		all := slices.Repeat([]float64{1}, Blocks+1)
		for i, at := range shortBlocks {
			all[at] = list[i]
		}
		return all, nil
	}
	return nil, fmt.Errorf("lora: lbws has %d numbers, want %d or %d", len(list), len(shortBlocks), Blocks+1)
}

// of returns the weight for a target.
func (w BlockWeights) of(t Target) float64 {
	if w == nil {
		return 1
	}
	if t.Kind == weights.KindTextEncoder {
		return w[0]
	}
	return w[1+max(0, t.Block())]
}
