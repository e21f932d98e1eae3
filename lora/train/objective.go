package train

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// Objective is what a training minimises, in the options of sd-scripts. The zero value is the mean squared error of the
// predicted noise.
type Objective struct {
	Loss compute.LossFunction `json:"loss_type"` // "loss_type"
	// HuberSchedule, HuberC and HuberScale choose the constant of Huber and SmoothL1 for each timestep, "huber_schedule",
	// "huber_c" and "huber_scale"; zero values mean "snr", 0.1 and 1.
	HuberSchedule string  `json:"huber_schedule"`
	HuberC        float64 `json:"huber_c"`
	HuberScale    float64 `json:"huber_scale"`
	// MinSNRGamma weighs a sample by min(SNR,γ)/SNR, "min_snr_gamma"; 0 is off, 5 is usual. Hang et al. (arXiv:2303.09556).
	MinSNRGamma float64 `json:"min_snr_gamma"`
	// DebiasedEstimation weighs a sample by 1/√SNR, "debiased_estimation_loss". Yu et al. (arXiv:2310.08442).
	DebiasedEstimation bool `json:"debiased_estimation"`
	// VParameterization is for checkpoints that predict v = √ᾱ·ε − √(1−ᾱ)·z, "v_parameterization". It need not be said of those
	// of which the files say so; where they say otherwise it is an error.
	VParameterization bool `json:"v_parameterization"`
	// ScaleVPredLoss weighs their samples as if they predicted noise, "scale_v_pred_loss_like_noise_pred"; VPredLikeLoss
	// does the reverse to others, "v_pred_like_loss".
	ScaleVPredLoss bool    `json:"scale_v_pred_loss"`
	VPredLikeLoss  float64 `json:"v_pred_like_loss"`
	// ZeroTerminalSNR makes the last timestep pure noise, "zero_terminal_snr", as files may say, likewise. Lin et al. (arXiv:2305.08891).
	ZeroTerminalSNR bool `json:"zero_terminal_snr"`
}

// huberSchedules are the values of "huber_schedule".
var huberSchedules = []string{"", "snr", "exponential", "constant"}

// Check reports what is wrong with the options, all of it, as [invalid.FieldError]s of an Objective.
func (o Objective) Check() error {
	var errs []error
	check := func(field string, v any, ok bool, want string) {
		if !ok {
			errs = append(errs, invalid.Field("Objective."+field, v, "%s", want))
		}
	}
	factor := func(field string, v float64) {
		check(field, v, v >= 0 && !math.IsInf(v, 0), "a number of 0 or more")
	}
	check("Loss", uint8(o.Loss), o.Loss <= compute.SmoothL1, "L2, L1, Huber or SmoothL1")
	check("HuberSchedule", o.HuberSchedule, slices.Contains(huberSchedules, o.HuberSchedule), strings.Join(huberSchedules[1:], ", "))
	factor("HuberC", o.HuberC)
	factor("HuberScale", o.HuberScale)
	factor("MinSNRGamma", o.MinSNRGamma)
	factor("VPredLikeLoss", o.VPredLikeLoss)
	check("ScaleVPredLoss", true, !o.ScaleVPredLoss || o.VParameterization, "false: it is for checkpoints that predict v, as Objective.VParameterization says")
	check("VPredLikeLoss", o.VPredLikeLoss, o.VPredLikeLoss == 0 || !o.VParameterization, "0: it is for checkpoints that predict noise, without Objective.VParameterization")
	return errors.Join(errs...)
}

// maxSNR caps the signal-to-noise ratio in all weights but that of MinSNRGamma.
const maxSNR = 1000

// weight is what the loss of a sample is multiplied with at a signal-to-noise ratio.
func (o Objective) weight(snr float64) float64 {
	w, capped := 1.0, min(snr, maxSNR)
	if g := o.MinSNRGamma; g > 0 {
		if o.VParameterization {
			w *= min(snr, g) / (snr + 1)
		} else {
			w *= min(snr, g) / snr
		}
	}
	if o.ScaleVPredLoss {
		w *= capped / (capped + 1)
	}
	w *= 1 + o.VPredLikeLoss*(capped+1)/capped
	if o.DebiasedEstimation {
		if o.VParameterization {
			w /= capped + 1
		} else {
			w /= math.Sqrt(capped)
		}
	}
	return w
}

// huber is the constant c of Huber and SmoothL1 at a timestep.
func (o Objective) huber(timestep int, snr float64) float64 {
	c, scale := o.HuberC, o.HuberScale
	if c == 0 {
		c = 0.1
	}
	if scale == 0 {
		scale = 1
	}
	switch o.HuberSchedule {
	case "constant":
		return c * scale
	case "exponential":
		return math.Exp(float64(timestep)*math.Log(c)/trainSteps) * scale
	}
	sigma := 1 / math.Sqrt(snr) // √((1-ᾱ)/ᾱ)
	return (1-c)/((1+sigma)*(1+sigma)) + c
}

// trainSteps is the number of timesteps.
const trainSteps = 1000

// diffusion is the noise that a training mixes in.
type diffusion struct {
	signal   [trainSteps]float64 // ᾱ: the share of the picture's variance
	snr      [trainSteps]float64 // ᾱ/(1-ᾱ), without the change for zero terminal SNR, for weights of the loss
	mixedSNR [trainSteps]float64 // with it, for the constants of Huber
}

// diffusion makes the tables of a schedule.
func (o Objective) diffusion(s sampler.Schedule) (*diffusion, error) {
	s.ZeroTerminalSNR = false
	plain, err := s.AlphasCumprod()
	if err != nil {
		return nil, err
	}
	s.ZeroTerminalSNR = o.ZeroTerminalSNR
	mixed, err := s.AlphasCumprod()
	if err != nil {
		return nil, err
	}
	if len(mixed) != trainSteps {
		return nil, fmt.Errorf("lora: the scheduler has %d timesteps; training knows schedules of %d", len(mixed), trainSteps)
	}
	d := new(diffusion)
	copy(d.signal[:], mixed)
	for t := range plain {
		d.snr[t], d.mixedSNR[t] = plain[t]/(1-plain[t]), mixed[t]/(1-mixed[t])
	}
	return d, nil
}

// deniesZeroSNR finds what a scheduler_config.json that has been read says of it; without the key it says nothing.
var deniesZeroSNR = regexp.MustCompile(`"rescale_betas_zero_snr"\s*:\s*false`)

// following adds to the objective what the files of a checkpoint say of it. What was asked for and is otherwise in the files
// is an invalid.FieldError of an Objective.
func (o Objective) following(n *engine.Networks) (Objective, error) {
	c := n.Checkpoint
	found := c.Prediction()
	var errs []error
	if found.Type == sampler.Sample {
		errs = append(errs, fmt.Errorf("lora: %s predicts samples (%s); training knows epsilon and v_prediction", c.Path(), found.Source))
	}
	if o.VParameterization && found.Type == sampler.Epsilon && found.Source != "default" {
		errs = append(errs, invalid.Field("Objective.VParameterization", true, "false: %s predicts epsilon (%s)", c.Path(), found.Source))
	}
	if o.ZeroTerminalSNR && deniesZeroSNR.Match(c.Scheduler()) {
		errs = append(errs, invalid.Field("Objective.ZeroTerminalSNR", true, "false: %s has none (scheduler_config.json)", c.Path()))
	}
	o.VParameterization = o.VParameterization || found.Type == sampler.VPrediction
	o.ZeroTerminalSNR = o.ZeroTerminalSNR || n.Schedule.ZeroTerminalSNR
	return o, errors.Join(errs...)
}

// describe says what is predicted of what noise.
func (o Objective) describe() string {
	s := "predicts the noise (epsilon)"
	if o.VParameterization {
		s = "predicts v"
	}
	if o.ZeroTerminalSNR {
		s += ", noise with zero terminal SNR"
	}
	return s
}
