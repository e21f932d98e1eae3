package train

import (
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/sampler"
)

// near fails unless got has want's digits, which are six or more.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
		t.Errorf("%s is %.9g, want %.9g", what, got, want)
	}
}

func TestDiffusion(t *testing.T) {
	d, err := Objective{}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		t           int
		signal, snr float64
	}{
		{0, 0.99915, 1175.471}, {1, 0.99829603, 585.864}, {100, 0.89422348, 8.453894}, {500, 0.27633268, 0.3818504}, {999, 0.0046601, 0.004681917},
	} {
		near(t, "the signal", d.signal[c.t], c.signal)
		near(t, "the signal-to-noise ratio", d.snr[c.t], c.snr)
	}
	first := func(limit float64) int {
		for t, snr := range d.snr {
			if snr < limit {
				return t
			}
		}
		return -1
	}
	if a, b := first(5), first(1); a != 147 || b != 354 {
		t.Errorf("the first timesteps below 5 and 1 are %d and %d, want 147 and 354", a, b)
	}

	z, err := Objective{ZeroTerminalSNR: true}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]float64{0: 0.99915, 500: 0.24101878, 998: 1.968e-7, 999: 0} {
		near(t, "the signal with zero terminal SNR", z.signal[at], want)
	}
	if z.snr != d.snr {
		t.Error("zero terminal SNR changes the ratios that weights are made of; in sd-scripts it does not")
	}
}

func TestObjectiveWeight(t *testing.T) {
	d, err := Objective{}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Objective
		want map[int]float64 // by timestep
	}{
		{"none", Objective{}, map[int]float64{0: 1, 999: 1}},
		{"min-SNR", Objective{MinSNRGamma: 5}, map[int]float64{0: 0.0042536, 10: 0.0483057, 50: 0.2544361, 100: 0.5914434, 147: 1, 999: 1}},
		{"min-SNR of v", Objective{MinSNRGamma: 5, VParameterization: true}, map[int]float64{100: 5 / 9.453894, 500: 0.3818504 / 1.3818504}},
		{"debiased", Objective{DebiasedEstimation: true}, map[int]float64{0: 0.0316228, 100: 0.3439312, 500: 1.6182788, 999: 14.6146412}},
		{"debiased of v", Objective{DebiasedEstimation: true, VParameterization: true}, map[int]float64{0: 1.0 / 1001, 500: 1 / 1.3818504}},
		{"v like noise", Objective{ScaleVPredLoss: true, VParameterization: true}, map[int]float64{0: 0.999001, 500: 0.2763327}},
		{"noise like v", Objective{VPredLikeLoss: 0.5}, map[int]float64{0: 1 + 0.5*1001/1000, 500: 1 + 0.5/0.2763327}},
		{"min-SNR and debiased", Objective{MinSNRGamma: 5, DebiasedEstimation: true}, map[int]float64{100: 0.5914434 * 0.3439312}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.o.Check(); err != nil {
				t.Fatal(err)
			}
			for step, want := range c.want {
				if got := c.o.weight(d.snr[step]); math.Abs(got-want) > 2e-6*want+1e-7 {
					t.Errorf("timestep %d: weight %.8g, want %.8g", step, got, want)
				}
			}
		})
	}
}

func TestHuber(t *testing.T) {
	d, err := Objective{}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Objective
		want map[int]float64
	}{
		{Objective{}, map[int]float64{0: 0.94971, 250: 0.41296, 500: 0.23128, 750: 0.13461, 999: 0.10369}},
		{Objective{HuberSchedule: "snr", HuberScale: 2}, map[int]float64{0: 0.94971}}, // the scale is not applied
		{Objective{HuberSchedule: "exponential"}, map[int]float64{0: 1, 250: 0.56234, 500: 0.31623, 999: 0.10023}},
		{Objective{HuberSchedule: "exponential", HuberScale: 2}, map[int]float64{250: 1.12468}},
		{Objective{HuberSchedule: "constant", HuberC: 0.2, HuberScale: 3}, map[int]float64{0: 0.6, 999: 0.6}},
	} {
		for step, want := range c.want {
			if got := c.o.huber(step, d.snr[step]); math.Abs(got-want) > 1e-5 {
				t.Errorf("%+v: c at %d is %.6f, want %.5f", c.o, step, got, want)
			}
		}
	}
}

// TestHuberZeroSNR compares constants of the schedule with zero terminal SNR with sd-scripts', which take them from the
// scheduler whose betas it has changed.
func TestHuberZeroSNR(t *testing.T) {
	d, err := Objective{ZeroTerminalSNR: true}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[int]float64{751: 0.12155, 999: 0.1} {
		if got := (Objective{}).huber(step, d.mixedSNR[step]); math.Abs(got-want) > 1e-5 {
			t.Errorf("c at %d is %.6f, want %.5f", step, got, want)
		}
	}
}

func TestObjectiveErrors(t *testing.T) {
	for _, c := range []struct {
		o   Objective
		say string
	}{
		{Objective{Loss: compute.SmoothL1 + 1}, "Objective.Loss is 4, want L2"},
		{Objective{HuberSchedule: "linear"}, `Objective.HuberSchedule is "linear"`},
		{Objective{MinSNRGamma: math.NaN()}, "Objective.MinSNRGamma is NaN"},
		{Objective{HuberC: -1}, "Objective.HuberC is -1"},
		{Objective{ScaleVPredLoss: true}, "Objective.ScaleVPredLoss is true, want false: it is for checkpoints that predict v"},
		{Objective{VPredLikeLoss: 1, VParameterization: true}, "Objective.VPredLikeLoss is 1, want 0: it is for checkpoints that predict noise"},
	} {
		if err := c.o.Check(); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: error %v, want %q in it", c.o, err, c.say)
		}
	}
}

// TestObjectiveLoss evaluates losses of a prediction that is 0.5 away everywhere.
func TestObjectiveLoss(t *testing.T) {
	d, err := Objective{}.diffusion(sampler.Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	constant := func(f compute.LossFunction) Objective { return Objective{Loss: f, HuberSchedule: "constant"} }
	for _, c := range []struct {
		name     string
		o        Objective
		timestep int
		weight   float64
		want     float64
	}{
		{"l2", Objective{}, 100, 1, 0.25},
		{"l1", Objective{Loss: compute.L1}, 100, 1, 0.5},
		{"huber", constant(compute.Huber), 100, 1, 0.0819804},
		{"smooth_l1", constant(compute.SmoothL1), 100, 1, 0.819804},
		{"huber by SNR", Objective{Loss: compute.Huber}, 500, 1, 0.1478446},
		{"min-SNR", Objective{MinSNRGamma: 5}, 100, 1, 0.1478609},
		{"min-SNR of a picture for regularisation", Objective{MinSNRGamma: 5}, 100, 0.5, 0.1478609 / 2},
		{"debiased", Objective{DebiasedEstimation: true}, 999, 1, 3.6536603},
	} {
		var b compute.Builder
		loss := compute.Loss{
			Prediction: b.Input("prediction", compute.F32, 1, 2, 2, 4), Target: b.Input("target", compute.F32, 1, 2, 2, 4),
			Weights: b.Input("weights", compute.F32, 1), Function: c.o.Loss,
		}
		prediction := make([]float64, 16)
		for i := range prediction {
			prediction[i] = 0.5
		}
		snr := d.snr[c.timestep]
		in := []any{prediction, make([]float64, 16), []float64{c.weight * c.o.weight(snr)}}
		if c.o.Loss == compute.Huber || c.o.Loss == compute.SmoothL1 {
			loss.C = b.Input("c", compute.F32, 1)
			in = append(in, []float64{c.o.huber(c.timestep, snr)})
		}
		b.Output(b.Op(loss))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		out, err := ref.Evaluate(p, nil, in...)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.name, out[0].([]float64)[0], c.want)
	}
}
