package train

import (
	"math"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// drop draws what a batch is learned without. The text encoder reads captions in the given number of chunks, each of
// which counts as a sample there.
func drop(n lora.Network, b *Batch, modules []module, chunks int, r *rng.Torch) {
	if n.Dropout > 0 {
		var seed [2]int32
		r.Intn(seed[:], math.MaxInt32)
		b.NetworkDropout, b.DropoutSeed = n.Dropout, uint64(seed[0])<<32|uint64(seed[1])
	}
	b.Dropout = dropRanks(n, modules, b.Samples, chunks, r)
}

// dropRanks draws what the ranks of each module are multiplied with for a batch; nil without dropout. What is left of a
// module's ranks grows by as much as is dropped on average, what is left of the modules does not.
func dropRanks(n lora.Network, modules []module, samples, chunks int, r *rng.Torch) (all [][]float32) {
	if n.RankDropout == 0 && n.ModuleDropout == 0 {
		return nil
	}
	for i := range modules {
		skip := uniform(r) < n.ModuleDropout
		rows := samples
		if modules[i].Kind == weights.KindTextEncoder {
			rows *= chunks
		}
		ranks := make([]float32, rows*modules[i].Rank())
		r.Uniform(ranks)
		for j, u := range ranks {
			ranks[j] = 0
			if !skip && float64(u) >= n.RankDropout {
				ranks[j] = float32(1 / (1 - n.RankDropout))
			}
		}
		all = append(all, ranks)
	}
	return all
}
