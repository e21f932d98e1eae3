package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// GEGLU is y = a·GELU(g), a being the first half of each row of x and g the second.
type GEGLU struct {
	Width int // neighbours at once: 8 where half a row is a multiple of 8, else 1
	Type  compute.DType
}

// Grid is that for so many elements of y.
func (g GEGLU) Grid(elements int) [3]int { return [3]int{ceil(elements, elementThreads*g.Width), 1, 1} }

// Kernel has the parameters y, x, the number of elements of y, and of a row of y.
func (g GEGLU) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("geglu_%d%s", g.Width, suffix(g.Type)), elementThreads)
	y, x, elements, half := declare(k, "y", g.Type), declare(k, "x", g.Type), k.Uint("elements"), k.Uint("half")
	at := k.Block(0).Times(elementThreads).Plus(k.Thread()).Times(g.Width)
	k.If(at.Less(elements), func() {
		value := at.Over(half).TimesPlus(half, at) // a row of x is two of y
		results, gates := x.load(value, g.Width), x.load(value.Plus(half), g.Width)
		for i, gate := range gates {
			results[i] = results[i].Times(activate(k, compute.GELU, gate))
		}
		y.store(at, results)
	})
	return k
}
