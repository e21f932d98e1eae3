package sd

import (
	"context"
	"errors"

	"github.com/atelier-go/atelier/internal/engine"
)

// predictor runs evaluations of one kind: with all predictions of a conditioning, each with its context.
type predictor struct {
	batch   int
	parts   []*textPart
	said    []*text        // what the contexts are made of
	context *engine.Frame  // makes keys and values of contexts
	texts   *engine.Mirror // all predictions' contexts
	step    *engine.Frame
	shallow *engine.Frame // the step without what an earlier one kept; nil if none is kept
	every   int           // so many runs there is a whole step
	since   int           // runs since the last one
}

// newPredictor compiles the programs of a job for all predictions of a conditioning and binds keys and values, which stay where they
// are made. The tensors of the state are still free; bind gives them.
func (p *Pipeline) newPredictor(j job, c *conditioning, bind func(step *engine.Frame)) (_ *predictor, err error) {
	r := &predictor{batch: j.batch, parts: c.parts, said: make([]*text, len(c.parts))}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.step, err = p.frame(c.adapters, j.key(c)); err != nil {
		return nil, err
	}
	if r.context, err = p.frame(c.adapters, engine.ContextKey{Samples: len(c.parts) * j.batch, Tokens: c.tokens}); err != nil {
		return nil, err
	}
	r.texts = r.context.Mirror("encoder_hidden_states")
	for i := range p.networks.UNet.ContextChannels() {
		keys, values := engine.ContextNames(i)
		r.step.Bind(keys, r.context.Tensor(keys))
		r.step.Bind(values, r.context.Tensor(values))
	}
	guidance := r.step.Mirror("guidance")
	copy(guidance.F32, c.weights)
	if r.step.Has("guidance_1") {
		copy(r.step.Mirror("guidance_1").F32, c.unscaled())
	}
	if err := r.keep(p, j, c, bind); err != nil {
		return nil, err
	}
	for _, m := range r.step.Mirrors("guidance") {
		if err := m.Send(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// keep gives the step the state, and a shallow one beside it if a part of the network is kept.
func (r *predictor) keep(p *Pipeline, j job, c *conditioning, bind func(step *engine.Frame)) (err error) {
	key := j.key(c)
	if key.cut == 0 {
		bind(r.step)
	} else {
		deep := r.step.Tensor("deep")
		bind(r.step)
		if r.shallow, err = p.frame(c.adapters, key.above()); err != nil {
			return err
		}
		r.every = j.cache.Interval
		r.shallow.Share(r.step)
		r.shallow.Bind("deep", deep)
		err = r.shallow.Err()
	}
	return errors.Join(r.context.Err(), r.step.Err(), err)
}

// say computes K and V of every cross-attention from what the prompts say at a call of the network, if that is something new.
func (r *predictor) say(ctx context.Context, call int) error {
	changed := false
	for i, part := range r.parts {
		if now := part.active(call); now != r.said[i] {
			r.said[i], changed = now, true
		}
	}
	if !changed {
		return nil
	}
	r.since = 0
	all := r.texts.F32[:0]
	for _, one := range r.said {
		for range r.batch {
			all = append(all, one.context...)
		}
	}
	return r.context.Do(ctx)
}

// run carries out an evaluation, for which everything is where the step reads it but what the prompts say.
func (r *predictor) run(ctx context.Context, call int) error {
	if err := r.say(ctx, call); err != nil {
		return err
	}
	step := r.step
	if r.shallow != nil && r.since%r.every > 0 {
		step = r.shallow
	}
	r.since++
	return step.Run(ctx)
}

// rotate makes what came out last what goes in next.
func (r *predictor) rotate() {
	r.step.Rotate()
	if r.shallow != nil {
		r.shallow.Rotate()
	}
}

func (r *predictor) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.shallow.Close(), r.step.Close(), r.context.Close())
}
