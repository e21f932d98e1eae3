package sampler

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Spacing names the rule that places the noise levels of a run, in the web UI's words where it has one. Every rule
// makes one level per step and then the end, 0 unless it says otherwise.
type Spacing string

const (
	Automatic       Spacing = ""                 // the sampler's own, as in the web UI
	Uniform         Spacing = "Uniform"          // timesteps evenly from the last to the first
	Normal          Spacing = "Normal"           // the same rule under ComfyUI's name
	Karras          Spacing = "Karras"           // σ^(1/ρ) evenly, ρ = 7 (Karras et al. 2022)
	Exponential     Spacing = "Exponential"      // ln σ evenly
	Polyexponential Spacing = "Polyexponential"  // ln σ along a power ρ of the way, ρ = 1
	SGMUniform      Spacing = "SGM Uniform"      // timesteps evenly, without the first training step
	Simple          Spacing = "Simple"           // every (1000/steps)-th table entry from the top
	KLOptimal       Spacing = "KL Optimal"       // arctan σ evenly, ending at the lowest level instead of 0
	AlignYourSteps  Spacing = "Align Your Steps" // eleven levels optimised for SD 1.5, ln σ interpolated (Sabour et al. 2024)
	Beta            Spacing = "Beta"             // quantiles of a beta distribution between the ends
	DDIMUniform     Spacing = "DDIM"             // every ⌊1000/steps⌋-th table entry from entry 1; may hold more than steps
	Leading         Spacing = "leading"          // diffusers: every ⌊1000/steps⌋-th timestep from 1
	Linspace        Spacing = "linspace"         // diffusers: timesteps evenly, rounded for multistep samplers
	Trailing        Spacing = "trailing"         // diffusers: every (1000/steps)-th timestep down from the last
)

// spacings lists the rules in the order of the web UI's menu with the names they are known by.
var spacings = []struct {
	spacing Spacing
	aliases []string
}{
	{Uniform, nil},
	{Karras, nil},
	{Exponential, nil},
	{Polyexponential, nil},
	{SGMUniform, nil},
	{KLOptimal, nil},
	{AlignYourSteps, []string{"ays"}},
	{Simple, nil},
	{Normal, nil},
	{DDIMUniform, []string{"ddim_uniform"}},
	{Beta, nil},
	{Leading, nil},
	{Linspace, nil},
	{Trailing, nil},
}

// limits narrow a schedule: the largest and smallest noise level, the exponent ρ, 0 for the rule's own, and the shape of
// the beta distribution.
type limits struct{ max, min, rho, alpha, beta float64 }

// sigmas returns the noise levels of n steps, strictly decreasing, and the end. multistep selects diffusers' form of
// its spacings for multistep solvers.
func (s Spacing) sigmas(t *Table, n int, lim limits, multistep bool) []float64 {
	var list []float64
	at := func(timesteps []float64, sigma func(float64) float64) {
		for _, ts := range timesteps {
			list = append(list, sigma(ts))
		}
	}
	high, low := t.Timestep(lim.max), t.Timestep(lim.min)
	switch s {
	case Karras:
		list = karras(lim.max, lim.min, n, lim.rho)
	case Exponential, Polyexponential:
		rho := lim.rho
		if s == Exponential || rho == 0 {
			rho = 1
		}
		list = polyexponential(lim.max, lim.min, n, rho)
	case SGMUniform:
		at(linspace(high, low, n+1)[:n], t.Sigma)
	case Normal:
		at(linspace(high, low, n), t.Sigma)
	case KLOptimal:
		for _, angle := range linspace(math.Atan(lim.max), math.Atan(lim.min), n+1) {
			list = append(list, math.Tan(angle))
		}
		return list
	case AlignYourSteps:
		list = alignYourSteps(n)
	case Beta:
		for _, p := range linspace(1, 0, n) {
			list = append(list, lim.min+mathext.InvRegIncBeta(lim.alpha, lim.beta, p)*(lim.max-lim.min))
		}
	case Simple:
		stride := float64(len(t.Sigmas)) / float64(n)
		for i := range n {
			list = append(list, t.Sigmas[len(t.Sigmas)-1-int(float64(i)*stride)])
		}
	case DDIMUniform:
		stride := max(len(t.Sigmas)/n, 1)
		for i := 1; i < len(t.Sigmas); i += stride {
			list = append(list, t.Sigmas[i])
		}
		slices.Reverse(list)
	case Leading, Linspace, Trailing:
		at(diffusersTimesteps(s, len(t.Sigmas), n, 1, multistep), t.linearSigma)
	default:
		at(linspace(t.last(), 0, n), t.Sigma)
	}
	return append(slices.Compact(list), 0)
}

// karras spaces σ^(1/ρ) evenly (Karras et al. 2022, equation 5); ρ = 0 means 7.
func karras(max, min float64, n int, rho float64) []float64 {
	if rho == 0 {
		rho = 7
	}
	list := linspace(math.Pow(max, 1/rho), math.Pow(min, 1/rho), n)
	for i, r := range list {
		list[i] = math.Pow(r, rho)
	}
	return list
}

// polyexponential spaces ln σ along the power ρ of the way from min to max.
func polyexponential(max, min float64, n int, rho float64) []float64 {
	list := linspace(1, 0, n)
	for i, r := range list {
		list[i] = math.Exp(math.Pow(r, rho)*(math.Log(max)-math.Log(min)) + math.Log(min))
	}
	return list
}

// alignYourSteps interpolates the levels that Align Your Steps found for SD 1.5, as its authors rounded them. A single step
// gets the lowest, as in the web UI.
func alignYourSteps(n int) []float64 {
	found := []float64{0.029, 0.152, 0.399, 0.652, 0.963, 1.396, 1.886, 2.697, 3.861, 6.475, 14.615}
	list := linspace(0, float64(len(found)-1), n)
	for i, at := range list {
		k := min(int(at), len(found)-2)
		w := at - float64(k)
		list[i] = math.Exp((1-w)*math.Log(found[k]) + w*math.Log(found[k+1]))
	}
	slices.Reverse(list)
	return list
}

// discardPenultimate drops the smallest noise level before the end, which the web UI does for samplers whose midpoint
// would be smaller still.
func discardPenultimate(sigmas []float64) []float64 {
	if len(sigmas) < 3 {
		return sigmas
	}
	return slices.Delete(sigmas, len(sigmas)-2, len(sigmas)-1)
}

// diffusersTimesteps returns n timesteps from the highest down, spaced as diffusers' schedulers do it. Its multistep
// solvers place one timestep more and drop the lowest.
func diffusersTimesteps(s Spacing, train, n, offset int, multistep bool) []float64 {
	list := make([]float64, n)
	switch {
	case s == Trailing:
		for k := range list {
			list[k] = math.RoundToEven(float64(train)-float64(k)*float64(train)/float64(n)) - 1
		}
	case s == Linspace && multistep:
		for k, t := range linspace(float64(train-1), 0, n+1)[:n] {
			list[k] = math.RoundToEven(t)
		}
	case s == Linspace:
		list = linspace(0, float64(train-1), n)
		slices.Reverse(list)
	case multistep:
		for k := range list {
			list[k] = float64(train/(n+1)*(n-k) + offset)
		}
	default:
		for k := range list {
			list[k] = float64(train/n*(n-1-k) + offset)
		}
	}
	return list
}

// webUITimesteps is the ascending grid of the web UI's DDIM, PLMS and UniPC: 1, 1+⌊1000/n⌋, … below 1001, at most 999.
func webUITimesteps(train, n int) []int {
	stride := train / n
	var list []int
	for t := 0; t < train; t += stride {
		list = append(list, min(t+1, train-1))
	}
	return list
}

// lcmTimesteps picks n of the 50 timesteps 999, 979, … 19 that latent consistency models were distilled on.
func lcmTimesteps(train, origin, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = float64(train/origin*(origin-i*origin/n) - 1)
	}
	return list
}
