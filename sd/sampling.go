package sd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/sampler"
)

// sampling is a run of a sampling plan on the device.
type sampling struct {
	pipe          *Pipeline
	plan          *sampler.Plan
	noise         *noise
	batch         int
	height, width int // of the latents

	cond    *conditioning
	step    *compiled
	tensors tensors

	call    int              // of the network, counted from 0
	said    []*text          // what the contexts are made of
	context upload           // all predictions' contexts
	kv      []compute.Tensor // their keys and values

	timestep, inputMix, mix, draw upload // what changes from one evaluation to the next

	slots   [2][]compute.Tensor // old and new state, in turn
	in, out [2][]compute.Tensor // of the step, with the one and the other of slots as the old state
	clean   compute.Tensor      // the estimate of the clean latents
	current int                 // which of slots is old

	measured [3][]float32 // slots that are measured
}

// upload is an input tensor with the host memory that fills it.
type upload struct {
	compute.Tensor
	host []float32
}

// newSampling prepares a run: it projects the context to keys and values, compiles the step and starts the state from
// the given noise of unit variance, [batch,height,width,C].
func (p *Pipeline) newSampling(ctx context.Context, plan *sampler.Plan, c *conditioning, n *noise, batch, height, width int, initial []float32) (_ *sampling, err error) {
	s := &sampling{
		pipe: p, plan: plan, noise: n, batch: batch, height: height, width: width,
		cond: c, said: make([]*text, len(c.weights)), tensors: tensors{device: p.device},
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	predictions, slots := len(c.weights), plan.Slots
	if s.step, err = p.acquire(c.adapters, stepKey{batch, height, width, predictions, c.tokens, slots, plan.Unconditional}); err != nil {
		return nil, err
	}

	t, latents := &s.tensors, []int{batch, height, width, p.networks.LatentChannels()}
	s.timestep = t.input(1)
	guidance := t.input(predictions)
	s.inputMix = t.input(1, slots+1)
	s.mix = t.input(slots+1, terms(slots, plan.Unconditional))
	s.draw = t.input(latents...)
	for i := range s.slots {
		for range slots {
			s.slots[i] = append(s.slots[i], t.make(compute.F32, latents...))
		}
	}
	s.clean = t.make(compute.F32, latents...)
	s.context = t.input(predictions*batch, c.tokens, p.networks.UNet.Config().CrossAttentionDim)
	for _, channels := range p.networks.UNet.ContextChannels() {
		s.kv = append(s.kv, t.make(compute.F32, predictions*batch, c.tokens, channels), t.make(compute.F32, predictions*batch, c.tokens, channels))
	}
	for i, old := range s.slots {
		s.in[i] = slices.Concat([]compute.Tensor{s.timestep.Tensor, guidance.Tensor, s.inputMix.Tensor, s.mix.Tensor, s.draw.Tensor}, old, s.kv)
		s.out[i] = slices.Concat(s.slots[1-i], []compute.Tensor{s.clean})
	}

	copy(guidance.host, c.weights)
	t.fill(guidance)
	for i, v := range initial {
		s.draw.host[i] = float32(plan.Start.Noise) * v
	}
	t.upload(s.slots[0][0], compute.Floats(s.draw.host))
	return s, errors.Join(t.err, s.say(ctx))
}

// say computes K and V of every cross-attention from what the prompts say at this call of the network, if that is something new.
func (s *sampling) say(ctx context.Context) error {
	changed := false
	for i, part := range s.cond.parts {
		if now := part.active(s.call); now != s.said[i] {
			s.said[i], changed = now, true
		}
	}
	if !changed {
		return nil
	}
	all := s.context.host[:0]
	for _, one := range s.said {
		for range s.batch {
			all = append(all, one.context...)
		}
	}
	s.tensors.fill(s.context)
	if s.tensors.err != nil {
		return s.tensors.err
	}
	return s.pipe.run(ctx, s.cond.adapters, contextKey{len(s.said) * s.batch, s.cond.tokens}, s.kv, []compute.Tensor{s.context.Tensor})
}

// evaluate runs an evaluation of the plan and measures what that wants to know. It allocates nothing but for the first measurement
// and where the prompt changes.
func (s *sampling) evaluate(ctx context.Context, e *sampler.Eval) (measured float64, err error) {
	if err := s.say(ctx); err != nil {
		return 0, err
	}
	s.call++
	t, slots := &s.tensors, s.plan.Slots
	width := terms(slots, s.plan.Unconditional)
	s.timestep.host[0] = float32(e.Timestep)
	t.fill(s.timestep)
	putSlots(s.inputMix.host, e.Input, slots)
	s.inputMix.host[slots] = float32(e.Input.Noise)
	t.fill(s.inputMix)
	for i := range slots + 1 {
		m, row := e.Denoised, s.mix.host[i*width:][:width]
		if i < slots {
			m = e.Update[i]
		}
		putSlots(row, m, slots)
		row[slots], row[slots+1], row[width-1] = float32(m.Model), float32(m.Unconditional), float32(m.Noise)
	}
	t.fill(s.mix)
	if s.noise != nil && s.noise.fill(s.draw.host, e.Noise) {
		t.fill(s.draw)
	}
	if t.err != nil {
		return 0, t.err
	}
	if err := s.step.Run(ctx, s.out[s.current], s.in[s.current]); err != nil {
		return 0, err
	}
	s.current = 1 - s.current
	if e.Measure != nil {
		measured = s.measure(e.Measure)
	}
	return measured, t.err
}

// measure makes a measurement of the new slots.
func (s *sampling) measure(d *sampler.Distance) float64 {
	for i, slot := range [...]int{d.A, d.B, d.Reference} {
		if s.measured[i] == nil {
			s.measured[i] = make([]float32, len(s.draw.host))
		}
		s.tensors.download(compute.Floats(s.measured[i]), s.slots[s.current][slot])
	}
	return d.Between(s.measured[0], s.measured[1], s.measured[2])
}

// terms is the number of tensors that a mix combines: the slots, the model's output, the unconditional one if it is used, noise.
func terms(slots int, unconditional bool) int {
	if unconditional {
		return slots + 3
	}
	return slots + 2
}

// putSlots writes the coefficients of a mix's slots.
func putSlots(row []float32, m sampler.Mix, slots int) {
	for i, c := range m.Slot[:slots] {
		row[i] = float32(c)
	}
}

// latents downloads the state of the run, [batch,height,width,C].
func (s *sampling) latents() ([]float32, error) { return s.download(s.slots[s.current][0]) }

// estimate downloads the last evaluation's estimate of the clean latents.
func (s *sampling) estimate() ([]float32, error) { return s.download(s.clean) }

func (s *sampling) download(from compute.Tensor) ([]float32, error) {
	host := make([]float32, len(s.draw.host))
	s.tensors.download(compute.Floats(host), from)
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

// input makes an input tensor and its host memory.
func (t *tensors) input(shape ...int) upload {
	return upload{t.make(compute.F32, shape...), make([]float32, compute.Shape(shape).Elements())}
}

// fill uploads the host memory of an input.
func (t *tensors) fill(u upload) { t.upload(u.Tensor, compute.Floats(u.host)) }

func (t *tensors) upload(to compute.Tensor, host compute.Buffer) {
	if t.err == nil {
		t.err = to.Upload(host)
	}
}

func (t *tensors) download(host compute.Buffer, from compute.Tensor) {
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
