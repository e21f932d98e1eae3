package train

import (
	"context"
	"slices"
)

// validateEpoch computes the validation loss where the end of an epoch calls for it, as each does unless steps are to.
func (r *run) validateEpoch(ctx context.Context, epoch int) error {
	every := r.ValidateEveryNEpochs
	if every == 0 && r.ValidateEveryNSteps == 0 {
		every = 1
	}
	if every == 0 || epoch%every != 0 {
		return nil
	}
	return r.validate(ctx, true)
}

// validateStep computes it where the step calls for it.
func (r *run) validateStep(ctx context.Context) error {
	if r.ValidateEveryNSteps == 0 || r.Step%r.ValidateEveryNSteps != 0 {
		return nil
	}
	return r.validate(ctx, false)
}

// validate computes the mean loss of the pictures kept from training, without dropout, at four timesteps each and with the
// same noise each time.
func (r *run) validate(ctx context.Context, epochEnd bool) error {
	batches := slices.Collect(r.dataset.Validation())
	if r.MaxValidationSteps > 0 {
		batches = batches[:min(len(batches), r.MaxValidationSteps)]
	}
	if len(batches) == 0 {
		return nil
	}
	seed := r.Dataset.Seed
	if own := r.Dataset.Sets[0].ValidationSeed; own != nil {
		seed = *own
	}
	timesteps := r.Noise.validationTimesteps()
	p := Progress{Phase: "validation", Total: len(batches) * len(timesteps), Epoch: r.Epoch, EpochEnd: epochEnd}
	sum := 0.0
	for _, batch := range batches {
		draw := stream(seed, validationStream, uint64(batch.Index))
		b, err := r.assemble(ctx, batch, draw)
		if err != nil {
			return err
		}
		for _, t := range timesteps {
			r.Noise.draw(&b, r.channels(), draw)
			b.Timesteps = slices.Repeat([]int{t}, b.Samples)
			loss, err := r.trainer.Evaluate(ctx, b)
			if err != nil {
				return err
			}
			sum += loss
			if p.Done++; p.Done < p.Total {
				r.report(p)
			}
		}
	}
	p.ValidationLoss = sum / float64(p.Total)
	p.ValidationDivergence = p.ValidationLoss - r.Average.mean()
	r.report(p)
	return nil
}

// validationTimesteps are the inner four of six at equal distances between the bounds.
func (n Noise) validationTimesteps() []int {
	low, high := n.MinTimestep, n.MaxTimestep
	if high == 0 {
		high = trainSteps
	}
	var steps []int
	for i := 1; i <= 4; i++ {
		steps = append(steps, low+(high-low)*i/5)
	}
	return steps
}
