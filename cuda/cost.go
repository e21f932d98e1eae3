package cuda

import (
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// roof is what a card can do at most, by what its maker says: the model of docs/kernels.md.
type roof struct {
	name            string
	multiprocessors int
	tensor, fma     float64 // TFLOP/s: products of halves with float32 sums by mma.sync, and float32
	library         float64 // TFLOP/s: the products by instructions that own kernels do not use, but libraries do
	memory          float64 // GB/s
}

// kind is one of kernels, by the beginning of their names, with the part of the roof that they are taken to reach.
type kind struct {
	title, prefix string
	tensor        bool
	part          float64
}

// kinds are in the order in which they count for an op that has several.
var kinds = []kind{
	{"products on tensor cores", "linear_", true, 0.7},
	{"convolutions on tensor cores", "conv_", true, 0.7},
	{"attention's gradient on tensor cores", "flash_gradient_", true, 0.55 * 5 / 9}, // five products that it makes of nine
	{"attention on tensor cores", "flash_", true, 0.55},
	{"attention's gradient, a warp a query", "attention_gradient_", false, 0.05},
	{"attention, a warp a query", "plain_attention", false, 0.05},
	{"products and convolutions on float32 units", "plain_", false, 0.35},
	{"norms, gates and what moves memory", "", false, 0.35},
}

const (
	libraryPart = 0.7    // of the roof, by cuBLASLt and cuDNN
	memoryPart  = 0.8    // of the memory's rate
	gap         = 1.3e-6 // seconds from one kernel of a graph to the next
)

// dataCenter tells whether a card of a compute capability is one of the A100, H100 and B200, of which tensor cores are several times as fast.
func dataCenter(capability int) bool { return capability == 80 || 90 <= capability && capability < 120 }

// roofOf is what a card's own description amounts to.
func roofOf(c driver.Card) roof {
	perClock := func(operations int) float64 {
		return float64(c.Multiprocessors) * float64(c.Clock) * float64(operations) * 1e-9
	}
	r := roof{name: c.Name, multiprocessors: c.Multiprocessors, tensor: perClock(512), fma: perClock(256), memory: 2 * float64(c.MemoryClock) * float64(c.BusWidth) / 8 * 1e-6}
	if r.library = r.tensor; dataCenter(c.Capability) {
		r.tensor, r.library = perClock(2048), perClock(2048)
		if c.Capability >= 90 { // mma.sync is 62 % of what wgmma is
			r.tensor, r.library = perClock(2540), perClock(4096)
		}
	}
	if r.memory == 0 {
		r.memory = 300 // a driver that does not tell
	}
	return r
}

// seconds is how long a node is expected to take. own is how own kernels do it: a library is taken to divide its work as they do.
func (r roof) seconds(p *compute.Program, node int, work, own kernel.Work) float64 {
	of, blocks := kindOf(own)
	peak := r.fma
	if kinds[of].tensor {
		peak = r.tensor
	}
	peak *= kinds[of].part
	if slices.ContainsFunc(work.Launches, func(l kernel.Launch) bool { return l.Call != nil }) {
		peak = r.library * libraryPart
	}
	arithmetic := float64(p.FLOPs(node)) / (peak * 1e12)
	if waves := float64(blocks) / float64(r.multiprocessors); waves > 0 {
		arithmetic *= math.Ceil(waves) / waves // multiprocessors wait for the last blocks
	}
	return max(arithmetic, moved(p, work)/(r.memory*1e9*memoryPart)) + gap*float64(len(work.Launches))
}

// kindOf is the first kind that a kernel of the work is of, and how many blocks it has; 0 of the last kind, which do little arithmetic.
func kindOf(work kernel.Work) (of, blocks int) {
	of = len(kinds) - 1
	for _, l := range work.Launches {
		if i := slices.IndexFunc(kinds, func(k kind) bool { return strings.HasPrefix(l.Kernel.Name(), k.prefix) }); i < of {
			of, blocks = i, l.Grid[0]*l.Grid[1]*l.Grid[2]
		}
	}
	return of, blocks
}

// moved is the bytes of device memory that work reads and writes, each array once a launch and scratch once each way.
func moved(p *compute.Program, work kernel.Work) float64 {
	bytes := 2 * work.Scratch
	for _, launch := range work.Launches {
		for _, a := range launch.Arguments {
			if array, ok := a.(kernel.Array); ok {
				bytes += p.Shape(array.Value).Elements() * array.Type.Size()
			}
		}
	}
	return float64(bytes)
}
