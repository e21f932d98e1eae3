package portrait

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// ScoreOptions say on what pictures are scored. The zero value is for Stable Diffusion 1.5.
type ScoreOptions struct {
	// Resolution is the side of the pictures, in pixels. 0 means that of the pictures the model was trained on.
	Resolution int
	// Timesteps are how noisy the pictures are, from 0 to below 1000; nil means 600, 700, 800 and 900, where it is decided what a
	// person looks like. Lower ones tell more of the details of single photos.
	Timesteps []int
	// Noises is how often each picture is scored at each timestep, with another noise. 0 means 2.
	Noises int
	// Seed is that of the noises.
	Seed uint64
}

// Scorer tells how well a model, with a LoRA or without, knows pictures: by the loss with which it finds the noise that was mixed into
// them, most of all on the head. All LoRAs get the same noises at the same timesteps, so that what differs is not chance. It is used by
// one goroutine, and closed before the device and the checkpoint.
type Scorer struct {
	device   compute.Device
	networks *engine.Networks
	cache    *engine.Cache
	targets  *lora.Targets
	signal   []float64 // ᾱ
	options  ScoreOptions
}

// NewScorer scores with a model on a device. It reads weights when they are first needed.
func NewScorer(dev compute.Device, c *weights.Checkpoint, o ScoreOptions) (*Scorer, error) {
	n, err := engine.Open(c)
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	s := &Scorer{device: dev, networks: n, cache: engine.NewCache(dev, n, 2)}
	if err := n.FromTextAlone(); err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	if s.targets, err = lora.NewTargets(n.Text.Config(), n.UNet.Config()); err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	if s.signal, err = n.Schedule.AlphasCumprod(); err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	if o.Resolution == 0 {
		o.Resolution = n.UNet.Config().SampleSize * n.VAE.Config().ScaleFactor()
	}
	if o.Noises == 0 {
		o.Noises = 2
	}
	if o.Timesteps == nil {
		o.Timesteps = []int{600, 700, 800, 900}
	}
	s.options = o
	return s, o.check(len(s.signal), n.VAE.Config().ScaleFactor())
}

func (o ScoreOptions) check(timesteps, factor int) error {
	var errs []error
	if o.Resolution < factor || o.Resolution > 2048 || o.Resolution%factor != 0 {
		errs = append(errs, invalid.Field("ScoreOptions.Resolution", o.Resolution, "a multiple of %d up to 2048", factor))
	}
	if len(o.Timesteps) == 0 || slices.Min(o.Timesteps) < 0 || slices.Max(o.Timesteps) >= timesteps {
		errs = append(errs, invalid.Field("ScoreOptions.Timesteps", fmt.Sprint(o.Timesteps), "numbers from 0 to %d", timesteps-1))
	}
	if o.Noises < 0 || o.Noises > 1000 {
		errs = append(errs, invalid.Field("ScoreOptions.Noises", o.Noises, "1 to 1000, or 0 for 2"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("portrait: %w", errors.Join(errs...))
	}
	return nil
}

// Close gives the memory back.
func (s *Scorer) Close() error { return s.cache.Close() }

// Open reads a LoRA that fits the model.
func (s *Scorer) Open(path string) (*lora.Adapter, error) {
	a, err := lora.Open(path, s.targets)
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	return a, nil
}

// Subject is a picture that is scored, ready for it.
type Subject struct {
	Caption string

	latents []float32 // [h,w,C], scaled as the UNet knows them
	mask    []float32 // [h,w], 1 on the head and less around it
}

// aroundHead is how much what is around a head counts: there are hair and clothes.
const aroundHead = 0.3

// Subjects makes pictures ready, each with its caption. Pictures of another size than the scorer's are cropped as for a training.
func (s *Scorer) Subjects(ctx context.Context, pictures []Example, captions []string) (all []Subject, err error) {
	config := s.networks.VAE.Config()
	encoder := engine.NewCache(s.device, s.networks, 1) // its weights are not needed for anything else
	defer func() { err = errors.Join(err, encoder.Close()) }()
	side := s.options.Resolution
	for i, e := range pictures {
		img, f := e.Image, e.Face
		if img.Rect.Dx() != side || img.Rect.Dy() != side {
			img, f = squared(img, f, side)
		}
		z, err := encoder.Encode(ctx, engine.Variant{}, vae.Grid{Height: side, Width: side, Channels: 3, Data: vae.FromImage(img)}, nil, side > 1024)
		if err != nil {
			return nil, fmt.Errorf("portrait: %w", err)
		}
		one := Subject{Caption: captions[i], latents: z.Data, mask: make([]float32, z.Height*z.Width)}
		for j := range one.latents {
			one.latents[j] *= float32(config.ScalingFactor)
		}
		for j := range one.mask {
			one.mask[j] = 1
			if f.Size > 0 {
				at := func(k int) float64 { return (float64(k) + 0.5) * float64(config.ScaleFactor()) }
				one.mask[j] = float32(aroundHead + (1-aroundHead)*inHead(f, at(j%z.Width), at(j/z.Width)))
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// noisy is a picture with noise in it.
type noisy struct {
	sample, target []float32
	timestep       int
}

// noisy mixes a noise of the scorer's into latents.
func (s *Scorer) noisy(latents []float32, timestep, number int) noisy {
	// SplitMix64's steps keep the streams of neighbours apart; the generator takes 32 bits.
	const step = 0x9e3779b97f4a7c15
	seed := (s.options.Seed + uint64(timestep)*step + uint64(number)) * step
	noise := make([]float32, len(latents))
	rng.NewTorch(seed >> 32).Normal(noise)
	x := noisy{make([]float32, len(latents)), noise, timestep}
	a, b := float32(math.Sqrt(s.signal[timestep])), float32(math.Sqrt(1-s.signal[timestep]))
	for i, z := range latents {
		x.sample[i] = a*z + b*noise[i]
	}
	switch s.networks.Prediction {
	case sampler.VPrediction:
		for i, z := range latents {
			x.target[i] = a*noise[i] - b*z
		}
	case sampler.Sample:
		x.target = latents
	}
	return x
}

// Loss is how badly the model, with so much of a LoRA or with nil without one, finds the noise in pictures, most of all on their heads: the mean square
// of what it is wrong by, for each picture with each noise at each timestep, in this order.
func (s *Scorer) Loss(ctx context.Context, subjects []Subject, a *lora.Adapter, weight float64) ([]float64, error) {
	return s.loss(ctx, subjects, a, weight, s.options.Noises)
}

// loss is Loss with noises that each picture shares with the one before but for so many.
func (s *Scorer) loss(ctx context.Context, subjects []Subject, a *lora.Adapter, weight float64, apart int) ([]float64, error) {
	var asked []question
	for i, one := range subjects {
		for n := range s.options.Noises {
			for _, t := range s.options.Timesteps {
				asked = append(asked, question{s.noisy(one.latents, t, i*apart+n), one.Caption, one.mask})
			}
		}
	}
	losses := make([]float64, len(asked))
	err := s.ask(ctx, asked, a, weight, func(i int, prediction []float32) {
		losses[i] = maskedLoss(prediction, asked[i].target, asked[i].mask)
	})
	return losses, err
}

// maskedLoss is the mean square of the difference, weighted by the mask.
func maskedLoss(prediction, target, mask []float32) float64 {
	var sum, all float64
	channels := len(target) / len(mask)
	for i, m := range mask {
		for c := range channels {
			d := float64(prediction[i*channels+c]) - float64(target[i*channels+c])
			sum += float64(m) * d * d
		}
		all += float64(m) * float64(channels)
	}
	return sum / max(all, 1e-9)
}

// question is what the model is asked: what the noise is.
type question struct {
	noisy
	caption string
	mask    []float32
}

// atOnce is how many questions of latents with so many places are asked at once: as many as keep a processor busy.
func atOnce(places int) int { return min(max(4096/places, 1), 8) }

// ask hands each answer to a function, which does not keep it. The model is changed by an adapter.
func (s *Scorer) ask(ctx context.Context, asked []question, a *lora.Adapter, weight float64, answer func(i int, prediction []float32)) (err error) {
	if len(asked) == 0 {
		return nil
	}
	contexts, err := s.contexts(ctx, asked, a, weight)
	if err != nil {
		return err
	}
	side := s.options.Resolution / s.networks.VAE.Config().ScaleFactor()
	key := denoiseKey{samples: min(atOnce(side*side), len(asked)), height: side, width: side}
	frame, err := s.cache.Frame(key, s.variant(weights.KindUNet, a, weight))
	if err != nil {
		return fmt.Errorf("portrait: %w", err)
	}
	defer func() { err = errors.Join(err, frame.Close()) }()
	frame.MirrorRest()
	sample, timesteps, states, prediction := frame.Host("sample").F32, frame.Host("timesteps").F32, frame.Host("encoder_hidden_states").F32, frame.Host("prediction").F32
	for from := 0; from < len(asked); from += key.samples {
		for i := range key.samples { // the last are asked again where there are fewer
			q := asked[min(from+i, len(asked)-1)]
			copy(sample[i*len(q.sample):], q.sample)
			timesteps[i] = float32(q.timestep)
			context := contexts[q.caption]
			copy(states[i*len(context):], context)
		}
		if err := frame.Do(ctx); err != nil {
			return fmt.Errorf("portrait: %w", err)
		}
		size := len(prediction) / key.samples
		for i := range min(key.samples, len(asked)-from) {
			answer(from+i, prediction[i*size:][:size])
		}
	}
	return nil
}

// contexts are what the text encoder makes of the captions.
func (s *Scorer) contexts(ctx context.Context, asked []question, a *lora.Adapter, weight float64) (all map[string][]float32, err error) {
	frame, err := s.cache.Frame(engine.TextKey{Sequences: 1}, s.variant(weights.KindTextEncoder, a, weight))
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	defer func() { err = errors.Join(err, frame.Close()) }()
	frame.MirrorRest()
	all = make(map[string][]float32)
	for _, q := range asked {
		if all[q.caption] != nil {
			continue
		}
		ids, _ := s.networks.Tokenizer.Sequence(s.networks.Tokenizer.Encode(q.caption))
		copy(frame.Host("input_ids").I32, ids)
		if err := frame.Do(ctx); err != nil {
			return nil, fmt.Errorf("portrait: %w", err)
		}
		all[q.caption] = slices.Clone(frame.Host("last_hidden_state").F32)
	}
	return all, nil
}

// variant is a network with so much of an adapter in it.
func (s *Scorer) variant(kind weights.Kind, a *lora.Adapter, weight float64) engine.Variant {
	if a == nil || weight == 0 || !slices.ContainsFunc(a.Modules, func(m lora.Module) bool { return m.Kind == kind }) {
		return engine.Variant{}
	}
	applied := lora.Applied{Adapter: a, Strength: lora.Strength{TextEncoder: weight, UNet: weight}}
	return engine.Variant{ID: fmt.Sprintf("%s %s %v", a.Path, a.Hash, weight), Source: func() (compute.ParamSource, error) {
		return lora.Merge(s.networks.Components[kind], kind, lora.MergeOptions{}, applied)
	}}
}

// denoiseKey is the UNet alone: "sample", [samples,height,width,C], with "timesteps" and "encoder_hidden_states", becomes "prediction".
type denoiseKey struct{ samples, height, width int }

// Network implements engine.Key.
func (denoiseKey) Network() weights.Kind { return weights.KindUNet }

// Record implements engine.Key.
func (k denoiseKey) Record(r *engine.Recorder, n *engine.Networks) {
	sample := r.Input("sample", compute.F32, k.samples, k.height, k.width, n.LatentChannels())
	timesteps := r.Input("timesteps", compute.F32, k.samples)
	context := r.Input("encoder_hidden_states", compute.F32, k.samples, n.Tokenizer.MaxLength(), n.UNet.Config().CrossAttentionDim)
	r.Output("prediction", n.UNet.Apply(&r.Builder, sample, timesteps, context))
}

// Score is the mean of what was measured several times, and its standard error.
type Score struct {
	Mean, Error float64
	// Pairs are what was measured, always in the same order, so that scores are compared pair by pair. Every so many of them are of the same
	// kind, such as of one timestep: that kinds differ makes the mean no less sure.
	Pairs []float64
	Kinds int
}

// Gain is how much better pictures are known with a LoRA than without, by losses of both: the logarithm of the ratio of each pair. 0
// is not better, and 0.1 is a tenth less loss.
func (s *Scorer) Gain(base, with []float64) Score {
	pairs := make([]float64, len(base))
	for i := range base {
		pairs[i] = math.Log(base[i] / with[i])
	}
	return newScore(pairs, len(s.options.Timesteps))
}

// newScore counts pairs of a number of kinds that take turns.
func newScore(pairs []float64, kinds int) Score {
	s := Score{Pairs: pairs, Kinds: kinds}
	if len(pairs) == 0 {
		return s
	}
	if len(pairs) < 2*kinds {
		kinds = 1
	}
	s.Mean = numbers(pairs).mean()
	for kind := range kinds {
		var of numbers
		for i := kind; i < len(pairs); i += kinds {
			of = append(of, pairs[i])
		}
		// The sum of the variances of the kinds' means, each a share of the mean of all.
		n, share := float64(len(of)), float64(len(of))/float64(len(pairs))
		s.Error += share * share * of.variance() / max(n-1, 1)
	}
	s.Error = math.Sqrt(s.Error)
	return s
}

// Minus is how much more a score is than another of the same pairs: its error is that of the difference, which is far smaller than those
// of the two where both err alike.
func (s Score) Minus(other Score) Score {
	pairs := make([]float64, min(len(s.Pairs), len(other.Pairs)))
	for i := range pairs {
		pairs[i] = s.Pairs[i] - other.Pairs[i]
	}
	return newScore(pairs, max(1, s.Kinds))
}

// DrawnLikeness is the Judge that asks a LoRA of the person: a drawn picture that the model knows much better with it than
// without is like the person. It does not see what the LoRA has learned wrongly.
type DrawnLikeness struct {
	Scorer  *Scorer
	Adapter *lora.Adapter
	Weight  float64
	Caption string // "photo of NAME CLASS"
}

// Judge implements Judge.
func (d *DrawnLikeness) Judge(ctx context.Context, drawn []Example) ([]float64, error) {
	subjects, err := d.Scorer.Subjects(ctx, drawn, slices.Repeat([]string{d.Caption}, len(drawn)))
	if err != nil {
		return nil, err
	}
	base, err := d.Scorer.loss(ctx, subjects, nil, 0, 0) // with the same noises for all, which are compared to each other
	if err != nil {
		return nil, err
	}
	with, err := d.Scorer.loss(ctx, subjects, d.Adapter, d.Weight, 0)
	if err != nil {
		return nil, err
	}
	var all []float64
	for i := range drawn {
		n := len(base) / len(drawn)
		all = append(all, d.Scorer.Gain(base[i*n:][:n], with[i*n:][:n]).Mean)
	}
	return all, nil
}
