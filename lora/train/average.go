package train

import "math"

// average is the mean of the losses of an epoch's length of batches.
type average struct {
	Losses []float64 `json:"losses"`
	Next   int       `json:"next"` // to be replaced, once there are as many as batches
	Sum    float64   `json:"sum"`
}

// add adds a loss to the last size ones.
func (a *average) add(loss float64, size int) {
	if len(a.Losses) < size {
		a.Losses = append(a.Losses, loss)
		a.Sum += loss
		return
	}
	a.Sum += loss - a.Losses[a.Next]
	a.Losses[a.Next] = loss
	a.Next = (a.Next + 1) % len(a.Losses)
}

// mean is NaN if nothing was added.
func (a *average) mean() float64 {
	if len(a.Losses) == 0 {
		return math.NaN()
	}
	return a.Sum / float64(len(a.Losses))
}
