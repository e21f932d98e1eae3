package sampler

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/invalid"
)

// MaxSteps bounds [Config.Steps].
const MaxSteps = 10000

// Config chooses a sampling run in the web UI's terms. Only Steps has no default: Config{Steps: 20} is 20 steps of
// DPM++ 2M Karras on SD 1.5.
type Config struct {
	Sampler Sampler // "" is DPM++ 2M
	Spacing Spacing // "" is the sampler's own
	Steps   int     // 1 to MaxSteps

	Schedule   Schedule   // the noise the network was trained with; zero is SD 1.5
	Prediction Prediction // what the network outputs; "" is Epsilon

	// Denoise is the denoising strength of image to image, 0 to 1; nil is text to image. The run then starts from the
	// clean latent with noise added and executes ⌊min(Denoise, 0.999)·Steps⌋+1 steps, DDIM and PLMS two fewer and UniPC
	// one fewer. A strength that leaves no step is an error.
	Denoise    *float64
	ExactSteps bool    // image to image executes Steps steps, cut from a longer schedule; the web UI's hires pass does this
	ExtraNoise float64 // image to image adds so much noise beyond what it starts from, ≥ 0

	Eta    *float64 // stochasticity ≥ 0; nil is the sampler's own: 1, 0 for DDIM, 0.3 for TCD; samplers without noise ignore it
	SNoise *float64 // factor ≥ 0 on the noise that some samplers add during sampling; nil is 1

	SChurn       float64 // total churn of Euler, Heun and DPM2, ≥ 0
	STmin, STmax float64 // noise levels between which churn applies; STmax 0 is no limit

	Order           int          // accuracy of LMS (1 to 4, default 4), UniPC (1 to 5, default 3) and DPM adaptive (2 or 3, default 3)
	Variant         UniPCVariant // "" is BH1
	Skip            UniPCSkip    // "" is TimeUniform
	KeepOrderFinal  bool         // UniPC: do not lower the order at the end
	NearestTimestep bool         // round the network's timesteps to table entries, as ComfyUI and the web UI's quantization do

	Rho                 float64 // exponent of Karras and Polyexponential; 0 is 7 and 1
	SigmaMin, SigmaMax  float64 // limits of the schedule; 0 is the table's. Uniform, Simple, DDIM and Align Your Steps have their own
	BetaAlpha, BetaBeta float64 // shape of the Beta schedule; 0 is 0.6
	DiscardPenultimate  bool    // place one step more and drop the lowest noise level but the last, as some samplers always do
	SGMNoise            bool    // start from noise of level √(1+σ²) instead of σ, as the "SGM noise multiplier" does

	// What follows leaves the negative prompt out of some evaluations ([Eval.Unguided]), to save time.
	MinUncond    float64 // those below this noise level, every second one; the web UI's NGMS. Timestep samplers ignore it
	MinUncondAll bool    // all of those
	SkipEarly    float64 // those of this first part of the run, 0 to 1

	// SwitchAt is the part of the run, 0 to 1, after which another network takes over ([Eval.Switched]), as the web UI's refiner; nil
	// is never. It is measured in timesteps, of 1000, and for LCM in those of its own table, as there.
	SwitchAt      *float64
	SwitchByCalls bool // it is measured in planned evaluations, as the web UI did before version 1.8
}

// run is a grid with its start, what a method's own grid or a spacing comes to.
type run struct {
	sigma, time, to []float64 // as in builder
	vp, masksInput  bool
	start           Start
	orders          []int
	min, max        float64 // noise levels of the whole schedule
	lcm             lcmRule
}

// New writes out the run that c describes. The error joins everything that is wrong with c, each naming its field.
func New(c Config) (*Plan, error) {
	m, table, err := c.resolve()
	if err != nil {
		return nil, err
	}
	if m.grid != nil && c.Spacing == Automatic {
		g, err := m.grid(table, c)
		if err != nil {
			return nil, err
		}
		return g.plan(m, c.builder(m, table)), nil
	}
	levels, err := c.levels(m, table)
	if err != nil {
		return nil, err
	}
	return c.planOn(levels, m, table)
}

// planOn is the run of a sampler on a whole list of noise levels.
func (c Config) planOn(levels []float64, m method, table *Table) (*Plan, error) {
	steps, kept := c.scheduled()
	g := c.tail(levels, steps-kept-1)
	if m.span != nil {
		if err := m.span(table, c, g); err != nil {
			return nil, err
		}
	}
	g.lcm = m.lcm
	return g.plan(m, c.builder(m, table)), nil
}

// builder holds the parameters of the method.
func (c Config) builder(m method, table *Table) *builder {
	b := &builder{
		timeOf: table.Timestep, sigmaOf: table.Sigma, prediction: c.Prediction, noise: Draw,
		eta: m.eta, sNoise: 1, sTmin: c.STmin, sTmax: c.STmax,
		order: m.order, heun: m.heun, cfgpp: m.cfgpp, lowerOrderFinal: m.sampler == UniPC && !c.KeepOrderFinal, variant: c.Variant,
		minUncondAll: c.MinUncondAll, early: -1,
	}
	switch {
	case m.distilled:
		b.timeOf = table.distilledTimestep()
	case c.NearestTimestep:
		b.timeOf = table.nearestTimestep
	}
	if m.brownian {
		b.noise = Brownian
	}
	if c.Eta != nil && m.stochastic {
		b.eta = *c.Eta
	}
	if c.SNoise != nil && (m.scaled || m.churned) {
		b.sNoise = *c.SNoise
	}
	if m.churned {
		b.sChurn = c.SChurn
	}
	if c.STmax == 0 {
		b.sTmax = math.Inf(1)
	}
	if c.Order != 0 && m.order != 0 {
		b.order = c.Order
	}
	if !m.fixed {
		b.minUncond = c.MinUncond
	}
	if c.SkipEarly > 0 {
		b.early = c.SkipEarly * float64(c.calls(m))
	}
	if c.SwitchAt != nil && (*c.SwitchAt < 1 || c.SwitchByCalls) {
		done := c.progress(m, table)
		b.late = func(calls int, e *Eval) bool { return done(calls, e) >= *c.SwitchAt }
	}
	return b
}

// calls is how many evaluations the web UI plans for a run.
func (c Config) calls(m method) int {
	steps := c.Steps
	if _, kept := c.scheduled(); c.Denoise != nil {
		steps = kept + 1
	}
	if m.secondOrder {
		return 2 * steps
	}
	return steps
}

// progress makes the function that tells which part of a run is done at an evaluation, as the web UI counts.
func (c Config) progress(m method, t *Table) func(calls int, e *Eval) float64 {
	switch {
	case c.SwitchByCalls:
		planned := float64(c.calls(m))
		return func(calls int, _ *Eval) float64 { return float64(calls) / planned }
	case m.fixed:
		return func(_ int, e *Eval) float64 { return (999 - math.Trunc(e.Timestep)) / 1000 }
	case m.distilled:
		t = t.distilled()
	}
	return func(_ int, e *Eval) float64 { return (999 - float64(t.nearest(e.Sigma))) / 1000 }
}

// plan runs a method on the grid.
func (g *run) plan(m method, b *builder) *Plan {
	b.sigma, b.time, b.to, b.vp, b.lcm, b.orders = g.sigma, g.time, g.to, g.vp, g.lcm, g.orders
	if m.solve == nil {
		return &Plan{Slots: adaptiveSlots, Start: g.start, Noise: Draw, Unguided: b.minUncond > 0 || b.early >= 0, Switched: b.late != nil, adaptive: &adaptive{*b}}
	}
	m.solve(b)
	p := b.plan(g.start)
	p.BrownianMin, p.BrownianMax = g.min, g.max
	p.guidance, p.MasksInput = m.guidance, g.masksInput
	return p
}

// resolve checks every field and looks up what they name.
func (c Config) resolve() (method, *Table, error) {
	var errs complaints
	m, ok := c.Sampler.find()
	if !ok {
		errs.add("Config.Sampler", c.Sampler, "%s (Parse reads other spellings)", join(Names()))
	}
	errs.choices(c)
	if c.Steps < 1 || c.Steps > MaxSteps {
		errs.add("Config.Steps", c.Steps, "1 to %d", MaxSteps)
	}
	if m.order != 0 && c.Order != 0 && (c.Order < m.lowest || c.Order > m.highest) {
		errs.add("Config.Order", c.Order, "%d to %d for %s", m.lowest, m.highest, m.sampler)
	}
	errs.ranges(c)
	table, err := c.Schedule.Table()
	if err != nil {
		errs = append(errs, err)
	} else if (m.distilled || m.sampler == TCD) && len(table.Sigmas) < distilledSteps {
		errs.add("Config.Sampler", c.Sampler, "another: a network of %d training steps cannot have %d to be distilled on", len(table.Sigmas), distilledSteps)
	} else if lim := c.limits(table); !(lim.min < lim.max) {
		errs.add("Config.SigmaMin", lim.min, "less than SigmaMax, %v", lim.max)
	}
	return m, table, errors.Join(errs...)
}

// choices checks fields that hold one of several words.
func (errs *complaints) choices(c Config) {
	if c.Spacing != Automatic && !slices.Contains(Spacings(), c.Spacing) {
		errs.add("Config.Spacing", c.Spacing, "%s (Parse reads other spellings)", join(Spacings()))
	}
	if !c.Prediction.valid() {
		errs.add("Config.Prediction", c.Prediction, "%s, %s or %s", Epsilon, VPrediction, Sample)
	}
	if !slices.Contains([]UniPCVariant{"", BH1, BH2, VaryCoeff}, c.Variant) {
		errs.add("Config.Variant", c.Variant, "%s, %s or %s", BH1, BH2, VaryCoeff)
	}
	if !slices.Contains([]UniPCSkip{"", TimeUniform, TimeQuadratic, LogSNR}, c.Skip) {
		errs.add("Config.Skip", c.Skip, "%s, %s or %s", TimeUniform, TimeQuadratic, LogSNR)
	}
}

// ranges checks fields that hold numbers; a nil one is not given.
func (errs *complaints) ranges(c Config) {
	const most = 1e6
	for _, f := range []struct {
		name    string
		value   *float64
		highest float64
	}{
		{"Denoise", c.Denoise, 1}, {"SkipEarly", &c.SkipEarly, 1}, {"SwitchAt", c.SwitchAt, 1}, {"ExtraNoise", &c.ExtraNoise, most}, {"MinUncond", &c.MinUncond, most},
		{"Eta", c.Eta, most}, {"SNoise", c.SNoise, most}, {"SChurn", &c.SChurn, most}, {"STmin", &c.STmin, most}, {"STmax", &c.STmax, most},
		{"Rho", &c.Rho, most}, {"SigmaMin", &c.SigmaMin, most}, {"SigmaMax", &c.SigmaMax, most},
		{"BetaAlpha", &c.BetaAlpha, most}, {"BetaBeta", &c.BetaBeta, most},
	} {
		if f.value != nil && !(*f.value >= 0 && *f.value <= f.highest) {
			errs.add("Config."+f.name, *f.value, "0 to %v", f.highest)
		}
	}
	if c.Denoise != nil && *c.Denoise == 0 && c.ExactSteps {
		errs.add("Config.Denoise", 0, "more: at strength 0 no schedule has room for exactly %d steps, and the picture stays as it is", c.Steps)
	}
}

// bad is the error of a field with a value that it cannot have.
func bad(field string, value any, want string, args ...any) error {
	return fmt.Errorf("sampler: %w", invalid.Field(field, value, want, args...))
}

// complaints are errors to be joined.
type complaints []error

func (c *complaints) add(field string, value any, want string, args ...any) {
	*c = append(*c, bad(field, value, want, args...))
}

// limits are the ends of the schedule.
func (c Config) limits(t *Table) limits {
	lim := limits{max: c.SigmaMax, min: c.SigmaMin, rho: c.Rho, alpha: c.BetaAlpha, beta: c.BetaBeta}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&lim.max, t.Sigmas[len(t.Sigmas)-1]}, {&lim.min, t.Sigmas[0]}, {&lim.alpha, 0.6}, {&lim.beta, 0.6}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return lim
}

// scheduled returns how many steps the schedule must have and how many of them, counted as the web UI counts, image to
// image keeps below its start.
func (c Config) scheduled() (steps, kept int) {
	if c.Denoise == nil {
		return c.Steps, c.Steps
	}
	strength := min(*c.Denoise, 0.999)
	switch {
	case !c.ExactSteps:
		return c.Steps, int(strength * float64(c.Steps))
	case strength == 0:
		return 0, c.Steps - 1
	}
	return int(min(float64(c.Steps)/strength, 1e9)), c.Steps - 1
}

// levels are the noise levels of the whole schedule, the highest first.
func (c Config) levels(m method, t *Table) ([]float64, error) {
	n, _ := c.scheduled()
	if n > MaxSteps {
		return nil, bad("Config.Denoise", *c.Denoise, "more, or fewer steps: with ExactSteps it needs a schedule of more than %d", MaxSteps)
	}
	spacing := cmp.Or(c.Spacing, m.spacing, Uniform)
	ofDiffusers := spacing == Leading || spacing == Trailing || spacing == Linspace
	if m.distilled && !ofDiffusers {
		t = t.distilled()
	}
	discard := c.DiscardPenultimate || m.discards
	if discard {
		n++
	}
	if ofDiffusers && n >= len(t.Sigmas) {
		return nil, bad("Config.Steps", c.Steps, "at most %d in all: spacing %s would place %d", len(t.Sigmas)-1, spacing, n)
	}
	sigmas := spacing.sigmas(t, n, c.limits(t), m.multistep)
	if discard {
		sigmas = discardPenultimate(sigmas)
	}
	return sigmas, nil
}

// tail is the run that starts at entry first of a noise level list, for image to image, or at its beginning.
func (c Config) tail(sigmas []float64, first int) *run {
	g := &run{sigma: sigmas, max: sigmas[0], min: sigmas[len(sigmas)-1]}
	if g.min == 0 {
		g.min = sigmas[len(sigmas)-2]
	}
	if c.Denoise != nil {
		g.sigma = sigmas[min(max(first, 0), len(sigmas)-2):]
		g.start = Start{Noise: g.sigma[0] + c.ExtraNoise, Latent: 1}
		return g
	}
	g.start = Start{Noise: sigmas[0]}
	if c.SGMNoise {
		g.start.Noise = math.Sqrt(1 + sigmas[0]*sigmas[0])
	}
	return g
}

// webUITimestepRun is what the web UI's timestep samplers share: their ascending timesteps and their start. Image to
// image adds the noise of the timestep above the first one it evaluates, a slip that its users' pictures contain.
func (c Config) webUITimestepRun(t *Table) (timesteps []int, start Start, err error) {
	steps, kept := c.scheduled()
	if c.DiscardPenultimate {
		steps++ // there is no level to discard, but the web UI places one more all the same
	}
	if steps >= len(t.Sigmas) {
		return nil, start, bad("Config.Steps", c.Steps, "fewer, or a higher Denoise, or a Spacing: %s would place %d on %d timesteps", c.Sampler, steps, len(t.Sigmas))
	}
	timesteps = webUITimesteps(len(t.Sigmas), steps)
	start = Start{Noise: 1}
	if c.Denoise != nil {
		a := t.AlphasCumprod[timesteps[kept]]
		timesteps = timesteps[:kept]
		start = Start{Noise: math.Sqrt(1-a) + c.ExtraNoise*math.Sqrt(a), Latent: math.Sqrt(a)}
	}
	return timesteps, start, nil
}

// errNoStep reports a strength too low for a timestep sampler.
func (c Config) errNoStep() error {
	if c.Denoise == nil {
		return bad("Config.Steps", c.Steps, "more: this leaves %s no step to run", c.Sampler)
	}
	return bad("Config.Denoise", *c.Denoise, "more, or more steps than %d: this leaves %s no step to run", c.Steps, c.Sampler)
}

// webUIGrid is the run of the web UI's DDIM and PLMS. The lowest timestep is where they end, not one they evaluate: 20
// steps are 19.
func webUIGrid(t *Table, c Config) (*run, error) {
	timesteps, start, err := c.webUITimestepRun(t)
	if err != nil {
		return nil, err
	}
	timesteps = slices.Compact(timesteps)
	if len(timesteps) < 2 {
		return nil, c.errNoStep()
	}
	g := &run{vp: true, masksInput: true, start: start}
	for _, ts := range slices.Backward(timesteps) {
		g.sigma = append(g.sigma, t.Sigmas[ts])
		g.time = append(g.time, float64(ts))
	}
	return g, nil
}

// webUIUniPCGrid is the run of the web UI's UniPC: as many even steps as DDIM has timesteps, down to the first training
// step.
func webUIUniPCGrid(t *Table, c Config) (*run, error) {
	timesteps, start, err := c.webUITimestepRun(t)
	if err != nil {
		return nil, err
	}
	if len(timesteps) == 0 {
		return nil, c.errNoStep()
	}
	g := &run{vp: true, masksInput: true, start: start}
	from := t.last()
	if c.Denoise != nil {
		from = float64(timesteps[len(timesteps)-1])
	}
	for _, ts := range c.Skip.timesteps(t, from, len(timesteps)) {
		g.sigma = append(g.sigma, t.logAlphaSigma(ts))
		g.time = append(g.time, ts)
	}
	return g, nil
}
