package dataset

import (
	"cmp"
	"fmt"
)

// defaultMaxTrainSteps is what sd-scripts trains when neither steps nor epochs are given.
const defaultMaxTrainSteps = 1600

// Steps is the length of a training. A step is an optimizer step.
type Steps struct {
	BatchesPerEpoch int
	StepsPerEpoch   int // a last group of fewer batches than are accumulated makes a step too
	Epochs          int
	Total           int
	// LastEpochBatches is how many batches of the last epoch are used.
	LastEpochBatches int
	// How tells in words where Total comes from.
	How string
}

// CountSteps counts the steps of a training with batches ≥ 1 per epoch, of which accumulation make a step (0 means 1).
// maxEpochs decides if it is not 0, else maxSteps, where 0 means 1600.
func CountSteps(batches, accumulation, maxEpochs, maxSteps int) Steps {
	accumulation = max(1, accumulation)
	s := Steps{BatchesPerEpoch: batches, StepsPerEpoch: ceilDiv(batches, accumulation)}
	group := ""
	if accumulation > 1 {
		group = fmt.Sprintf(" / %d accumulated", accumulation)
	}
	if maxEpochs > 0 {
		s.Epochs, s.Total, s.LastEpochBatches = maxEpochs, maxEpochs*s.StepsPerEpoch, batches
		s.How = fmt.Sprintf("max_train_epochs %d × %d steps (%d batches%s)", maxEpochs, s.StepsPerEpoch, batches, group)
		return s
	}
	s.Total = cmp.Or(maxSteps, defaultMaxTrainSteps)
	s.Epochs = ceilDiv(s.Total, s.StepsPerEpoch)
	s.LastEpochBatches = min(batches, (s.Total-(s.Epochs-1)*s.StepsPerEpoch)*accumulation)
	origin := fmt.Sprintf("max_train_steps %d", s.Total)
	if maxSteps == 0 {
		origin = fmt.Sprintf("neither max_train_epochs nor max_train_steps given: %d steps", s.Total)
	}
	s.How = fmt.Sprintf("%s, which are %d epochs of %d steps (%d batches%s)", origin, s.Epochs, s.StepsPerEpoch, batches, group)
	if s.LastEpochBatches < batches {
		s.How += fmt.Sprintf(", the last of %d batches", s.LastEpochBatches)
	}
	return s
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
