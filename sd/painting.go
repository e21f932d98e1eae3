package sd

import (
	"errors"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/sampler"
)

// paint is what a sampling draws under a mask of, and what it is shown besides latents.
type paint struct {
	mask  []float32 // how much of each latent is drawn; nil is all
	clean []float32 // latents of what stays, [N,h,w,C]
	shown []float32 // [N,h,w,1+C], nil for checkpoints that are not made for inpainting
	soft  *Soft     // resolved
}

// masking is where a mask enters the program of a step.
type masking int

const (
	unmasked    masking = iota
	masksOutput         // what the network says of the rest becomes what it would say if it saw the clean latents
	masksInput          // the network sees the clean latents
)

// masking is that of a job. Soft inpainting is done to what a step leaves.
func (j job) masking() masking {
	switch {
	case j.paint.mask == nil || j.paint.soft != nil:
		return unmasked
	case j.plan.MasksInput:
		return masksInput
	}
	return masksOutput
}

// blend records drawn where a mask is 1 and kept where it is 0, element by element.
func blend(r *engine.Recorder, drawn, kept compute.Value, mask [2]compute.Value) compute.Value {
	return r.Op(compute.Add{A: r.Op(compute.Multiply{X: drawn, Factors: mask[0]}), B: r.Op(compute.Multiply{X: kept, Factors: mask[1]})})
}

// bindPaint gives a step the mask and what is shown beside latents, which stay as they are through the run.
func (s *sampling) bindPaint(step *engine.Frame) {
	if s.paint.shown != nil {
		s.still = append(s.still, step.Mirror("shown"))
		copy(s.still[0].F32, s.paint.shown)
	}
	if s.masking() == unmasked {
		return
	}
	draw, keep, clean := step.Mirror("mask_drawn"), step.Mirror("mask_kept"), step.Mirror("clean_latents")
	copy(clean.F32, s.paint.clean)
	size := len(s.paint.clean) / s.batch
	for i := range draw.F32 {
		draw.F32[i] = drawn(s.paint.mask, i, size)
		keep.F32[i] = 1 - draw.F32[i]
	}
	s.still = append(s.still, draw, keep, clean)
	if s.masking() == masksOutput {
		s.known = step.Mirror("known")
	}
}

// sendPaint copies to the device what stays through the run.
func (s *sampling) sendPaint() error {
	var errs []error
	for _, m := range s.still {
		errs = append(errs, m.Send())
	}
	return errors.Join(errs...)
}

// keep puts what stays into latents that are finished. Soft inpainting has it in them already.
func (s *sampling) keep(latents []float32) {
	if s.paint.mask == nil || s.paint.soft != nil {
		return
	}
	size := len(s.paint.clean) / s.batch
	for i, v := range s.paint.clean {
		m := drawn(s.paint.mask, i, size)
		latents[i] = latents[i]*m + v*(1-m)
	}
}

// softening is memory for soft inpainting.
type softening struct {
	estimate, slot      []float32 // the whole batch
	clean, drawn, mixed []float32 // one picture, [C,h·w]
	weights             []float32
}

// soften blends the estimate that an evaluation made with what stays, and moves the slots to where that leads: they all depend on
// the network's output, and so on the estimate, in proportion.
func (s *sampling) soften(e *sampler.Eval) error {
	if s.paint.mask == nil || s.paint.soft == nil {
		return nil
	}
	if s.softening == nil {
		n := len(s.paint.clean)
		s.softening = &softening{
			estimate: make([]float32, n), slot: make([]float32, n), weights: make([]float32, len(s.paint.mask)),
			clean: make([]float32, n/s.batch), drawn: make([]float32, n/s.batch), mixed: make([]float32, n/s.batch),
		}
	}
	w := s.softening
	if err := s.clean.Download(compute.Floats(w.estimate)); err != nil {
		return err
	}
	soft := canvas.Soft{ScheduleBias: *s.paint.soft.ScheduleBias, PreservationStrength: *s.paint.soft.Preservation, TransitionContrastBoost: s.paint.soft.Contrast}
	for i, m := range s.paint.mask {
		w.weights[i] = float32(soft.Weight(float64(m), e.Sigma))
	}
	size, channels := len(w.clean), len(w.clean)/len(w.weights)
	for i := range s.batch {
		estimate := w.estimate[i*size:][:size]
		channelsFirst(w.clean, s.paint.clean[i*size:][:size], channels)
		channelsFirst(w.drawn, estimate, channels)
		soft.Blend(w.mixed, w.clean, w.drawn, w.weights)
		for at := range w.mixed {
			w.mixed[at] -= w.drawn[at]
		}
		channelsLast(estimate, w.mixed, channels)
	}
	for k, m := range e.Update {
		if m.Model == 0 {
			continue
		}
		if err := s.move(s.current(k), float32(m.Model*e.Known.Latent)); err != nil {
			return err
		}
	}
	return s.move(s.clean, 1)
}

// move adds so much of the change of the estimate to a tensor.
func (s *sampling) move(x compute.Tensor, by float32) error {
	w := s.softening
	if err := x.Download(compute.Floats(w.slot)); err != nil {
		return err
	}
	for i, v := range w.estimate {
		w.slot[i] += by * v
	}
	return x.Upload(compute.Floats(w.slot))
}
