package cuda

import (
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// preference picks one of the ways to compute a node, of which the first are own kernels as the model of docs/kernels.md divides them.
type preference func(p *compute.Program, node int, ways []kernel.Way) int

// choose is how a node is computed: the way that was the fastest on this card, and what is expected to be that as long as nobody has timed them.
func (d *Device) choose(p *compute.Program, node int, mayTime bool) (kernel.Work, error) {
	own, err := d.kernels.Work(p, p.Nodes[node])
	if err != nil || !isProduct(p.Nodes[node].Op) {
		return own, err
	}
	if work, known, err := d.timed(p, node, own, mayTime); known || err != nil {
		return work, err
	}
	return d.expected(p, node, own), nil
}

// isProduct tells whether an op is one for which there are several ways.
func isProduct(op compute.Op) bool {
	switch op.(type) {
	case compute.Linear, compute.LinearInputGradient, compute.Conv2D, compute.Conv2DInputGradient, compute.MatMul:
		return true
	}
	return false
}

// expected is the preferred way among those that can be had.
func (d *Device) expected(p *compute.Program, node int, own kernel.Work) kernel.Work {
	if d.libraries == nil {
		return own
	}
	ways := append([]kernel.Way{{Name: ownName, Work: own}}, d.kernels.Libraries(p, p.Nodes[node])...)
	for len(ways) > 1 {
		best := d.prefer(p, node, ways)
		if work, ok := d.libraries.prepare(ways[best].Work); ok {
			return work
		}
		ways = slices.Delete(ways, best, best+1)
	}
	return own
}

// ownName is the name of own kernels' way.
const ownName = "own"

// fastest is the way that the model expects to take the shortest.
func (d *Device) fastest(p *compute.Program, node int, ways []kernel.Way) (best int) {
	r := roofOf(d.card)
	var least float64
	for i, w := range ways {
		if s := r.seconds(p, node, w.Work, ways[0].Work); i == 0 || s < least {
			best, least = i, s
		}
	}
	return best
}

// ways are all there may be, with the tiles of own kernels and the algorithms of libraries, which do not all have one.
func (d *Device) ways(p *compute.Program, node int, own kernel.Work) []kernel.Way {
	ways := append([]kernel.Way{{Name: ownName, Work: own}}, d.kernels.Tilings(p, p.Nodes[node], own)...)
	if d.libraries == nil {
		return ways
	}
	for _, w := range d.kernels.Libraries(p, p.Nodes[node]) {
		ways = append(ways, w)
		for i := 1; i < algorithms && w.IsProduct(); i++ {
			ways = append(ways, kernel.Way{Name: fmt.Sprintf("%s, algorithm %d", w.Name, i+1), Work: w.With(i)})
		}
	}
	return ways
}

// prepared is a way with room for the workspaces of libraries, if it can be had.
func (d *Device) prepared(w kernel.Work) (kernel.Work, bool) {
	if d.libraries == nil {
		return w, true
	}
	return d.libraries.prepare(w)
}
