package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// AdamW are the constants of the optimizer. Zero values mean 0.9, 0.999, 1e-8 and 0.01; a WeightDecay below 0 means none.
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay float64
}

// orDefault fills in what is 0.
func (a AdamW) orDefault() AdamW {
	for _, d := range []struct {
		field *float64
		value float64
	}{{&a.Beta1, 0.9}, {&a.Beta2, 0.999}, {&a.Eps, 1e-8}, {&a.WeightDecay, 0.01}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	a.WeightDecay = max(0, a.WeightDecay)
	return a
}

// Check reports what is wrong with the constants.
func (a AdamW) Check() error {
	a = a.orDefault()
	if !(a.Beta1 > 0 && a.Beta1 < 1 && a.Beta2 > 0 && a.Beta2 < 1) {
		return fmt.Errorf("lora: betas are %v and %v, want numbers between 0 and 1", a.Beta1, a.Beta2)
	}
	if !(a.Eps > 0 && a.Eps < 1) || math.IsNaN(a.WeightDecay) || math.IsInf(a.WeightDecay, 0) {
		return fmt.Errorf("lora: eps is %v and weight_decay %v; want small numbers such as 1e-8 and 0.01", a.Eps, a.WeightDecay)
	}
	return nil
}

// TrainerOptions say how a Trainer trains. The zero value is a sensible default.
type TrainerOptions struct {
	Objective
	AdamW
	// ClipSkip counts the last layers of the text encoder that are left out, plus one, "clip_skip"; 0 means 1, all layers.
	ClipSkip int
	// MaxGradNorm bounds the norm of all gradients together, "max_grad_norm"; 0 does not.
	MaxGradNorm float64
	// Accumulation is how many batches make a step, "gradient_accumulation_steps"; 0 means 1.
	Accumulation int
	// Checkpointing computes what resnets, transformers and encoder layers keep for the way back anew instead,
	// "gradient_checkpointing": a third more work in much less memory, with the same result to the bit.
	Checkpointing bool
	// LoRAPlusRatio multiplies the learning rate of the up factors, "loraplus_lr_ratio"; 0 means 1. Hayou et al. (arXiv:2402.12354).
	LoRAPlusRatio float64
}

// TrainBatch is what a training learns from at once, all that is random being given.
type TrainBatch struct {
	Samples, Height, Width int // N, h and w: of latents, not of pictures

	Latents   []float32 // z, [N,h,w,4], scaled as the UNet knows them
	Noise     []float32 // ε, [N,h,w,4], what is to be predicted
	Perturbed []float32 // the noise that is mixed in, where it is another one ("ip_noise_gamma"); nil for Noise
	Timesteps []int     // [N], 0 to 999
	IDs       []int32   // token ids of the captions, [N,77]
	Weights   []float32 // of samples in the loss, [N]; nil for ones
	Mask      []float32 // of the loss, [N,h,w]; nil for ones
	// Dropout has for each module the numbers that its ranks are multiplied with, [N,r]: 0 where dropped. Nil is without.
	Dropout [][]float32
}

// Rates are the learning rates of a step.
type Rates struct{ TextEncoder, UNet float64 }

// Update tells what became of a step.
type Update struct {
	Norm    float64 // of all gradients together, before it was bounded
	Skipped bool    // gradients were not finite: nothing changed
}

// Trainer trains modules against the frozen networks of a checkpoint. Factors, moments and gradients stay on the device
// in float32 between steps. [Trainer.Step] learns from a batch, [Trainer.Update] moves the factors by what was learned:
//
//	x_t  = √ᾱ·z + √(1-ᾱ)·ε
//	loss = mean over samples of weight(t)·mean f(unet(x_t, t, text(ids)) - ε)
//
// A Trainer is used by one goroutine and closed after use, before the device and the checkpoint.
type Trainer struct {
	device    compute.Device
	options   TrainerOptions
	diffusion *diffusion
	text      *clip.Model
	unet      *unet.Model
	layers    map[weights.Kind]*nn.Layers
	params    compute.Params

	modules []Module
	factors []*factor // down and up of each module
	programs
	batches int // learned from since the last update
	steps   int // done and not skipped
	scale   float64
}

// factor is a matrix that is trained.
type factor struct {
	name      string
	shape     compute.Shape
	group     int
	untrained bool // the loss does not depend on it

	now, next     [3]compute.Tensor // the parameter and its two moments, before and after an update
	gradient, sum compute.Tensor    // the sum of gradients, and where the next one goes
}

// groups counts the optimizer's groups: down and up of the text encoder, then of the UNet.
const groups = 4

// NewTrainer puts modules, of the usual two factors, on a device to be trained. The modules are not written to.
func NewTrainer(dev compute.Device, c *weights.Checkpoint, modules []Module, o TrainerOptions) (_ *Trainer, err error) {
	o.AdamW = o.AdamW.orDefault()
	o.Accumulation = max(1, o.Accumulation)
	if o.LoRAPlusRatio == 0 {
		o.LoRAPlusRatio = 1
	}
	t := &Trainer{device: dev, options: o, modules: modules, scale: 1, layers: make(map[weights.Kind]*nn.Layers)}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := errors.Join(o.Objective.Check(), o.AdamW.Check()); err != nil {
		return nil, err
	}
	if !(o.MaxGradNorm >= 0) || !(o.LoRAPlusRatio > 0) {
		return nil, fmt.Errorf("lora: max_grad_norm is %v and loraplus_lr_ratio %v; want positive numbers such as 1 and 16", o.MaxGradNorm, o.LoRAPlusRatio)
	}
	if len(modules) == 0 {
		return nil, errors.New("lora: there is nothing to train")
	}
	if t.diffusion, err = o.diffusion(); err != nil {
		return nil, err
	}
	if err := t.openNetworks(c); err != nil {
		return nil, err
	}
	for i := range modules {
		if err := t.addModule(&modules[i]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// openNetworks builds both networks on the checkpoint.
func (t *Trainer) openNetworks(c *weights.Checkpoint) error {
	text, err1 := c.TextEncoder()
	net, err2 := c.UNet()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	textConfig, err1 := clip.ParseConfig(text.Config())
	unetConfig, err2 := unet.ParseConfig(net.Config())
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("lora: %s: %w", c.Path(), err)
	}
	for kind, component := range map[weights.Kind]*weights.Component{weights.KindTextEncoder: text, weights.KindUNet: net} {
		t.layers[kind] = &nn.Layers{Claimer: component}
	}
	t.text, err1 = clip.New(textConfig, t.layers[weights.KindTextEncoder])
	t.unet, err2 = unet.New(unetConfig, t.layers[weights.KindUNet])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("lora: %s: %w", c.Path(), err)
	}
	if err := errors.Join(text.Err(), net.Err()); err != nil {
		return err
	}
	if have, want := textConfig.HiddenSize, unetConfig.CrossAttentionDim; have != want {
		return fmt.Errorf("lora: %s: the text encoder has %d channels, the UNet reads %d; they belong to different models", c.Path(), have, want)
	}
	var err error
	t.params, err = t.device.Load(networks{text, net})
	return err
}

// addModule uploads the factors of a module.
func (t *Trainer) addModule(m *Module) error {
	if !m.complete() || m.Mid.Data != nil {
		return fmt.Errorf("lora: module %q: factors %v·%v; training wants two that make up the weight %v", m.Name, m.Up.Shape, m.Down.Shape, m.Shape)
	}
	if s := m.Scale(); s == 0 || s-s != 0 {
		return fmt.Errorf("lora: module %q: alpha is %v, so nothing could be learned; want a number such as the rank, %d", m.Name, m.Alpha, m.Rank())
	}
	if err := t.layers[m.Kind].Attach(m.Name, nil); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	group := 0
	if m.Kind == weights.KindUNet {
		group = 2
	}
	for p, data := range []Factor{m.Down, m.Up} {
		f := &factor{name: m.Key() + "." + [...]part{down, up}[p].String(), shape: data.Shape, group: group + p}
		t.factors = append(t.factors, f)
		tensors := []*compute.Tensor{&f.gradient, &f.now[0], &f.now[1], &f.now[2], &f.next[0], &f.next[1], &f.next[2]}
		if t.options.Accumulation > 1 {
			tensors = append(tensors, &f.sum)
		}
		for _, x := range tensors {
			var err error
			if *x, err = t.device.NewTensor(compute.F32, f.shape...); err != nil {
				return fmt.Errorf("lora: %s: %w", f.name, err)
			}
		}
		if err := f.now[0].Upload(data.Data); err != nil {
			return fmt.Errorf("lora: %s: %w", f.name, err)
		}
	}
	return nil
}

// SetLossScale multiplies losses on the device from now on, so that gradients of devices that compute in half precision
// do not vanish. It changes no result otherwise. At first it is 1.
func (t *Trainer) SetLossScale(scale float64) { t.scale = scale }

// Step learns from a batch: it adds the gradients of its loss to those of the batches since the last Update, and returns
// the loss. A Step that fails, as it does when ctx is done, leaves the sum of gradients undefined and the factors as they are.
func (t *Trainer) Step(ctx context.Context, batch TrainBatch) (loss float64, err error) {
	s, err := t.microStep(batch)
	if err != nil {
		return 0, err
	}
	if err := t.upload(s, batch); err != nil {
		return 0, err
	}
	s.in, s.out = append(s.in[:0], s.inputs...), append(s.out[:0], s.loss)
	for _, f := range t.factors {
		s.in = append(s.in, f.now[0])
	}
	for _, f := range t.factors {
		if f.untrained {
			continue
		}
		if t.options.Accumulation > 1 {
			s.in, s.out = append(s.in, f.gradient), append(s.out, f.sum)
		} else {
			s.out = append(s.out, f.gradient)
		}
	}
	if err := s.exe.Run(ctx, s.out, s.in); err != nil {
		return 0, err
	}
	if t.options.Accumulation > 1 {
		for _, f := range t.factors {
			f.gradient, f.sum = f.sum, f.gradient
		}
	}
	t.batches++
	var scaled [1]float32
	if err := s.loss.Download(scaled[:]); err != nil {
		return 0, err
	}
	return float64(scaled[0]) / t.scale, nil
}

// Update moves the factors by the gradients of the batches since the last one, divided by Accumulation. It is not
// stopped halfway. Gradients that are not finite change nothing.
func (t *Trainer) Update(r Rates) (Update, error) {
	if t.batches == 0 {
		return Update{}, errors.New("lora: an update without a step before it")
	}
	u, err := t.updateStep()
	if err != nil {
		return Update{}, err
	}
	limits := []float32{float32(1 / (float64(t.options.Accumulation) * t.scale)), float32(t.options.MaxGradNorm)}
	if err := u.limits.Upload(limits); err != nil {
		return Update{}, err
	}
	o, k := t.options, float64(t.steps+1)
	for g, x := range u.hyper {
		rate := [...]float64{r.TextEncoder, r.UNet}[g/2]
		if g%2 == 1 {
			rate *= o.LoRAPlusRatio
		}
		hyper := []float32{
			float32(rate), float32(1 - o.Beta1), float32(1 - o.Beta2), float32(o.Eps), float32(o.WeightDecay),
			float32(-math.Expm1(k * math.Log(o.Beta1))), float32(-math.Expm1(k * math.Log(o.Beta2))),
		}
		if err := x.Upload(hyper); err != nil {
			return Update{}, err
		}
	}
	in, out := append([]compute.Tensor{u.limits}, u.hyper[:]...), []compute.Tensor{u.clip}
	for _, f := range t.factors {
		if !f.untrained {
			in, out = append(append(in, f.gradient), f.now[:]...), append(out, f.next[:]...)
		}
	}
	if err := u.exe.Run(context.Background(), out, in); err != nil {
		return Update{}, err
	}
	for _, f := range t.factors {
		if !f.untrained {
			f.now, f.next = f.next, f.now
		}
	}
	t.batches = 0
	var clip [2]float32 // the factor and the norm
	if err := u.clip.Download(clip[:]); err != nil {
		return Update{}, err
	}
	skipped := clip[0] == 0 && (math.IsNaN(float64(clip[1])) || math.IsInf(float64(clip[1]), 0))
	if !skipped {
		t.steps++
	}
	return Update{Norm: float64(clip[1]), Skipped: skipped}, nil
}

// Modules downloads the modules as they are now.
func (t *Trainer) Modules() ([]Module, error) {
	return t.download(func(f *factor) compute.Tensor { return f.now[0] })
}

// Gradients downloads the sums of gradients since the last Update, as modules of the same shapes: of each batch's loss,
// times the loss scale.
func (t *Trainer) Gradients() ([]Module, error) {
	return t.download(func(f *factor) compute.Tensor { return f.gradient })
}

func (t *Trainer) download(of func(*factor) compute.Tensor) ([]Module, error) {
	modules := slices.Clone(t.modules)
	for i, f := range t.factors {
		data := make([]float32, f.shape.Elements())
		if err := of(f).Download(data); err != nil {
			return nil, fmt.Errorf("lora: %s: %w", f.name, err)
		}
		into := &modules[i/2].Down
		if i%2 == 1 {
			into = &modules[i/2].Up
		}
		*into = Factor{f.shape, data}
	}
	return modules, nil
}

// Close gives the memory back. Closing twice is harmless.
func (t *Trainer) Close() error {
	errs := []error{t.programs.close()}
	for _, f := range t.factors {
		for _, x := range append(append([]compute.Tensor{f.gradient, f.sum}, f.now[:]...), f.next[:]...) {
			if x != nil {
				errs = append(errs, x.Close())
			}
		}
	}
	t.factors = nil
	if t.params != nil {
		errs = append(errs, t.params.Close())
		t.params = nil
	}
	return errors.Join(errs...)
}

// networks are the parameters of both networks, of which the names have nothing in common.
type networks struct{ text, unet *weights.Component }

var (
	_ compute.ParamSource   = networks{}
	_ compute.ParamReleaser = networks{}
)

func (n networks) of(name string) *weights.Component {
	if strings.HasPrefix(name, "text_model.") {
		return n.text
	}
	return n.unet
}

// ParamType implements compute.ParamSource.
func (n networks) ParamType(name string) (compute.Type, error) { return n.of(name).ParamType(name) }

// ParamData implements compute.ParamSource.
func (n networks) ParamData(name string) ([]byte, error) { return n.of(name).ParamData(name) }

// ReleaseParam implements compute.ParamReleaser.
func (n networks) ReleaseParam(name string) { n.of(name).ReleaseParam(name) }
