package sd

import (
	"context"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// The keys of programs: everything a program's shapes depend on.
type (
	// textKey: token ids [chunks,T] → hidden states [chunks,T,C].
	textKey struct{ chunks, clipSkip int }
	// contextKey: text context [predictions·batch, tokens, C] → keys and values of all cross-attentions.
	contextKey struct{ samples, tokens int }
	// stepKey: one evaluation of the UNet with the sampler's arithmetic around it.
	stepKey struct {
		batch, height, width, predictions, tokens, slots int
		unconditional                                    bool
	}
	// decodeKey: latents [1,h,w,4] → a picture [1,8h,8w,3] in [-1,1].
	decodeKey struct{ height, width int }
)

func (p *Pipeline) recordText(key textKey) (*compute.Program, error) {
	var b compute.Builder
	ids := b.Input("input_ids", compute.I32, key.chunks, p.networks.Tokenizer.MaxLength())
	b.Output(p.networks.Text.Forward(&b, ids, key.clipSkip-1))
	return b.Build()
}

func (p *Pipeline) recordContext(key contextKey) (*compute.Program, error) {
	var b compute.Builder
	context := b.Input("encoder_hidden_states", compute.F32, key.samples, key.tokens, p.networks.UNet.Config().CrossAttentionDim)
	for _, kv := range p.networks.UNet.ContextProjections(&b, context) {
		b.Output(kv.K)
		b.Output(kv.V)
	}
	return b.Build()
}

// recordStep records one evaluation of a sampling plan. Everything that changes from one evaluation to the next is
// an input, so that one program serves every step of every sampler with as many slots.
//
// Inputs: timestep [1], guidance weights [predictions], input mix [1, slots+1], mix [slots+1, terms], noise, the slots,
// then K and V of every cross-attention. Outputs: the new slots, then the estimate of the clean latents.
func (p *Pipeline) recordStep(key stepKey) (*compute.Program, error) {
	var b compute.Builder
	latents := []int{key.batch, key.height, key.width, p.networks.LatentChannels()}
	timestep := b.Input("timestep", compute.F32, 1)
	weights := b.Input("guidance", compute.F32, key.predictions)
	inputMix := b.Input("input_mix", compute.F32, 1, key.slots+1)
	mix := b.Input("mix", compute.F32, key.slots+1, terms(key.slots, key.unconditional))
	noise := b.Input("noise", compute.F32, latents...)
	var slots []compute.Value
	for i := range key.slots {
		slots = append(slots, b.Input(fmt.Sprintf("slot.%d", i), compute.F32, latents...))
	}
	cond := unet.Conditioning{Time: p.networks.UNet.TimeProjections(&b, timestep)}
	samples := key.batch * key.predictions
	for i, channels := range p.networks.UNet.ContextChannels() {
		cond.Context = append(cond.Context, unet.KV{
			K: b.Input(fmt.Sprintf("k.%d", i), compute.F32, samples, key.tokens, channels),
			V: b.Input(fmt.Sprintf("v.%d", i), compute.F32, samples, key.tokens, channels),
		})
	}

	sample := b.Op(compute.LinearCombination{Terms: append(slots[:key.slots:key.slots], noise), Coefficients: inputMix})
	model := p.networks.UNet.Forward(&b, sample, cond)
	guided := model
	if key.predictions > 1 {
		guided = b.Op(compute.GuidanceCombine{X: model, Weights: weights})
	}
	all := append(slots[:key.slots:key.slots], guided)
	if key.unconditional {
		all = append(all, b.Op(compute.Slice{X: model, Length: key.batch})) // the negative prompt's comes first
	}
	all = append(all, noise)
	for row := range key.slots + 1 {
		b.Output(b.Op(compute.LinearCombination{Terms: all, Coefficients: mix, Row: row}))
	}
	return b.Build()
}

func (p *Pipeline) recordDecode(key decodeKey) (*compute.Program, error) {
	var b compute.Builder
	latents := b.Input("latents", compute.F32, 1, key.height, key.width, p.networks.LatentChannels())
	b.Output(p.networks.VAE.Decode(&b, latents))
	return b.Build()
}

// maxCompiled bounds how many programs a pipeline keeps for later; a change of size or batch makes new ones.
const maxCompiled = 8

// programKey identifies a compiled program.
type programKey struct {
	on  *params
	key any // textKey, contextKey, stepKey or decodeKey
}

// compiled is a program in the pipeline's cache.
type compiled struct {
	compute.Executable
	kind  weights.Kind
	users int    // runs that hold it
	used  uint64 // when it was last acquired
}

// acquire returns the executable of key for a network with adapters merged into it, loading and compiling what is
// needed. The caller holds it, and with it the parameters, until release.
func (p *Pipeline) acquire(set adapters, key any) (*compiled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("sd: the pipeline is closed")
	}
	kind := network(key)
	on, err := p.load(kind, set)
	if err != nil {
		return nil, err
	}
	exe := p.programs[programKey{on, key}]
	if exe == nil {
		program, err := p.record(key)
		if err != nil {
			return nil, err
		}
		made, err := p.device.Compile(program, on.Params)
		if err != nil {
			return nil, fmt.Errorf("sd: %s: %w", p.checkpoint.Path(), err)
		}
		exe = &compiled{Executable: made, kind: kind}
		p.programs[programKey{on, key}] = exe
	}
	p.clock++
	exe.users++
	exe.used = p.clock
	return exe, nil
}

// release ends the use of an executable. It closes parameters whose place others have taken meanwhile, and the longest
// unused program if there are too many.
func (p *Pipeline) release(exe *compiled) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	exe.users--
	err := p.unloadIdle(exe.kind, p.current[exe.kind])
	if len(p.programs) <= maxCompiled {
		return err
	}
	var oldest programKey
	for key, c := range p.programs {
		if c.users == 0 && (oldest.on == nil || c.used < p.programs[oldest].used) {
			oldest = key
		}
	}
	if oldest.on == nil {
		return err
	}
	idle := p.programs[oldest]
	delete(p.programs, oldest)
	return errors.Join(err, idle.Close())
}

// run runs the program of key once, with adapters merged into its network.
func (p *Pipeline) run(ctx context.Context, set adapters, key any, out, in []compute.Tensor) error {
	exe, err := p.acquire(set, key)
	if err != nil {
		return err
	}
	return errors.Join(exe.Run(ctx, out, in), p.release(exe))
}

// network is the network that the program of key runs.
func network(key any) weights.Kind {
	switch key.(type) {
	case textKey:
		return weights.KindTextEncoder
	case contextKey, stepKey:
		return weights.KindUNet
	default:
		return weights.KindVAE
	}
}

// record makes the program of key.
func (p *Pipeline) record(key any) (*compute.Program, error) {
	switch key := key.(type) {
	case textKey:
		return p.recordText(key)
	case contextKey:
		return p.recordContext(key)
	case stepKey:
		return p.recordStep(key)
	default:
		return p.recordDecode(key.(decodeKey))
	}
}
