package prompt

import "math"

// Emphasis says what the weights of words do.
type Emphasis string

// The ways of the web UI.
const (
	Original   Emphasis = "Original" // the encoder's vectors are multiplied by the weights, and their mean restored; "" is this one too
	NoNorm     Emphasis = "No norm"  // they are multiplied
	Ignore     Emphasis = "Ignore"   // brackets are read, and weights do nothing
	NoEmphasis Emphasis = "None"     // brackets are text
)

// Emphases are all of them.
var Emphases = []Emphasis{Original, NoNorm, Ignore, NoEmphasis}

// Weighted is what an encoder made of a chunk, and how the chunk counts.
type Weighted struct {
	Hidden  []float32 // a vector for each token, one after the other
	Weights []float32 // of the tokens
	Times   int       // how often the chunk stands among those that share a mean
}

// Apply weighs the vectors of chunks in place. In the original way all chunks of a call share one mean: the web UI's are those at the
// same place in all texts that a timeline has.
func (e Emphasis) Apply(chunks []Weighted) {
	if e == Ignore || e == NoEmphasis || !anyWeight(chunks) {
		return
	}
	before := mean(chunks)
	for _, c := range chunks {
		width := len(c.Hidden) / len(c.Weights)
		for i, w := range c.Weights {
			scale(c.Hidden[i*width:][:width], w)
		}
	}
	if e == NoNorm {
		return
	}
	ratio := before / mean(chunks)
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return // there is no mean to restore
	}
	for _, c := range chunks {
		scale(c.Hidden, float32(ratio))
	}
}

func anyWeight(chunks []Weighted) bool {
	for _, c := range chunks {
		for _, w := range c.Weights {
			if w != 1 {
				return true
			}
		}
	}
	return false
}

func mean(chunks []Weighted) float64 {
	var sum float64
	n := 0
	for _, c := range chunks {
		var one float64
		for _, v := range c.Hidden {
			one += float64(v)
		}
		sum += one * float64(c.Times)
		n += len(c.Hidden) * c.Times
	}
	return sum / float64(n)
}

func scale(v []float32, by float32) {
	for i := range v {
		v[i] *= by
	}
}
