package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/atelier-go/atelier/lora/dataset"
)

// learnAll does all steps from where the training stands, and once more from its last state if numbers cease to be finite.
func (r *run) learnAll(ctx context.Context) error {
	err := r.learnEpochs(ctx)
	if d, ok := errors.AsType[*divergence](err); ok {
		if err = r.rollBack(d); err == nil {
			err = r.learnEpochs(ctx)
		}
	}
	if d, ok := errors.AsType[*divergence](err); ok {
		return r.giveUp(d)
	}
	return err
}

// learnEpochs does all steps from where the training stands.
func (r *run) learnEpochs(ctx context.Context) error {
	steps := r.dataset.Steps()
	for r.at.Epoch <= steps.Epochs {
		batches := steps.BatchesPerEpoch
		if r.at.Epoch == steps.Epochs {
			batches = steps.LastEpochBatches
		}
		for batch := range r.dataset.Epoch(r.at.Epoch) {
			if batch.Index < r.at.Batch {
				continue
			}
			if err := r.learn(ctx, batch, batch.Index+1 == batches); err != nil {
				return err
			}
		}
		if err := r.endEpoch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// endEpoch does what the end of an epoch calls for. A state that is saved before does all of it again.
func (r *run) endEpoch(ctx context.Context) error {
	epoch, epochs := r.at.Epoch, r.dataset.Steps().Epochs
	if err := r.validate(ctx, r.validator.afterEpoch(epoch), true); err != nil {
		return err
	}
	if err := r.sampleEpoch(ctx, epoch); err != nil {
		return err
	}
	r.at.Epoch, r.at.Batch = epoch+1, 0
	r.report(EpochDone{epoch, epochs, r.at.Step, r.at.Average.mean()})
	if epoch < epochs {
		r.save(r.saver.epochs, epoch)
	}
	return nil
}

// learn does one batch, and the step that it completes.
func (r *run) learn(ctx context.Context, batch dataset.Batch, last bool) error {
	c := &r.config
	draw := stream(c.Dataset.Seed, batchStream, uint64(batch.Epoch), uint64(batch.Index))
	b, err := r.batcher.assemble(ctx, batch, draw)
	if err != nil {
		return err
	}
	c.Noise.draw(&b, r.networks.LatentChannels(), draw)
	drop(c.Network, &b, r.trainer.modules, r.batcher.chunks, draw)
	if r.at.Scaler != nil {
		r.trainer.SetLossScale(r.at.Scaler.Scale())
	}
	loss, err := r.trainer.Step(ctx, b)
	if err != nil {
		return err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return r.diverged(batch, fmt.Sprintf("the loss is %v", loss))
	}
	r.pending = append(r.pending, loss)
	if !last && (batch.Index+1)%max(1, c.Trainer.Accumulation) != 0 {
		return nil
	}
	if err := r.update(batch, loss); err != nil {
		return err
	}
	if err := r.validate(ctx, r.validator.afterStep(r.at.Step), false); err != nil {
		return err
	}
	return r.sampleStep(ctx)
}

// update does the step that a batch completes.
func (r *run) update(batch dataset.Batch, loss float64) error {
	factor, steps := r.at.RateScale*r.schedule.Factor(r.at.Advanced), r.dataset.Steps()
	rates := Rates{factor * r.rates.TextEncoder, factor * r.rates.UNet}
	u, err := r.trainer.Update(rates)
	if err != nil {
		return err
	}
	if r.at.Scaler != nil {
		r.at.Scaler.Update(!u.Skipped)
	}
	if u.Skipped && (r.at.Scaler == nil || r.at.Scaler.Scale() < 1) {
		return r.diverged(batch, "the gradients are not finite")
	}
	for _, loss := range r.pending {
		r.at.Average.add(loss, steps.BatchesPerEpoch)
	}
	r.pending = r.pending[:0]
	r.at.Batch = batch.Index + 1
	r.at.Step++
	if !u.Skipped {
		r.at.Advanced++
	}
	r.report(StepDone{r.at.Step, steps.Total, batch.Epoch, loss, r.at.Average.mean(), rates, u})
	r.save(r.saver.steps, r.at.Step)
	if r.saver.overdue(time.Now()) {
		if err := r.saver.autosave(r.snapshot(r.epochsDone())); err != nil {
			r.warn("%v; the training goes on", err)
		}
	}
	return nil
}

// epochsDone is the number of whole epochs.
func (r *run) epochsDone() int { return r.at.Step / max(1, r.dataset.Steps().StepsPerEpoch) }

// save saves number n of a series, if it has that. A training goes on without what cannot be saved.
func (r *run) save(s series, n int) {
	if !s.has(n) {
		return
	}
	saved, err := r.saver.number(s, n, r.snapshot(r.epochsDone()))
	if err != nil {
		r.warn("%v; the training goes on", err)
	}
	if saved.Path != "" {
		r.report(saved)
	}
}

// finish saves the result.
func (r *run) finish() error {
	saved, err := r.saver.last(r.snapshot(r.dataset.Steps().Epochs))
	if err != nil {
		return err
	}
	r.report(saved)
	if err := r.saver.removeAutosave(); err != nil {
		r.warn("%v", err)
	}
	return nil
}
