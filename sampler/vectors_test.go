package sampler

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tolerance of the float64 vectors.
const tolerance = 1e-9

// vector is all rows of one test: field → index → value.
type vector map[string]map[int]float64

// list returns a field's values from index 0 on.
func (v vector) list(field string) []float64 {
	list := make([]float64, len(v[field]))
	for i := range list {
		list[i] = v[field][i]
	}
	return list
}

// loadVectors reads testdata/sampler-vectors.tsv, whose columns are section, name, params, index, field, value.
func loadVectors(t *testing.T) (keys [][3]string, vectors map[[3]string]vector) {
	t.Helper()
	f, err := os.Open("testdata/sampler-vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vectors = map[[3]string]vector{}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		row := strings.Split(scan.Text(), "\t")
		if row[0] == "section" {
			continue
		}
		key := [3]string{row[0], row[1], row[2]}
		if vectors[key] == nil {
			vectors[key] = vector{}
			keys = append(keys, key)
		}
		index, err := strconv.Atoi(row[3])
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.ParseFloat(row[5], 64)
		if err != nil {
			t.Fatal(err)
		}
		if vectors[key][row[4]] == nil {
			vectors[key][row[4]] = map[int]float64{}
		}
		vectors[key][row[4]][index] = value
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return keys, vectors
}

// TestVectors checks every row of the file; a section nobody checks fails.
func TestVectors(t *testing.T) {
	keys, vectors := loadVectors(t)
	for _, key := range keys {
		v := vectors[key]
		t.Run(strings.Join(key[:], "/"), func(t *testing.T) {
			switch key[0] {
			case "table":
				checkTable(t, v)
			case "sigma_to_t", "t_to_sigma":
				checkInterpolation(t, key[1], key[2], v)
			case "stream":
				next := stream()
				for i, z := range v.list("z") {
					differ(t, fmt.Sprint("z ", i), next(Noise{}), z, tolerance)
				}
			case "schedule":
				checkList(t, "sigma", vectorSchedule(t, key[1], key[2]), v.list("sigma"))
			case "timesteps":
				checkList(t, "t", vectorTimesteps(t, key[1], key[2]), v.list("t"))
			case "trajectory":
				checkTrajectory(t, key[1], key[2], v)
			case "final":
				checkFinal(t, key[1], key[2], v)
			case "restart_plan":
				checkRestart(t, key[2], v)
			case "convergence_natural":
				checkConvergence(t, key[1], v)
			case "weak":
				checkVariance(t, key[1], strings.Contains(key[2], "brownian"), v)
			default:
				t.Fatalf("section %q has no check", key[0])
			}
		})
	}
}

func sd15(t testing.TB) *Table {
	t.Helper()
	table, err := Schedule{}.Table()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func checkTable(t *testing.T, v vector) {
	table := sd15(t)
	betas := Schedule{BetaStart: 0.00085, BetaEnd: 0.012, Betas: ScaledLinear, TrainSteps: 1000}.betas()
	for field, list := range map[string][]float64{"beta": betas, "alpha_cumprod": table.AlphasCumprod, "sigma": table.Sigmas, "log_sigma": table.logSigmas} {
		for i, want := range v[field] {
			differ(t, fmt.Sprint(field, " ", i), list[i], want, tolerance)
		}
	}
}

func checkInterpolation(t *testing.T, rule, param string, v vector) {
	table := sd15(t)
	_, number, _ := strings.Cut(param, "=")
	at, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	for field, values := range v {
		for _, want := range values {
			switch {
			case field == "t":
				differ(t, "t("+param+")", table.Timestep(at), want, tolerance)
			case rule == "linear_interp":
				differ(t, "linear σ("+param+")", table.linearSigma(at), want, tolerance)
			default:
				differ(t, "σ("+param+")", table.Sigma(at), want, tolerance)
			}
		}
	}
}

func checkList(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values of %s, want %d: %v", len(got), what, len(want), got)
	}
	for i := range want {
		differ(t, fmt.Sprint(what, " ", i), got[i], want[i], tolerance)
	}
}

// options splits "karras n=10,stream,eta=0.5" into its words and its numbers.
func options(t *testing.T, params string) (words []string, numbers map[string]float64) {
	t.Helper()
	numbers = map[string]float64{}
	for _, field := range strings.FieldsFunc(params, func(r rune) bool { return r == ' ' || r == ',' }) {
		name, value, ok := strings.Cut(field, "=")
		n, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			words = append(words, field)
			continue
		}
		numbers[name] = n
	}
	return words, numbers
}

var vectorSpacings = map[string]Spacing{
	"karras": Karras, "karras_discard_penultimate": Karras, "exponential": Exponential, "polyexponential": Polyexponential,
	"uniform": Uniform, "sgm_uniform": SGMUniform, "simple": Simple, "ddim_uniform": DDIMUniform,
	"beta_sigma": Beta, "kl_optimal_nozero": KLOptimal, "ays11_rounded_a1111": AlignYourSteps,
}

func vectorSchedule(t *testing.T, name, params string) []float64 {
	_, o := options(t, params)
	c := Config{
		Sampler: Euler, Spacing: vectorSpacings[name], Steps: int(o["n"]), Rho: o["rho"], SigmaMin: o["min"], SigmaMax: o["max"],
		DiscardPenultimate: name == "karras_discard_penultimate",
	}
	switch name {
	case "lcm":
		d := &schedulerConfig{Class: "LCM", sampler: LCM, OriginalSteps: 50}
		return d.grid(sd15(t), c.Steps).sigma
	case "lcm_a1111":
		c.Sampler = LCM
	case "unipc_a1111_time_uniform":
		g, err := webUIUniPCGrid(sd15(t), c)
		if err != nil {
			t.Fatal(err)
		}
		return g.sigma
	}
	if c.Spacing == "" && c.Sampler != LCM {
		t.Fatalf("no schedule %q", name)
	}
	m, table, err := c.resolve()
	if err != nil {
		t.Fatal(err)
	}
	levels, err := c.levels(m, table)
	if err != nil {
		t.Fatal(err)
	}
	return levels
}

func vectorTimesteps(t *testing.T, name, params string) []float64 {
	_, o := options(t, params)
	n := int(o["n"])
	switch name {
	case "a1111_ddim_ascending":
		var list []float64
		for _, ts := range webUITimesteps(1000, n) {
			list = append(list, float64(ts))
		}
		return list
	case "lcm":
		return lcmTimesteps(1000, 50, n)
	case "pndm_skip_prk":
		var list []float64
		for _, e := range diffusersPlan(t, `{"_class_name":"PNDMScheduler","skip_prk_steps":true,"steps_offset":1}`, n).Evals {
			list = append(list, e.Timestep)
		}
		return list
	case "spacing_leading_off1":
		return diffusersTimesteps(Leading, 1000, n, 1, false)
	case "spacing_leading_multistep_off1":
		return diffusersTimesteps(Leading, 1000, n, 1, true)
	case "spacing_linspace_float":
		return diffusersTimesteps(Linspace, 1000, n, 1, false)
	case "spacing_linspace_multistep":
		return diffusersTimesteps(Linspace, 1000, n, 1, true)
	case "spacing_trailing":
		return diffusersTimesteps(Trailing, 1000, n, 1, true)
	}
	t.Fatalf("no timesteps %q", name)
	return nil
}

// diffusersPlan is FromDiffusers on SD's schedule in double precision, as the vectors have it.
func diffusersPlan(t *testing.T, config string, steps int) *Plan {
	t.Helper()
	config = strings.TrimSuffix(config, "}") + `,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear"}`
	c, err := parseScheduler("", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.plan(steps, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// vectorSamplers are the vectors' names of samplers on a list of noise levels.
var vectorSamplers = map[string]Config{
	"euler":                           {Sampler: Euler},
	"euler_a":                         {Sampler: EulerA},
	"ddpm":                            {Sampler: EulerA}, // the same step, section 6.7
	"heun":                            {Sampler: Heun},
	"lms4_comfy":                      {Sampler: LMS},
	"lms4_kdiffusion":                 {Sampler: LMS},
	"lms3":                            {Sampler: LMS, Order: 3},
	"lms2":                            {Sampler: LMS, Order: 2},
	"dpmpp_2m":                        {Sampler: DPMPP2M},
	"dpmpp_sde":                       {Sampler: DPMPPSDE},
	"dpmpp_sde_eta0":                  {Sampler: DPMPPSDE, Eta: new(0.0)},
	"dpmpp_2m_sde_midpoint":           {Sampler: DPMPP2MSDE},
	"dpmpp_2m_sde_midpoint_eta0":      {Sampler: DPMPP2MSDE, Eta: new(0.0)},
	"dpmpp_2m_sde_heun":               {Sampler: DPMPP2MSDEHeun},
	"dpmpp_2m_sde_heun_eta0":          {Sampler: DPMPP2MSDEHeun, Eta: new(0.0)},
	"dpmpp_2s_a":                      {Sampler: DPMPP2SA},
	"dpmpp_2s_eta0":                   {Sampler: DPMPP2SA, Eta: new(0.0)},
	"dpmpp_3m_sde":                    {Sampler: DPMPP3MSDE},
	"dpmpp_3m_sde_eta0":               {Sampler: DPMPP3MSDE, Eta: new(0.0)},
	"dpm2":                            {Sampler: DPM2},
	"dpm2_a":                          {Sampler: DPM2A},
	"dpm2a_eta0":                      {Sampler: DPM2A, Eta: new(0.0)},
	"restart":                         {Sampler: Restart},
	"euler_cfg":                       {Sampler: Euler},
	"euler_cfg_pp":                    {Sampler: EulerCFGPP},
	"euler_a_cfg_pp":                  {Sampler: EulerACFGPP},
	"dpmpp_2m_cfg_pp":                 {Sampler: DPMPP2MCFGPP},
	"dpmpp_2s_a_cfg_pp_comfy2026":     {Sampler: DPMPP2SACFGPP},
	"dpm_fast":                        {Sampler: DPMFast},
	"dpm_adaptive_order2":             {Sampler: DPMAdaptive, Order: 2},
	"dpm_adaptive_order3":             {Sampler: DPMAdaptive},
	"plms_sigma":                      {Sampler: PLMS},
	"lcm_ve":                          {Sampler: LCM},
	"unipc_bh1_order2":                {Sampler: UniPC, Order: 2},
	"unipc_bh2_order2":                {Sampler: UniPC, Order: 2, Variant: BH2},
	"unipc_bh1_order3":                {Sampler: UniPC},
	"unipc_bh2_order3":                {Sampler: UniPC, Variant: BH2},
	"unipc_bh1_order2_no_lower_final": {Sampler: UniPC, Order: 2, KeepOrderFinal: true},
	"unipc_bh2_order2_no_lower_final": {Sampler: UniPC, Order: 2, Variant: BH2, KeepOrderFinal: true},
	"unipc_bh1_order3_no_lower_final": {Sampler: UniPC, KeepOrderFinal: true},
	"unipc_bh2_order3_no_lower_final": {Sampler: UniPC, Variant: BH2, KeepOrderFinal: true},
}

// vectorPlan is the plan of a trajectory or final row with the slot 0 it starts from and its noise.
func vectorPlan(t *testing.T, name, params string) (p *Plan, start float64, noise func(Noise) float64) {
	t.Helper()
	words, o := options(t, params)
	steps := int(o["n"])
	noise = silence
	if slices.Contains(words, "stream") {
		noise = stream()
	}
	start = 14.6146 // the literal of the vectors
	if x, ok := o["x_init"]; ok {
		start = x
	}
	if c, ok := vectorSamplers[name]; ok {
		c.Steps, c.SChurn, c.STmin, c.STmax = steps, o["s_churn"], o["s_tmin"], o["s_tmax"]
		if s, ok := o["s_noise"]; ok {
			c.SNoise = &s
		}
		if eta, ok := o["eta"]; ok {
			c.Eta = &eta
		}
		if strings.HasPrefix(name, "dpm_") { // these rows are deterministic unless they say otherwise
			c.Steps, c.Eta = max(1, int(o["nfe"])), new(o["eta"])
			return newPlan(t, c), start, noise
		}
		if spacing, ok := vectorSpacings[words[0]]; ok {
			// As their own programs take these lists: with no level discarded, and LCM without a table of its own.
			list := spacing.sigmas(sd15(t), steps, Config{}.limits(sd15(t)), false)
			if slices.Contains(words, "penultimate") {
				list = discardPenultimate(list)
			}
			return planOn(t, c, list), start, noise
		}
		// A grid of diffusers' multistep solvers: sigmas at integer timesteps, then 0, started at the first sigma.
		spacing := map[string]Spacing{"leading_multistep_off1": Leading, "linspace_multistep": Linspace, "trailing": Trailing}[words[0]]
		sigmas := spacing.sigmas(sd15(t), steps, limits{max: 1, min: 0.1}, true)
		return planOn(t, c, sigmas), sigmas[0], noise
	}
	switch name {
	case "lcm_diffusers":
		p = diffusersPlan(t, `{"_class_name":"LCMScheduler"}`, steps)
	case "pndm_diffusers_skip_prk":
		p = diffusersPlan(t, `{"_class_name":"PNDMScheduler","skip_prk_steps":true,"steps_offset":1}`, steps)
	case "ddim_diffusers_leading1", "ddim_diffusers_trailing":
		spacing := map[string]Spacing{"ddim_diffusers_leading1": Leading, "ddim_diffusers_trailing": Trailing}[name]
		c := &schedulerConfig{
			Class: "DDIM", sampler: DDIM, vp: true, eta: o["eta"], TimestepSpacing: spacing, StepsOffset: 1,
			BetaSchedule: ScaledLinear, BetaStart: 0.00085, BetaEnd: 0.012,
		}
		var err error
		if p, err = c.plan(steps, 0); err != nil {
			t.Fatal(err)
		}
	case "ddim_a1111":
		p = newPlan(t, Config{Sampler: DDIM, Steps: steps, Eta: new(o["eta"])})
	case "ddim_cfg_pp_a1111_timesteps":
		p = newPlan(t, Config{Sampler: DDIMCFGPP, Steps: steps})
	case "tcd_diffusers":
		p = newPlan(t, Config{Sampler: TCD, Steps: steps, Eta: new(o["eta"])})
	case "plms_a1111":
		p = newPlan(t, Config{Sampler: PLMS, Steps: steps})
	case "unipc_a1111":
		c := Config{Sampler: UniPC, Steps: steps, Order: int(o["order"])}
		if slices.Contains(words, "bh2") {
			c.Variant = BH2
		}
		p = newPlan(t, c)
	default:
		t.Fatalf("no sampler %q", name)
	}
	return p, start, noise
}

// vectorGuidance is the guidance of a row, nil if it has no negative prompt.
func vectorGuidance(t *testing.T, params string) *float64 {
	_, o := options(t, params)
	for _, name := range []string{"w", "lambda"} {
		if g, ok := o[name]; ok {
			return &g
		}
	}
	return nil
}

func newPlan(t testing.TB, c Config) *Plan {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// planOn runs a configured sampler on a list of noise levels.
func planOn(t testing.TB, c Config, sigmas []float64) *Plan {
	t.Helper()
	c.Steps = len(sigmas) - 1
	m, table, err := c.resolve()
	if err != nil {
		t.Fatal(err)
	}
	m.distilled = false
	g := &run{sigma: sigmas, min: sigmas[len(sigmas)-1], max: sigmas[0]}
	if m.sampler == Restart {
		if err := m.span(table, c, g); err != nil {
			t.Fatal(err)
		}
	}
	return g.plan(m, c.builder(m, table))
}

// checkTrajectory compares what the network saw at the first evaluation of every step.
func checkTrajectory(t *testing.T, name, params string, v vector) {
	p, start, noise := vectorPlan(t, name, params)
	if p.adaptive != nil {
		checkAttempts(t, p, start, v)
		return
	}
	got := vector{}
	record := func(field string, step int, value float64) {
		if got[field] == nil {
			got[field] = map[int]float64{}
		}
		if _, ok := got[field][step]; !ok {
			got[field][step] = value
		}
	}
	h := toy()
	h.noise = noise
	_, vp := v["t"]
	h.seen = func(e Eval, x, denoised, latent float64) {
		if vp {
			x /= math.Sqrt(1 + e.Sigma*e.Sigma)
		}
		record("x", e.Step, x)
		record("sigma", e.Step, e.Sigma)
		record("t", e.Step, e.Timestep)
		record("denoised", e.Step, denoised)
		record("x0", e.Step, denoised)
		if e.Last {
			record("x_next", e.Step, latent)
		}
	}
	h.run(t, p, start)
	for field := range v {
		if field == "x0" && name == "plms_a1111" {
			continue // the vectors list the estimate of the combined slopes there, a plan that of the evaluation
		}
		checkList(t, field, got.list(field), v.list(field))
	}
}

// checkRestart compares where the steps of Restart begin and end.
func checkRestart(t *testing.T, params string, v vector) {
	_, o := options(t, params)
	p := newPlan(t, Config{Sampler: Restart, Steps: int(o["n"])})
	var from, to []float64
	for i, e := range p.Evals {
		if i == 0 || p.Evals[i-1].Last {
			from = append(from, e.Sigma)
		} else {
			to = append(to, e.Sigma)
		}
	}
	checkList(t, "from", from, v.list("from"))
	checkList(t, "to", append(to, 0), v.list("to"))
}

// checkFinal compares the result and the number of evaluations.
func checkFinal(t *testing.T, name, params string, v vector) {
	p, start, noise := vectorPlan(t, name, params)
	h := toy()
	h.noise = noise
	h.guidance = vectorGuidance(t, params)
	last, evaluations, attempts, accepted := 0.0, 0, 0, 0
	h.seen = func(e Eval, _, denoised, _ float64) {
		last, accepted = denoised, e.Step+1
		evaluations++
		if e.Last {
			attempts++
		}
	}
	got := h.run(t, p, start)
	if name == "lms4_comfy" || name == "lms3" || name == "lms2" {
		got = last // these rows end as ComfyUI does, with the estimate of x₀; k-diffusion integrates to 0
	}
	for field, values := range v {
		for _, want := range values {
			switch field {
			case "x":
				differ(t, "x", got, want, tolerance)
			case "nfe", "nfe_counted":
				differ(t, "evaluations", float64(evaluations), want, 0)
			case "steps":
				differ(t, "attempts", float64(attempts), want, 0)
			case "accept":
				differ(t, "accepted attempts", float64(accepted), want, 0)
			case "reject":
				differ(t, "rejected attempts", float64(attempts-accepted), want, 0)
			case "err_vs_analytic_at_sigma_min":
				differ(t, "x - analytic", got-h.exact(14.6146, 14.614641229333646, sd15(t).Sigmas[0]), want, tolerance)
			case "err_vs_analytic":
				differ(t, "x - analytic", got-h.exact(14.6146, 14.614641229333646, 0), want, tolerance)
			default:
				t.Fatalf("field %q has no check", field)
			}
		}
	}
}

// checkAttempts compares the state and the noise level after every attempt of an adaptive plan, rejected ones included.
func checkAttempts(t *testing.T, p *Plan, start float64, v vector) {
	h := toy()
	after, complete := vector{"sigma_after": {}, "x_after": {}}, -1
	put := func(x, sigma float64) { after["x_after"][complete], after["sigma_after"][complete] = x, sigma }
	ended := false
	h.seen = func(e Eval, x, _, _ float64) {
		if ended {
			put(x, e.Sigma)
		}
		if ended = e.Last; ended {
			complete++
		}
	}
	x := h.run(t, p, start)
	put(x, sd15(t).Sigmas[0])
	for field := range v {
		checkList(t, field, after.list(field), v.list(field))
	}
}

// exact is the solution of the probability flow.
func (h host) exact(x, from, to float64) float64 {
	v := h.deviation * h.deviation
	return h.mean + (x-h.mean)*math.Sqrt((v+to*to)/(v+from*from))
}

// checkConvergence compares the error at σ_min on Karras lists without the final 0; the rows are indexed by steps.
func checkConvergence(t *testing.T, name string, v vector) {
	table := sd15(t)
	high, low := table.Sigmas[999], table.Sigmas[0]
	for n, want := range v["abs_err"] {
		h := toy()
		var p *Plan
		if name == "dpm_fast" {
			p = newPlan(t, Config{Sampler: DPMFast, Steps: n, Eta: new(0.0)})
		} else {
			p = planOn(t, vectorSamplers[name], karras(high, low, n+1, 7))
		}
		got := h.run(t, p, 14.6146)
		differ(t, fmt.Sprint("error at n=", n), math.Abs(got-h.exact(14.6146, high, low)), want, tolerance)
	}
}

// checkVariance computes the variance of the result exactly: the toy is linear, so the response to each noise alone
// gives it, with the covariance of overlapping Brownian intervals.
func checkVariance(t *testing.T, name string, brownian bool, v vector) {
	table := sd15(t)
	high, low := table.Sigmas[999], table.Sigmas[0]
	for n, want := range v["variance"] {
		p := planOn(t, vectorSamplers[name], karras(high, low, n+1, 7))
		h := host{deviation: 0.5, noise: silence}
		gain := h.run(t, p, 1)
		got := gain * gain * (0.25 + high*high)
		var draws []Noise
		for _, e := range p.Evals {
			if e.Noise.Kind != NoNoise {
				draws = append(draws, e.Noise)
			}
		}
		gains := make([]float64, len(draws))
		for k := range draws {
			call := -1
			h.noise = func(Noise) float64 {
				if call++; call == k {
					return 1
				}
				return 0
			}
			gains[k] = h.run(t, p, 0)
		}
		for j, a := range draws {
			got += gains[j] * gains[j]
			for k, b := range draws[:j] {
				if overlap := min(a.From, b.From) - max(a.To, b.To); brownian && overlap > 0 {
					got += 2 * gains[j] * gains[k] * overlap / math.Sqrt((a.From-a.To)*(b.From-b.To))
				}
			}
		}
		differ(t, fmt.Sprint("variance at n=", n), got, want, tolerance)
	}
}
