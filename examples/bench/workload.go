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
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// picturePhases are the phases of one guided picture, in their order: each but the last makes inputs of the next.
var picturePhases = []string{"text_encoder", "context", "unet_step", "vae_decode"}

// workload is a checkpoint with what there is to time on it.
type workload struct {
	device        compute.Device
	checkpoint    *weights.Checkpoint
	networks      *engine.Networks
	params        map[weights.Kind]compute.Params
	passes        []*pass // those of a picture, if a phase is one of them
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
	Loss    float64 `json:"loss,omitempty"` // the batch's, before the update
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

// open opens the checkpoint and prepares the phases, reading no weights.
func open(ctx context.Context, dev compute.Device, o options) (*workload, error) {
	w := &workload{device: dev, params: make(map[weights.Kind]compute.Params)}
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
	var err error
	if w.networks, err = engine.Open(w.checkpoint); err != nil {
		return err
	}
	side := w.networks.UNet.Config().SampleSize * w.networks.VAE.Config().ScaleFactor()
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
		if err := w.record(); err != nil {
			return err
		}
	}
	for _, name := range o.phases {
		if i := slices.Index(picturePhases, name); i >= 0 {
			w.phases = append(w.phases, w.passes[i])
			continue
		}
		t, err := newTraining(name, w, o.batch)
		if err != nil {
			return err
		}
		w.phases = append(w.phases, t)
	}
	return nil
}

// record records the passes of a picture.
func (w *workload) record() error {
	factor, tokens := w.networks.VAE.Config().ScaleFactor(), w.networks.Tokenizer.MaxLength()
	height, width := w.height/factor, w.width/factor
	for i, key := range []engine.Key{
		engine.TextKey{Sequences: 2}, engine.ContextKey{Samples: 2, Tokens: tokens}, predictionKey{height, width, tokens}, engine.DecodeKey{Height: height, Width: width},
	} {
		if err := w.add(picturePhases[i], key); err != nil {
			return err
		}
	}
	return nil
}

// predictionKey is what the UNet predicts for one picture and two texts, without what a sampler makes of it.
type predictionKey struct{ height, width, tokens int }

// Network implements engine.Key.
func (predictionKey) Network() weights.Kind { return weights.KindUNet }

// Record implements engine.Key.
func (k predictionKey) Record(r *engine.Recorder, n *engine.Networks) {
	cond := unet.Conditioning{Time: n.UNet.TimeProjections(&r.Builder, r.Input("timestep", compute.F32, 1))}
	for i, channels := range n.UNet.ContextChannels() {
		keys, values := engine.ContextNames(i)
		cond.Context = append(cond.Context, unet.KV{
			K: r.Input(keys, compute.F32, 2, k.tokens, channels), V: r.Input(values, compute.F32, 2, k.tokens, channels),
		})
	}
	sample := r.Input("sample", compute.F32, 1, k.height, k.width, n.UNet.Config().InChannels)
	r.Output("prediction", n.UNet.Forward(&r.Builder, sample, cond))
}

// add records a pass; passes of one network share its parameters.
func (w *workload) add(name string, key engine.Key) error {
	program, err := w.networks.Record(key)
	if err != nil {
		return err
	}
	kind := key.Network()
	source := w.networks.Components[kind]
	if w.params[kind] == nil {
		if w.params[kind], err = w.device.Load(source); err != nil {
			return err
		}
	}
	p := &pass{compiled: compiled{name: name, program: program}, params: w.params[kind]}
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
			switch info := p.program.Values[v.Index()]; {
			case info.Name == "encoder_hidden_states":
				p.in = append(p.in, w.passes[i-1].out[0])
			case strings.HasPrefix(info.Name, "k.") || strings.HasPrefix(info.Name, "v."):
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
