package sd

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/unet"
)

// job is what a sampling makes of noise.
type job struct {
	plan          *sampler.Plan
	cond          *conditioning
	noise         *noise // nil if the plan asks for none
	batch         int
	height, width int // those of latents
	options       unet.Options
	rescale       float64 // of what guidance makes, towards the deviation of the prompt's prediction
	cache         DeepCache
	paint         paint

	refiner *Pipeline     // takes over where the plan says so; nil is none
	refined *conditioning // what the prompts say to it
}

// key is the program of the job's evaluations with all predictions of a conditioning.
func (j job) key(c *conditioning) stepKey {
	k := stepKey{
		batch: j.batch, height: j.height, width: j.width, predictions: len(c.weights), tokens: c.tokens,
		slots: j.plan.Slots, unconditional: j.plan.Unconditional, options: j.options, masking: j.masking(),
	}
	if len(c.parts) > len(c.positive) { // otherwise there is nothing that guidance could strengthen
		k.rescale = j.rescale
	}
	if j.cache.Interval > 1 {
		k.cut = j.cache.Branch + 1
	}
	return k
}

// keys are all programs that a conditioning runs, the first of which makes keys and values.
func (j job) keys(c *conditioning) []engine.Key {
	whole := j.key(c)
	all := []engine.Key{engine.ContextKey{Samples: len(c.parts) * j.batch, Tokens: c.tokens}, whole}
	if whole.cut > 0 {
		all = append(all, whole.above())
	}
	return all
}

// conditionings are those of guided and of unguided evaluations, the latter only if there are some that differ.
func (j job) conditionings() []*conditioning {
	if j.plan.Unguided && j.cond.negative != nil {
		return []*conditioning{j.cond, j.cond.unguided()}
	}
	return []*conditioning{j.cond}
}

// sampling is a job that runs on the device.
type sampling struct {
	job
	pipe       *Pipeline
	call       int          // calls of the network, counted from 0
	predictors []*predictor // of the job's conditionings; they share the state

	timestep, inputMix, mix, draw *engine.Mirror // what changes from one evaluation to the next
	slots                         []int          // the state, in turn old and new
	clean                         compute.Tensor // the estimate of the clean latents

	still     []*engine.Mirror // what stays through the run
	known     *engine.Mirror   // what the network would say of what a mask keeps, nil if the step does not ask
	softening *softening       // memory, nil until it is needed

	measured [3][]float32 // slots that are measured
}

// newSampling prepares a run: it projects the contexts to keys and values, compiles the step and starts the state from
// noise of unit variance, [batch,height,width,C], and from clean latents if there are some.
func (p *Pipeline) newSampling(ctx context.Context, j job, initial, clean []float32) (_ *sampling, err error) {
	s := &sampling{job: j, pipe: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.open(); err != nil {
		return nil, err
	}
	for i, v := range initial {
		s.draw.F32[i] = float32(j.plan.Start.Noise) * v
	}
	for i, v := range clean {
		s.draw.F32[i] += float32(j.plan.Start.Latent) * v
	}
	return s, errors.Join(s.current(0).Upload(s.draw.Buffer), s.predictors[0].say(ctx, 0))
}

// open makes what runs evaluations, with the networks of the pipeline.
func (s *sampling) open() error {
	for i, c := range s.conditionings() {
		bind := s.bind
		if i > 0 {
			bind = func(step *engine.Frame) { step.Share(s.predictors[0].step) }
		}
		r, err := s.pipe.newPredictor(s.job, c, bind)
		if err != nil {
			return err
		}
		s.predictors = append(s.predictors, r)
	}
	return s.sendPaint()
}

// bind gives a step the state.
func (s *sampling) bind(step *engine.Frame) {
	for i := range s.plan.Slots {
		s.slots = append(s.slots, step.Rotating(slotName(i)))
	}
	s.timestep, s.inputMix, s.mix = step.Mirror("timestep"), step.Mirror("input_mix"), step.Mirror("mix")
	s.draw, s.clean = step.Mirror("noise"), step.Tensor("clean")
	s.bindPaint(step)
}

// current is the tensor of a slot.
func (s *sampling) current(slot int) compute.Tensor {
	return s.predictors[0].step.Current(s.slots[slot])
}

// predictor is what runs an evaluation: the last for those without the negative prompt, which is the only one where there is none.
func (s *sampling) predictor(e *sampler.Eval) *predictor {
	if e.Unguided {
		return s.predictors[len(s.predictors)-1]
	}
	return s.predictors[0]
}

// evaluate runs an evaluation of the plan and measures what that wants to know. It allocates nothing but for the first measurement
// and where the prompt changes.
func (s *sampling) evaluate(ctx context.Context, e *sampler.Eval) (measured float64, err error) {
	if e.Switched && s.refiner != nil {
		if err := s.takeOver(); err != nil {
			return 0, err
		}
	}
	s.timestep.F32[0] = float32(e.Timestep)
	s.combine(e)
	for _, m := range [...]*engine.Mirror{s.timestep, s.inputMix, s.mix, s.known} {
		if m == nil {
			continue
		}
		if err := m.Send(); err != nil {
			return 0, err
		}
	}
	if s.noise != nil && s.noise.fill(s.draw.F32, e.Noise) {
		if err := s.draw.Send(); err != nil {
			return 0, err
		}
	}
	if err := s.predictor(e).run(ctx, s.call); err != nil {
		return 0, err
	}
	s.call++
	for _, r := range s.predictors {
		r.rotate()
	}
	if err := s.soften(e); err != nil {
		return 0, err
	}
	if e.Measure != nil {
		return s.measure(e.Measure)
	}
	return 0, nil
}

// combine writes an evaluation's coefficients: of the network's input, of each new slot and of the estimate.
func (s *sampling) combine(e *sampler.Eval) {
	if s.known != nil {
		s.known.F32[0], s.known.F32[1] = float32(e.Known.Input), float32(e.Known.Latent)
	}
	slots := s.plan.Slots
	width := terms(slots, s.plan.Unconditional)
	putSlots(s.inputMix.F32, e.Input, slots)
	s.inputMix.F32[slots] = float32(e.Input.Noise)
	for i := range slots + 1 {
		m, row := e.Denoised, s.mix.F32[i*width:][:width]
		if i < slots {
			m = e.Update[i]
		}
		putSlots(row, m, slots)
		row[slots], row[slots+1], row[width-1] = float32(m.Model), float32(m.Unconditional), float32(m.Noise)
	}
}

// measure makes a measurement of the new slots.
func (s *sampling) measure(d *sampler.Distance) (float64, error) {
	for i, slot := range [...]int{d.A, d.B, d.Reference} {
		if s.measured[i] == nil {
			s.measured[i] = make([]float32, s.draw.Len())
		}
		if err := s.current(slot).Download(compute.Floats(s.measured[i])); err != nil {
			return 0, err
		}
	}
	return d.Between(s.measured[0], s.measured[1], s.measured[2]), nil
}

// terms is the number of tensors that a mix combines: the slots, the model's output, the unconditional one if it is used, noise.
func terms(slots int, unconditional bool) int {
	if unconditional {
		return slots + 3
	}
	return slots + 2
}

// putSlots writes the coefficients of a mix's slots.
func putSlots(row []float32, m sampler.Mix, slots int) {
	for i, c := range m.Slot[:slots] {
		row[i] = float32(c)
	}
}

// latents downloads the state of the run, [batch,height,width,C].
func (s *sampling) latents() ([]float32, error) { return s.download(s.current(0)) }

// estimate downloads the last evaluation's estimate of the clean latents.
func (s *sampling) estimate() ([]float32, error) { return s.download(s.clean) }

func (s *sampling) download(from compute.Tensor) ([]float32, error) {
	host := make([]float32, s.draw.Len())
	if err := from.Download(compute.Floats(host)); err != nil {
		return nil, err
	}
	for i, v := range host {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("sd: element %d of the latents is %v: the model does not work with these settings; try another sampler, a lower guidance, fp32 precision", i, v)
		}
	}
	return host, nil
}

func (s *sampling) close() error {
	var errs []error
	for _, r := range s.predictors {
		errs = append(errs, r.close())
	}
	s.predictors = nil
	return errors.Join(errs...)
}
