package main

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
)

// trainingPhases are the steps of training, without and with gradient checkpointing.
var trainingPhases = []string{"train_step", "train_step_checkpointed"}

const (
	rank     = 16
	maxBatch = 64
	timestep = 500
)

// rates are the usual learning rates.
var rates = train.Rates{TextEncoder: 5e-5, UNet: 1e-4}

// training is one step of training a LoRA of both networks, on the same batch each time: noise mixed into latents, the
// text encoder, the UNet, the loss, the gradients of all factors, their norm clipped to 1, and AdamW.
type training struct {
	Training
	name     string
	recorder *recorder
	trainer  *train.Trainer
	batch    train.Batch
}

// newTraining puts the factors on the device. What is random is that of peers/peers.py: the stream of
// torch.manual_seed(0) from which latents, noise and then the down factors are drawn, these in the order of their keys.
func newTraining(name string, w *workload, samples int) (*training, error) {
	text, net, factor := w.networks.Text.Config(), w.networks.UNet.Config(), w.networks.VAE.Config().ScaleFactor()
	targets, err := lora.NewTargets(text, net)
	if err != nil {
		return nil, err
	}
	modules, err := lora.Network{Dim: rank}.New(targets, 0)
	if err != nil {
		return nil, err
	}
	t := &training{name: name, recorder: &recorder{Device: w.device, name: name}}
	t.batch = train.Batch{
		Samples: samples, Height: w.height / factor, Width: w.width / factor,
		IDs: counting(samples * text.MaxPositionEmbeddings), Timesteps: slices.Repeat([]int{timestep}, samples),
	}
	elements := samples * t.batch.Height * t.batch.Width * w.networks.LatentChannels()
	t.batch.Latents, t.batch.Noise = make([]float32, elements), make([]float32, elements)
	draw := rng.NewTorch(0)
	draw.Normal(t.batch.Latents)
	draw.Normal(t.batch.Noise)
	slices.SortFunc(modules, func(a, b lora.Module) int { return cmp.Compare(a.Key(), b.Key()) })
	t.Training = Training{Modules: len(modules), Rank: rank, Batch: samples}
	for i := range modules {
		m := &modules[i]
		l := m.Delta.(lora.LowRank)
		t.Parameters += len(l.Down.Data) + len(l.Up.Data)
		draw.Uniform(l.Down.Data)
		bound := float32(1 / math.Sqrt(float64(m.Shape[1:].Elements())))
		for j, u := range l.Down.Data {
			l.Down.Data[j] = (2*u - 1) * bound
		}
	}
	options := train.Options{MaxGradNorm: 1, Checkpointing: name == "train_step_checkpointed"}
	t.trainer, err = train.NewTrainer(t.recorder, w.checkpoint, modules, options)
	return t, err
}

func (t *training) title() string { return t.name }

func (t *training) programs() []compiled { return t.recorder.compiled }

func (t *training) run(ctx context.Context) (outcome, error) {
	start := clock()
	loss, err := t.trainer.Step(ctx, t.batch)
	if err != nil {
		return outcome{}, err
	}
	if _, err := t.trainer.Update(rates); err != nil {
		return outcome{}, err
	}
	t.Losses = append(t.Losses, loss)
	return outcome{Phase: t.name, Seconds: clock() - start, Loss: loss}, nil
}

// recorder is a device that remembers what a trainer has it compile, and what it was announced to need.
type recorder struct {
	compute.Device
	name     string
	source   compute.ParamSource
	compiled []compiled
	planned  compute.MemoryReport
	tensors  int64 // bytes of the factors, their moments and gradients, and the batch
}

// NewTensor implements compute.Device.
func (r *recorder) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	r.tensors += int64(compute.Type{DType: t, Shape: shape}.Bytes())
	return r.Device.NewTensor(t, shape...)
}

// Load implements compute.Device.
func (r *recorder) Load(source compute.ParamSource) (compute.Params, error) {
	r.source = source
	return r.Device.Load(source)
}

// Compile implements compute.Device.
func (r *recorder) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	if estimator, ok := r.Device.(compute.Estimator); ok {
		m, err := estimator.Estimate(r.source, p)
		if err != nil {
			return nil, err
		}
		r.planned = together(r.planned, m) // the update, one of its two programs, has no parameters
	}
	exe, err := r.Device.Compile(p, params)
	if err != nil {
		return nil, err
	}
	name := r.name
	if len(r.compiled) > 0 {
		name += ".update"
	}
	r.compiled = append(r.compiled, compiled{name, p, exe})
	return exe, nil
}
