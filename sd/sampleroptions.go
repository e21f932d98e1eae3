package sd

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// SamplerOptions are what few requests change of the sampling: settings of the web UI that its infotexts name. The zero value
// of every field is its default. Samplers ignore what they have no use for.
type SamplerOptions struct {
	SChurn float64  `json:"sigma_churn,omitzero"` // noise that Euler, Heun and DPM2 add on their way, ≥ 0
	STmin  float64  `json:"sigma_tmin,omitzero"`  // the lowest noise level at which they do
	STmax  float64  `json:"sigma_tmax,omitzero"`  // the highest; 0 is no limit
	SNoise *float64 `json:"sigma_noise,omitzero"` // factor of all noise that samplers add; nil is 1

	SigmaMin           float64 `json:"schedule_min_sigma,omitzero"` // limits of the noise schedule; 0 is the model's own
	SigmaMax           float64 `json:"schedule_max_sigma,omitzero"`
	Rho                float64 `json:"schedule_rho,omitzero"`              // exponent of Karras and Polyexponential; 0 is 7 and 1
	BetaAlpha          float64 `json:"beta_schedule_alpha,omitzero"`       // shape of the Beta schedule; 0 is 0.6
	BetaBeta           float64 `json:"beta_schedule_beta,omitzero"`        // as BetaAlpha
	DiscardPenultimate bool    `json:"discard_penultimate_sigma,omitzero"` // drop the lowest noise level but the last
	SGMNoise           bool    `json:"sgm_noise_multiplier,omitzero"`      // start from noise of level √(1+σ²)
	DowncastAlphas     bool    `json:"downcast_alphas_cumprod,omitzero"`   // noise levels in half precision, as before the web UI's version 1.7

	Order          int                  `json:"order,omitzero"`            // of LMS, UniPC and DPM adaptive; 0 is 4, 3 and 3
	Variant        sampler.UniPCVariant `json:"unipc_variant,omitzero"`    // "" is bh1
	Skip           sampler.UniPCSkip    `json:"unipc_skip_type,omitzero"`  // "" is time_uniform
	KeepOrderFinal bool                 `json:"keep_order_final,omitzero"` // UniPC: do not lower the order at the end

	ENSD int64 `json:"ensd,omitzero"` // added to the seed of all noise after the first; pictures of NovelAI have 31337
}

// Variation turns the noise of a picture's seed towards that of another.
type Variation struct {
	Seed     int64   `json:"seed,omitzero"`     // of the first picture, picture i uses Seed+i and all the request's; negative draws one at random
	Strength float64 `json:"strength,omitzero"` // 0 is none, 1 is the noise of Seed
}

// Size is a picture's in pixels.
type Size struct {
	Width  int `json:"width,omitzero"`
	Height int `json:"height,omitzero"`
}

// config is what the request asks of its sampler.
func (r Request) config(schedule sampler.Schedule, prediction sampler.Prediction) sampler.Config {
	o := r.SamplerOptions
	schedule.Half = o.DowncastAlphas
	c := sampler.Config{
		ExtraNoise: r.ExtraNoise,
		Sampler:    r.Sampler, Spacing: r.Spacing, Steps: r.Steps, Eta: r.Eta, Schedule: schedule, Prediction: prediction,
		SChurn: o.SChurn, STmin: o.STmin, STmax: o.STmax, SNoise: o.SNoise,
		SigmaMin: o.SigmaMin, SigmaMax: o.SigmaMax, Rho: o.Rho, BetaAlpha: o.BetaAlpha, BetaBeta: o.BetaBeta,
		DiscardPenultimate: o.DiscardPenultimate, SGMNoise: o.SGMNoise,
		Order: o.Order, Variant: o.Variant, Skip: o.Skip, KeepOrderFinal: o.KeepOrderFinal,
		MinUncond: r.Speed.MinUncond, MinUncondAll: r.Speed.MinUncondAll, SkipEarly: r.Speed.SkipEarly,
	}
	if r.Refiner != nil {
		c.SwitchAt, c.SwitchByCalls = r.Refiner.SwitchAt, r.Refiner.ByCalls
	}
	return c
}

// inRequest renames the fields in the error of a plan that a request has as well.
func inRequest(err error) error {
	var errs []error
	for _, e := range invalid.Fields(err) {
		name := strings.TrimPrefix(e.Field, "Config.")
		switch e.Field {
		case "Schedule.Half":
			name = "DowncastAlphas"
		case "Config.Denoise":
			name = "Strength"
		case "Config.SwitchAt":
			name = "Refiner.SwitchAt"
		}
		switch {
		case has(Request{}, name), e.Field == "Config.SwitchAt":
			e.Field = "Request." + name
		case has(SamplerOptions{}, name):
			e.Field = "Request.SamplerOptions." + name
		case has(Speed{}, name):
			e.Field = "Request.Speed." + name
		}
		errs = append(errs, e)
	}
	if errs == nil {
		return err
	}
	return errors.Join(errs...)
}

// has tells whether a structure has a field of a name.
func has(structure any, field string) bool {
	_, ok := reflect.TypeOf(structure).FieldByName(field)
	return ok
}

// resolveNoise fills in the seeds that are to be drawn and checks what the noise is made from.
func (r *Request) resolveNoise() error {
	if r.Seed < 0 {
		r.Seed = int64(rand.Uint32())
	}
	if r.Variation.Seed < 0 {
		r.Variation.Seed = int64(rand.Uint32())
	}
	if setDefault(&r.Noise, NV); r.Noise == GPU {
		r.Noise = NV
	}
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request."+field, value, want, args...))
		}
	}
	check(r.Noise == NV || r.Noise == CPU, "Noise", string(r.Noise), "%q, %q or %q", GPU, NV, CPU)
	check(r.Variation.Strength >= 0 && r.Variation.Strength <= 1, "Variation.Strength", r.Variation.Strength, "a part from 0 to 1")
	if from := r.ResizeFrom; from != (Size{}) {
		check(from.Width >= 8 && from.Width <= MaxSide, "ResizeFrom.Width", from.Width, "8 to %d pixels, or 0 for both sides", MaxSide)
		check(from.Height >= 8 && from.Height <= MaxSide, "ResizeFrom.Height", from.Height, "8 to %d pixels, or 0 for both sides", MaxSide)
	}
	return errors.Join(errs...)
}

// seeds are those of picture i: a batch counts up, and of variations the seeds of the variation.
func (r Request) seeds(i int) (seed, variation int64) {
	if r.Variation.Strength == 0 {
		return r.Seed + int64(i), 0
	}
	return r.Seed, r.Variation.Seed + int64(i)
}
