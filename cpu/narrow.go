package cpu

import (
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// findNarrow finds the values that are kept as bfloat16, in the form that products of such read: those that nothing reads but products
// that would round them first. They are rounded once, by who makes them, and half of the bytes move.
func (c *compiler) findNarrow() {
	c.narrow = make([]bool, len(c.program.Values))
	if c.device.precision != compute.PrecisionBF16 {
		return
	}
	last := make([]int, len(c.program.Values)) // reader of each value
	for i, n := range c.program.Nodes {
		for _, v := range n.Op.Operands() {
			last[v.Index()] = i
		}
		switch op := n.Op.(type) {
		case compute.LayerNorm, compute.GEGLU:
			c.narrow[n.Out[0].Index()] = true
		case compute.Attention:
			c.narrow[n.Out[0].Index()] = c.program.Shape(op.Q).Last()/op.Heads%2 == 0
		}
	}
	for i, n := range c.program.Nodes {
		for _, v := range n.Op.Operands() {
			if !c.readsNarrow(n.Op, v) {
				c.narrow[v.Index()] = false
			}
		}
		for _, v := range n.Out {
			width := c.program.Shape(v).Last()
			if c.program.Values[v.Index()].Output || width%2 == 1 || gemm.NarrowStride(width) > width {
				c.narrow[v.Index()] = false
			}
			if over, ok := n.Op.(compute.Overwriter); ok { // what is narrow lies elsewhere than what it is made from
				dies := func(x compute.Value) bool { return last[x.Index()] == i }
				c.narrow[v.Index()] = c.narrow[v.Index()] && !slices.ContainsFunc(over.Overwritable(), dies)
			}
		}
	}
}

// readsNarrow reports whether op reads v, if at all, as the factor of a product of bfloat16 and as nothing else.
func (c *compiler) readsNarrow(op compute.Op, v compute.Value) bool {
	linear, ok := op.(compute.Linear)
	if !ok || linear.X != v || linear.X2.Valid() || !c.pairs(linear.Weight) {
		return false
	}
	times := 0
	for _, x := range op.Operands() {
		if x == v {
			times++
		}
	}
	return times == 1
}
