package canvas

import "math"

// Soft is how inpainting goes over softly from what stays to what is painted.
type Soft struct {
	ScheduleBias            float64 // how early in the schedule what stays has its way: 1
	PreservationStrength    float64 // 0.5
	TransitionContrastBoost float64 // how much contrast is kept in between: 4
}

// Weight is the share of what is painted at a noise level, of its share m in the mask.
func (s Soft) Weight(m, sigma float64) float64 {
	return math.Pow(m, math.Pow(sigma, s.ScheduleBias)*s.PreservationStrength)
}

// Blend mixes two latents, [C,pixels], each pixel with its weight, to vectors of a length between theirs: that of the mean of their
// lengths' powers, so that mixing takes no contrast.
func (s Soft) Blend(init, current, weights []float32) []float32 {
	pixels := len(weights)
	out := make([]float32, len(init))
	for i, t := range weights {
		var a, b, mixed float64 // squares of lengths
		for at := i; at < len(init); at += pixels {
			out[at] = init[at]*(1-t) + current[at]*t
			a, b, mixed = a+square(init[at]), b+square(current[at]), mixed+square(out[at])
		}
		p := s.TransitionContrastBoost
		length := math.Pow(math.Pow(math.Sqrt(a), p)*float64(1-t)+math.Pow(math.Sqrt(b), p)*float64(t), 1/p)
		scale := length / (math.Sqrt(mixed) + 1e-5)
		for at := i; at < len(init); at += pixels {
			out[at] = float32(float64(out[at]) * scale)
		}
	}
	return out
}

func square(x float32) float64 { return float64(x) * float64(x) }
