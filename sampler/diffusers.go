package sampler

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
)

// maxSchedulerConfig bounds the bytes of a scheduler_config.json; real ones have under 2000.
const maxSchedulerConfig = 1 << 20

// schedulerConfig holds the fields of a diffusers scheduler_config.json that change a sampling run.
type schedulerConfig struct {
	Class            string          `json:"_class_name"`
	TrainSteps       int             `json:"num_train_timesteps"`
	BetaStart        float64         `json:"beta_start"`
	BetaEnd          float64         `json:"beta_end"`
	BetaSchedule     BetaSchedule    `json:"beta_schedule"`
	TrainedBetas     json.RawMessage `json:"trained_betas"`
	ZeroSNR          bool            `json:"rescale_betas_zero_snr"`
	Prediction       Prediction      `json:"prediction_type"`
	TimestepSpacing  Spacing         `json:"timestep_spacing"`
	TimestepType     string          `json:"timestep_type"`
	StepsOffset      int             `json:"steps_offset"`
	Interpolation    string          `json:"interpolation_type"`
	UseKarras        bool            `json:"use_karras_sigmas"`
	UseExponential   bool            `json:"use_exponential_sigmas"`
	UseBeta          bool            `json:"use_beta_sigmas"`
	UseLu            bool            `json:"use_lu_lambdas"`
	UseFlow          bool            `json:"use_flow_sigmas"`
	SigmaMin         *float64        `json:"sigma_min"`
	SigmaMax         *float64        `json:"sigma_max"`
	FinalSigmas      string          `json:"final_sigmas_type"`
	SetAlphaToOne    bool            `json:"set_alpha_to_one"`
	SkipPRK          bool            `json:"skip_prk_steps"`
	ClipSample       bool            `json:"clip_sample"`
	Thresholding     bool            `json:"thresholding"`
	LambdaMinClipped *float64        `json:"lambda_min_clipped"`
	VarianceType     *string         `json:"variance_type"`
	SolverOrder      int             `json:"solver_order"`
	AlgorithmType    string          `json:"algorithm_type"`
	SolverType       string          `json:"solver_type"`
	LowerOrderFinal  bool            `json:"lower_order_final"`
	EulerAtFinal     bool            `json:"euler_at_final"`
	PredictX0        bool            `json:"predict_x0"`
	DisableCorrector []int           `json:"disable_corrector"`
	SolverP          json.RawMessage `json:"solver_p"`
	OriginalSteps    int             `json:"original_inference_steps"`
	TimestepScaling  float64         `json:"timestep_scaling"`

	// What follows is no part of the file.
	sampler   Sampler
	multistep bool    // takes the multistep form of the spacings
	vp        bool    // keeps y = x/√(1+σ²) in slot 0
	eta       float64 // stochasticity of DDIM and Euler a
	single    bool    // compute in diffusers' precision
}

// FromDiffusers writes out the run of a diffusers scheduler: the same timesteps, the same latents after every
// evaluation (its scheduler's step) in the same space, the same start (init_noise_sigma), computed from the same
// single-precision table. Known classes are the Scheduler forms of EulerDiscrete, EulerAncestralDiscrete, HeunDiscrete,
// LMSDiscrete, DPMSolverMultistep (order 1 and 2, data prediction, with its SDE form), DDIM (η 0), PNDM (skip_prk_steps,
// leading), UniPCMultistep and LCM.
//
// Image to image with PNDM starts at diffusers' noise level and then is the plain method: diffusers evaluates one
// timestep off there, because its list of timesteps begins behind the entry that starts the method.
//
// class is used where config has no _class_name, which may then be a bare configuration. strength is that of image to
// image, in (0,1]; 0 is text to image. Settings that change the picture and are not supported are errors that name
// their key, missing keys have diffusers' defaults and unknown keys are ignored.
func FromDiffusers(class string, config []byte, steps int, strength float64) (*Plan, error) {
	c, err := parseScheduler(class, config)
	if err != nil {
		return nil, err
	}
	c.single = true
	return c.plan(steps, strength)
}

// ScheduleFromDiffusers reads the part of a scheduler_config.json that describes the network rather than the sampler:
// the training noise and what the network predicts. It accepts the configuration of any scheduler class.
func ScheduleFromDiffusers(config []byte) (Schedule, Prediction, error) {
	c := schedulerConfig{BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: Linear, TrainSteps: 1000, Prediction: Epsilon}
	if err := c.unmarshal(config); err != nil {
		return Schedule{}, "", err
	}
	if c.given(c.TrainedBetas) {
		return Schedule{}, "", errTrainedBetas
	}
	if !c.Prediction.valid() {
		return Schedule{}, "", fmt.Errorf("sampler: scheduler config: prediction_type is %.60q, want %s, %s or %s", c.Prediction, Epsilon, VPrediction, Sample)
	}
	if _, err := c.schedule().Table(); err != nil {
		return Schedule{}, "", errors.New("sampler: scheduler config: " + scheduleKeys.Replace(err.Error()))
	}
	return c.schedule(), c.Prediction, nil
}

// scheduleKeys are the keys of a configuration that fill the fields of a Schedule.
var scheduleKeys = strings.NewReplacer("sampler: ", "", "Schedule.TrainSteps", "num_train_timesteps", "Schedule.BetaStart", "beta_start",
	"Schedule.BetaEnd", "beta_end", "Schedule.Betas", "beta_schedule")

var errTrainedBetas = errors.New("sampler: scheduler config: trained_betas is not supported; use beta_schedule")

// parseScheduler reads a configuration over the defaults of its class and refuses what no plan can express.
func parseScheduler(class string, config []byte) (*schedulerConfig, error) {
	var peek schedulerConfig
	if err := peek.unmarshal(config); err != nil {
		return nil, err
	}
	if peek.Class == "" {
		peek.Class = class
	}
	c := &schedulerConfig{
		Class: peek.Class, TrainSteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: Linear, Prediction: Epsilon,
		TimestepSpacing: Linspace, Interpolation: "linear", TimestepType: "discrete", FinalSigmas: "zero",
		SolverOrder: 2, LowerOrderFinal: true, PredictX0: true,
	}
	switch strings.TrimSuffix(c.Class, "Scheduler") {
	case "EulerDiscrete":
		c.sampler = Euler
	case "EulerAncestralDiscrete":
		c.sampler, c.eta = EulerA, 1
	case "HeunDiscrete":
		c.sampler, c.BetaStart, c.BetaEnd = Heun, 0.00085, 0.012
	case "LMSDiscrete":
		c.sampler = LMS
	case "DPMSolverMultistep":
		c.sampler, c.multistep, c.vp = DPMPP2M, true, true
		c.AlgorithmType, c.SolverType = "dpmsolver++", "midpoint"
	case "UniPCMultistep":
		c.sampler, c.multistep, c.vp = UniPC, true, true
		c.SolverType = "bh2"
	case "DDIM":
		c.sampler, c.vp = DDIM, true
		c.TimestepSpacing, c.SetAlphaToOne, c.ClipSample = Leading, true, true
	case "PNDM":
		c.sampler, c.vp = PLMS, true
		c.TimestepSpacing = Leading
	case "LCM":
		c.sampler, c.vp = LCM, true
		c.TimestepSpacing, c.BetaStart, c.BetaEnd, c.BetaSchedule = Leading, 0.00085, 0.012, ScaledLinear
		c.OriginalSteps, c.TimestepScaling = 50, 10
	case "":
		return nil, errors.New("sampler: scheduler config: _class_name is missing and no class was given")
	default:
		return nil, fmt.Errorf("sampler: scheduler config: _class_name %.60q is not supported; there are EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler, LMSDiscreteScheduler, DPMSolverMultistepScheduler, DDIMScheduler, PNDMScheduler, UniPCMultistepScheduler and LCMScheduler", c.Class)
	}
	if err := c.unmarshal(config); err != nil {
		return nil, err
	}
	return c, c.check()
}

// unmarshal reads JSON as Python writes it, over the values c has. null keeps them.
func (c *schedulerConfig) unmarshal(config []byte) error {
	if len(config) > maxSchedulerConfig {
		return fmt.Errorf("sampler: scheduler config: %d bytes, want at most %d", len(config), maxSchedulerConfig)
	}
	if err := json.Unmarshal(python.PlainJSON(config), c); err != nil {
		return fmt.Errorf("sampler: scheduler config: %w", err)
	}
	return nil
}

// given tells whether a key is present with a value.
func (c *schedulerConfig) given(raw json.RawMessage) bool {
	return len(raw) > 0 && string(raw) != "null"
}

// check refuses settings that a plan cannot express, naming the key.
func (c *schedulerConfig) check() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("sampler: scheduler config: %s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.given(c.TrainedBetas) {
		errs = append(errs, errTrainedBetas)
	}
	if !c.Prediction.valid() {
		bad("prediction_type", "%.60q, want %s, %s or %s", c.Prediction, Epsilon, VPrediction, Sample)
	}
	if !slices.Contains([]Spacing{Leading, Linspace, Trailing}, c.TimestepSpacing) {
		bad("timestep_spacing", "%.60q, want leading, linspace or trailing", c.TimestepSpacing)
	}
	if c.StepsOffset < 0 || c.StepsOffset >= max(c.TrainSteps, 1) {
		bad("steps_offset", "%d, want 0 to num_train_timesteps-1", c.StepsOffset)
	}
	for _, flag := range []struct {
		key string
		set bool
	}{
		{"use_beta_sigmas", c.UseBeta}, {"use_lu_lambdas", c.UseLu}, {"use_flow_sigmas", c.UseFlow},
		{"thresholding", c.Thresholding}, {"clip_sample", c.ClipSample},
		{"disable_corrector", len(c.DisableCorrector) > 0}, {"solver_p", c.given(c.SolverP)},
		{"lambda_min_clipped", c.LambdaMinClipped != nil}, {"variance_type", c.VarianceType != nil},
	} {
		if flag.set {
			bad(flag.key, "not supported; remove it or set it to false or null")
		}
	}
	if c.UseKarras && c.UseExponential {
		bad("use_karras_sigmas", "cannot be combined with use_exponential_sigmas")
	}
	if c.Interpolation != "linear" {
		bad("interpolation_type", "%.60q is not supported, want linear", c.Interpolation)
	}
	if c.TimestepType != "discrete" {
		bad("timestep_type", "%.60q is not supported, want discrete", c.TimestepType)
	}
	if c.FinalSigmas != "zero" && c.FinalSigmas != "sigma_min" {
		bad("final_sigmas_type", "%.60q, want zero or sigma_min", c.FinalSigmas)
	}
	for _, limit := range []*float64{c.SigmaMin, c.SigmaMax} {
		if limit != nil && !(*limit > 0 && *limit < 1e6) {
			bad("sigma_min, sigma_max", "%v, want a positive noise level", *limit)
		}
	}
	switch c.sampler {
	case DPMPP2M:
		if c.SolverOrder != 1 && c.SolverOrder != 2 {
			bad("solver_order", "%d is not supported, want 1 or 2", c.SolverOrder)
		}
		if c.AlgorithmType != "dpmsolver++" && c.AlgorithmType != "sde-dpmsolver++" {
			bad("algorithm_type", "%.60q is not supported, want dpmsolver++ or sde-dpmsolver++", c.AlgorithmType)
		}
		if c.SolverType != "midpoint" && c.SolverType != "heun" {
			bad("solver_type", "%.60q, want midpoint or heun", c.SolverType)
		}
	case UniPC:
		if c.SolverOrder < 1 || c.SolverOrder > 3 {
			bad("solver_order", "%d is not supported, want 1 to 3", c.SolverOrder)
		}
		if c.SolverType != "bh1" && c.SolverType != "bh2" {
			bad("solver_type", "%.60q, want bh1 or bh2", c.SolverType)
		}
		if !c.PredictX0 {
			bad("predict_x0", "false is not supported, want true")
		}
	case PLMS:
		if !c.SkipPRK {
			bad("skip_prk_steps", "false is not supported, want true")
		}
		if c.TimestepSpacing != Leading {
			bad("timestep_spacing", "%s is not supported for PNDM, want leading", c.TimestepSpacing)
		}
	case LCM:
		if c.OriginalSteps < 1 || c.OriginalSteps > c.TrainSteps {
			bad("original_inference_steps", "%d, want 1 to num_train_timesteps", c.OriginalSteps)
		}
		if !(c.TimestepScaling > 0 && c.TimestepScaling < 1e6) {
			bad("timestep_scaling", "%v, want a positive factor", c.TimestepScaling)
		}
	}
	return errors.Join(errs...)
}

// schedule is the training noise.
func (c *schedulerConfig) schedule() Schedule {
	return Schedule{
		Betas: c.BetaSchedule, BetaStart: c.BetaStart, BetaEnd: c.BetaEnd, TrainSteps: c.TrainSteps,
		ZeroTerminalSNR: c.ZeroSNR, Float32: c.single,
	}
}

// plan writes out the run.
func (c *schedulerConfig) plan(steps int, strength float64) (*Plan, error) {
	table, err := c.schedule().Table()
	if err != nil {
		return nil, fmt.Errorf("sampler: scheduler config: %w", err)
	}
	most := min(MaxSteps, len(table.Sigmas)-1)
	if c.sampler == LCM {
		most = c.OriginalSteps
	}
	if steps < 1 || steps > most {
		return nil, fmt.Errorf("sampler: steps is %d, want 1 to %d for %s", steps, most, c.Class)
	}
	if !(strength >= 0 && strength <= 1) {
		return nil, fmt.Errorf("sampler: strength is %v, want 0 to 1", strength)
	}
	m, _ := c.sampler.find()
	b := &builder{
		timeOf: table.Timestep, sigmaOf: table.Sigma, prediction: c.Prediction, noise: Draw, eta: c.eta, sNoise: 1,
		sTmax: math.Inf(1), order: m.order, heun: c.SolverType == "heun", variant: UniPCVariant(c.SolverType), early: -1,
	}
	g := c.grid(table, steps)
	for i, s := range g.sigma[1:] {
		if !(s < g.sigma[i]) && i+1 < len(g.time) {
			return nil, fmt.Errorf("sampler: steps %d: steps %d and %d fall on the same noise level %v; take fewer steps or a smaller steps_offset", steps, i, i+1, s)
		}
	}
	switch c.sampler {
	case DPMPP2M:
		if c.SolverOrder == 1 {
			m.solve = eulerAncestral // DPM-Solver++ of first order is DDIM
		}
		if c.AlgorithmType == "sde-dpmsolver++" {
			b.eta = 1
		}
		b.lowerOrderFinal = c.EulerAtFinal || c.LowerOrderFinal && len(g.time) < 15
	case UniPC:
		b.order, b.lowerOrderFinal = c.SolverOrder, c.LowerOrderFinal
	}
	if strength > 0 {
		kept := min(int(float64(steps)*strength), steps)
		if kept == 0 {
			return nil, fmt.Errorf("sampler: strength %v of %d steps leaves no step to run; raise either", strength, steps)
		}
		first := steps - kept
		if c.sampler == PLMS && first > 1 {
			first-- // diffusers' list holds the second timestep twice
		}
		g.cut(first)
	}
	return g.plan(m, b), nil
}

// grid places the noise levels and timesteps of a text-to-image run.
func (c *schedulerConfig) grid(t *Table, steps int) *run {
	g := &run{vp: c.vp, start: Start{Noise: 1}}
	if c.sampler == LCM {
		g.time = lcmTimesteps(len(t.Sigmas), c.OriginalSteps, steps)
		g.lcm = lcmRule{scaling: c.TimestepScaling, sigmaData: 0.5, vp: true}
	} else {
		g.time = diffusersTimesteps(c.TimestepSpacing, len(t.Sigmas), steps, c.StepsOffset, c.multistep)
	}
	for i, ts := range g.time {
		ts = min(max(ts, 0), t.last())
		if c.sampler == DDIM {
			ts = math.RoundToEven(ts)
		}
		g.time[i] = c.rounded(ts)
		g.sigma = append(g.sigma, t.linearSigma(g.time[i]))
	}
	end := 0.0
	switch c.sampler {
	case DDIM, PLMS:
		end = c.strideTargets(t, g)
	case Euler, DPMPP2M, UniPC:
		if c.FinalSigmas == "sigma_min" {
			end = t.Sigmas[0]
		}
		fallthrough
	case Heun, LMS:
		c.respace(t, g)
	}
	g.sigma = append(g.sigma, end)
	for i, s := range g.sigma {
		g.sigma[i] = c.rounded(s)
	}
	g.max, g.min = g.sigma[0], g.sigma[len(g.sigma)-1]
	if g.min == 0 {
		g.min = g.sigma[len(g.sigma)-2]
	}
	if !g.vp {
		g.start.Noise = g.max
		if c.TimestepSpacing == Leading {
			g.start.Noise = math.Sqrt(1 + g.max*g.max)
		}
	}
	return g
}

// strideTargets sets where the steps of DDIM and PNDM arrive: always ⌊train/steps⌋ training steps lower, which need not
// be where the next step begins, and after the last training step at the final ᾱ. It returns the end of the run.
func (c *schedulerConfig) strideTargets(t *Table, g *run) float64 {
	stride := len(t.Sigmas) / len(g.time)
	for _, ts := range g.time {
		target := t.Sigmas[0]
		if c.SetAlphaToOne {
			target = 0
		}
		if previous := int(ts) - stride; previous >= 0 {
			target = t.Sigmas[previous]
		}
		g.to = append(g.to, c.rounded(target))
	}
	return g.to[len(g.to)-1]
}

// respace replaces the noise levels by Karras or exponential ones: between the ends of the spacing for the Euler family,
// of the whole table for the multistep family, which also rounds the timesteps.
func (c *schedulerConfig) respace(t *Table, g *run) {
	if !c.UseKarras && !c.UseExponential {
		return
	}
	n := len(g.sigma)
	high, low := g.sigma[0], g.sigma[n-1]
	if c.multistep {
		high, low = t.Sigmas[len(t.Sigmas)-1], t.Sigmas[0]
	}
	if c.SigmaMax != nil {
		high = *c.SigmaMax
	}
	if c.SigmaMin != nil {
		low = *c.SigmaMin
	}
	if c.UseKarras {
		g.sigma = karras(high, low, n, 7)
	} else {
		g.sigma = polyexponential(high, low, n, 1)
	}
	for i, s := range g.sigma {
		g.time[i] = c.rounded(t.Timestep(s))
		if c.multistep {
			g.time[i] = math.RoundToEven(g.time[i])
		}
	}
}

// rounded is v in the precision diffusers stores it in.
func (c *schedulerConfig) rounded(v float64) float64 {
	if c.single {
		return float64(float32(v))
	}
	return v
}

// cut keeps the steps from first on and starts from a noised latent.
func (g *run) cut(first int) {
	g.sigma, g.time = g.sigma[first:], g.time[first:]
	if g.to != nil {
		g.to = g.to[first:]
	}
	g.start = Start{Noise: g.sigma[0], Latent: 1}
	if g.vp {
		scale := 1 / math.Sqrt(1+g.sigma[0]*g.sigma[0])
		g.start = Start{Noise: g.sigma[0] * scale, Latent: scale}
	}
}
