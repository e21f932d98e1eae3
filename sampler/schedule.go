package sampler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// BetaSchedule names the rule for the variances β of the training noise, in diffusers' words.
type BetaSchedule string

const (
	ScaledLinear BetaSchedule = "scaled_linear"     // √β linear in time; Stable Diffusion
	Linear       BetaSchedule = "linear"            // β linear in time
	Cosine       BetaSchedule = "squaredcos_cap_v2" // ᾱ a squared cosine (Nichol and Dhariwal 2021), β capped at 0.999
)

// maxTrainSteps bounds a schedule that comes from a file.
const maxTrainSteps = 10000

// Schedule describes the noise a network was trained with. Its zero value is the schedule of SD 1.5.
type Schedule struct {
	Betas              BetaSchedule // "" is ScaledLinear
	BetaStart, BetaEnd float64      // in (0,1); both 0 mean 0.00085 and 0.012; Cosine has no use for them
	TrainSteps         int          // 2 to 10000; 0 means 1000

	// ZeroTerminalSNR rescales ᾱ so that the last training step is pure noise (Lin et al. 2023), for checkpoints
	// trained that way. ᾱ there becomes 4.8973451890853435e-08 instead of 0 to keep sigma finite (web UI, ComfyUI).
	ZeroTerminalSNR bool

	// Float32 computes β and ᾱ in single precision as diffusers does, which moves sigma by up to 1.3e-5 of itself.
	Float32 bool

	// Half stores ᾱ in half precision and computes sigma in it, as the web UI did before version 1.7 ("Downcast
	// alphas_cumprod"). Together with ZeroTerminalSNR, which needs finer steps, it is an error.
	Half bool
}

// Table holds a schedule's values for every training timestep. Sigma = √((1−ᾱ)/ᾱ) increases strictly.
type Table struct {
	AlphasCumprod []float64 // ᾱ, the share of the picture's variance in the noised latent
	Sigmas        []float64 // noise level relative to the picture
	logSigmas     []float64
}

// Table evaluates the schedule. The error names every field that is out of range.
func (s Schedule) Table() (*Table, error) {
	alphas, err := s.AlphasCumprod()
	if err != nil {
		return nil, err
	}
	if s.ZeroTerminalSNR {
		alphas[len(alphas)-1] = 4.8973451890853435e-08
		if s.Float32 {
			alphas[len(alphas)-1] = 0x1p-24 // diffusers' choice
		}
	}
	if s.Half {
		for i, a := range alphas {
			alphas[i] = roundHalf(a)
		}
	}
	return newTable(alphas, s)
}

// round is v in the precision of the schedule.
func (s Schedule) round(v float64) float64 {
	switch {
	case s.Half:
		return roundHalf(v)
	case s.Float32:
		return float64(float32(v))
	}
	return v
}

// roundHalf is v ≥ 0 in half precision, of eleven bits, for what does not overflow it.
func roundHalf(v float64) float64 {
	_, exponent := math.Frexp(v)
	unit := math.Ldexp(1, max(exponent-11, -24))
	return math.RoundToEven(v/unit) * unit
}

// AlphasCumprod is ᾱ of every training timestep, as [Table] has it but for the last one of a schedule with ZeroTerminalSNR:
// that is 0 here, as training mixes it, while sampling needs a noise level that is finite. The error names every field
// that is out of range.
func (s Schedule) AlphasCumprod() ([]float64, error) {
	if s.TrainSteps == 0 {
		s.TrainSteps = 1000
	}
	if s.BetaStart == 0 && s.BetaEnd == 0 {
		s.BetaStart, s.BetaEnd = 0.00085, 0.012
	}
	if s.Betas == "" {
		s.Betas = ScaledLinear
	}
	var errs complaints
	if s.TrainSteps < 2 || s.TrainSteps > maxTrainSteps {
		errs.add("Schedule.TrainSteps", s.TrainSteps, "2 to %d", maxTrainSteps)
	}
	for _, beta := range []struct {
		name  string
		value float64
	}{{"BetaStart", s.BetaStart}, {"BetaEnd", s.BetaEnd}} {
		if !(beta.value > 0 && beta.value < 1) {
			errs.add("Schedule."+beta.name, beta.value, "a variance between 0 and 1")
		}
	}
	if !slices.Contains([]BetaSchedule{ScaledLinear, Linear, Cosine}, s.Betas) {
		errs.add("Schedule.Betas", s.Betas, "%s, %s or %s", ScaledLinear, Linear, Cosine)
	}
	if s.Half && s.ZeroTerminalSNR {
		errs.add("Schedule.Half", true, "false with ZeroTerminalSNR, whose highest noise levels half precision does not have")
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	alphas := cumulate(s.betas(), s.Float32)
	if s.ZeroTerminalSNR {
		rescaleToZeroSNR(alphas)
	}
	return alphas, nil
}

// betas are the variances of the training steps.
func (s Schedule) betas() []float64 {
	n := s.TrainSteps
	betas := make([]float64, n)
	switch {
	case s.Betas == Cosine:
		bar := func(u float64) float64 { c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2); return c * c }
		for i := range betas {
			betas[i] = min(1-bar(float64(i+1)/float64(n))/bar(float64(i)/float64(n)), 0.999)
		}
	case s.Float32 && s.Betas == Linear:
		for i, b := range linspace32(s.BetaStart, s.BetaEnd, n) {
			betas[i] = float64(b)
		}
	case s.Float32:
		for i, r := range linspace32(math.Sqrt(s.BetaStart), math.Sqrt(s.BetaEnd), n) {
			betas[i] = float64(r * r)
		}
	case s.Betas == Linear:
		copy(betas, linspace(s.BetaStart, s.BetaEnd, n))
	default:
		for i, r := range linspace(math.Sqrt(s.BetaStart), math.Sqrt(s.BetaEnd), n) {
			betas[i] = r * r
		}
	}
	return betas
}

// cumulate returns ᾱ_i = Π(1−β_k). In single precision the factors and the results are rounded and the running product
// is not, as in PyTorch's cumprod on a CPU.
func cumulate(betas []float64, single bool) []float64 {
	alphas := make([]float64, len(betas))
	product := 1.0
	for i, beta := range betas {
		if single {
			product *= float64(1 - float32(beta))
			alphas[i] = float64(float32(product))
		} else {
			product *= 1 - beta
			alphas[i] = product
		}
	}
	return alphas
}

// rescaleToZeroSNR shifts and scales √ᾱ so that it keeps its first value and ends at 0.
func rescaleToZeroSNR(alphas []float64) {
	first, end := math.Sqrt(alphas[0]), math.Sqrt(alphas[len(alphas)-1])
	for i, a := range alphas {
		r := (math.Sqrt(a) - end) * first / (first - end)
		alphas[i] = r * r
	}
}

// newTable derives the noise levels, operation by operation in the schedule's precision.
func newTable(alphas []float64, s Schedule) (*Table, error) {
	t := &Table{AlphasCumprod: alphas, Sigmas: make([]float64, len(alphas)), logSigmas: make([]float64, len(alphas))}
	for i, a := range alphas {
		t.Sigmas[i] = s.round(math.Sqrt(s.round(s.round(1-a) / a)))
		if t.logSigmas[i] = math.Log(t.Sigmas[i]); s.Half {
			t.logSigmas[i] = math.Copysign(roundHalf(math.Abs(t.logSigmas[i])), t.logSigmas[i])
		}
		if math.IsInf(t.logSigmas[i], 0) || math.IsNaN(t.logSigmas[i]) || i > 0 && t.Sigmas[i] <= t.Sigmas[i-1] {
			return nil, fmt.Errorf("sampler: Schedule: the noise does not grow at training step %d: sigma is %v", i, t.Sigmas[i])
		}
	}
	return t, nil
}

// last is the highest timestep.
func (t *Table) last() float64 { return float64(len(t.Sigmas) - 1) }

// Sigma returns the noise level at a timestep, fractional or not, interpolating ln σ; timesteps outside the table are
// clamped to its ends.
func (t *Table) Sigma(timestep float64) float64 {
	l, w := t.split(timestep)
	if w == 0 {
		return math.Exp(t.logSigmas[l])
	}
	return math.Exp((1-w)*t.logSigmas[l] + w*t.logSigmas[l+1])
}

// linearSigma interpolates σ itself, as diffusers does.
func (t *Table) linearSigma(timestep float64) float64 {
	l, w := t.split(timestep)
	if w == 0 {
		return t.Sigmas[l]
	}
	return (1-w)*t.Sigmas[l] + w*t.Sigmas[l+1]
}

// logAlphaSigma interpolates ln ᾱ, as the web UI's UniPC does.
func (t *Table) logAlphaSigma(timestep float64) float64 {
	l, w := t.split(timestep)
	if w == 0 {
		return t.Sigmas[l]
	}
	return math.Sqrt(math.Expm1(-(1-w)*math.Log(t.AlphasCumprod[l]) - w*math.Log(t.AlphasCumprod[l+1])))
}

// logAlphaTimestep is the inverse of logAlphaSigma.
func (t *Table) logAlphaTimestep(sigma float64) float64 {
	l := sort.Search(len(t.Sigmas), func(i int) bool { return t.Sigmas[i] > sigma }) - 1
	l = min(max(l, 0), len(t.Sigmas)-2)
	low, high := math.Log(t.AlphasCumprod[l]), math.Log(t.AlphasCumprod[l+1])
	return float64(l) + min(max((-math.Log1p(sigma*sigma)-low)/(high-low), 0), 1)
}

// distilledSteps is how many timesteps latent consistency models were distilled on: every twentieth of 1000.
const distilledSteps = 50

// distilled is the table of the timesteps that latent consistency models were distilled on.
func (t *Table) distilled() *Table {
	d, stride := new(Table), len(t.Sigmas)/distilledSteps
	for i := stride - 1; i < len(t.Sigmas); i += stride {
		d.AlphasCumprod = append(d.AlphasCumprod, t.AlphasCumprod[i])
		d.Sigmas = append(d.Sigmas, t.Sigmas[i])
		d.logSigmas = append(d.logSigmas, t.logSigmas[i])
	}
	return d
}

// distilledTimestep makes the function that finds the timestep among these whose ln σ is nearest.
func (t *Table) distilledTimestep() func(sigma float64) float64 {
	stride, d := len(t.Sigmas)/distilledSteps, t.distilled()
	return func(sigma float64) float64 { return float64(stride)*(d.nearestTimestep(sigma)+1) - 1 }
}

// split divides a timestep into a table index and the weight of the next entry.
func (t *Table) split(timestep float64) (int, float64) {
	timestep = min(max(timestep, 0), t.last())
	l := int(timestep)
	return l, timestep - float64(l)
}

// Timestep returns the fractional timestep of a noise level, the inverse of [Table.Sigma], clamped to the table.
func (t *Table) Timestep(sigma float64) float64 {
	log := math.Log(sigma)
	l := sort.Search(len(t.logSigmas), func(i int) bool { return t.logSigmas[i] > log }) - 1
	l = min(max(l, 0), len(t.logSigmas)-2)
	w := (log - t.logSigmas[l]) / (t.logSigmas[l+1] - t.logSigmas[l])
	return float64(l) + min(max(w, 0), 1)
}

// nearestTimestep returns the table entry whose ln σ is nearest.
func (t *Table) nearestTimestep(sigma float64) float64 {
	log := math.Log(sigma)
	l := sort.SearchFloat64s(t.logSigmas, log)
	if l == len(t.logSigmas) || l > 0 && log-t.logSigmas[l-1] <= t.logSigmas[l]-log {
		l--
	}
	return float64(l)
}

// nearest is the table entry whose σ is nearest, the lower one of two.
func (t *Table) nearest(sigma float64) int {
	l := sort.SearchFloat64s(t.Sigmas, sigma)
	if l == len(t.Sigmas) || l > 0 && sigma-t.Sigmas[l-1] <= t.Sigmas[l]-sigma {
		l--
	}
	return l
}

// linspace returns n values evenly spaced from a to b; one value is a.
func linspace(a, b float64, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = a
		if i > 0 {
			v[i] = a + float64(i)/float64(n-1)*(b-a)
		}
	}
	if n > 1 {
		v[n-1] = b
	}
	return v
}

// linspace32 is PyTorch's single-precision linspace: it counts from the nearer end.
func linspace32(a, b float64, n int) []float32 {
	first, last := float32(a), float32(b)
	step := (last - first) / float32(n-1)
	v := make([]float32, n)
	for i := range v {
		if i < n/2 {
			v[i] = first + step*float32(i)
		} else {
			v[i] = last - step*float32(n-1-i)
		}
	}
	return v
}
