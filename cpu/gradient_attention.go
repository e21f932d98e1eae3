package cpu

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/attn"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// statistics are what attention keeps of its scores, log Σ exp of each query, where a gradient reads its result: a place for
// each of these results, from the end of the values in the arena on, and the bytes of all.
type statistics struct {
	places map[compute.Value]span
	size   int
}

// findStatistics finds the attentions whose gradients the program has too. One that rounds otherwise than its gradient is none.
func (c *compiler) findStatistics() {
	c.statistics = statistics{places: make(map[compute.Value]span)}
	for _, n := range c.program.Nodes {
		op, ok := n.Op.(compute.AttentionGradient)
		if !ok || !op.Y.Valid() || c.program.Values[op.Y.Index()].Node < 0 || c.roundsAttention() != c.roundsGradient(op) {
			continue
		}
		if _, ok := c.program.Nodes[c.program.Values[op.Y.Index()].Node].Op.(compute.Attention); ok {
			q := c.program.Shape(op.Q)
			n := q[0] * q[1] * op.Heads
			c.statistics.places[op.Y] = span{offset: c.statistics.size, n: n}
			c.statistics.size += 4 * n
		}
	}
}

// roundsAttention reports whether attention rounds its factors to bfloat16.
func (c *compiler) roundsAttention() bool { return c.device.precision == compute.PrecisionBF16 }

// roundsGradient reports whether the gradient does. First tokens of a text see few others, so that the errors of rounded
// probabilities would not average out; and texts are short.
func (c *compiler) roundsGradient(op compute.AttentionGradient) bool {
	return c.roundsAttention() && !op.Causal
}

func (c *compiler) attentionGradient(op compute.AttentionGradient, out []compute.Value) (lowered, error) {
	q, k := c.program.Shape(op.Q), c.program.Shape(op.K)
	_, given := c.statistics.places[op.Y]
	plan, err := attn.NewGradient(c.device.set, attn.Config{
		N: q[0], T: q[1], S: k[1], Heads: op.Heads, D: q[2] / op.Heads, Causal: op.Causal, BF16: c.roundsGradient(op),
	}, given)
	if err != nil {
		return lowered{}, err
	}
	need := plan.Need()
	return lowered{
		need: gemm.Need{Workspace: need.Workspace, Scratch: need.Scratch},
		bind: func(b *binding) (step, error) {
			in := [5]span{b.place(op.Q), b.place(op.K), b.place(op.V), b.place(op.DY), b.optional(op.Y)}
			results := [3]span{b.place(out[0]), b.place(out[1]), b.place(out[2])}
			workspace, lse, args := b.workspace, b.statistics(op.Y), new(attn.GradientArgs)
			prepare := func() {
				*args = attn.GradientArgs{
					Q: in[0].f32(), K: in[1].f32(), V: in[2].f32(), DY: in[3].f32(), Y: in[4].f32(), LSE: lse.f32(),
					DQ: results[0].f32(), DK: results[1].f32(), DV: results[2].f32(), Workspace: workspace.f32(),
				}
			}
			return step{prepare, phases(plan, func(phase, task, worker int) {
				plan.Do(phase, task, b.device.scratch[worker].Floats, args)
			})}, nil
		},
	}, nil
}
