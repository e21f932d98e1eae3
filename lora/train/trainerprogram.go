package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
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

// microKey is everything that the program of a batch depends on.
type microKey struct {
	trainer                                      *Trainer
	samples, height, width, tokens               int
	perturbed, masked, dropRanks, drop, evaluate bool
}

// microStep is the program of batches of one shape: from latents, noise and captions to the loss and its gradients.
type microStep struct {
	*engine.Frame
	key          microKey
	ranks, masks []*engine.Mirror // factors of ranks, and of numbers, that are 0 where dropped
}

// updateStep is the program that moves the factors, or that only measures their gradients for an optimizer on the host.
type updateStep struct {
	*engine.Frame
	hyper   []*engine.Mirror // constants of each group, with AdamW
	trained []*factor
	tensors []optim.Tensor // the trained factors, for an optimizer on the host
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
	if slices.Max(b.Timesteps) >= trainSteps || slices.Min(b.Timesteps) < 0 {
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
	key := microKey{
		trainer: t, samples: b.Samples, height: b.Height, width: b.Width,
		perturbed: b.Perturbed != nil, masked: b.Mask != nil, dropRanks: b.Dropout != nil, drop: b.NetworkDropout != 0, evaluate: evaluate,
	}
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
		if err := oldest.Close(); err != nil {
			return nil, err
		}
	}
	s, err := t.newMicroStep(key)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	t.micro = append(t.micro, s)
	return s, nil
}

// newMicroStep makes a batch's program ready to run.
func (t *Trainer) newMicroStep(key microKey) (*microStep, error) {
	frame, err := t.frame(key)
	if err != nil {
		return nil, err
	}
	s := &microStep{Frame: frame, key: key, ranks: frame.Mirrors(rankDropout), masks: frame.Mirrors(networkDropout)}
	for _, f := range t.factors {
		s.Bind(f.name, f.now[0])
		if !f.untrained && !key.evaluate {
			s.Bind(gradientOf+f.name, f.gradient)
		}
	}
	return s, complete(frame)
}

// frame prepares a program that reads the parameters of both networks.
func (t *Trainer) frame(key engine.Key) (*engine.Frame, error) {
	return t.cache.Frame(key, engine.Variant{ID: "with the text encoder", Source: func() (compute.ParamSource, error) { return trainedWeights(t.networks), nil }})
}

// complete makes what is not bound the host's, or gives back what there is.
func complete(f *engine.Frame) error {
	f.MirrorRest()
	if f.Err() != nil {
		return errors.Join(f.Err(), f.Close())
	}
	return nil
}

// accumulates reports whether a program adds its gradients to those before.
func (t *Trainer) accumulates(k microKey) bool { return t.options.Accumulation > 1 && !k.evaluate }

// The beginnings of the names of inputs and outputs that there are of each module or factor.
const (
	rankDropout    = "rank_dropout."
	networkDropout = "network_dropout."
	gradientOf     = "gradient."
	hyperOf        = "hyper."
)

// The columns of a batch's coefficients: √ᾱ, √(1-ᾱ) and -√(1-ᾱ).
const (
	signalColumn = iota
	noiseColumn
	minusNoiseColumn
	columns
)

// Network implements engine.Key: the parameters of the text encoder are with the UNet's.
func (microKey) Network() weights.Kind { return weights.KindUNet }

// Record implements engine.Key. Inputs are those of a batch, with accumulation "keep", the factor of the sums of gradients so far, and these;
// the factors by their names; the dropped ranks and numbers of each module, if any are. Outputs: "loss", and unless it is only
// evaluated the gradient, or new sum, of each factor that it depends on.
func (k microKey) Record(r *engine.Recorder, net *engine.Networks) {
	t, b := k.trainer, &r.Builder
	n, latents := k.samples, []int{k.samples, k.height, k.width, net.LatentChannels()}
	ids := b.Input("input_ids", compute.I32, t.rows(k, weights.KindTextEncoder), k.tokens/t.chunks(k))
	z, e := b.Input("latents", compute.F32, latents...), b.Input("noise", compute.F32, latents...)
	mixed := e
	if k.perturbed {
		mixed = b.Input("perturbed_noise", compute.F32, latents...)
	}
	timesteps, mix := b.Input("timesteps", compute.F32, n), b.Input("coefficients", compute.F32, n, columns)
	loss := compute.Loss{Target: e, Weights: b.Input("weights", compute.F32, n), Function: t.options.Loss}
	if t.huber() {
		loss.C = b.Input("huber_c", compute.F32, n)
	}
	if k.masked {
		loss.Mask = b.Input("mask", compute.F32, n, k.height, k.width, 1)
	}
	var keep compute.Value
	if t.accumulates(k) {
		keep = b.Input("keep", compute.F32, 1, 1)
	}
	factors := t.attach(b, k)

	x := b.Op(compute.Add{A: b.Op(compute.Scale{X: z, Factors: mix, Column: signalColumn}), B: b.Op(compute.Scale{X: mixed, Factors: mix, Column: noiseColumn})})
	if t.options.VParameterization {
		loss.Target = b.Op(compute.Add{A: b.Op(compute.Scale{X: e, Factors: mix, Column: signalColumn}), B: b.Op(compute.Scale{X: z, Factors: mix, Column: minusNoiseColumn})})
	}
	context := net.Text.Forward(b, ids, max(1, t.options.ClipSkip)-1)
	loss.Prediction = net.UNet.Apply(b, x, timesteps, join(b, context, t.chunks(k)))
	l := b.Op(loss)
	r.Output("loss", l)
	if !k.evaluate {
		t.recordGradients(r, l, factors, keep)
	}
}

// recordGradients records those of the loss, added to keep times those before if there is a keep.
func (t *Trainer) recordGradients(r *engine.Recorder, loss compute.Value, factors []compute.Value, keep compute.Value) {
	gradient := compute.Gradient
	if t.options.Checkpointing {
		gradient = compute.CheckpointedGradient
	}
	for i, g := range gradient(&r.Builder, loss, factors) {
		f := t.factors[i]
		f.untrained = !g.Valid()
		switch {
		case f.untrained:
		case keep.Valid():
			sum := r.Op(compute.Scale{X: r.Input(gradientOf+f.name, compute.F32, f.shape...), Factors: keep})
			r.Output(gradientOf+f.name, r.Op(compute.Add{A: sum, B: g}))
		default:
			r.Output(gradientOf+f.name, g)
		}
	}
}

// attach declares the dropped ranks, if any are, and the factors as inputs, and attaches them to the networks' layers.
func (t *Trainer) attach(b *compute.Builder, key microKey) (factors []compute.Value) {
	masks := make([]compute.Value, len(t.modules))
	for i := range t.modules {
		if m := &t.modules[i]; key.dropRanks {
			masks[i] = b.Input(rankDropout+m.Key(), compute.F32, t.rows(key, m.Kind), m.Rank())
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
				return b.Input(networkDropout+m.Key(), compute.F32, shape...)
			}
		}
		if err := t.networks.Layers[m.Kind].Attach(m.Name, a); err != nil {
			b.Fail(err)
		}
	}
	return factors
}

// huber reports whether the loss has a constant for each sample.
func (t *Trainer) huber() bool {
	return t.options.Loss == compute.Huber || t.options.Loss == compute.SmoothL1
}

// fill hands a batch to the inputs of its program.
func (t *Trainer) fill(s *microStep, batch *Batch) {
	copy(s.Host("input_ids").I32, batch.IDs)
	copy(s.Host("latents").F32, batch.Latents)
	copy(s.Host("noise").F32, batch.Noise)
	copy(s.Host("perturbed_noise").F32, batch.Perturbed)
	copy(s.Host("mask").F32, batch.Mask)
	times, coefficient, sampleWeights, c := s.Host("timesteps").F32, s.Host("coefficients").F32, s.Host("weights").F32, s.Host("huber_c").F32
	for i, step := range batch.Timesteps {
		a, snr := t.diffusion.signal[step], t.diffusion.snr[step]
		times[i] = float32(step)
		coefficient[i*columns+signalColumn] = float32(math.Sqrt(a))
		coefficient[i*columns+noiseColumn] = float32(math.Sqrt(1 - a))
		coefficient[i*columns+minusNoiseColumn] = float32(-math.Sqrt(1 - a))
		w := t.options.weight(snr) * t.scale
		if batch.Weights != nil {
			w *= float64(batch.Weights[i])
		}
		sampleWeights[i] = float32(w)
		if t.huber() {
			c[i] = float32(t.options.huber(step, t.diffusion.mixedSNR[step]))
		}
	}
	if t.accumulates(s.key) {
		s.Host("keep").F32[0] = float32(min(1, t.batches))
	}
	for i, ranks := range batch.Dropout {
		copy(s.ranks[i].F32, ranks)
	}
	for i, m := range s.masks {
		dropout(m.F32, batch.NetworkDropout, mix(batch.DropoutSeed, uint64(i)))
	}
}

// updateStep is the compiled program of an update.
func (t *Trainer) updateStep() (*updateStep, error) {
	if t.update != nil {
		return t.update, nil
	}
	s, err := t.newUpdateStep()
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	t.update = s
	return s, nil
}

// newUpdateStep makes the program ready to run.
func (t *Trainer) newUpdateStep() (*updateStep, error) {
	frame, err := t.frame(updateKey{t})
	if err != nil {
		return nil, err
	}
	s := &updateStep{Frame: frame, trained: t.trained(), hyper: frame.Mirrors(hyperOf)}
	for _, f := range s.trained {
		s.Bind(gradientOf+f.name, f.gradient)
		if t.optimizer.Host != nil {
			s.tensors = append(s.tensors, optim.Tensor{Shape: f.shape, Parameter: f.parameter.F32, Gradient: f.hostGradient.F32, State: f.state})
			continue
		}
		for i, x := range f.now {
			s.Bind(f.name+deviceArrays[i], x)
		}
	}
	return s, complete(frame)
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

// updateKey is the program of an update.
type updateKey struct{ trainer *Trainer }

// Network implements engine.Key.
func (updateKey) Network() weights.Kind { return weights.KindUNet }

// Record implements engine.Key. Inputs: "limits", the gradient of each factor that is trained and, with AdamW, the constants of each group, and
// each factor with its moments. Outputs: "clip", factor and norm of the gradients, and with AdamW each factor with its moments.
func (k updateKey) Record(r *engine.Recorder, _ *engine.Networks) {
	t := k.trainer
	clip := compute.ClipNorm{Limits: r.Input("limits", compute.F32, 1, 2)}
	var hyper []compute.Value
	if t.optimizer.AdamW != nil {
		for _, g := range t.groups {
			hyper = append(hyper, r.Input(hyperOf+g.name(), compute.F32, 1, 7))
		}
	}
	var steps []compute.AdamW
	trained := t.trained()
	for _, f := range trained {
		in := func(name string) compute.Value { return r.Input(name, compute.F32, f.shape...) }
		step := compute.AdamW{Gradient: in(gradientOf + f.name)}
		clip.Gradients = append(clip.Gradients, step.Gradient)
		if t.optimizer.AdamW != nil {
			step.Hyper, step.Parameter = hyper[f.group], in(f.name)
			step.M, step.V = in(f.name+deviceArrays[1]), in(f.name+deviceArrays[2])
			steps = append(steps, step)
		}
	}
	factor := r.Op(clip)
	r.Output("clip", factor)
	for i, step := range steps {
		step.Clip = factor
		for j, v := range r.Results(step) {
			r.Output(trained[i].name+deviceArrays[j], v)
		}
	}
}

// close closes all programs.
func (p *programs) close() error {
	var errs []error
	for _, s := range p.micro {
		errs = append(errs, s.Close())
	}
	if p.update != nil {
		errs = append(errs, p.update.Close())
	}
	p.micro, p.update = nil, nil
	return errors.Join(errs...)
}
