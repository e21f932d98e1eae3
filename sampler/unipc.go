package sampler

import (
	"math"
	"slices"
)

// UniPCVariant names how UniPC weights the older estimates. "" is BH1.
type UniPCVariant string

// The variants; BH1 and BH2 are the B(h) of the paper.
const (
	BH1       UniPCVariant = "bh1"
	BH2       UniPCVariant = "bh2"
	VaryCoeff UniPCVariant = "vary_coeff"
)

// UniPCSkip names how the web UI's UniPC places its timesteps. "" is TimeUniform.
type UniPCSkip string

// The rules.
const (
	TimeUniform   UniPCSkip = "time_uniform"
	TimeQuadratic UniPCSkip = "time_quadratic"
	LogSNR        UniPCSkip = "logSNR"
)

// timesteps are n steps from a timestep down to 0, in the rule's own measure; time is counted from 1 there.
func (s UniPCSkip) timesteps(t *Table, from float64, n int) []float64 {
	list := linspace(from, 0, n+1)
	switch s {
	case TimeQuadratic:
		for i, root := range linspace(math.Sqrt(from+1), 1, n+1) {
			list[i] = root*root - 1
		}
	case LogSNR:
		for i, log := range linspace(math.Log(t.logAlphaSigma(from)), math.Log(t.Sigmas[0]), n+1) {
			list[i] = t.logAlphaTimestep(math.Exp(log))
		}
	}
	list[0], list[n] = from, 0
	return list
}

// unipc is the predictor–corrector of Zhao et al. 2023 in the data prediction: the evaluation at the predicted point
// first corrects that point and then predicts the next one. Slots: the predicted latent, up to order older estimates
// of x₀. With base the part both formulas share, corrected − predicted = B·(Σρᵖ Δ − Σρᶜ Δ), so base need not be kept.
func unipc(b *builder) {
	var last unipcStep
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		if i > 0 {
			x = last.correct(x, denoised)
		}
		if next == 0 {
			b.put(0, denoised)
			continue
		}
		order := min(b.order, i+1)
		if b.lowerOrderFinal {
			order = min(order, b.steps()-i)
		}
		data := history(denoised, min(i, b.order-1))
		last = b.unipcStep(i, order)
		b.put(next, last.predict(x, data, sigma, next), data...)
	}
}

// unipcStep holds what the predictor and the corrector of one step share.
type unipcStep struct {
	expm1     float64   // e^{hh} − 1 with hh the negative log-SNR step
	scale     float64   // B of the paper
	ratio     []float64 // r_1 … r_{q−1} of the older points, and 1 for the new one
	predictor []float64 // ρ of the predictor, q−1
	corrector []float64 // ρ of the corrector, q
}

// unipcStep computes the weights of step i at an order.
func (b *builder) unipcStep(i, order int) unipcStep {
	hh := -math.Log(b.sigma[i] / b.target(i))
	s := unipcStep{expm1: math.Expm1(hh), scale: hh}
	switch b.variant {
	case BH2:
		s.scale = s.expm1
	case VaryCoeff:
		s.scale = 1
	}
	for k := 1; k < order; k++ {
		s.ratio = append(s.ratio, math.Log(b.sigma[i-k]/b.sigma[i])/hh)
	}
	s.ratio = append(s.ratio, 1)

	moments := make([]float64, order)
	psi, factorial := s.expm1/hh-1, 1.0
	for k := range moments {
		moments[k] = factorial * psi / s.scale
		factorial *= float64(k + 2)
		psi = psi/hh - 1/factorial
	}
	s.corrector = []float64{0.5}
	if order > 1 {
		s.corrector = vandermonde(s.ratio, moments)
		s.predictor = []float64{0.5}
	}
	if order > 2 || order == 2 && b.variant == VaryCoeff {
		s.predictor = vandermonde(s.ratio[:order-1], moments[:order-1])
	}
	if b.variant == VaryCoeff {
		s.corrector = varied(s.ratio, moments)
	}
	return s
}

// varied are the weights of a corrector whose newest point has a row of the inverse Vandermonde matrix of its own. That it
// is the last but one is a slip of the published code.
func varied(ratio, moments []float64) []float64 {
	last := len(ratio) - 1
	older := slices.Clone(moments)
	older[last] = 0
	rho := vandermonde(ratio, older)

	row, factorial := max(last-1, 0), 1.0
	unit := make([]float64, len(ratio))
	for k := range last + 1 {
		factorial *= float64(k + 1)
		if k == row {
			unit[k] = factorial
		}
	}
	rho[last] = moments[last] / factorial * vandermonde(ratio, unit)[last]
	return rho
}

// predict extrapolates from x; data are the estimates of x₀, newest first.
func (s unipcStep) predict(x Mix, data []Mix, sigma, next float64) Mix {
	x = x.times(next/sigma).plus(-s.expm1, data[0])
	for k, rho := range s.predictor {
		x = x.plus(-s.scale*rho/s.ratio[k], data[k+1]).plus(s.scale*rho/s.ratio[k], data[0])
	}
	return x
}

// correct improves the predicted x by the estimate made there; slots 1 and up hold the data it was predicted from.
func (s unipcStep) correct(x, denoised Mix) Mix {
	for k, rho := range s.corrector {
		point := denoised
		if k < len(s.predictor) {
			rho -= s.predictor[k]
			point = slot(k + 2)
		}
		x = x.plus(-s.scale*rho/s.ratio[k], point).plus(s.scale*rho/s.ratio[k], slot(1))
	}
	return x
}

// vandermonde solves Σ_j r_j^k ρ_j = m_k for ρ by Gaussian elimination; the r differ, so a pivot always exists.
func vandermonde(r, m []float64) []float64 {
	n := len(r)
	a := make([][]float64, n)
	for k := range a {
		a[k] = make([]float64, n+1)
		for j := range r {
			a[k][j] = math.Pow(r[j], float64(k))
		}
		a[k][n] = m[k]
	}
	for col := range n {
		pivot := col
		for row := col; row < n; row++ {
			if math.Abs(a[row][col]) > math.Abs(a[pivot][col]) {
				pivot = row
			}
		}
		a[col], a[pivot] = a[pivot], a[col]
		for row := range n {
			if row == col {
				continue
			}
			f := a[row][col] / a[col][col]
			for j := col; j <= n; j++ {
				a[row][j] -= f * a[col][j]
			}
		}
	}
	rho := make([]float64, n)
	for k := range rho {
		rho[k] = a[k][n] / a[k][k]
	}
	return rho
}
