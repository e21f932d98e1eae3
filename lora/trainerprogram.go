package lora

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// programs are what a trainer has compiled.
type programs struct {
	micro  []*microStep // the most recently used one last
	update *updateStep
}

// maxCompiled bounds how many shapes of batches stay compiled.
const maxCompiled = 8

// microKey is everything that the program of a batch depends on.
type microKey struct {
	samples, height, width, tokens int
	perturbed, masked, dropout     bool
}

// microStep is the program of batches of one shape: from latents, noise and captions to the loss and its gradients.
type microStep struct {
	key     microKey
	exe     compute.Executable
	inputs  []compute.Tensor // of the batch, in the order of the program's
	loss    compute.Tensor
	in, out []compute.Tensor // of a run
}

// updateStep is the program that moves the factors.
type updateStep struct {
	exe          compute.Executable
	limits, clip compute.Tensor
	hyper        [groups]compute.Tensor
}

// check reports what of a batch does not fit.
func (k microKey) check(b TrainBatch, channels, modules int) error {
	if k.samples < 1 || k.height < 1 || k.width < 1 {
		return fmt.Errorf("lora: a batch of %d samples of %d×%d latents", k.samples, k.width, k.height)
	}
	pixels := k.samples * k.height * k.width
	elements := channels * pixels
	for _, c := range []struct {
		name       string
		have, want int
	}{
		{"latents", len(b.Latents), elements}, {"noise", len(b.Noise), elements}, {"timesteps", len(b.Timesteps), k.samples},
		{"token ids", len(b.IDs), k.samples * k.tokens},
	} {
		if c.have != c.want || c.want == 0 {
			return fmt.Errorf("lora: a batch with %d %s, want %d", c.have, c.name, c.want)
		}
	}
	if k.perturbed && len(b.Perturbed) != elements || k.masked && len(b.Mask) != pixels || b.Weights != nil && len(b.Weights) != k.samples {
		return fmt.Errorf("lora: a batch with %d perturbed noise, %d of a mask and %d weights for %d latents", len(b.Perturbed), len(b.Mask), len(b.Weights), pixels)
	}
	if k.dropout && len(b.Dropout) != modules {
		return fmt.Errorf("lora: a batch with dropout of %d modules, want %d", len(b.Dropout), modules)
	}
	if t := slices.Max(b.Timesteps); t >= trainSteps || slices.Min(b.Timesteps) < 0 {
		return fmt.Errorf("lora: a batch with timesteps %v, want 0 to %d", b.Timesteps, trainSteps-1)
	}
	return nil
}

// microStep is the compiled program of a batch.
func (t *Trainer) microStep(b TrainBatch) (*microStep, error) {
	key := microKey{b.Samples, b.Height, b.Width, 0, b.Perturbed != nil, b.Mask != nil, b.Dropout != nil}
	if b.Samples > 0 {
		key.tokens = len(b.IDs) / b.Samples
	}
	if err := key.check(b, t.unet.Config().InChannels, len(t.modules)); err != nil {
		return nil, err
	}
	for i, s := range t.micro {
		if s.key == key {
			t.micro = append(slices.Delete(t.micro, i, i+1), s)
			return s, nil
		}
	}
	if len(t.micro) == maxCompiled {
		oldest := t.micro[0]
		t.micro = slices.Delete(t.micro, 0, 1)
		if err := oldest.close(); err != nil {
			return nil, err
		}
	}
	p, err := t.recordMicro(key)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	s := &microStep{key: key}
	t.micro = append(t.micro, s)
	if s.exe, err = t.device.Compile(p, t.params); err == nil {
		own := len(p.Inputs) - len(t.factors)
		if t.options.Accumulation > 1 {
			own -= len(p.Outputs) - 1
		}
		s.inputs, err = t.tensors(p, p.Inputs[:own])
	}
	if err == nil {
		s.loss, err = t.device.NewTensor(compute.F32, 1)
	}
	if err != nil {
		t.micro = t.micro[:len(t.micro)-1]
		return nil, errors.Join(fmt.Errorf("lora: %w", err), s.close())
	}
	return s, nil
}

// tensors makes a tensor for each value.
func (t *Trainer) tensors(p *compute.Program, values []compute.Value) (all []compute.Tensor, err error) {
	for _, v := range values {
		x, err := t.device.NewTensor(p.Type(v).DType, p.Shape(v)...)
		if err != nil {
			return all, err
		}
		all = append(all, x)
	}
	return all, nil
}

// The columns of a batch's coefficients: √ᾱ, √(1-ᾱ) and -√(1-ᾱ).
const (
	signal = iota
	noise
	minusNoise
	coefficients
)

// recordMicro records a batch's program.
//
// Inputs: latents, noise, the noise mixed in if it is another, timesteps, coefficients, token ids, weights, the constant c
// and the mask if there is one, with accumulation the factor of the sums so far, the dropped ranks of each module if any
// are; then the factors, and with accumulation the sums. Outputs: the loss, then the gradient or new sum of each factor that the loss depends on.
func (t *Trainer) recordMicro(key microKey) (*compute.Program, error) {
	var b compute.Builder
	n, latents := key.samples, []int{key.samples, key.height, key.width, t.unet.Config().InChannels}
	z, e := b.Input("latents", compute.F32, latents...), b.Input("noise", compute.F32, latents...)
	mixed := e
	if key.perturbed {
		mixed = b.Input("perturbed_noise", compute.F32, latents...)
	}
	timesteps, mix := b.Input("timesteps", compute.F32, n), b.Input("coefficients", compute.F32, n, coefficients)
	ids := b.Input("input_ids", compute.I32, n, key.tokens)
	loss := compute.Loss{Target: e, Weights: b.Input("weights", compute.F32, n), Function: t.options.Loss}
	if t.huber() {
		loss.C = b.Input("huber_c", compute.F32, n)
	}
	if key.masked {
		loss.Mask = b.Input("mask", compute.F32, n, key.height, key.width, 1)
	}
	var keep compute.Value
	if t.options.Accumulation > 1 {
		keep = b.Input("keep", compute.F32, 1, 1)
	}
	factors, err := t.attach(&b, key)
	if err != nil {
		return nil, err
	}

	x := b.Op(compute.Add{A: b.Op(compute.Scale{X: z, Factors: mix, Column: signal}), B: b.Op(compute.Scale{X: mixed, Factors: mix, Column: noise})})
	if t.options.VParameterization {
		loss.Target = b.Op(compute.Add{A: b.Op(compute.Scale{X: e, Factors: mix, Column: signal}), B: b.Op(compute.Scale{X: z, Factors: mix, Column: minusNoise})})
	}
	context := t.text.Forward(&b, ids, max(1, t.options.ClipSkip)-1)
	loss.Prediction = t.unet.Apply(&b, x, timesteps, context)
	l := b.Op(loss)
	b.Output(l)
	gradient := compute.Gradient
	if t.options.Checkpointing {
		gradient = compute.CheckpointedGradient
	}
	for i, g := range gradient(&b, l, factors) {
		f := t.factors[i]
		f.untrained = !g.Valid()
		switch {
		case f.untrained:
		case t.options.Accumulation > 1:
			sum := b.Op(compute.Scale{X: b.Input("sum."+f.name, compute.F32, f.shape...), Factors: keep})
			b.Output(b.Op(compute.Add{A: sum, B: g}))
		default:
			b.Output(g)
		}
	}
	return b.Build()
}

// attach declares the dropped ranks, if any are, and the factors as inputs, and attaches them to the networks' layers.
func (t *Trainer) attach(b *compute.Builder, key microKey) (factors []compute.Value, err error) {
	masks := make([]compute.Value, len(t.modules))
	if key.dropout {
		for i := range t.modules {
			masks[i] = b.Input("dropout."+t.modules[i].Key(), compute.F32, key.samples, t.modules[i].Rank())
		}
	}
	for _, f := range t.factors {
		factors = append(factors, b.Input(f.name, compute.F32, f.shape...))
	}
	for i := range t.modules {
		m := &t.modules[i]
		a := &nn.Adapter{Down: factors[2*i], Up: factors[2*i+1], Scale: m.Scale(), Mask: masks[i]}
		if err := t.layers[m.Kind].Attach(m.Name, a); err != nil {
			return nil, err
		}
	}
	return factors, nil
}

// huber reports whether the loss has a constant for each sample.
func (t *Trainer) huber() bool {
	return t.options.Loss == compute.Huber || t.options.Loss == compute.SmoothL1
}

// upload hands a batch to the inputs of its program, in the order of their recording.
func (t *Trainer) upload(s *microStep, batch TrainBatch) error {
	var times, mix, sampleWeights, c []float32
	for i, step := range batch.Timesteps {
		a, snr := t.diffusion.signal[step], t.diffusion.snr[step]
		times = append(times, float32(step))
		mix = append(mix, float32(math.Sqrt(a)), float32(math.Sqrt(1-a)), float32(-math.Sqrt(1-a)))
		w := t.options.weight(snr) * t.scale
		if batch.Weights != nil {
			w *= float64(batch.Weights[i])
		}
		sampleWeights = append(sampleWeights, float32(w))
		c = append(c, float32(t.options.huber(step, snr)))
	}
	data := []any{batch.Latents, batch.Noise}
	if s.key.perturbed {
		data = append(data, batch.Perturbed)
	}
	data = append(data, times, mix, batch.IDs, sampleWeights)
	if t.huber() {
		data = append(data, c)
	}
	if s.key.masked {
		data = append(data, batch.Mask)
	}
	if t.options.Accumulation > 1 {
		keep := []float32{1}
		if t.batches == 0 {
			keep[0] = 0
		}
		data = append(data, keep)
	}
	for _, ranks := range batch.Dropout {
		data = append(data, ranks)
	}
	for i, d := range data {
		if err := s.inputs[i].Upload(d); err != nil {
			return fmt.Errorf("lora: %w", err)
		}
	}
	return nil
}

// updateStep is the compiled program of an update.
func (t *Trainer) updateStep() (*updateStep, error) {
	if t.update != nil {
		return t.update, nil
	}
	p, err := t.recordUpdate()
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	u := new(updateStep)
	var own []compute.Tensor
	if u.exe, err = t.device.Compile(p, t.params); err == nil {
		own, err = t.tensors(p, append(p.Inputs[:1+groups:1+groups], p.Outputs[0]))
	}
	if err != nil {
		for _, x := range own {
			err = errors.Join(err, x.Close())
		}
		return nil, errors.Join(fmt.Errorf("lora: %w", err), u.close())
	}
	u.limits, u.clip = own[0], own[1+groups]
	copy(u.hyper[:], own[1:])
	t.update = u
	return u, nil
}

// recordUpdate records the optimizer's step. Inputs: limits, the constants of each group; then gradient, parameter and
// moments of each factor. Outputs: factor and norm of the gradients; then parameter and moments of each factor.
func (t *Trainer) recordUpdate() (*compute.Program, error) {
	var b compute.Builder
	clip := compute.ClipNorm{Limits: b.Input("limits", compute.F32, 1, 2)}
	var hyper [groups]compute.Value
	for g := range hyper {
		hyper[g] = b.Input(fmt.Sprintf("hyper.%d", g), compute.F32, 1, 7)
	}
	var steps []compute.AdamW
	for _, f := range t.factors {
		if f.untrained {
			continue
		}
		in := func(what string) compute.Value { return b.Input(what+"."+f.name, compute.F32, f.shape...) }
		step := compute.AdamW{Gradient: in("gradient"), Hyper: hyper[f.group]}
		step.Parameter, step.M, step.V = in("parameter"), in("m"), in("v")
		steps = append(steps, step)
		clip.Gradients = append(clip.Gradients, step.Gradient)
	}
	factor := b.Op(clip)
	b.Output(factor)
	for _, step := range steps {
		step.Clip = factor
		for _, v := range b.Results(step) {
			b.Output(v)
		}
	}
	return b.Build()
}

func (s *microStep) close() error { return closeAll(s.exe, append(s.inputs, s.loss)...) }

func (u *updateStep) close() error {
	return closeAll(u.exe, append([]compute.Tensor{u.limits, u.clip}, u.hyper[:]...)...)
}

// closeAll closes what there is of a program and its tensors.
func closeAll(exe compute.Executable, tensors ...compute.Tensor) error {
	var errs []error
	if exe != nil {
		errs = append(errs, exe.Close())
	}
	for _, x := range tensors {
		if x != nil {
			errs = append(errs, x.Close())
		}
	}
	return errors.Join(errs...)
}

// close closes all programs.
func (p *programs) close() error {
	var errs []error
	for _, s := range p.micro {
		errs = append(errs, s.close())
	}
	if p.update != nil {
		errs = append(errs, p.update.close())
	}
	p.micro, p.update = nil, nil
	return errors.Join(errs...)
}
