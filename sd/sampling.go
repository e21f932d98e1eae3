package sd

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/sampler"
)

// conditioning is what text makes of a request: one context per prediction, [tokens,C] each.
type conditioning struct {
	contexts [][]float32
	tokens   int
	weights  []float32 // of the predictions in the guided one
}

// encode turns the prompts of a request into its conditioning.
func (p *Pipeline) encode(ctx context.Context, r Request) (*conditioning, error) {
	prompts, err := p.tokenize(r)
	if err != nil {
		return nil, err
	}
	hidden, err := p.encodeChunks(ctx, prompts.sequences, r.ClipSkip)
	if err != nil {
		return nil, err
	}
	c := &conditioning{tokens: prompts.chunks * p.tokenizer.MaxLength(), weights: prompts.weights}
	size := len(hidden) / len(prompts.weights)
	for i := range prompts.weights {
		c.contexts = append(c.contexts, hidden[i*size:][:size])
	}
	return c, nil
}

// encodeChunks runs the text encoder on token sequences and returns their hidden states, [chunks,T,C].
func (p *Pipeline) encodeChunks(ctx context.Context, chunks [][]int32, clipSkip int) ([]float32, error) {
	length, width := p.tokenizer.MaxLength(), p.text.Config().HiddenSize
	ids := make([]int32, 0, len(chunks)*length)
	for _, c := range chunks {
		ids = append(ids, c...)
	}
	t := tensors{device: p.device}
	defer t.close()
	in := t.make(compute.I32, len(chunks), length)
	out := t.make(compute.F32, len(chunks), length, width)
	hidden := make([]float32, len(ids)*width)
	t.upload(in, ids)
	if t.err == nil {
		t.err = p.run(ctx, textKey{len(chunks), clipSkip}, []compute.Tensor{out}, []compute.Tensor{in})
	}
	t.download(hidden, out)
	return hidden, t.err
}

// sampling is a run of a sampling plan on the device.
type sampling struct {
	pipe          *Pipeline
	plan          *sampler.Plan
	noise         *noise
	batch         int
	height, width int // of the latents

	step     *compiled
	tensors  tensors
	fixed    []compute.Tensor    // inputs that stay put: timestep, guidance, input mix, mix, noise
	context  []compute.Tensor    // K and V of every cross-attention
	slots    [2][]compute.Tensor // old and new state, in turn
	clean    compute.Tensor      // the estimate of the clean latents
	current  int                 // which of slots is old
	elements int                 // of the latents
	host     []float32           // noise on its way to the device
	mixes    []float32
}

// newSampling prepares a run: it projects the context to keys and values, compiles the step and starts the state from
// the given noise of unit variance, [batch,height,width,C].
func (p *Pipeline) newSampling(ctx context.Context, plan *sampler.Plan, c *conditioning, n *noise, batch, height, width int, initial []float32) (_ *sampling, err error) {
	s := &sampling{pipe: p, plan: plan, noise: n, batch: batch, height: height, width: width, tensors: tensors{device: p.device}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	predictions := len(c.contexts)
	if err := s.projectContext(ctx, c); err != nil {
		return nil, err
	}
	if s.step, err = p.acquire(stepKey{batch, height, width, predictions, c.tokens, plan.Slots}); err != nil {
		return nil, err
	}

	t, shape := &s.tensors, []int{batch, height, width, p.unet.Config().InChannels}
	s.fixed = []compute.Tensor{
		t.make(compute.F32, 1),
		t.make(compute.F32, predictions),
		t.make(compute.F32, 1, plan.Slots+1),
		t.make(compute.F32, plan.Slots+1, plan.Slots+2),
		t.make(compute.F32, shape...),
	}
	for i := range s.slots {
		for range plan.Slots {
			s.slots[i] = append(s.slots[i], t.make(compute.F32, shape...))
		}
	}
	s.clean = t.make(compute.F32, shape...)
	s.elements = len(initial)
	s.host = make([]float32, len(initial))
	for i, v := range initial {
		s.host[i] = float32(plan.Start.Noise) * v
	}
	t.upload(s.slots[0][0], s.host)
	t.upload(s.fixed[1], c.weights)
	return s, t.err
}

// projectContext computes the keys and values of every cross-attention, which no step changes.
func (s *sampling) projectContext(ctx context.Context, c *conditioning) error {
	p, t := s.pipe, &s.tensors
	samples := len(c.contexts) * s.batch
	width := p.unet.Config().CrossAttentionDim
	all := make([]float32, 0, samples*c.tokens*width)
	for _, one := range c.contexts {
		for range s.batch {
			all = append(all, one...)
		}
	}
	in := t.make(compute.F32, samples, c.tokens, width)
	for _, channels := range p.unet.ContextChannels() {
		s.context = append(s.context,
			t.make(compute.F32, samples, c.tokens, channels),
			t.make(compute.F32, samples, c.tokens, channels))
	}
	t.upload(in, all)
	if t.err != nil {
		return t.err
	}
	return p.run(ctx, contextKey{samples, c.tokens}, s.context, []compute.Tensor{in})
}

// evaluate runs evaluation e of the plan.
func (s *sampling) evaluate(ctx context.Context, e sampler.Eval) error {
	t, slots := &s.tensors, s.plan.Slots
	t.upload(s.fixed[0], []float32{float32(e.Timestep)})
	s.mixes = append(appendSlots(s.mixes[:0], e.Input, slots), float32(e.Input.Noise))
	t.upload(s.fixed[2], s.mixes)
	s.mixes = s.mixes[:0]
	for _, m := range append(e.Update[:slots:slots], e.Denoised) {
		s.mixes = append(appendSlots(s.mixes, m, slots), float32(m.Model), float32(m.Noise))
	}
	t.upload(s.fixed[3], s.mixes)
	if s.noise != nil && s.noise.fill(s.host, e.Noise) {
		t.upload(s.fixed[4], s.host)
	}
	if t.err != nil {
		return t.err
	}
	old, next := s.slots[s.current], s.slots[1-s.current]
	in := append(append(append([]compute.Tensor(nil), s.fixed...), old...), s.context...)
	out := append(next[:slots:slots], s.clean)
	if err := s.step.Run(ctx, out, in); err != nil {
		return err
	}
	s.current = 1 - s.current
	return nil
}

func appendSlots(dst []float32, m sampler.Mix, slots int) []float32 {
	for _, c := range m.Slot[:slots] {
		dst = append(dst, float32(c))
	}
	return dst
}

// latents downloads the state of the run, [batch,height,width,C].
func (s *sampling) latents() ([]float32, error) { return s.download(s.slots[s.current][0]) }

// estimate downloads the last evaluation's estimate of the clean latents.
func (s *sampling) estimate() ([]float32, error) { return s.download(s.clean) }

func (s *sampling) download(from compute.Tensor) ([]float32, error) {
	host := make([]float32, s.elements)
	s.tensors.download(host, from)
	for i, v := range host {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("sd: element %d of the latents is %v: the model does not work with these settings; try another sampler, a lower guidance, fp32 precision", i, v)
		}
	}
	return host, s.tensors.err
}

func (s *sampling) close() error {
	var err error
	if s.step != nil {
		err = s.pipe.release(s.step)
		s.step = nil
	}
	return errors.Join(err, s.tensors.close())
}

// tensors makes and moves tensors, keeping the first error so that callers check once.
type tensors struct {
	device compute.Device
	all    []compute.Tensor
	err    error
}

func (t *tensors) make(typ compute.DType, shape ...int) compute.Tensor {
	made, err := t.device.NewTensor(typ, shape...)
	if err != nil {
		t.keep(err)
		return nil
	}
	t.all = append(t.all, made)
	return made
}

func (t *tensors) upload(to compute.Tensor, host any) {
	if t.err == nil {
		t.err = to.Upload(host)
	}
}

func (t *tensors) download(host any, from compute.Tensor) {
	if t.err == nil {
		t.err = from.Download(host)
	}
}

func (t *tensors) keep(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tensors) close() error {
	var errs []error
	for _, one := range t.all {
		errs = append(errs, one.Close())
	}
	t.all = nil
	return errors.Join(errs...)
}
