package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// workload is a checkpoint with the programs of one guided picture.
type workload struct {
	device        compute.Device
	checkpoint    *weights.Checkpoint
	params        []compute.Params
	phases        []*phase
	width, height int
	planned       compute.MemoryReport
}

// phase is a program with random inputs.
type phase struct {
	name    string
	program *compute.Program
	params  compute.Params
	exe     compute.Executable
	in, out []compute.Tensor
}

// open opens the checkpoint and records the programs, reading no weights.
func open(dev compute.Device, o options) (*workload, error) {
	w := &workload{device: dev}
	var err error
	if o.model == "" {
		w.checkpoint, err = weights.OpenFS(tinyportrait.FS(), weights.Options{})
	} else {
		w.checkpoint, err = weights.Open(o.model, weights.Options{})
	}
	if err != nil {
		return nil, err
	}
	if err := w.record(o); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *workload) record(o options) error {
	textWeights, err1 := w.checkpoint.TextEncoder()
	netWeights, err2 := w.checkpoint.UNet()
	codecWeights, err3 := w.checkpoint.VAE()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	textConfig, err1 := clip.ParseConfig(textWeights.Config())
	netConfig, err2 := unet.ParseConfig(netWeights.Config())
	codecConfig, err3 := vae.ParseConfig(codecWeights.Config())
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	text, err1 := clip.New(textConfig, textWeights)
	net, err2 := unet.New(netConfig, netWeights)
	codec, err3 := vae.New(codecConfig, codecWeights)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := errors.Join(textWeights.Err(), netWeights.Err(), codecWeights.Err()); err != nil {
		return err
	}
	side := netConfig.SampleSize * codecConfig.ScaleFactor()
	if w.width = o.width; w.width == 0 {
		w.width = side
	}
	if w.height = o.height; w.height == 0 {
		w.height = side
	}
	if w.width%8 != 0 || w.height%8 != 0 || w.width < 8 || w.height < 8 || w.width > 4096 || w.height > 4096 {
		return fmt.Errorf("-width %d -height %d: want multiples of 8 from 8 to 4096", w.width, w.height)
	}
	h, wd := w.height/codecConfig.ScaleFactor(), w.width/codecConfig.ScaleFactor()
	tokens := textConfig.MaxPositionEmbeddings

	if err := w.add("text_encoder", textWeights, func(b *compute.Builder) {
		b.Output(text.Forward(b, b.Input("input_ids", compute.I32, 2, tokens), 0))
	}); err != nil {
		return err
	}
	if err := w.add("context", netWeights, func(b *compute.Builder) {
		for _, kv := range net.ContextProjections(b, b.Input("encoder_hidden_states", compute.F32, 2, tokens, netConfig.CrossAttentionDim)) {
			b.Output(kv.K)
			b.Output(kv.V)
		}
	}); err != nil {
		return err
	}
	if err := w.add("unet_step", netWeights, func(b *compute.Builder) {
		cond := unet.Conditioning{Time: net.TimeProjections(b, b.Input("timestep", compute.F32, 1))}
		for _, channels := range net.ContextChannels() {
			cond.Context = append(cond.Context, unet.KV{
				K: b.Input("k", compute.F32, 2, tokens, channels),
				V: b.Input("v", compute.F32, 2, tokens, channels),
			})
		}
		sample := b.Input("sample", compute.F32, 1, h, wd, netConfig.InChannels)
		b.Output(net.Forward(b, sample, cond))
	}); err != nil {
		return err
	}
	return w.add("vae_decode", codecWeights, func(b *compute.Builder) {
		b.Output(codec.Decode(b, b.Input("latents", compute.F32, 1, h, wd, codecConfig.LatentChannels)))
	})
}

// add records a phase; phases of one component share its parameters.
func (w *workload) add(name string, source *weights.Component, record func(b *compute.Builder)) error {
	var b compute.Builder
	record(&b)
	program, err := b.Build()
	if err != nil {
		return err
	}
	p := &phase{name: name, program: program}
	if name == "unet_step" {
		p.params = w.phases[len(w.phases)-1].params
	} else if p.params, err = w.device.Load(source); err != nil {
		return err
	} else {
		w.params = append(w.params, p.params)
	}
	w.phases = append(w.phases, p)
	if estimator, ok := w.device.(compute.Estimator); ok {
		m, err := estimator.Estimate(source, program)
		if err != nil {
			return err
		}
		if name != "context" { // its parameters are among those of the step
			w.planned.Params += m.Params
		}
		w.planned.Arena = max(w.planned.Arena, m.Arena)
		w.planned.Worker = max(w.planned.Worker, m.Worker)
	}
	return nil
}

// compile packs the weights and makes the inputs: the hidden states and the keys and values are those of the phases
// before, the rest is random.
func (w *workload) compile() (err error) {
	random := rand.New(rand.NewPCG(1, 2))
	for i, p := range w.phases {
		if p.exe, err = w.device.Compile(p.program, p.params); err != nil {
			return err
		}
		for j, v := range p.program.Inputs {
			switch info := p.program.Values[v.Index()]; info.Name {
			case "encoder_hidden_states":
				p.in = append(p.in, w.phases[i-1].out[0])
			case "k", "v":
				p.in = append(p.in, w.phases[i-1].out[j-1]) // the timestep comes before them
			default:
				t, err := w.tensor(info.Type)
				if err != nil {
					return err
				}
				p.in = append(p.in, t)
				if err := t.Upload(values(info, random)); err != nil {
					return err
				}
			}
		}
		for _, v := range p.program.Outputs {
			t, err := w.tensor(p.program.Type(v))
			if err != nil {
				return err
			}
			p.out = append(p.out, t)
		}
	}
	return nil
}

func (w *workload) tensor(t compute.Type) (compute.Tensor, error) {
	return w.device.NewTensor(t.DType, t.Shape...)
}

// values are token ids counting up, a time in the middle, or normal numbers.
func values(info compute.ValueInfo, random *rand.Rand) any {
	n := info.Shape.Elements()
	if info.DType == compute.I32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(i)
		}
		return ids
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
		if info.Name == "timestep" {
			x[i] = 500
		}
	}
	return x
}

// run runs the phase once; rms is the root of the mean square of its first output.
func (p *phase) run(ctx context.Context) (seconds, rms float64, err error) {
	start := time.Now()
	if err := p.exe.Run(ctx, p.out, p.in); err != nil {
		return 0, 0, err
	}
	seconds = time.Since(start).Seconds()
	first := make([]float32, p.out[0].Shape().Elements())
	if err := p.out[0].Download(first); err != nil {
		return 0, 0, err
	}
	sum := 0.0
	for _, v := range first {
		sum += float64(v) * float64(v)
	}
	return seconds, math.Sqrt(sum / float64(len(first))), nil
}

// phase finds a phase by name.
func (w *workload) phase(name string) *phase {
	for _, p := range w.phases {
		if p.name == name {
			return p
		}
	}
	return nil
}

// dump writes every program as NAME.txt.
func (w *workload) dump(folder string) error {
	for _, p := range w.phases {
		f, err := os.Create(filepath.Join(folder, p.name+".txt"))
		if err != nil {
			return err
		}
		err = p.program.Dump(f, compute.Plan(p.program, nil))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) close() {
	for _, p := range w.phases {
		if p.exe != nil {
			p.exe.Close()
		}
	}
	for _, p := range w.params {
		p.Close()
	}
	w.checkpoint.Close()
}
