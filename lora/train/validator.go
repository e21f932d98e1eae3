package train

import (
	"context"
	"slices"

	"github.com/atelier-go/atelier/lora/dataset"
)

// validator computes the loss of the pictures kept from training.
type validator struct {
	batcher   *batcher
	batches   []dataset.Batch
	seed      uint64
	noise     Noise
	timesteps []int // those that each batch is evaluated at

	everyEpochs, everySteps int
}

func newValidator(b *batcher, ds *dataset.Dataset, c Config) *validator {
	v := &validator{
		batcher: b, batches: slices.Collect(ds.Validation()), seed: c.Dataset.Seed, noise: c.Noise, timesteps: c.Noise.validationTimesteps(),
		everyEpochs: c.ValidateEveryNEpochs, everySteps: c.ValidateEveryNSteps,
	}
	if c.MaxValidationSteps > 0 {
		v.batches = v.batches[:min(len(v.batches), c.MaxValidationSteps)]
	}
	if own := c.Dataset.Sets[0].ValidationSeed; own != nil {
		v.seed = *own
	}
	if v.everyEpochs == 0 && v.everySteps == 0 {
		v.everyEpochs = 1
	}
	return v
}

// afterEpoch reports whether the end of an epoch calls for a validation, as each does unless steps are to.
func (v *validator) afterEpoch(epoch int) bool {
	return len(v.batches) > 0 && v.everyEpochs > 0 && epoch%v.everyEpochs == 0
}

// afterStep reports whether a step calls for one.
func (v *validator) afterStep(step int) bool {
	return len(v.batches) > 0 && v.everySteps > 0 && step%v.everySteps == 0
}

// loss is the mean loss without dropout, at four timesteps each and with the same noise each time. progress is told of every one.
func (v *validator) loss(ctx context.Context, t *Trainer, progress func(done, total int)) (mean float64, err error) {
	done, total := 0, len(v.batches)*len(v.timesteps)
	for _, batch := range v.batches {
		draw := stream(v.seed, validationStream, uint64(batch.Index))
		b, err := v.batcher.assemble(ctx, batch, draw)
		if err != nil {
			return 0, err
		}
		for _, timestep := range v.timesteps {
			v.noise.draw(&b, t.networks.LatentChannels(), draw)
			b.Timesteps = slices.Repeat([]int{timestep}, b.Samples)
			loss, err := t.Evaluate(ctx, b)
			if err != nil {
				return 0, err
			}
			mean += loss
			done++
			progress(done, total)
		}
	}
	return mean / float64(total), nil
}

// validate validates where that is due, after an epoch or a step.
func (r *run) validate(ctx context.Context, due, epochEnd bool) error {
	if !due {
		return nil
	}
	loss, err := r.validator.loss(ctx, r.trainer, func(done, total int) { r.report(Validating{done, total}) })
	if err != nil {
		return err
	}
	r.report(Validated{r.at.Step, r.at.Epoch, epochEnd, loss, loss - r.at.Average.mean()})
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
