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
	bind(r.step)
	if err := errors.Join(r.context.Err(), r.step.Err()); err != nil {
		return nil, err
	}
	copy(guidance.F32, c.weights)
	return r, guidance.Send()
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
	return r.step.Run(ctx)
}

func (r *predictor) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.step.Close(), r.context.Close())
}
