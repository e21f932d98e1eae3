// Package engine runs the networks of a checkpoint on a device, for everything that does: drawing, training and measuring.
//
//	n, err := engine.Open(checkpoint)               // networks that agree with the files and with each other
//	cache := engine.NewCache(device, n, 8)          // their parameters and programs
//	f, err := cache.Frame(key, engine.Variant{})    // a program, its inputs and outputs bound by name
//	x, y := f.Mirror("input_ids"), f.Mirror("last_hidden_state")
//	err = f.Do(ctx)                                 // x goes in, y comes out
package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/nn"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// Networks are the networks of a checkpoint, built and agreeing with each other and with the files. They record programs and
// hold no weights; they are valid until the checkpoint is closed.
type Networks struct {
	Tokenizer *clip.Tokenizer
	Text      *clip.Model
	UNet      *unet.Model
	VAE       *vae.Model

	Schedule   sampler.Schedule   // that the UNet was trained with
	Prediction sampler.Prediction // what the UNet predicts

	Checkpoint *weights.Checkpoint                 // they were opened from
	Components map[weights.Kind]*weights.Component // their parameters
	Layers     map[weights.Kind]*nn.Layers         // where adapters are attached
}

// Open builds the networks of a checkpoint, which claim their parameters, from headers and configurations: it reads no weights.
// What is missing, left over or of another shape is reported of all networks at once, as one *weights.LoadError for each.
func Open(ckpt *weights.Checkpoint) (*Networks, error) {
	n := &Networks{
		Checkpoint: ckpt, Components: make(map[weights.Kind]*weights.Component), Layers: make(map[weights.Kind]*nn.Layers),
	}
	if err := n.openComponents(ckpt); err != nil {
		return nil, err
	}
	if err := errors.Join(n.openTokenizer(ckpt), n.openSchedule(ckpt), n.build()); err != nil {
		return nil, err
	}
	return n, n.agree()
}

func (n *Networks) openComponents(ckpt *weights.Checkpoint) error {
	var errs []error
	for _, kind := range []weights.Kind{weights.KindTextEncoder, weights.KindUNet, weights.KindVAE} {
		c, err := ckpt.Component(kind)
		errs = append(errs, err)
		n.Components[kind], n.Layers[kind] = c, &nn.Layers{Claimer: c}
	}
	return errors.Join(errs...)
}

func (n *Networks) openTokenizer(ckpt *weights.Checkpoint) (err error) {
	n.Tokenizer = clip.Default()
	if folder := ckpt.Tokenizer(); folder != nil {
		n.Tokenizer, err = clip.OpenTokenizer(folder)
	}
	return err
}

func (n *Networks) openSchedule(ckpt *weights.Checkpoint) (err error) {
	if config := ckpt.Scheduler(); config != nil {
		if n.Schedule, _, err = sampler.ScheduleFromDiffusers(config); err != nil {
			return fmt.Errorf("engine: %s: scheduler_config.json: %w", n.Checkpoint.Path(), err)
		}
	}
	found := ckpt.Prediction()
	n.Prediction = found.Type
	n.Schedule.ZeroTerminalSNR = n.Schedule.ZeroTerminalSNR || found.ZeroSNR
	return nil
}

// build makes the three networks and compares what they claimed with the files.
func (n *Networks) build() (err error) {
	var errs [3]error
	n.Text, errs[0] = model(n, weights.KindTextEncoder, clip.ParseConfig, clip.New)
	n.UNet, errs[1] = model(n, weights.KindUNet, n.unetConfig, unet.New)
	n.VAE, errs[2] = model(n, weights.KindVAE, vae.ParseConfig, vae.New)
	return errors.Join(errs[:]...)
}

// unetConfig reads the UNet's configuration. Where there is none, the weights say whether it was made for inpainting.
func (n *Networks) unetConfig(data []byte) (unet.Config, error) {
	c, err := unet.ParseConfig(data)
	if in, typeErr := n.Components[weights.KindUNet].ParamType("conv_in.weight"); data == nil && typeErr == nil && in.Shape[1] == inpainting(c.InChannels) {
		c.InChannels = in.Shape[1]
	}
	return c, err
}

// model builds one network as its component's configuration says.
func model[C, M any](n *Networks, kind weights.Kind, parse func([]byte) (C, error), build func(C, nn.Claimer) (M, error)) (m M, err error) {
	config, err := parse(n.Components[kind].Config())
	if err != nil {
		return m, fmt.Errorf("engine: %s: %w", n.Checkpoint.Path(), err)
	}
	if m, err = build(config, n.Layers[kind]); err != nil {
		return m, fmt.Errorf("engine: %s: %w", n.Checkpoint.Path(), err)
	}
	return m, n.Components[kind].Err()
}

// agree refuses networks that cannot hand each other what they make.
func (n *Networks) agree() error {
	text, net, latents := n.Text.Config(), n.UNet.Config(), n.VAE.Config().LatentChannels
	var reason string
	switch {
	case net.CrossAttentionDim != text.HiddenSize:
		reason = fmt.Sprintf("the UNet attends to vectors of %d, the text encoder makes them of %d", net.CrossAttentionDim, text.HiddenSize)
	case net.InChannels != latents && net.InChannels != inpainting(latents) || net.OutChannels != latents:
		reason = fmt.Sprintf("the UNet turns %d channels into %d, the VAE has %d latent channels", net.InChannels, net.OutChannels, latents)
	case n.Tokenizer.VocabSize() > text.VocabSize:
		reason = fmt.Sprintf("the tokenizer knows %d tokens, the text encoder %d", n.Tokenizer.VocabSize(), text.VocabSize)
	case n.Tokenizer.MaxLength() > text.MaxPositionEmbeddings:
		reason = fmt.Sprintf("the tokenizer makes sequences of %d, the text encoder reads %d", n.Tokenizer.MaxLength(), text.MaxPositionEmbeddings)
	default:
		return nil
	}
	return fmt.Errorf("engine: %s: %s; the files belong to different models", n.Checkpoint.Path(), reason)
}

// TakesOver is an error if these networks cannot go on with a run of others: with latents of the same form and noise.
func (n *Networks) TakesOver(other *Networks) error {
	shape := func(n *Networks) unet.Config {
		c := n.UNet.Config()
		c.SampleSize = 0
		return c
	}
	a, b := n.VAE.Config(), other.VAE.Config()
	switch {
	case !reflect.DeepEqual(shape(n), shape(other)) || a.LatentChannels != b.LatentChannels || a.ScaleFactor() != b.ScaleFactor() || a.ScalingFactor != b.ScalingFactor:
		return fmt.Errorf("engine: %s is of another shape than %s, and cannot go on with its latents; take a checkpoint of the same kind", n.Checkpoint.Path(), other.Checkpoint.Path())
	case cmp.Or(n.Prediction, sampler.Epsilon) != cmp.Or(other.Prediction, sampler.Epsilon):
		return fmt.Errorf("engine: %s predicts %q and %s %q; take checkpoints that predict the same", n.Checkpoint.Path(), n.Prediction, other.Checkpoint.Path(), other.Prediction)
	}
	own, err := n.Schedule.Table()
	its, err2 := other.Schedule.Table()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if !slices.EqualFunc(own.Sigmas, its.Sigmas, func(a, b float64) bool { return math.Abs(a-b) < 1e-3*b }) {
		return fmt.Errorf("engine: %s was trained with other noise levels than %s; take checkpoints with the same", n.Checkpoint.Path(), other.Checkpoint.Path())
	}
	return nil
}

// LatentChannels is how many channels latents have: those that the VAE makes and the UNet estimates.
func (n *Networks) LatentChannels() int { return n.VAE.Config().LatentChannels }

// inpainting is the channels that a UNet made for inpainting reads: latents, a mask, and the latents of what the mask leaves of a picture.
func inpainting(latents int) int { return latents + 1 + latents }

// Shown is how many channels the UNet reads besides latents: none, or if it was made for inpainting those of the mask, 1 where all is painted,
// and of the scaled latents of what the mask leaves of a picture.
func (n *Networks) Shown() int { return n.UNet.Config().InChannels - n.LatentChannels() }

// FromTextAlone is an error if the UNet reads more than latents.
func (n *Networks) FromTextAlone() error {
	if read, latents := n.UNet.Config().InChannels, n.LatentChannels(); read != latents {
		return fmt.Errorf("engine: %s: the UNet reads %d channels besides the latents' %d, as one for inpainting does; use a model that makes pictures from text alone",
			n.Checkpoint.Path(), read-latents, latents)
	}
	return nil
}
