package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// Options say how a Trainer trains. The zero value is a sensible default.
type Options struct {
	Objective
	// OptimizerType is AdamW if empty, Lion, SGDNesterov, Adafactor, Prodigy, DAdaptAdam, or one of the first three with its
	// state in fewer bits or paged, which runs without, "optimizer_type". OptimizerArgs are its constants as "key=value",
	// "optimizer_args": "weight_decay=0.1", "betas=(0.9,0.99)".
	OptimizerType string   `json:"optimizer_type"`
	OptimizerArgs []string `json:"optimizer_args"`
	// ClipSkip counts the last layers of the text encoder that are left out, plus one, "clip_skip"; 0 means 1, all layers.
	ClipSkip int `json:"clip_skip"`
	// MaxGradNorm bounds the norm of all gradients together, "max_grad_norm"; 0 does not.
	MaxGradNorm float64 `json:"max_grad_norm"`
	// Accumulation is how many batches make a step, "gradient_accumulation_steps"; 0 means 1.
	Accumulation int `json:"gradient_accumulation_steps"`
	// Checkpointing computes what resnets, transformers and encoder layers keep for the way back anew instead,
	// "gradient_checkpointing": a third more work in much less memory, with the same result to the bit.
	Checkpointing bool `json:"gradient_checkpointing" resume:"-"`
	// LoRAPlusRatio multiplies the learning rate of the up factors, "loraplus_lr_ratio"; 0 means 1. Hayou et al.
	// (arXiv:2402.12354). LoRAPlusUNetRatio and LoRAPlusTextEncoderRatio are for one network, "loraplus_unet_lr_ratio" and
	// "loraplus_text_encoder_lr_ratio"; 0 means LoRAPlusRatio.
	LoRAPlusRatio            float64 `json:"loraplus_lr_ratio"`
	LoRAPlusUNetRatio        float64 `json:"loraplus_unet_lr_ratio"`
	LoRAPlusTextEncoderRatio float64 `json:"loraplus_text_encoder_lr_ratio"`
	// BlockLRWeight multiplies the learning rate in each of the UNet's 25 blocks, as in [lora.Network]; nil for ones.
	BlockLRWeight []float64 `json:"block_lr_weight"`
	// ScaleWeightNorms bounds the norm of each module's change after every Update, "scale_weight_norms"; 0 does not.
	ScaleWeightNorms float64 `json:"scale_weight_norms"`
}

// Check reports what is wrong with the options, as [invalid.FieldError]s of an Options.
func (o Options) Check() error {
	return errors.Join(invalid.Under("Options", o.Objective.Check()), o.checkOptimizer())
}

// Batch is what a training learns from at once, all that is random being given.
type Batch struct {
	Samples, Height, Width int // N, h and w: of latents, not of pictures

	Latents   []float32 // z, [N,h,w,4], scaled as the UNet knows them
	Noise     []float32 // ε, [N,h,w,4], what is to be predicted
	Perturbed []float32 // the noise that is mixed in, where it is another one ("ip_noise_gamma"); nil for Noise
	Timesteps []int     // [N], 0 to 999
	IDs       []int32   // token ids of the captions, [N,77·k]: k chunks of each, as [CaptionIDs] makes them
	Weights   []float32 // weights of samples in the loss, [N]; nil for ones
	Mask      []float32 // weights of latents in the loss, [N,h,w]; nil for ones
	// Dropout has for each module the numbers that its ranks are multiplied with, [N,r], and [N·k,r] in the text encoder, which
	// reads chunks as samples: 0 where dropped. Nil is without.
	Dropout [][]float32
	// NetworkDropout is the probability that a number which a down factor gives is dropped; DropoutSeed says which.
	NetworkDropout float64
	DropoutSeed    uint64
}

// Update tells what became of a step.
type Update struct {
	Norm    float64 // the norm of all gradients together, before it was bounded
	Skipped bool    // gradients were not finite: nothing changed
	D       float64 // what Prodigy and DAdaptAdam multiply learning rates with; 0 for others

	// With ScaleWeightNorms: how many modules were scaled down, and the mean and largest norm of their changes afterwards.
	KeysScaled                 int
	AverageKeyNorm, MaxKeyNorm float64
}

// Trainer trains modules against the frozen networks of a checkpoint. Factors, gradients and AdamW's moments stay on the
// device in float32 between steps; other optimizers keep what they need on the host. [Trainer.Step] learns from a batch,
// [Trainer.Update] moves the factors by what was learned:
//
//	x_t  = √ᾱ·z + √(1-ᾱ)·ε
//	loss = mean over samples of weight(t)·mean f(unet(x_t, t, text(ids)) - ε)
//
// A Trainer is used by one goroutine and closed after use, before the device and the checkpoint.
type Trainer struct {
	device    compute.Device
	options   Options
	networks  *engine.Networks
	cache     *engine.Cache
	diffusion *diffusion

	modules   []module  // without their numbers
	factors   []*factor // down and up of each module
	groups    []group
	optimizer optim.Choice
	gram      []float64 // scratch of ScaleWeightNorms
	programs
	batches int // learned from since the last update
	steps   int // done and not skipped
	scale   float64
}

// module is a LoRA's module that is trained.
type module struct {
	lora.Target
	lora.LowRank
}

// factorParts are the ends of the names of a module's two factors, as kohya's files have them.
var factorParts = [...]string{".lora_down.weight", ".lora_up.weight"}

// factor is a matrix that is trained.
type factor struct {
	name      string
	shape     compute.Shape
	group     int
	untrained bool // the loss does not depend on it

	now      []compute.Tensor // the parameter and, with AdamW, its two moments
	gradient compute.Tensor   // the sum of gradients

	// What an optimizer on the host works on; with ScaleWeightNorms alone, the parameter.
	parameter, hostGradient compute.Buffer
	state                   [][]float32
	arrays                  []optim.Array
}

// NewTrainer puts modules, of the usual two factors, on a device to be trained. The modules are not written to. Of the checkpoint's VAE it
// reads the header and the configuration, with which latents have to agree, and no weights.
func NewTrainer(dev compute.Device, c *weights.Checkpoint, modules []lora.Module, o Options) (*Trainer, error) {
	n, err := engine.Open(c)
	if err != nil {
		return nil, err
	}
	return newTrainer(dev, n, modules, o)
}

// newTrainer is NewTrainer for networks that are open, which are the trainer's to attach adapters to until it is closed.
func newTrainer(dev compute.Device, n *engine.Networks, modules []lora.Module, o Options) (_ *Trainer, err error) {
	o.Accumulation = max(1, o.Accumulation)
	t := &Trainer{device: dev, options: o, networks: n, cache: engine.NewCache(dev, n, 0), scale: 1}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := t.takeSchedule(); err != nil {
		return nil, err
	}
	if t.optimizer, err = o.optimizer(); err != nil {
		return nil, err
	}
	if len(modules) == 0 {
		return nil, errors.New("lora: there is nothing to train")
	}
	if err := n.FromTextAlone(); err != nil {
		return nil, err
	}
	for _, m := range modules {
		if err := t.addModule(m); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// takeSchedule takes from the checkpoint what noise is mixed in and what is predicted.
func (t *Trainer) takeSchedule() (err error) {
	if t.options.Objective, err = t.options.following(t.networks); err != nil {
		return invalid.Under("Options", err)
	}
	if err := t.options.Check(); err != nil {
		return err
	}
	t.diffusion, err = t.options.diffusion(t.networks.Schedule)
	return err
}

// addModule uploads the factors of a module, and keeps of them their shapes.
func (t *Trainer) addModule(given lora.Module) error {
	l, ok := given.Delta.(lora.LowRank)
	if !ok || !given.Complete() || l.Mid.Data != nil {
		return fmt.Errorf("lora: module %q: factors %v·%v; training wants two that make up the weight %v", given.Name, l.Up.Shape, l.Down.Shape, given.Shape)
	}
	m := module{given.Target, l}
	if s := m.Scale(); s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
		return fmt.Errorf("lora: module %q: alpha is %v, so nothing could be learned; want a number such as the rank, %d", m.Name, m.Alpha, m.Rank())
	}
	if err := t.networks.Layers[m.Kind].Attach(m.Name, nil); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	if t.options.ScaleWeightNorms > 0 {
		t.gram = slices.Grow(t.gram, m.Rank()*m.Rank())
	}
	for p, data := range []lora.Factor{m.Down, m.Up} {
		f := &factor{name: m.Key() + factorParts[p], shape: data.Shape}
		t.factors = append(t.factors, f)
		g := t.options.group(m.Target, p == 1)
		if f.group = slices.Index(t.groups, g); f.group < 0 {
			f.group, t.groups = len(t.groups), append(t.groups, g)
		}
		if err := t.allocate(f, data.Data); err != nil {
			return fmt.Errorf("lora: %s: %w", f.name, err)
		}
	}
	m.Down.Data, m.Up.Data = nil, nil
	t.modules = append(t.modules, m)
	return nil
}

// allocate makes what a factor needs on the device and on the host.
func (t *Trainer) allocate(f *factor, parameter []float32) error {
	tensors := []*compute.Tensor{&f.gradient}
	f.now = make([]compute.Tensor, 1)
	if t.optimizer.AdamW != nil {
		f.now = make([]compute.Tensor, 3)
	}
	for i := range f.now {
		tensors = append(tensors, &f.now[i])
	}
	for _, x := range tensors {
		var err error
		if *x, err = t.device.NewTensor(compute.F32, f.shape...); err != nil {
			return err
		}
	}
	if host := t.optimizer.Host; host != nil {
		f.hostGradient = compute.NewBuffer(compute.Type{DType: compute.F32, Shape: f.shape})
		f.arrays = host.Arrays(f.shape)
		for _, a := range f.arrays {
			f.state = append(f.state, make([]float32, compute.Shape(a.Shape).Elements()))
		}
	}
	if t.optimizer.Host != nil || t.options.ScaleWeightNorms > 0 {
		f.parameter = compute.NewBuffer(compute.Type{DType: compute.F32, Shape: f.shape})
	}
	return f.now[0].Upload(compute.Floats(parameter))
}

// SetLossScale multiplies losses on the device from now on, so that gradients of devices that compute in half precision
// do not vanish. It changes no result otherwise. At first it is 1.
func (t *Trainer) SetLossScale(scale float64) { t.scale = scale }

// Step learns from a batch: it adds the gradients of its loss to those of the batches since the last Update, and returns
// the loss. A Step that fails, as it does when ctx is done, leaves the sum of gradients undefined and the factors as they are.
func (t *Trainer) Step(ctx context.Context, batch Batch) (loss float64, err error) {
	loss, err = t.run(ctx, &batch, false)
	if err != nil {
		return 0, err
	}
	t.batches++
	return loss, nil
}

// Evaluate is the loss of a batch, without dropout, and learns nothing from it.
func (t *Trainer) Evaluate(ctx context.Context, batch Batch) (loss float64, err error) {
	batch.Dropout, batch.NetworkDropout = nil, 0
	return t.run(ctx, &batch, true)
}

// run computes the loss of a batch, and its gradients unless it is only evaluated.
func (t *Trainer) run(ctx context.Context, batch *Batch, evaluate bool) (loss float64, err error) {
	s, err := t.microStep(batch, evaluate)
	if err != nil {
		return 0, err
	}
	t.fill(s, batch)
	if err := s.Do(ctx); err != nil {
		return 0, err
	}
	return float64(s.Host("loss").F32[0]) / t.scale, nil
}

// Update moves the factors by the gradients of the batches since the last one, divided by Accumulation. It is not
// stopped halfway. Gradients that are not finite change nothing. Rates that the optimizer cannot work with are an error,
// as of [Options.CheckRates].
func (t *Trainer) Update(r Rates) (Update, error) {
	if t.batches == 0 {
		return Update{}, errors.New("lora: an update without a step before it")
	}
	if _, ok := t.optimizer.Host.(distance); ok {
		if err := t.options.checkEqual(t.optimizer.Name, t.groups, r); err != nil {
			return Update{}, err
		}
	}
	s, err := t.updateStep()
	if err != nil {
		return Update{}, err
	}
	limits, clip := s.Host("limits").F32, s.Host("clip").F32
	limits[0], limits[1] = float32(1/(float64(t.options.Accumulation)*t.scale)), float32(t.options.MaxGradNorm)
	t.fillHyper(s, r)
	if err := s.Do(context.Background()); err != nil {
		return Update{}, err
	}
	t.batches = 0
	factor, norm := clip[0], float64(clip[1])
	u := Update{Norm: norm, Skipped: factor == 0 && (math.IsNaN(norm) || math.IsInf(norm, 0))}
	if !u.Skipped {
		t.steps++
		if err := t.hostStep(s, factor, r); err != nil {
			return Update{}, err
		}
	}
	if d, ok := t.optimizer.Host.(distance); ok {
		u.D = d.D()
	}
	if t.options.ScaleWeightNorms > 0 {
		err = t.scaleWeightNorms(&u)
	}
	return u, err
}

// fillHyper tells AdamW, if it is the optimizer, the constants of the step.
func (t *Trainer) fillHyper(s *updateStep, r Rates) {
	o, k := t.optimizer.AdamW, float64(t.steps+1)
	for i, m := range s.hyper {
		h := m.F32
		h[0], h[1], h[2] = float32(t.options.rate(t.groups[i], r)), float32(1-o.Beta1), float32(1-o.Beta2)
		h[3], h[4] = float32(o.Eps), float32(o.WeightDecay)
		h[5], h[6] = float32(oneMinusPower(o.Beta1, k)), float32(oneMinusPower(o.Beta2, k))
	}
}

// oneMinusPower is 1-βᵏ, exact where β is close to 1.
func oneMinusPower(beta, k float64) float64 { return -math.Expm1(k * math.Log(beta)) }

// hostStep moves the factors by gradients times factor, if the optimizer runs on the host.
func (t *Trainer) hostStep(s *updateStep, factor float32, r Rates) error {
	if t.optimizer.Host == nil {
		return nil
	}
	for i, f := range s.trained {
		if err := f.gradient.Download(f.hostGradient); err != nil {
			return err
		}
		if err := f.now[0].Download(f.parameter); err != nil {
			return err
		}
		for j := range f.hostGradient.F32 {
			f.hostGradient.F32[j] *= factor
		}
		s.tensors[i].Rate = t.options.rate(t.groups[f.group], r)
	}
	t.optimizer.Host.Step(t.steps, s.tensors)
	for _, f := range s.trained {
		if err := f.now[0].Upload(f.parameter); err != nil {
			return err
		}
	}
	return nil
}

// Modules downloads the modules as they are now.
func (t *Trainer) Modules() ([]lora.Module, error) {
	return t.download(func(f *factor) compute.Tensor { return f.now[0] })
}

// Gradients downloads the sums of gradients since the last Update, as modules of the same shapes: of each batch's loss,
// times the loss scale.
func (t *Trainer) Gradients() ([]lora.Module, error) {
	return t.download(func(f *factor) compute.Tensor { return f.gradient })
}

func (t *Trainer) download(of func(*factor) compute.Tensor) ([]lora.Module, error) {
	trained := slices.Clone(t.modules)
	for i, f := range t.factors {
		data := make([]float32, f.shape.Elements())
		if err := of(f).Download(compute.Floats(data)); err != nil {
			return nil, fmt.Errorf("lora: %s: %w", f.name, err)
		}
		into := &trained[i/2].Down
		if i%2 == 1 {
			into = &trained[i/2].Up
		}
		*into = lora.Factor{Shape: f.shape, Data: data}
	}
	modules := make([]lora.Module, len(trained))
	for i, m := range trained {
		modules[i] = lora.Module{Target: m.Target, Delta: m.LowRank}
	}
	return modules, nil
}

// Close gives the memory back. Closing twice is harmless.
func (t *Trainer) Close() error {
	errs := []error{t.programs.close()}
	for _, f := range t.factors {
		for _, x := range append(f.now, f.gradient) {
			if x != nil {
				errs = append(errs, x.Close())
			}
		}
	}
	for _, m := range t.modules {
		errs = append(errs, t.networks.Layers[m.Kind].Attach(m.Name, nil)) // the networks may be trained again
	}
	t.factors, t.modules = nil, nil
	return errors.Join(append(errs, t.cache.Close())...)
}

// networks are the parameters of both networks, of which the names have nothing in common.
type networks struct{ text, unet *weights.Component }

var (
	_ compute.ParamSource = networks{}
	_ compute.ParamOpener = networks{}
)

func trainedWeights(n *engine.Networks) networks {
	return networks{n.Components[weights.KindTextEncoder], n.Components[weights.KindUNet]}
}

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

// OpenParam implements compute.ParamOpener.
func (n networks) OpenParam(name string) io.ReaderAt { return n.of(name).OpenParam(name) }
