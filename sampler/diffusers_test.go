package sampler

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// diffusersRun is what a run of diffusers 0.42.1 was configured with and the timesteps it evaluated.
type diffusersRun struct {
	Name, Scheduler string
	Steps           int
	Config          string `json:"scheduler_config"`
	Timesteps       []float64
}

func diffusersRuns(t testing.TB) (runs []diffusersRun) {
	t.Helper()
	data, err := os.ReadFile("testdata/diffusers-runs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	if len(runs) != 9 {
		t.Fatalf("%d runs, want 9", len(runs))
	}
	return runs
}

// TestDiffusersTimesteps compares with the timesteps of real runs, which are stored as float32. Those of Karras sigmas
// went through single-precision logarithms of single-precision sigmas, each rounded by up to 1.2e-7; the others agree to
// the last bit.
func TestDiffusersTimesteps(t *testing.T) {
	for _, run := range diffusersRuns(t) {
		t.Run(run.Name, func(t *testing.T) {
			p, err := FromDiffusers(run.Scheduler, []byte(run.Config), run.Steps, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Evals) != len(run.Timesteps) {
				t.Fatalf("%d evaluations, want %d", len(p.Evals), len(run.Timesteps))
			}
			limit := 0.0
			if run.Name == "euler_karras" {
				limit = 4e-7
			}
			for i, e := range p.Evals {
				differ(t, fmt.Sprint("timestep ", i), e.Timestep, run.Timesteps[i], limit)
			}
		})
	}
}

// TestDiffusersStart checks init_noise_sigma and the start of image to image by the rules of section 1.4 and 4.1 of
// the sampling specification, on noise levels of the double-precision table.
func TestDiffusersStart(t *testing.T) {
	table := sd15(t)
	top, leading := table.Sigmas[999], table.Sigmas[876]
	middle := table.Sigmas[501] // the fourth of eight leading timesteps
	for _, c := range []struct {
		run      string
		strength float64
		want     Start
		steps    int
	}{
		{"euler", 0, Start{Noise: math.Sqrt(1 + leading*leading)}, 8},
		{"euler_karras", 0, Start{Noise: top}, 8},
		{"heun", 0, Start{Noise: top}, 8},
		{"lms", 0, Start{Noise: top}, 8},
		{"dpmpp_2m", 0, Start{Noise: 1}, 8},
		{"ddim", 0, Start{Noise: 1}, 8},
		{"pndm", 0, Start{Noise: 1}, 8},
		{"unipc", 0, Start{Noise: 1}, 8},
		{"euler", 0.7, Start{Noise: middle, Latent: 1}, 5},
		{"ddim", 0.7, Start{Noise: middle / math.Sqrt(1+middle*middle), Latent: 1 / math.Sqrt(1+middle*middle)}, 5},
		{"pndm", 0.7, Start{Noise: table.Sigmas[626] / math.Sqrt(1+table.Sigmas[626]*table.Sigmas[626]), Latent: 1 / math.Sqrt(1+table.Sigmas[626]*table.Sigmas[626])}, 6},
		{"heun", 1, Start{Noise: top, Latent: 1}, 8},
	} {
		t.Run(fmt.Sprint(c.run, " ", c.strength), func(t *testing.T) {
			for _, run := range diffusersRuns(t) {
				if run.Name != c.run {
					continue
				}
				p, err := FromDiffusers(run.Scheduler, []byte(run.Config), run.Steps, c.strength)
				if err != nil {
					t.Fatal(err)
				}
				differ(t, "noise", p.Start.Noise, c.want.Noise, 1e-6) // single-precision table
				differ(t, "latent", p.Start.Latent, c.want.Latent, 1e-6)
				differ(t, "steps", float64(p.Steps), float64(c.steps), 0)
			}
		})
	}
}

// TestDiffusersVariancePreserving runs the multistep schedulers of diffusers, which keep y = x/√(1+σ²), and compares
// with the vectors of the same methods in sigma space.
func TestDiffusersVariancePreserving(t *testing.T) {
	_, vectors := loadVectors(t)
	for _, class := range []struct{ name, config string }{
		{"dpmpp_2m", `{"_class_name":"DPMSolverMultistepScheduler"`},
		{"unipc_bh2_order2", `{"_class_name":"UniPCMultistepScheduler"`},
		{"euler", `{"_class_name":"DPMSolverMultistepScheduler","solver_order":1`},
	} {
		for spacing, grid := range map[string]string{
			"linspace": "linspace_multistep", "leading": "leading_multistep_off1", "trailing": "trailing",
		} {
			t.Run(class.name+"/"+spacing, func(t *testing.T) {
				p := diffusersPlan(t, class.config+`,"steps_offset":1,"timestep_spacing":"`+spacing+`"}`, 10)
				sigma := p.Evals[0].Sigma
				got := toy().run(t, p, sigma/math.Sqrt(1+sigma*sigma))
				for _, want := range vectors[[3]string{"final", class.name, grid + " n=10 zero x_init=sigma_0"}]["x"] {
					differ(t, "x", got, want, tolerance)
					return
				}
				t.Error("no vector")
			})
		}
	}
}

// TestDiffusersSDE checks that sde-dpmsolver++ is DPM++ 2M SDE with η = 1 and stream noise.
func TestDiffusersSDE(t *testing.T) {
	p := diffusersPlan(t, `{"_class_name":"DPMSolverMultistepScheduler","algorithm_type":"sde-dpmsolver++","use_karras_sigmas":true}`, 10)
	sigma := p.Evals[0].Sigma
	h := toy()
	h.noise = stream()
	got := h.run(t, p, 14.6146/math.Sqrt(1+sigma*sigma))
	_, vectors := loadVectors(t)
	differ(t, "x", got, vectors[[3]string{"final", "dpmpp_2m_sde_midpoint", "karras n=10,stream"}]["x"][10], tolerance)
}

// TestHeunLatents checks that the latent between the two evaluations of a step is the Euler prediction, as diffusers
// reports it.
func TestHeunLatents(t *testing.T) {
	p := newPlan(t, Config{Sampler: Heun, Steps: 10, Spacing: Karras})
	h, i, predicted := toy(), 0, 0.0
	h.seen = func(e Eval, x, denoised, latent float64) {
		if i++; i == 1 {
			next := p.Evals[1].Sigma
			predicted = x + (next-e.Sigma)*(x-denoised)/e.Sigma
			differ(t, "latent", latent, predicted, tolerance)
		}
		if i == 2 {
			differ(t, "seen", x, predicted, tolerance)
		}
	}
	h.run(t, p, 14.6146)
}

// TestDiffusersRefuses checks that what a plan cannot express is an error naming the key.
func TestDiffusersRefuses(t *testing.T) {
	for _, c := range []struct {
		name, config string
		steps        int
		strength     float64
		want         string
	}{
		{"no class", `{}`, 10, 0, "_class_name"},
		{"unknown class", `{"_class_name":"KDPM2DiscreteScheduler"}`, 10, 0, "KDPM2DiscreteScheduler"},
		{"not JSON", `{"_class_name"`, 10, 0, "scheduler config"},
		{"wrong type", `{"_class_name":"DDIMScheduler","beta_start":"x"}`, 10, 0, "beta_start"},
		{"clipping by default", `{"_class_name":"DDIMScheduler"}`, 10, 0, "clip_sample"},
		{"thresholding", `{"_class_name":"UniPCMultistepScheduler","thresholding":true}`, 10, 0, "thresholding"},
		{"third order", `{"_class_name":"DPMSolverMultistepScheduler","solver_order":3}`, 10, 0, "solver_order"},
		{"noise prediction", `{"_class_name":"DPMSolverMultistepScheduler","algorithm_type":"dpmsolver"}`, 10, 0, "algorithm_type"},
		{"lambda", `{"_class_name":"DPMSolverMultistepScheduler","lambda_min_clipped":-5.1}`, 10, 0, "lambda_min_clipped"},
		{"prk", `{"_class_name":"PNDMScheduler"}`, 10, 0, "skip_prk_steps"},
		{"betas", `{"_class_name":"EulerDiscreteScheduler","beta_start":7}`, 10, 0, "BetaStart"},
		{"trained betas", `{"_class_name":"EulerDiscreteScheduler","trained_betas":[0.1,0.2]}`, 10, 0, "trained_betas"},
		{"huge table", `{"_class_name":"EulerDiscreteScheduler","num_train_timesteps":1000000000}`, 10, 0, "TrainSteps"},
		{"offset", `{"_class_name":"EulerDiscreteScheduler","steps_offset":-1}`, 10, 0, "steps_offset"},
		{"same level twice", `{"_class_name":"EulerDiscreteScheduler","steps_offset":500,"timestep_spacing":"leading"}`, 10, 0, "steps_offset"},
		{"no steps", `{"_class_name":"EulerDiscreteScheduler"}`, 0, 0, "steps is 0"},
		{"many steps", `{"_class_name":"EulerDiscreteScheduler"}`, 1001, 0, "steps is 1001"},
		{"strength", `{"_class_name":"EulerDiscreteScheduler"}`, 10, math.NaN(), "strength is NaN"},
		{"low strength", `{"_class_name":"EulerDiscreteScheduler"}`, 10, 0.05, "strength 0.05"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := FromDiffusers("", []byte(c.config), c.steps, c.strength)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "sampler: ") {
				t.Errorf("error %v, want one from sampler that names %q", err, c.want)
			}
		})
	}
}

// TestScheduleFromDiffusers reads the network's half of configurations, Python's -Infinity included.
func TestScheduleFromDiffusers(t *testing.T) {
	config := []byte(`{"_class_name":"AnyScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,` +
		`"prediction_type":"v_prediction","rescale_betas_zero_snr":true,"x":"a \"-Infinity","lambda_min_clipped":-Infinity}`)
	kept := string(config)
	s, prediction, err := ScheduleFromDiffusers(config)
	if err != nil {
		t.Fatal(err)
	}
	want := Schedule{Betas: ScaledLinear, BetaStart: 0.00085, BetaEnd: 0.012, TrainSteps: 1000, ZeroTerminalSNR: true}
	if s != want || prediction != VPrediction {
		t.Errorf("got %+v, %s, want %+v, %s", s, prediction, want, VPrediction)
	}
	if string(config) != kept {
		t.Error("the caller's bytes were changed")
	}
	if _, _, err := ScheduleFromDiffusers([]byte(`{"beta_schedule":"laplace"}`)); err == nil || !strings.Contains(err.Error(), "beta_schedule is laplace") || strings.Contains(err.Error(), "Schedule.") {
		t.Errorf("error %v, want one that names the key and laplace", err)
	}
}

// FuzzFromDiffusers checks that any bytes give a sound plan or an error.
func FuzzFromDiffusers(f *testing.F) {
	for _, run := range diffusersRuns(f) {
		f.Add(run.Scheduler, []byte(run.Config), run.Steps, 0.0)
	}
	f.Add("LCMScheduler", []byte(`{"original_inference_steps":50}`), 4, 0.5)
	f.Add("", []byte(`{"_class_name":"EulerAncestralDiscreteScheduler","lambda_min_clipped":-Infinity,"x":"\\"}`), 3, 1.0)
	f.Fuzz(func(t *testing.T, class string, config []byte, steps int, strength float64) {
		if p, err := FromDiffusers(class, config, steps%64, strength); err == nil {
			checkSound(t, p, maxTrainSteps)
		}
		ScheduleFromDiffusers(config)
	})
}
