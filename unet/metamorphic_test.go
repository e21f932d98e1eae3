package unet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// rounding is what two ways of computing the same may differ by, relative to the greatest element: devices may choose
// other kernels for other batches.
const rounding = 1e-5

func checkSame(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if d := golden.Compare(got, want); !(d.Relative <= rounding) {
		t.Errorf("%s: %v, tolerance %g", what, d, rounding)
	}
}

// network is a kit's UNet on a device with its golden inputs: two latents at two times with two contexts.
type network struct {
	*unet.Model
	dev                       compute.Device
	params                    *weights.Component
	sample, timestep, context golden.Tensor
}

func load(t *testing.T, k golden.Kit, dev compute.Device) network {
	m, params := open(t, k)
	in := k.Load(t, "unet")
	return network{m, dev, params, in.Tensor(t, "sample").ChannelsLast(), in.Tensor(t, "timestep"), in.Tensor(t, "encoder_hidden_states")}
}

// apply runs the network in one program.
func (n network) apply(t *testing.T, sample, timestep, context golden.Tensor) []float32 {
	t.Helper()
	var b compute.Builder
	x := b.Input("sample", compute.F32, sample.Shape...)
	time := b.Input("timestep", compute.F32, timestep.Shape...)
	c := b.Input("encoder_hidden_states", compute.F32, context.Shape...)
	b.Output(n.Apply(&b, x, time, c))
	return golden.Run(t, n.dev, n.params, &b, sample.Float32, timestep.Float32, context.Float32)[0]
}

// stack joins batches.
func stack(parts ...golden.Tensor) golden.Tensor {
	out := golden.Tensor{Shape: slices.Clone(parts[0].Shape)}
	out.Shape[0] = 0
	for _, p := range parts {
		out.Shape[0] += p.Shape[0]
		out.Float32 = append(out.Float32, p.Float32...)
	}
	return out
}

func TestBatchOfTwoIsTwoSingles(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		n := load(t, k, dev)
		both := n.apply(t, n.sample, n.timestep, n.context)
		half := len(both) / 2
		for i := range 2 {
			one := n.apply(t, n.sample.Sample(i), n.timestep.Sample(i), n.context.Sample(i))
			checkSame(t, fmt.Sprint("sample ", i), both[i*half:][:half], one)
		}
		if d := golden.Compare(both[:half], both[half:]); d.Relative <= rounding {
			t.Error("two latents with two contexts give the same")
		}
	})
}

// TestGuidanceShares compares a run of K contexts for every latent, which shares what it can, with plain runs.
func TestGuidanceShares(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		n := load(t, k, dev)
		a, b := n.context.Sample(0), n.context.Sample(1)

		x, time := n.sample.Sample(0), n.timestep.Sample(0)
		shared := n.apply(t, x, time, n.context)
		checkSame(t, "two contexts, one latent", shared, n.apply(t, stack(x, x), time, n.context))
		if half := len(shared) / 2; golden.Compare(shared[:half], shared[half:]).Relative <= rounding {
			t.Error("the context makes no difference")
		}

		// Two latents at their own times, three contexts for each: the first context's samples come first.
		contexts := stack(a, b, b, a, a, a)
		checkSame(t, "three contexts, two latents", n.apply(t, n.sample, n.timestep, contexts),
			n.apply(t, stack(n.sample, n.sample, n.sample), stack(n.timestep, n.timestep, n.timestep), contexts))
	})
}

// TestHoisted compares the network in one program with its three parts in programs of their own, the time projections
// of all steps in one of them.
func TestHoisted(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		n := load(t, k, dev)

		var times compute.Builder
		for _, v := range n.TimeProjections(&times, times.Input("timestep", compute.F32, n.timestep.Shape...)) {
			times.Output(v)
		}
		time := golden.Run(t, dev, n.params, &times, n.timestep.Float32)

		var contexts compute.Builder
		for _, kv := range n.ContextProjections(&contexts, contexts.Input("encoder_hidden_states", compute.F32, n.context.Shape...)) {
			contexts.Output(kv.K)
			contexts.Output(kv.V)
		}
		context := golden.Run(t, dev, n.params, &contexts, n.context.Float32)

		for step := range 2 {
			x := n.sample.Sample(step)
			var b compute.Builder
			var values []any
			input := func(name string, data []float32, shape ...int) compute.Value {
				values = append(values, data)
				return b.Input(name, compute.F32, shape...)
			}
			in := input("sample", x.Float32, x.Shape...)
			var c unet.Conditioning
			for i, channels := range n.TimeChannels() {
				c.Time = append(c.Time, input(fmt.Sprint("time.", i), time[i][step*channels:][:channels], 1, channels))
			}
			for i, channels := range n.ContextChannels() {
				shape := []int{n.context.Shape[0], n.context.Shape[1], channels}
				c.Context = append(c.Context, unet.KV{
					K: input(fmt.Sprint("k.", i), context[2*i], shape...),
					V: input(fmt.Sprint("v.", i), context[2*i+1], shape...),
				})
			}
			b.Output(n.Forward(&b, in, c))
			got := golden.Run(t, dev, n.params, &b, values...)[0]
			checkSame(t, fmt.Sprint("step ", step), got, n.apply(t, x, n.timestep.Sample(step), n.context))
		}
	})
}

// TestForwardErrors gives the network what does not fit it.
func TestForwardErrors(t *testing.T) {
	m := sd15(t)
	for _, c := range []struct {
		name                      string
		sample, timestep, context compute.Shape
		say                       string // where, and what is wrong
	}{
		{"channels of the latents", compute.Shape{1, 8, 8, 9}, compute.Shape{1}, compute.Shape{1, 77, 768}, "conv_in: Conv2D: input [1 8 8 9]"},
		{"rank of the latents", compute.Shape{8, 8, 4}, compute.Shape{1}, compute.Shape{1, 77, 768}, "conv_in: Conv2D: input [8 8 4]"},
		{"channels of the context", compute.Shape{1, 8, 8, 4}, compute.Shape{1}, compute.Shape{1, 77, 1024}, "attn2.to_k: Linear: weight is [320 768]"},
		{"rank of the context", compute.Shape{1, 8, 8, 4}, compute.Shape{1}, compute.Shape{77, 768}, "attn2: Attention: key F32[77 320]"},
		{"number of timesteps", compute.Shape{4, 8, 8, 4}, compute.Shape{3}, compute.Shape{4, 77, 768}, "down_blocks.0.resnets.0.conv1: Conv2D: per-channel addend is F32[3 320]"},
		{"number of contexts", compute.Shape{2, 8, 8, 4}, compute.Shape{2}, compute.Shape{3, 77, 768}, "attn2: Attention: key F32[3 77 320]"},
		{"no latents", nil, compute.Shape{1}, compute.Shape{1, 77, 768}, "conv_in: Conv2D: input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b compute.Builder
			var x compute.Value
			if c.sample != nil {
				x = b.Input("sample", compute.F32, c.sample...)
			}
			b.Output(m.Apply(&b, x, b.Input("timestep", compute.F32, c.timestep...), b.Input("encoder_hidden_states", compute.F32, c.context...)))
			if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
		})
	}
	t.Run("conditioning of another network", func(t *testing.T) {
		var b compute.Builder
		b.Output(m.Forward(&b, b.Input("sample", compute.F32, 1, 8, 8, 4), unet.Conditioning{}))
		if _, err := b.Build(); err == nil || !strings.HasPrefix(err.Error(), "unet: conditioning") {
			t.Errorf("the error is %v", err)
		}
	})
}
