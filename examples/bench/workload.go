package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// picturePhases are the phases of one guided picture, in their order: each but the last makes inputs of the next.
var picturePhases = []string{"text_encoder", "context", "unet_step", "vae_decode"}

// workload is a checkpoint with what there is to time on it.
type workload struct {
	device        compute.Device
	checkpoint    *weights.Checkpoint
	params        []compute.Params
	passes        []*pass // of a picture, if a phase is one of them
	phases        []phase // those that were asked for
	width, height int
	picture       compute.MemoryReport // what the passes are announced to need
}

// phase is something to time.
type phase interface {
	title() string
	// run does the phase once.
	run(ctx context.Context) (outcome, error)
	// programs are those that the phase runs, once it has run.
	programs() []compiled
}

// outcome is what running a phase tells.
type outcome struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"`
	RMS     float64 `json:"rms,omitempty"`  // root of the mean square of the first output
	Loss    float64 `json:"loss,omitempty"` // of the batch, before the update
}

// compiled is a program and what runs it.
type compiled struct {
	name    string
	program *compute.Program
	exe     compute.Executable
}

// pass is a program with random inputs.
type pass struct {
	compiled
	params  compute.Params
	in, out []compute.Tensor
}

// configs are the configurations of the three networks.
type configs struct {
	text  clip.Config
	unet  unet.Config
	codec vae.Config
}

// open opens the checkpoint and prepares the phases, reading no weights.
func open(ctx context.Context, dev compute.Device, o options) (*workload, error) {
	w := &workload{device: dev}
	var err error
	if w.checkpoint, err = o.model.Open(ctx, os.Stderr); err != nil {
		return nil, err
	}
	if err := w.prepare(o); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *workload) prepare(o options) error {
	text, err1 := w.checkpoint.TextEncoder()
	net, err2 := w.checkpoint.UNet()
	codec, err3 := w.checkpoint.VAE()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var c configs
	c.text, err1 = clip.ParseConfig(text.Config())
	c.unet, err2 = unet.ParseConfig(net.Config())
	c.codec, err3 = vae.ParseConfig(codec.Config())
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	side := c.unet.SampleSize * c.codec.ScaleFactor()
	if w.width = o.width; w.width == 0 {
		w.width = side
	}
	if w.height = o.height; w.height == 0 {
		w.height = side
	}
	if w.width%8 != 0 || w.height%8 != 0 || w.width < 8 || w.height < 8 || w.width > 4096 || w.height > 4096 {
		return fmt.Errorf("-width %d -height %d: want multiples of 8 from 8 to 4096", w.width, w.height)
	}
	if slices.ContainsFunc(o.phases, func(name string) bool { return slices.Contains(picturePhases, name) }) {
		if err := w.record(c, text, net, codec); err != nil {
			return err
		}
	}
	for _, name := range o.phases {
		if i := slices.Index(picturePhases, name); i >= 0 {
			w.phases = append(w.phases, w.passes[i])
			continue
		}
		t, err := newTraining(name, w, c, o.batch)
		if err != nil {
			return err
		}
		w.phases = append(w.phases, t)
	}
	return nil
}

// record records the passes of a picture.
func (w *workload) record(c configs, textWeights, netWeights, codecWeights *weights.Component) error {
	text, err1 := clip.New(c.text, textWeights)
	net, err2 := unet.New(c.unet, netWeights)
	codec, err3 := vae.New(c.codec, codecWeights)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := errors.Join(textWeights.Err(), netWeights.Err(), codecWeights.Err()); err != nil {
		return err
	}
	h, wd := w.height/c.codec.ScaleFactor(), w.width/c.codec.ScaleFactor()
	tokens := c.text.MaxPositionEmbeddings

	if err := w.add("text_encoder", textWeights, func(b *compute.Builder) {
		b.Output(text.Forward(b, b.Input("input_ids", compute.I32, 2, tokens), 0))
	}); err != nil {
		return err
	}
	if err := w.add("context", netWeights, func(b *compute.Builder) {
		for _, kv := range net.ContextProjections(b, b.Input("encoder_hidden_states", compute.F32, 2, tokens, c.unet.CrossAttentionDim)) {
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
		sample := b.Input("sample", compute.F32, 1, h, wd, c.unet.InChannels)
		b.Output(net.Forward(b, sample, cond))
	}); err != nil {
		return err
	}
	return w.add("vae_decode", codecWeights, func(b *compute.Builder) {
		b.Output(codec.Decode(b, b.Input("latents", compute.F32, 1, h, wd, c.codec.LatentChannels)))
	})
}

// add records a pass; passes of one component share its parameters.
func (w *workload) add(name string, source *weights.Component, record func(b *compute.Builder)) error {
	var b compute.Builder
	record(&b)
	program, err := b.Build()
	if err != nil {
		return err
	}
	p := &pass{compiled: compiled{name: name, program: program}}
	if name == "unet_step" {
		p.params = w.passes[len(w.passes)-1].params
	} else if p.params, err = w.device.Load(source); err != nil {
		return err
	} else {
		w.params = append(w.params, p.params)
	}
	w.passes = append(w.passes, p)
	if estimator, ok := w.device.(compute.Estimator); ok {
		m, err := estimator.Estimate(source, program)
		if err != nil {
			return err
		}
		if name == "context" { // its parameters are among those of the step
			m.Params = 0
		}
		w.picture = together(w.picture, m)
	}
	return nil
}

// together is what programs with parameters of their own need on one device: runs are serialised and share an arena.
func together(a, b compute.MemoryReport) compute.MemoryReport {
	return compute.MemoryReport{Params: a.Params + b.Params, Arena: max(a.Arena, b.Arena), Worker: max(a.Worker, b.Worker)}
}

// planned is how many bytes all phases were announced to need.
func (w *workload) planned() int64 {
	all, factors := w.picture, int64(0)
	for _, p := range w.phases {
		if t, ok := p.(*training); ok {
			all = together(all, t.recorder.planned)
			factors += t.recorder.tensors
		}
	}
	return all.Total() + factors
}

// compile packs the weights of the passes and makes their inputs: the hidden states and the keys and values are those of
// the passes before, which are run for them, the rest is random.
func (w *workload) compile(ctx context.Context) (err error) {
	random := rand.New(rand.NewPCG(1, 2))
	for i, p := range w.passes {
		if p.exe, err = w.device.Compile(p.program, p.params); err != nil {
			return err
		}
		for j, v := range p.program.Inputs {
			switch info := p.program.Values[v.Index()]; info.Name {
			case "encoder_hidden_states":
				p.in = append(p.in, w.passes[i-1].out[0])
			case "k", "v":
				p.in = append(p.in, w.passes[i-1].out[j-1]) // the timestep comes before them
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
	for _, p := range w.passes[:min(2, len(w.passes))] { // they make the inputs of the step
		if _, err := p.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) tensor(t compute.Type) (compute.Tensor, error) {
	return w.device.NewTensor(t.DType, t.Shape...)
}

// values are token ids counting up, a time in the middle, or normal numbers.
func values(info compute.ValueInfo, random *rand.Rand) compute.Buffer {
	n := info.Shape.Elements()
	if info.DType == compute.I32 {
		return compute.Ints(counting(n))
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
		if info.Name == "timestep" {
			x[i] = 500
		}
	}
	return compute.Floats(x)
}

// counting is 0, 1, … n-1.
func counting(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	return ids
}

func (p *pass) title() string { return p.name }

func (p *pass) programs() []compiled { return []compiled{p.compiled} }

func (p *pass) run(ctx context.Context) (outcome, error) {
	start := clock()
	if err := p.exe.Run(ctx, p.out, p.in); err != nil {
		return outcome{}, err
	}
	seconds := clock() - start
	first := make([]float32, p.out[0].Shape().Elements())
	if err := p.out[0].Download(compute.Floats(first)); err != nil {
		return outcome{}, err
	}
	sum := 0.0
	for _, v := range first {
		sum += float64(v) * float64(v)
	}
	return outcome{Phase: p.name, Seconds: seconds, RMS: math.Sqrt(sum / float64(len(first)))}, nil
}

// phase finds a phase by name.
func (w *workload) phase(name string) phase {
	for _, p := range w.phases {
		if p.title() == name {
			return p
		}
	}
	return nil
}

// dump writes every program that the phases ran as NAME.txt.
func (w *workload) dump(folder string) error {
	for _, p := range w.phases {
		for _, c := range p.programs() {
			f, err := os.Create(filepath.Join(folder, c.name+".txt"))
			if err != nil {
				return err
			}
			err = c.program.Dump(f, compute.Plan(c.program, nil))
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *workload) close() {
	for _, p := range w.phases {
		if t, ok := p.(*training); ok {
			t.trainer.Close()
		}
	}
	for _, p := range w.passes {
		if p.exe != nil {
			p.exe.Close()
		}
	}
	for _, p := range w.params {
		p.Close()
	}
	w.checkpoint.Close()
}
