package sampler

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
)

// checkSound checks what every plan promises.
func checkSound(t testing.TB, p *Plan, train int) {
	t.Helper()
	evals, steps := p.Evals, p.Steps
	if p.adaptive != nil {
		evals, steps = adaptiveEvals(t, p)
	}
	if p.Slots < 1 || p.Slots > MaxSlots || steps < 1 || len(evals) < steps {
		t.Fatalf("%d slots, %d steps, %d evaluations", p.Slots, steps, len(evals))
	}
	finite := func(what string, i int, values ...float64) {
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%s of evaluation %d is %v", what, i, values)
			}
		}
	}
	mix := func(what string, i int, m Mix) {
		finite(what, i, append(m.Slot[:], m.Model, m.Unconditional, m.Noise)...)
		if m.Unconditional != 0 && !p.Unconditional {
			t.Fatalf("%s of evaluation %d reads the unconditional output, which the plan does not say", what, i)
		}
		for k := p.Slots; k < MaxSlots; k++ {
			if m.Slot[k] != 0 {
				t.Fatalf("%s of evaluation %d reads slot %d of %d", what, i, k, p.Slots)
			}
		}
	}
	finite("start", 0, p.Start.Noise, p.Start.Latent)
	step := 0
	for i, e := range evals {
		if e.Step != step {
			t.Fatalf("evaluation %d belongs to step %d, want %d", i, e.Step, step)
		}
		if e.Last {
			step++
		}
		if !(e.Timestep >= 0 && e.Timestep <= float64(train-1)) {
			t.Fatalf("timestep %v of evaluation %d", e.Timestep, i)
		}
		if !(e.Sigma > 0) {
			t.Fatalf("sigma %v of evaluation %d", e.Sigma, i)
		}
		if len(e.Update) != p.Slots {
			t.Fatalf("evaluation %d updates %d slots of %d", i, len(e.Update), p.Slots)
		}
		if e.Noise.Kind == NoNoise && usesNoise(e) {
			t.Fatalf("evaluation %d uses noise that it does not declare", i)
		}
		if e.Noise.Kind == Brownian && !(e.Noise.To >= p.BrownianMin && e.Noise.From <= p.BrownianMax && e.Noise.To < e.Noise.From) {
			t.Fatalf("evaluation %d: interval %v leaves the path from %v to %v", i, e.Noise, p.BrownianMin, p.BrownianMax)
		}
		mix("input", i, e.Input)
		mix("denoised", i, e.Denoised)
		for _, m := range e.Update {
			mix("update", i, m)
		}
	}
	if step != steps {
		t.Fatalf("%d steps are completed of %d", step, steps)
	}
}

// adaptiveEvals lists the evaluations of the accepted attempts that a plan makes on the toy.
func adaptiveEvals(t testing.TB, p *Plan) (evals []Eval, steps int) {
	t.Helper()
	h := toy()
	h.noise = silence
	var attempt []Eval
	h.seen = func(e Eval, _, _, _ float64) {
		if len(attempt) > 0 && attempt[len(attempt)-1].Last {
			if attempt[0].Step != e.Step {
				evals = append(evals, attempt...)
			}
			attempt = nil
		}
		attempt = append(attempt, e)
	}
	h.run(t, p, p.Start.Noise)
	return append(evals, attempt...), attempt[0].Step + 1
}

// TestEveryCombination builds all samplers on all schedules and runs them on the toy: the result must lie near its data.
func TestEveryCombination(t *testing.T) {
	lengths := []int{1, 2, 3, 15, 30, 600}
	if testing.Short() {
		t.Log("without the runs of 600 steps")
		lengths = lengths[:5]
	}
	for _, s := range Names() {
		for _, spacing := range append(Spacings(), Automatic) {
			for _, steps := range lengths {
				for _, denoise := range []*float64{nil, new(0.3), new(1.0)} {
					name := fmt.Sprintf("%s/%s/%d/img2img %v", s, spacing, steps, denoise != nil)
					p, err := New(Config{Sampler: s, Spacing: spacing, Steps: steps, Denoise: denoise})
					if s == TCD && spacing == Automatic && steps > distilledSteps && err != nil {
						continue
					}
					if err != nil {
						ended := s == DPMFast || s == DPMAdaptive // whatever the spacing, they need two noise levels to go between
						if !strings.Contains(err.Error(), "leaves") || spacing != Automatic && !ended || steps > 3 {
							t.Errorf("%s: %v", name, err)
						}
						continue
					}
					checkSound(t, p, 1000)
					h := toy()
					h.noise = silence
					got := h.run(t, p, p.Start.Noise*0.5+p.Start.Latent*0.7)
					highest := 2.0
					switch { // the mean slope over one step across the whole range overshoots
					case spacing == KLOptimal && steps == 1:
						highest = 9
					case steps == 2, spacing == Beta && steps == 3:
						highest = 5
					}
					if !(got > 0 && got < highest) {
						t.Errorf("%s: the toy ends at %v", name, got)
					}
				}
			}
		}
	}
}

// TestPredictions checks that the three prediction types are the same run in other words.
func TestPredictions(t *testing.T) {
	for _, s := range Names() {
		c := Config{Sampler: s, Steps: 12}
		h := toy()
		h.noise = stream()
		want := h.run(t, newPlan(t, c), 1.5)
		for _, prediction := range []Prediction{VPrediction, Sample} {
			c.Prediction, h.prediction, h.noise = prediction, prediction, stream()
			differ(t, fmt.Sprint(s, " ", prediction), h.run(t, newPlan(t, c), 1.5), want, tolerance)
		}
	}
}

// TestZeroTerminalSNR checks the rescaled table and that a v-prediction run on it stays sound.
func TestZeroTerminalSNR(t *testing.T) {
	c := Config{Sampler: Euler, Spacing: Trailing, Steps: 20, Prediction: VPrediction, Schedule: Schedule{ZeroTerminalSNR: true}}
	table, err := c.Schedule.Table()
	if err != nil {
		t.Fatal(err)
	}
	plain := sd15(t)
	differ(t, "first ᾱ", table.AlphasCumprod[0], plain.AlphasCumprod[0], tolerance)
	differ(t, "last σ", table.Sigmas[999], 4518.7, 1e-4)
	p := newPlan(t, c)
	checkSound(t, p, 1000)
	h := toy()
	h.prediction = VPrediction
	if got := h.run(t, p, p.Start.Noise); !(got > 0.5 && got < 2) {
		t.Errorf("the toy ends at %v", got)
	}
}

// TestTrainingNoise checks what training takes from here: ᾱ that ends at 0 exactly, at timestep 751 the one from which
// sd-scripts makes a Huber constant of 0.12155 (from the uncorrected one 0.13438), and targets from which the sampler's
// scalings get the picture back.
func TestTrainingNoise(t *testing.T) {
	for zero, want := range map[bool]float64{true: 0.12155, false: 0.13438} {
		alphas, err := Schedule{ZeroTerminalSNR: zero}.AlphasCumprod()
		if err != nil {
			t.Fatal(err)
		}
		if ends := alphas[999] == 0; ends != zero {
			t.Errorf("zero terminal SNR %v: ᾱ ends at %v", zero, alphas[999])
		}
		sigma := math.Sqrt((1 - alphas[751]) / alphas[751])
		differ(t, "Huber constant", 0.9/((1+sigma)*(1+sigma))+0.1, want, 5e-6)
	}
	const picture, noise, alpha = 0.7, -1.3, 0.4
	sigma := math.Sqrt((1 - alpha) / alpha)
	for _, p := range []Prediction{"", Epsilon, VPrediction, Sample} {
		latent, n := p.Target(alpha)
		skip, out := p.scalings(sigma)
		differ(t, string(p), skip*(picture+sigma*noise)+out*(latent*picture+n*noise), picture, 1e-15)
	}
	if latent, n := VPrediction.Target(0); latent != -1 || n != 0 {
		t.Errorf("in pure noise v is %v·z + %v·n, want -z", latent, n)
	}
}

// TestBetaSchedules checks the other schedules at values their formulas give directly.
func TestBetaSchedules(t *testing.T) {
	linear := Schedule{Betas: Linear, BetaStart: 0.0001, BetaEnd: 0.02}.mustBetas(t)
	differ(t, "linear β 0", linear[0], 0.0001, 0)
	differ(t, "linear β 500", linear[500], 0.0001+500./999*0.0199, 1e-15)
	table, err := Schedule{Betas: Cosine}.Table()
	if err != nil {
		t.Fatal(err)
	}
	bar := func(u float64) float64 { return math.Pow(math.Cos((u+0.008)/1.008*math.Pi/2), 2) }
	differ(t, "cosine ᾱ 500", table.AlphasCumprod[500], bar(0.501)/bar(0), tolerance)
	differ(t, "capped β", 1-table.AlphasCumprod[999]/table.AlphasCumprod[998], 0.999, tolerance)
}

func (s Schedule) mustBetas(t *testing.T) []float64 {
	s.TrainSteps = 1000
	if _, err := s.Table(); err != nil {
		t.Fatal(err)
	}
	return s.betas()
}

// TestImageToImage is the table of section 4.1 of the sampling specification and the start it prescribes.
func TestImageToImage(t *testing.T) {
	for _, c := range []struct {
		steps    int
		strength float64
		exact    bool
		length   int // entries of the schedule
		start    int
		run      int
	}{
		{20, 0.75, false, 20, 4, 16},
		{20, 0.5, false, 20, 9, 11},
		{20, 0.3, false, 20, 13, 7},
		{20, 1, false, 20, 0, 20},
		{10, 0.4, false, 10, 5, 5},
		{20, 1e-9, false, 20, 19, 1},
		{20, 0.75, true, 26, 6, 20},
		{20, 0.5, true, 40, 20, 20},
		{20, 0.3, true, 66, 46, 20},
		{20, 1, true, 20, 0, 20},
		{10, 0.4, true, 25, 15, 10},
	} {
		p := newPlan(t, Config{Steps: c.steps, Denoise: &c.strength, ExactSteps: c.exact})
		whole := newPlan(t, Config{Steps: c.length})
		name := fmt.Sprintf("%d steps at %v, exact %v", c.steps, c.strength, c.exact)
		differ(t, name+": steps", float64(p.Steps), float64(c.run), 0)
		differ(t, name+": noise", p.Start.Noise, whole.Evals[c.start].Sigma, 0)
		differ(t, name+": latent", p.Start.Latent, 1, 0)
		differ(t, name+": path", p.BrownianMax, whole.Evals[0].Sigma, 0)
	}
}

// TestWebUITimestepImageToImage checks the timestep samplers' start one timestep above their first evaluation.
func TestWebUITimestepImageToImage(t *testing.T) {
	table := sd15(t)
	a := table.AlphasCumprod[1+15*50]
	for _, c := range []struct {
		sampler Sampler
		steps   int
		first   float64
	}{{DDIM, 14, 701}, {PLMS, 14, 701}, {UniPC, 15, 701}} {
		p := newPlan(t, Config{Sampler: c.sampler, Steps: 20, Denoise: new(0.75)})
		differ(t, string(c.sampler)+": steps", float64(p.Steps), float64(c.steps), 0)
		differ(t, string(c.sampler)+": first timestep", p.Evals[0].Timestep, c.first, 0)
		differ(t, string(c.sampler)+": noise", p.Start.Noise, math.Sqrt(1-a), tolerance)
		differ(t, string(c.sampler)+": latent", p.Start.Latent, math.Sqrt(a), tolerance)
	}
}

// TestWebUIDefaults checks evaluation counts, starts and noise sources that users' pictures depend on.
func TestWebUIDefaults(t *testing.T) {
	top := sd15(t).Sigmas[999]
	for _, c := range []struct {
		config Config
		evals  int
		noise  float64
		kind   NoiseKind
		draws  int
	}{
		{Config{Steps: 20}, 20, top, NoNoise, 0},
		{Config{Steps: 20, SGMNoise: true}, 20, math.Sqrt(1 + top*top), NoNoise, 0},
		{Config{Sampler: EulerA, Steps: 20}, 20, top, Draw, 19},
		{Config{Sampler: EulerA, Steps: 20, Eta: new(0.0)}, 20, top, NoNoise, 0},
		{Config{Sampler: Heun, Steps: 20}, 39, top, NoNoise, 0},
		{Config{Sampler: Heun, Steps: 20, SChurn: 5}, 39, top, Draw, 20},
		{Config{Sampler: DPMPPSDE, Steps: 20}, 39, top, Brownian, 38},
		{Config{Sampler: DPMPP2MSDE, Steps: 20}, 20, top, Brownian, 19},
		{Config{Sampler: DDIM, Steps: 20}, 19, 1, NoNoise, 0},
		{Config{Sampler: DDIM, Steps: 30}, 30, 1, NoNoise, 0},
		{Config{Sampler: DDIM, Steps: 20, Eta: new(1.0)}, 19, 1, Draw, 19},
		{Config{Sampler: PLMS, Steps: 20}, 20, 1, NoNoise, 0},
		{Config{Sampler: UniPC, Steps: 20}, 20, 1, NoNoise, 0},
		{Config{Sampler: UniPC, Steps: 30}, 31, 1, NoNoise, 0},
		{Config{Sampler: LCM, Steps: 4}, 4, top, Draw, 3},
	} {
		p := newPlan(t, c.config)
		draws := 0
		for _, e := range p.Evals {
			if e.Noise.Kind != NoNoise {
				draws++
				if e.Noise.Kind != c.kind {
					t.Errorf("%+v: noise kind %d, want %d", c.config, e.Noise.Kind, c.kind)
				}
			}
		}
		if len(p.Evals) != c.evals || draws != c.draws || math.Abs(p.Start.Noise-c.noise) > 1e-13 || p.Start.Latent != 0 {
			t.Errorf("%+v: %d evaluations, %d draws, start %v; want %d, %d, noise %v", c.config, len(p.Evals), draws, p.Start, c.evals, c.draws, c.noise)
		}
	}
}

// TestIdentities checks pairs of methods that are the same mathematics; those of section 6.7 of the sampling
// specification and its footnote that concern the samplers here.
func TestIdentities(t *testing.T) {
	end := func(c Config, sigmas []float64) float64 {
		h := toy()
		h.noise = stream()
		return h.run(t, planOn(t, c, sigmas), 14.6146)
	}
	table := sd15(t)
	list := append(karras(table.Sigmas[999], table.Sigmas[0], 10, 7), 0)
	for _, c := range []struct {
		name string
		a, b Config
	}{
		{"2M SDE midpoint η 0 = 2M", Config{Sampler: DPMPP2MSDE, Eta: new(0.0)}, Config{Sampler: DPMPP2M}},
		{"LMS 1 = Euler", Config{Sampler: LMS, Order: 1}, Config{Sampler: Euler}},
		{"Euler a η 0 = Euler", Config{Sampler: EulerA, Eta: new(0.0)}, Config{Sampler: Euler}},
		{"DDIM on sigmas η 0.7 = Euler a", Config{Sampler: DDIM, Eta: new(0.7)}, Config{Sampler: EulerA, Eta: new(0.7)}},
	} {
		differ(t, c.name, end(c.a, list), end(c.b, list), 1e-13)
	}

	// In its own space DDIM is Euler (a) on the same noise levels.
	for _, eta := range []float64{0, 0.7} {
		ddim := newPlan(t, Config{Sampler: DDIM, Steps: 10, Eta: &eta})
		var sigmas []float64
		for _, ts := range []int{901, 801, 701, 601, 501, 401, 301, 201, 101, 1} {
			sigmas = append(sigmas, table.Sigmas[ts])
		}
		sampler := planOn(t, Config{Sampler: EulerA, Eta: &eta}, sigmas)
		h := toy()
		h.noise = stream()
		y := h.run(t, ddim, 1)
		h.noise = stream()
		x := h.run(t, sampler, math.Hypot(1, sigmas[0]))
		differ(t, fmt.Sprint("DDIM η ", eta, " in sigma space"), y, x/math.Hypot(1, sigmas[9]), 1e-13)
	}

	// Without its corrector UniPC of order 1 is Euler; with it the step from the second point on differs.
	m, _ := UniPC.find()
	b := Config{Sampler: UniPC}.builder(m, table)
	b.sigma = list
	first := b.unipcStep(0, 1)
	got := first.predict(slot(0), []Mix{slot(1)}, list[0], list[1])
	differ(t, "UniPC 1 state", got.Slot[0], list[1]/list[0], 1e-13)
	differ(t, "UniPC 1 data", got.Slot[1], 1-list[1]/list[0], 1e-13)
}

// TestConfigErrors checks that every mistake is named, all of them at once.
func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{}, []string{"Steps is 0"}},
		{Config{Steps: 10001}, []string{"Steps is 10001"}},
		{Config{Steps: -1, Denoise: new(2.0), Eta: new(math.NaN())}, []string{"Steps", "Denoise is 2", "Eta is NaN"}},
		{Config{Steps: 9, Sampler: "DPM++ 9X"}, []string{"Sampler", "DPM++ 9X", "DPM++ 2M SDE"}},
		{Config{Steps: 9, Spacing: "karras"}, []string{"Spacing", "Karras"}},
		{Config{Steps: 9, Prediction: "noise"}, []string{"Prediction", "v_prediction"}},
		{Config{Steps: 9, SNoise: new(-1.0), SChurn: math.Inf(1), STmin: -2, STmax: math.NaN()}, []string{"SNoise", "SChurn", "STmin", "STmax"}},
		{Config{Steps: 9, Rho: -7}, []string{"Rho is -7"}},
		{Config{Steps: 9, SigmaMin: 20}, []string{"SigmaMin is 20"}},
		{Config{Steps: 9, Sampler: LMS, Order: 5}, []string{"Order is 5", "LMS"}},
		{Config{Steps: 9, Denoise: new(math.NaN())}, []string{"Denoise"}},
		{Config{Steps: 9, Denoise: new(1e-9), ExactSteps: true}, []string{"Denoise", "ExactSteps"}},
		{Config{Steps: 5, Sampler: DDIM, Denoise: new(0.1)}, []string{"Denoise", "no step"}},
		{Config{Steps: 5, Sampler: UniPC, Denoise: new(0.1)}, []string{"Denoise", "no step"}},
		{Config{Steps: 1000, Sampler: DDIM}, []string{"Steps", "1000"}},
		{Config{Steps: 1000, Sampler: Euler, Spacing: Trailing}, []string{"Steps", "trailing"}},
		{Config{Steps: 9, Schedule: Schedule{TrainSteps: 1, BetaStart: 2, Betas: "x"}}, []string{"TrainSteps", "BetaStart", "BetaEnd", "Betas"}},
	} {
		_, err := New(c.config)
		if err == nil {
			t.Errorf("%+v: no error", c.config)
			continue
		}
		if fields := invalid.Fields(err); len(fields) != strings.Count(err.Error(), "\n")+1 {
			t.Errorf("%+v: of error %q only %d are of fields", c.config, err, len(fields))
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q does not name %q", c.config, err, want)
			}
		}
	}
}

// TestLongestRun checks the largest accepted number of steps, where table entries repeat.
func TestLongestRun(t *testing.T) {
	for _, spacing := range []Spacing{Karras, Simple, DDIMUniform, Uniform} {
		p := newPlan(t, Config{Steps: MaxSteps, Spacing: spacing})
		checkSound(t, p, 1000)
	}
}

// TestNearestTimestep checks rounding to table entries.
func TestNearestTimestep(t *testing.T) {
	for _, e := range newPlan(t, Config{Steps: 20, NearestTimestep: true}).Evals {
		table := sd15(t)
		fractional := table.Timestep(e.Sigma)
		if e.Timestep != math.Round(fractional) {
			t.Errorf("σ %v: timestep %v, want %v rounded", e.Sigma, e.Timestep, fractional)
		}
	}
}

// TestAdaptiveFails holds a plan that decides as it goes to an end: with measurements that are no numbers, that never
// get better, with an error, and when nobody wants more of it.
func TestAdaptiveFails(t *testing.T) {
	p := newPlan(t, Config{Sampler: DPMAdaptive, Steps: 1})
	broken := errors.New("broken")
	for _, c := range []struct {
		measured float64
		err      error
		want     string
	}{
		{math.NaN(), nil, "not finite"}, {math.Inf(1), nil, "not finite"}, {1e9, nil, "another sampler"}, {0, broken, "broken"},
	} {
		var got error
		for _, got = range p.Run(func(*Eval) (float64, error) { return c.measured, c.err }) {
			if got == nil {
				t.Fatalf("measured %v, %v: a step is complete", c.measured, c.err)
			}
		}
		if got == nil || !strings.Contains(got.Error(), c.want) || c.err != nil && got != c.err {
			t.Errorf("measured %v, %v: the run ends with %v", c.measured, c.err, got)
		}
	}
	calls := 0
	for range p.Run(func(*Eval) (float64, error) { calls++; return 0, nil }) {
		break
	}
	if calls != 3 {
		t.Errorf("%d evaluations for one step, want 3", calls)
	}
}

// TestRunAllocates checks that steps make nothing: neither of a list nor of a plan that decides as it goes, which takes more
// than a hundred here.
func TestRunAllocates(t *testing.T) {
	for _, c := range []struct {
		config  Config
		highest float64
	}{{Config{Steps: 200}, 5}, {Config{Sampler: DPMAdaptive, Steps: 1}, 25}} {
		p := newPlan(t, c.config)
		steps := 0
		run := func() {
			steps = 0
			for range p.Run(func(*Eval) (float64, error) { return 1, nil }) {
				steps++
			}
		}
		if allocations := testing.AllocsPerRun(3, run); allocations > c.highest || steps < 100 {
			t.Errorf("%s: %v allocations in %d steps", c.config.Sampler, allocations, steps)
		}
	}
}
