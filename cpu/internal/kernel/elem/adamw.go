package elem

import "math"

// AdamW are the numbers of one step of the optimizer for all elements of a parameter. The kernels read its fields.
type AdamW struct {
	Factor           float64 // of gradients
	Rest1, Rest2     float64 // 1-β1 and 1-β2
	Keep             float64 // 1 - rate·decay, the parameter's factor
	Rate, Eps        float64
	Unbias1, Unbias2 float64 // 1/(1-β1ᵏ) and 1/(1-β2ᵏ)
}

// AdamW steps len(p2) elements, in float64 and with the same bits in every set:
//
//	m2 = m + Rest1·(g-m), v2 = v + Rest2·(g²-v), p2 = p·Keep - Rate·(m2·Unbias1)/(√(v2·Unbias2)+Eps)
//
// with g times Factor. The results may be p, m and v. See Loshchilov and Hutter, "Decoupled Weight Decay Regularization"
// (arXiv:1711.05101), algorithm 2.
func (k *Kernels) AdamW(p2, m2, v2, p, g, m, v []float32, h AdamW) {
	n := len(p2)
	k.adamW(p2, m2[:n], v2[:n], p[:n], g[:n], m[:n], v[:n], h)
}

func adamWGeneric(p2, m2, v2, p, g, m, v []float32, h AdamW) {
	for i := range p2 {
		p, g, m, v := float64(p[i]), h.Factor*float64(g[i]), float64(m[i]), float64(v[i])
		m += float64(h.Rest1 * (g - m))
		v += float64(h.Rest2 * (float64(g*g) - v))
		p2[i] = float32(float64(p*h.Keep) - h.Rate*(m*h.Unbias1)/(math.Sqrt(v*h.Unbias2)+h.Eps))
		m2[i], v2[i] = float32(m), float32(v)
	}
}
