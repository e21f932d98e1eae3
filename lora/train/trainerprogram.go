package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/nn"
	"github.com/atelier-go/atelier/weights"
)

// programs are what a trainer has compiled.
type programs struct {
	micro  []*microStep // the most recently used one last
	update *updateStep
}

// maxCompiled bounds how many shapes of batches stay compiled, those that are only evaluated among them.
const maxCompiled = 16

// mirror is a tensor with its like on the host.
type mirror struct {
	compute.Buffer
	tensor compute.Tensor
}

func (m *mirror) upload() error   { return m.tensor.Upload(m.Buffer) }
func (m *mirror) download() error { return m.tensor.Download(m.Buffer) }

// microKey is everything that the program of a batch depends on.
type microKey struct {
	samples, height, width, tokens               int
	perturbed, masked, dropRanks, drop, evaluate bool
}

// microStep is the program of batches of one shape: from latents, noise and captions to the loss and its gradients.
type microStep struct {
	key     microKey
	exe     compute.Executable
	inputs  []mirror // of the batch, in the order of the program's
	masks   []mirror // of dropped numbers
	loss    mirror
	in, out []compute.Tensor // of a run
}

// updateStep is the program that moves the factors, or that only measures their gradients for an optimizer on the host.
type updateStep struct {
	exe          compute.Executable
	limits, clip mirror
	hyper        []mirror // of each group, with AdamW
	trained      []*factor
	tensors      []optim.Tensor   // of the trained factors, for an optimizer on the host
	in, out      []compute.Tensor // of a run
}

// check reports what of a batch does not fit.
func (t *Trainer) check(k microKey, b *Batch) error {
	if k.samples < 1 || k.height < 1 || k.width < 1 {
		return fmt.Errorf("lora: a batch of %d samples of %d×%d latents", k.samples, k.width, k.height)
	}
	pixels := k.samples * k.height * k.width
	elements := t.networks.LatentChannels() * pixels
	for _, c := range [...]struct {
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
	if length := t.networks.Text.Config().MaxPositionEmbeddings; k.tokens > length && (k.tokens%length != 0 || k.tokens > maxChunks*length) {
		return fmt.Errorf("lora: a batch with captions of %d tokens, want at most %d, or up to %d chunks of %d", k.tokens, length, maxChunks, length)
	}
	if k.perturbed && len(b.Perturbed) != elements || k.masked && len(b.Mask) != pixels || b.Weights != nil && len(b.Weights) != k.samples {
		return fmt.Errorf("lora: a batch with %d perturbed noise, %d of a mask and %d weights for %d latents", len(b.Perturbed), len(b.Mask), len(b.Weights), pixels)
	}
	if !(b.NetworkDropout >= 0 && b.NetworkDropout < 1) {
		return fmt.Errorf("lora: a batch with network_dropout %v, want 0 to below 1", b.NetworkDropout)
	}
	if k.dropRanks && len(b.Dropout) != len(t.modules) {
		return fmt.Errorf("lora: a batch with dropout of %d modules, want %d", len(b.Dropout), len(t.modules))
	}
	for i, ranks := range b.Dropout {
		if want := t.rows(k, t.modules[i].Kind) * t.modules[i].Rank(); len(ranks) != want {
			return fmt.Errorf("lora: a batch with dropout of %d ranks in module %q, want %d", len(ranks), t.modules[i].Name, want)
		}
	}
	if t := slices.Max(b.Timesteps); t >= trainSteps || slices.Min(b.Timesteps) < 0 {
		return fmt.Errorf("lora: a batch with timesteps %v, want 0 to %d", b.Timesteps, trainSteps-1)
	}
	return nil
}

// chunks is how many times the text encoder reads for each caption.
func (t *Trainer) chunks(k microKey) int {
	return max(1, k.tokens/t.networks.Text.Config().MaxPositionEmbeddings)
}

// rows is the number of samples that a network reads in a batch.
func (t *Trainer) rows(k microKey, kind weights.Kind) int {
	if kind == weights.KindTextEncoder {
		return k.samples * t.chunks(k)
	}
	return k.samples
}

// microStep is the compiled program of a batch.
func (t *Trainer) microStep(b *Batch, evaluate bool) (*microStep, error) {
	key := microKey{b.Samples, b.Height, b.Width, 0, b.Perturbed != nil, b.Mask != nil, b.Dropout != nil, b.NetworkDropout != 0, evaluate}
	if b.Samples > 0 {
		key.tokens = len(b.IDs) / b.Samples
	}
	if err := t.check(key, b); err != nil {
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
	if err := t.compileMicro(s, p); err != nil {
		return nil, errors.Join(fmt.Errorf("lora: %w", err), s.close())
	}
	t.micro = append(t.micro, s)
	return s, nil
}

// compileMicro makes a batch's program ready to run.
func (t *Trainer) compileMicro(s *microStep, p *compute.Program) (err error) {
	if s.exe, err = t.device.Compile(p, t.params); err != nil {
		return err
	}
	own := slices.IndexFunc(p.Inputs, func(v compute.Value) bool { return p.Values[v.Index()].Name == t.factors[0].name })
	if s.inputs, err = t.mirrors(p, p.Inputs[:own]); err != nil {
		return err
	}
	last := len(p.Inputs)
	if t.accumulates(s.key) {
		last -= len(p.Outputs) - 1
	}
	if s.masks, err = t.mirrors(p, p.Inputs[own+len(t.factors):last]); err != nil {
		return err
	}
	loss, err := t.mirrors(p, p.Outputs[:1])
	if err == nil {
		s.loss = loss[0]
	}
	return err
}

// accumulates reports whether a program adds its gradients to those before.
func (t *Trainer) accumulates(k microKey) bool { return t.options.Accumulation > 1 && !k.evaluate }

// mirrors makes a tensor for each value.
func (t *Trainer) mirrors(p *compute.Program, values []compute.Value) (all []mirror, err error) {
	for _, v := range values {
		typ := p.Type(v)
		x, err := t.device.NewTensor(typ.DType, typ.Shape...)
		if err != nil {
			return all, err
		}
		all = append(all, mirror{compute.NewBuffer(typ), x})
	}
	return all, nil
}

// bind lists the tensors of a run in the order of the program's.
func (t *Trainer) bind(s *microStep) {
	s.in, s.out = s.in[:0], append(s.out[:0], s.loss.tensor)
	for i := range s.inputs {
		s.in = append(s.in, s.inputs[i].tensor)
	}
	for _, f := range t.factors {
		s.in = append(s.in, f.now[0])
	}
	for i := range s.masks {
		s.in = append(s.in, s.masks[i].tensor)
	}
	for _, f := range t.factors {
		switch {
		case f.untrained || s.key.evaluate:
		case t.options.Accumulation > 1:
			s.in, s.out = append(s.in, f.gradient), append(s.out, f.gradient)
		default:
			s.out = append(s.out, f.gradient)
		}
	}
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
// Inputs: token ids, latents, noise, the noise mixed in if it is another, timesteps, coefficients, weights, the constant c
// and the mask if there is one, with accumulation the factor of the sums so far, the dropped ranks of each module if any
// are; the factors; the dropped numbers of each module if any are; with accumulation the sums. Outputs: the loss, then,
// unless it is only evaluated, the gradient or new sum of each factor that the loss depends on.
func (t *Trainer) recordMicro(key microKey) (*compute.Program, error) {
	var b compute.Builder
	n, latents := key.samples, []int{key.samples, key.height, key.width, t.networks.LatentChannels()}
	ids := b.Input("input_ids", compute.I32, t.rows(key, weights.KindTextEncoder), key.tokens/t.chunks(key))
	z, e := b.Input("latents", compute.F32, latents...), b.Input("noise", compute.F32, latents...)
	mixed := e
	if key.perturbed {
		mixed = b.Input("perturbed_noise", compute.F32, latents...)
	}
	timesteps, mix := b.Input("timesteps", compute.F32, n), b.Input("coefficients", compute.F32, n, coefficients)
	loss := compute.Loss{Target: e, Weights: b.Input("weights", compute.F32, n), Function: t.options.Loss}
	if t.huber() {
		loss.C = b.Input("huber_c", compute.F32, n)
	}
	if key.masked {
		loss.Mask = b.Input("mask", compute.F32, n, key.height, key.width, 1)
	}
	var keep compute.Value
	if t.accumulates(key) {
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
	context := t.networks.Text.Forward(&b, ids, max(1, t.options.ClipSkip)-1)
	loss.Prediction = t.networks.UNet.Apply(&b, x, timesteps, join(&b, context, t.chunks(key)))
	l := b.Op(loss)
	b.Output(l)
	if !key.evaluate {
		t.recordGradients(&b, l, factors, keep)
	}
	return b.Build()
}

// recordGradients records those of the loss, added to keep times those before if there is a keep.
func (t *Trainer) recordGradients(b *compute.Builder, loss compute.Value, factors []compute.Value, keep compute.Value) {
	gradient := compute.Gradient
	if t.options.Checkpointing {
		gradient = compute.CheckpointedGradient
	}
	for i, g := range gradient(b, loss, factors) {
		f := t.factors[i]
		f.untrained = !g.Valid()
		switch {
		case f.untrained:
		case keep.Valid():
			sum := b.Op(compute.Scale{X: b.Input("sum."+f.name, compute.F32, f.shape...), Factors: keep})
			b.Output(b.Op(compute.Add{A: sum, B: g}))
		default:
			b.Output(g)
		}
	}
}

// attach declares the dropped ranks, if any are, and the factors as inputs, and attaches them to the networks' layers.
func (t *Trainer) attach(b *compute.Builder, key microKey) (factors []compute.Value, err error) {
	masks := make([]compute.Value, len(t.modules))
	for i := range t.modules {
		if m := &t.modules[i]; key.dropRanks {
			masks[i] = b.Input("rank_dropout."+m.Key(), compute.F32, t.rows(key, m.Kind), m.Rank())
		}
	}
	for _, f := range t.factors {
		factors = append(factors, b.Input(f.name, compute.F32, f.shape...))
	}
	for i := range t.modules {
		m := &t.modules[i]
		a := &nn.Adapter{Down: factors[2*i], Up: factors[2*i+1], Scale: m.Scale(), Mask: masks[i]}
		if key.drop {
			a.Dropout = func(shape compute.Shape) compute.Value {
				return b.Input("network_dropout."+m.Key(), compute.F32, shape...)
			}
		}
		if err := t.networks.Layers[m.Kind].Attach(m.Name, a); err != nil {
			return nil, err
		}
	}
	return factors, nil
}

// huber reports whether the loss has a constant for each sample.
func (t *Trainer) huber() bool {
	return t.options.Loss == compute.Huber || t.options.Loss == compute.SmoothL1
}

// fill hands a batch to the inputs of its program, in the order of their recording.
func (t *Trainer) fill(s *microStep, batch *Batch) error {
	copy(s.inputs[0].I32, batch.IDs)
	at := 0
	next := func() []float32 {
		at++
		return s.inputs[at].F32
	}
	copy(next(), batch.Latents)
	copy(next(), batch.Noise)
	if s.key.perturbed {
		copy(next(), batch.Perturbed)
	}
	times, coefficient, sampleWeights := next(), next(), next()
	var c []float32
	if t.huber() {
		c = next()
	}
	for i, step := range batch.Timesteps {
		a, snr := t.diffusion.signal[step], t.diffusion.snr[step]
		times[i] = float32(step)
		coefficient[i*coefficients+signal] = float32(math.Sqrt(a))
		coefficient[i*coefficients+noise] = float32(math.Sqrt(1 - a))
		coefficient[i*coefficients+minusNoise] = float32(-math.Sqrt(1 - a))
		w := t.options.weight(snr) * t.scale
		if batch.Weights != nil {
			w *= float64(batch.Weights[i])
		}
		sampleWeights[i] = float32(w)
		if t.huber() {
			c[i] = float32(t.options.huber(step, t.diffusion.mixedSNR[step]))
		}
	}
	if s.key.masked {
		copy(next(), batch.Mask)
	}
	if t.accumulates(s.key) {
		next()[0] = float32(min(1, t.batches))
	}
	for _, ranks := range batch.Dropout {
		copy(next(), ranks)
	}
	for i := range s.inputs {
		if err := s.inputs[i].upload(); err != nil {
			return fmt.Errorf("lora: %w", err)
		}
	}
	for i := range s.masks {
		dropout(s.masks[i].F32, batch.NetworkDropout, mix(batch.DropoutSeed, uint64(i)))
		if err := s.masks[i].upload(); err != nil {
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
	s := &updateStep{trained: t.trained()}
	if t.optimizer.Host != nil {
		for _, f := range s.trained {
			s.tensors = append(s.tensors, optim.Tensor{Shape: f.shape, Parameter: f.parameter.F32, Gradient: f.hostGradient.F32, State: f.state})
		}
	}
	if err := t.compileUpdate(s); err != nil {
		return nil, errors.Join(fmt.Errorf("lora: %w", err), s.close())
	}
	t.update = s
	return s, nil
}

// trained lists the factors that the loss depends on, in what was recorded so far.
func (t *Trainer) trained() (all []*factor) {
	for _, f := range t.factors {
		if !f.untrained {
			all = append(all, f)
		}
	}
	return all
}

// compileUpdate makes the program ready to run.
func (t *Trainer) compileUpdate(s *updateStep) error {
	p, err := t.recordUpdate(s.trained)
	if err != nil {
		return err
	}
	if s.exe, err = t.device.Compile(p, t.params); err != nil {
		return err
	}
	own := 1
	if t.optimizer.AdamW != nil {
		own += len(t.groups)
	}
	all, err := t.mirrors(p, p.Inputs[:own])
	if len(all) > 0 {
		s.limits, s.hyper = all[0], all[1:]
	}
	if err != nil {
		return err
	}
	clip, err := t.mirrors(p, p.Outputs[:1])
	if err == nil {
		s.clip = clip[0]
	}
	return err
}

// bindUpdate lists the tensors of a run in the order of the program's.
func (t *Trainer) bindUpdate(s *updateStep) {
	s.in, s.out = append(s.in[:0], s.limits.tensor), append(s.out[:0], s.clip.tensor)
	for i := range s.hyper {
		s.in = append(s.in, s.hyper[i].tensor)
	}
	for _, f := range s.trained {
		s.in = append(s.in, f.gradient)
		if t.optimizer.AdamW != nil {
			s.in, s.out = append(s.in, f.now...), append(s.out, f.now...)
		}
	}
}

// recordUpdate records the step of the trained factors. Inputs: limits; with AdamW the constants of each group; then the
// gradient of each factor, with AdamW followed by parameter and moments. Outputs: factor and norm of the gradients; with
// AdamW then parameter and moments of each factor.
func (t *Trainer) recordUpdate(trained []*factor) (*compute.Program, error) {
	var b compute.Builder
	clip := compute.ClipNorm{Limits: b.Input("limits", compute.F32, 1, 2)}
	var hyper []compute.Value
	if t.optimizer.AdamW != nil {
		for _, g := range t.groups {
			hyper = append(hyper, b.Input("hyper."+g.name(), compute.F32, 1, 7))
		}
	}
	var steps []compute.AdamW
	for _, f := range trained {
		in := func(what string) compute.Value { return b.Input(what+"."+f.name, compute.F32, f.shape...) }
		step := compute.AdamW{Gradient: in("gradient")}
		clip.Gradients = append(clip.Gradients, step.Gradient)
		if t.optimizer.AdamW != nil {
			step.Hyper, step.Parameter, step.M, step.V = hyper[f.group], in("parameter"), in("m"), in("v")
			steps = append(steps, step)
		}
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

func (s *microStep) close() error {
	return closeAll(s.exe, tensors(append(slices.Concat(s.inputs, s.masks), s.loss))...)
}

func (s *updateStep) close() error {
	return closeAll(s.exe, tensors(append(slices.Clone(s.hyper), s.limits, s.clip))...)
}

// tensors are those of mirrors.
func tensors(mirrors []mirror) (all []compute.Tensor) {
	for _, m := range mirrors {
		all = append(all, m.tensor)
	}
	return all
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
