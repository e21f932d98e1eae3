package sd

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// maxCompiled bounds how many programs a pipeline keeps for later; a change of size or batch makes new ones.
const maxCompiled = 8

// frame prepares a program on its network with adapters merged into it.
func (p *Pipeline) frame(set adapters, k engine.Key) (*engine.Frame, error) {
	kind := k.Network()
	changing, id := set.of(kind)
	return p.cache.Frame(k, engine.Variant{ID: id, Source: func() (compute.ParamSource, error) {
		return lora.Merge(p.networks.Components[kind], kind, lora.MergeOptions{}, changing...)
	}})
}

// stepKey is one evaluation of a sampling plan: the UNet with the sampler's arithmetic around it. Everything that changes
// from one evaluation to the next is an input, so that one program serves every step of every sampler with as many slots.
//
// Inputs: "timestep" [1], "guidance" [predictions], "input_mix" [1, slots+1], "mix" [slots+1, terms], "noise", the slots "slot.i", keys and
// values of every cross-attention as of [engine.ContextKey]; "shown" for a UNet made for inpainting; with a mask "mask_drawn", "mask_kept" and
// "clean_latents", and "known" [1, 2] if it masks the output. Outputs: the new slots, and "clean", the estimate of the clean latents.
// With rescale there is another input, "guidance_1", the weights of a guidance that changes nothing. With a cut there is another
// output, "deep", what comes from below it in the network, which is an input of the step above it.
type stepKey struct {
	batch, height, width, predictions, tokens, slots int
	unconditional                                    bool
	options                                          unet.Options
	rescale                                          float64
	cut                                              int // a layer of the up blocks, 0 if the network is not cut
	shallow                                          bool
	masking                                          masking
}

// above is the step that leaves out what is below the cut.
func (k stepKey) above() stepKey {
	k.shallow = true
	return k
}

// Network implements engine.Key.
func (stepKey) Network() weights.Kind { return weights.KindUNet }

// Record implements engine.Key.
func (k stepKey) Record(r *engine.Recorder, n *engine.Networks) {
	latents := []int{k.batch, k.height, k.width, n.LatentChannels()}
	timestep := r.Input("timestep", compute.F32, 1)
	guidance := r.Input("guidance", compute.F32, k.predictions)
	inputMix := r.Input("input_mix", compute.F32, 1, k.slots+1)
	mix := r.Input("mix", compute.F32, k.slots+1, terms(k.slots, k.unconditional))
	noise := r.Input("noise", compute.F32, latents...)
	var slots []compute.Value
	for i := range k.slots {
		slots = append(slots, r.Input(slotName(i), compute.F32, latents...))
	}
	cond := unet.Conditioning{Time: n.UNet.TimeProjections(&r.Builder, timestep)}
	samples := k.batch * k.predictions
	for i, channels := range n.UNet.ContextChannels() {
		keys, values := engine.ContextNames(i)
		cond.Context = append(cond.Context, unet.KV{
			K: r.Input(keys, compute.F32, samples, k.tokens, channels),
			V: r.Input(values, compute.F32, samples, k.tokens, channels),
		})
	}

	sample := r.Op(compute.LinearCombination{Terms: append(slots[:k.slots:k.slots], noise), Coefficients: inputMix})
	var mask [2]compute.Value
	var clean compute.Value
	if k.masking != unmasked {
		mask = [2]compute.Value{r.Input("mask_drawn", compute.F32, latents...), r.Input("mask_kept", compute.F32, latents...)}
		clean = r.Input("clean_latents", compute.F32, latents...)
	}
	if k.masking == masksInput {
		sample = blend(r, sample, clean, mask)
	}
	seen := sample
	if more := n.Shown(); more > 0 {
		seen = r.Op(compute.Concat{Parts: []compute.Value{sample, r.Input("shown", compute.F32, k.batch, k.height, k.width, more)}, Axis: 3})
	}
	model := k.predict(r, n.UNet.With(k.options), seen, cond)
	guided := model
	if k.predictions > 1 {
		combine := compute.GuidanceCombine{X: model, Weights: guidance, Rescale: k.rescale}
		if k.rescale > 0 {
			combine.Like = r.Op(compute.GuidanceCombine{X: model, Weights: r.Input("guidance_1", compute.F32, k.predictions)})
		}
		guided = r.Op(combine)
	}
	if k.masking == masksOutput {
		known := r.Input("known", compute.F32, 1, 2)
		guided = blend(r, guided, r.Op(compute.LinearCombination{Terms: []compute.Value{sample, clean}, Coefficients: known}), mask)
	}
	all := append(slots[:k.slots:k.slots], guided)
	if k.unconditional {
		all = append(all, r.Op(compute.Slice{X: model, Length: k.batch})) // the negative prompt's comes first
	}
	all = append(all, noise)
	for row := range k.slots + 1 {
		name := slotName(row)
		if row == k.slots {
			name = "clean"
		}
		r.Output(name, r.Op(compute.LinearCombination{Terms: all, Coefficients: mix, Row: row}))
	}
}

// predict records the network, or what is above the cut.
func (k stepKey) predict(r *engine.Recorder, net *unet.Model, sample compute.Value, c unet.Conditioning) compute.Value {
	if k.cut == 0 {
		return net.Forward(&r.Builder, sample, c)
	}
	if k.shallow {
		h, w, channels := net.DeepShape(k.cut, k.height, k.width)
		deep := r.Input("deep", compute.F32, k.batch*k.predictions, h, w, channels)
		return net.ForwardShallow(&r.Builder, sample, deep, c, k.cut)
	}
	model, deep := net.ForwardDeep(&r.Builder, sample, c, k.cut)
	r.Output("deep", deep)
	return model
}

// slotName names a slot, as it was and as it becomes.
func slotName(i int) string { return fmt.Sprintf("slot.%d", i) }
