package cpu

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/attn"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

func (c *compiler) attentionGradient(op compute.AttentionGradient, out []compute.Value) (lowered, error) {
	q, k := c.program.Shape(op.Q), c.program.Shape(op.K)
	plan, err := attn.NewGradient(c.device.set, attn.Config{
		N: q[0], T: q[1], S: k[1], Heads: op.Heads, D: q[2] / op.Heads, Causal: op.Causal,
		// First tokens of a text see few others, so that the errors of rounded probabilities do not average out; and texts are short.
		BF16: c.device.precision == compute.PrecisionBF16 && !op.Causal,
	})
	if err != nil {
		return lowered{}, err
	}
	need := plan.Need()
	return lowered{
		need: gemm.Need{Workspace: need.Workspace, Scratch: need.Scratch},
		bind: func(b *binding) (step, error) {
			in := [4]span{b.place(op.Q), b.place(op.K), b.place(op.V), b.place(op.DY)}
			results := [3]span{b.place(out[0]), b.place(out[1]), b.place(out[2])}
			workspace, args := b.workspace, new(attn.GradientArgs)
			prepare := func() {
				*args = attn.GradientArgs{
					Q: in[0].f32(), K: in[1].f32(), V: in[2].f32(), DY: in[3].f32(),
					DQ: results[0].f32(), DK: results[1].f32(), DV: results[2].f32(), Workspace: workspace.f32(),
				}
			}
			return step{prepare, phases(plan, func(phase, task, worker int) {
				plan.Do(phase, task, b.device.scratch[worker].Floats, args)
			})}, nil
		},
	}, nil
}
