package optim

import "math"

// The behaviour of PyTorch's gradient scaler, which sd-scripts trains fp16 with.
const (
	initialScale = 65536
	growAfter    = 2000 // good steps in a row
)

// Scaler is a loss scale that finds its size by itself: gradients in half precision vanish if the loss is small, and
// overflow if it is large, which costs a step. See Micikevicius et al., "Mixed Precision Training" (arXiv:1710.03740),
// section 3.2. The zero Scaler is ready to use; its fields are its state.
type Scaler struct {
	Exponent int // the scale is the first one times 2 to this power
	Good     int // steps in a row since the scale last changed
}

// Scale is what the next loss is to be multiplied with: 65536 at first.
func (s *Scaler) Scale() float64 { return math.Ldexp(initialScale, s.Exponent) }

// Update learns whether the gradients of the step were finite. If not, the step is skipped and the scale halved; after
// 2000 good steps in a row it doubles.
func (s *Scaler) Update(finite bool) {
	if !finite {
		s.Exponent--
		s.Good = 0
		return
	}
	s.Good++
	if s.Good == growAfter {
		s.Exponent++
		s.Good = 0
	}
}
