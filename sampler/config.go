package sampler

import (
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

	// Denoise is the denoising strength of image to image, in (0,1]; 0 is text to image. The run then starts from the
	// clean latent with noise added and executes ⌊min(Denoise, 0.999)·Steps⌋+1 steps, DDIM and PLMS two fewer and UniPC
	// one fewer. A strength that leaves no step is an error.
	Denoise    float64
	ExactSteps bool // image to image executes Steps steps, cut from a longer schedule; the web UI's hires pass does this

	Eta    *float64 // stochasticity ≥ 0; nil is 1 for Euler a, the SDE samplers, DPM fast and DPM adaptive, 0 for DDIM; others have none
	SNoise *float64 // factor ≥ 0 on all noise added during sampling; nil is 1

	SChurn       float64 // total churn of Euler and Heun, ≥ 0
	STmin, STmax float64 // noise levels between which churn applies; STmax 0 is no limit

	Order           int  // accuracy of LMS (1 to 4, default 4), UniPC (1 to 3, default 3) and DPM adaptive (2 or 3, default 3)
	BH2             bool // UniPC: variant bh2 instead of bh1
	KeepOrderFinal  bool // UniPC: do not lower the order at the end
	NearestTimestep bool // round the network's timesteps to table entries, as ComfyUI and the web UI's quantization do

	Rho                float64 // exponent of Karras and Polyexponential; 0 is 7 and 1
	SigmaMin, SigmaMax float64 // limits of the schedule; 0 is the table's. Uniform, SGM Uniform and the formulas use them
	DiscardPenultimate bool    // place one step more and drop the lowest noise level but 0
	SGMNoise           bool    // start from noise of level √(1+σ²) instead of σ, as the "SGM noise multiplier" does
}

// run is a grid with its start, what a method's own grid or a spacing comes to.
type run struct {
	sigma, time, to []float64 // as in builder
	vp              bool
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
	grid := m.grid
	if grid == nil || c.Spacing != Automatic {
		grid = sigmaGrid
	}
	g, err := grid(table, c)
	if err == nil && m.span != nil {
		err = m.span(table, c, g)
	}
	if err != nil {
		return nil, err
	}
	return g.plan(m, c.builder(m, table)), nil
}

// builder holds the parameters of the method.
func (c Config) builder(m method, table *Table) *builder {
	b := &builder{
		timeOf: table.Timestep, prediction: c.Prediction, noise: Draw,
		eta: m.eta, sNoise: 1, sChurn: c.SChurn, sTmin: c.STmin, sTmax: c.STmax,
		order: m.order, heun: m.heun, cfgpp: m.cfgpp, lowerOrderFinal: m.sampler == UniPC && !c.KeepOrderFinal, bh2: c.BH2,
	}
	if c.NearestTimestep {
		b.timeOf = table.nearestTimestep
	}
	if m.brownian {
		b.noise = Brownian
	}
	if c.Eta != nil && (m.eta > 0 || m.sampler == DDIM || m.sampler == DDIMCFGPP) {
		b.eta = *c.Eta
	}
	if c.SNoise != nil {
		b.sNoise = *c.SNoise
	}
	if c.STmax == 0 {
		b.sTmax = math.Inf(1)
	}
	if c.Order != 0 && m.order != 0 {
		b.order = c.Order
	}
	return b
}

// plan runs a method on the grid.
func (g *run) plan(m method, b *builder) *Plan {
	b.sigma, b.time, b.to, b.vp, b.lcm, b.orders = g.sigma, g.time, g.to, g.vp, g.lcm, g.orders
	if m.solve == nil {
		return &Plan{Slots: adaptiveSlots, Start: g.start, Noise: Draw, adaptive: &adaptive{*b}}
	}
	m.solve(b)
	p := b.plan(g.start)
	p.BrownianMin, p.BrownianMax = g.min, g.max
	if m.cfgpp {
		p.guidance = cfgppScale
	}
	return p
}

// resolve checks every field and looks up what they name.
func (c Config) resolve() (method, *Table, error) {
	var errs complaints
	m, ok := c.Sampler.find()
	if !ok {
		errs.add("Config.Sampler", c.Sampler, "%s (Parse reads other spellings)", join(Names()))
	}
	if c.Spacing != Automatic && !slices.Contains(Spacings(), c.Spacing) {
		errs.add("Config.Spacing", c.Spacing, "%s (Parse reads other spellings)", join(Spacings()))
	}
	if c.Steps < 1 || c.Steps > MaxSteps {
		errs.add("Config.Steps", c.Steps, "1 to %d", MaxSteps)
	}
	if !c.Prediction.valid() {
		errs.add("Config.Prediction", c.Prediction, "%s, %s or %s", Epsilon, VPrediction, Sample)
	}
	if !(c.Denoise >= 0 && c.Denoise <= 1) {
		errs.add("Config.Denoise", c.Denoise, "a strength from 0 to 1")
	}
	if lowest := max(1, m.lowest); m.order != 0 && c.Order != 0 && (c.Order < lowest || c.Order > m.order) {
		errs.add("Config.Order", c.Order, "%d to %d for %s", lowest, m.order, m.sampler)
	}
	for _, f := range []struct {
		name  string
		value *float64
	}{
		{"Eta", c.Eta}, {"SNoise", c.SNoise}, {"SChurn", &c.SChurn}, {"STmin", &c.STmin}, {"STmax", &c.STmax},
		{"Rho", &c.Rho}, {"SigmaMin", &c.SigmaMin}, {"SigmaMax", &c.SigmaMax},
	} {
		if f.value != nil && !(*f.value >= 0 && *f.value <= 1e6) {
			errs.add("Config."+f.name, *f.value, "0 to 1e6")
		}
	}
	table, err := c.Schedule.Table()
	if err != nil {
		errs = append(errs, err)
	} else if lim := c.limits(table); !(lim.min < lim.max) {
		errs.add("Config.SigmaMin", lim.min, "less than SigmaMax, %v", lim.max)
	}
	return m, table, errors.Join(errs...)
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
	lim := limits{max: c.SigmaMax, min: c.SigmaMin, rho: c.Rho}
	if lim.max == 0 {
		lim.max = t.Sigmas[len(t.Sigmas)-1]
	}
	if lim.min == 0 {
		lim.min = t.Sigmas[0]
	}
	return lim
}

// scheduled returns how many steps the schedule must have and how many of them, counted as the web UI counts, image to
// image keeps below its start.
func (c Config) scheduled() (steps, kept int) {
	if c.Denoise == 0 {
		return c.Steps, c.Steps
	}
	strength := min(c.Denoise, 0.999)
	if c.ExactSteps {
		return int(min(float64(c.Steps)/strength, 1e9)), c.Steps - 1
	}
	return c.Steps, int(strength * float64(c.Steps))
}

// sigmaGrid is the run of a k-diffusion sampler: a list of noise levels from a spacing, its tail for image to image.
func sigmaGrid(t *Table, c Config) (*run, error) {
	steps, kept := c.scheduled()
	if steps > MaxSteps {
		return nil, bad("Config.Denoise", c.Denoise, "more, or fewer steps: with ExactSteps it needs a schedule of more than %d", MaxSteps)
	}
	m, _ := c.Sampler.find()
	spacing, n := c.Spacing, steps
	if spacing == Automatic {
		spacing = m.spacing
	}
	if c.DiscardPenultimate {
		n++
	}
	if (spacing == Leading || spacing == Trailing || spacing == Linspace) && n >= len(t.Sigmas) {
		return nil, bad("Config.Steps", c.Steps, "at most %d in all: spacing %s would place %d", len(t.Sigmas)-1, spacing, n)
	}
	sigmas := spacing.sigmas(t, n, c.limits(t), m.multistep)
	if c.DiscardPenultimate {
		sigmas = discardPenultimate(sigmas)
	}
	return c.tail(sigmas, steps-kept-1), nil
}

// tail is the run that starts at entry first of a noise level list, for image to image, or at its beginning.
func (c Config) tail(sigmas []float64, first int) *run {
	g := &run{sigma: sigmas, max: sigmas[0], min: sigmas[len(sigmas)-2]}
	if c.Denoise > 0 {
		g.sigma = sigmas[min(max(first, 0), len(sigmas)-2):]
		g.start = Start{Noise: g.sigma[0], Latent: 1}
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
func (c Config) webUITimestepRun(t *Table) (timesteps []int, above int, start Start, err error) {
	steps, kept := c.scheduled()
	if steps >= len(t.Sigmas) {
		return nil, 0, start, bad("Config.Steps", c.Steps, "fewer, or a higher Denoise, or a Spacing: %s would place %d on %d timesteps", c.Sampler, steps, len(t.Sigmas))
	}
	timesteps = webUITimesteps(len(t.Sigmas), steps)
	above, start = len(t.Sigmas)-1, Start{Noise: 1}
	if c.Denoise > 0 {
		above = timesteps[kept]
		timesteps = timesteps[:kept]
		a := t.AlphasCumprod[above]
		start = Start{Noise: math.Sqrt(1 - a), Latent: math.Sqrt(a)}
	}
	return timesteps, above, start, nil
}

// errNoStep reports a strength too low for a timestep sampler.
func (c Config) errNoStep() error {
	if c.Denoise == 0 {
		return bad("Config.Steps", c.Steps, "more: this leaves %s no step to run", c.Sampler)
	}
	return bad("Config.Denoise", c.Denoise, "more, or more steps than %d: this leaves %s no step to run", c.Steps, c.Sampler)
}

// webUIGrid is the run of the web UI's DDIM and PLMS. The lowest timestep is where they end, not one they evaluate: 20
// steps are 19.
func webUIGrid(t *Table, c Config) (*run, error) {
	timesteps, _, start, err := c.webUITimestepRun(t)
	if err != nil {
		return nil, err
	}
	timesteps = slices.Compact(timesteps)
	if len(timesteps) < 2 {
		return nil, c.errNoStep()
	}
	g := &run{vp: true, start: start}
	for _, ts := range slices.Backward(timesteps) {
		g.sigma = append(g.sigma, t.Sigmas[ts])
		g.time = append(g.time, float64(ts))
	}
	return g, nil
}

// webUIUniPCGrid is the run of the web UI's UniPC: as many even steps as DDIM has timesteps, down to the first training
// step.
func webUIUniPCGrid(t *Table, c Config) (*run, error) {
	timesteps, above, start, err := c.webUITimestepRun(t)
	if err != nil {
		return nil, err
	}
	if len(timesteps) == 0 {
		return nil, c.errNoStep()
	}
	g := &run{vp: true, start: start}
	for _, ts := range linspace(float64(above), 0, len(timesteps)+1) {
		g.sigma = append(g.sigma, t.logAlphaSigma(ts))
		g.time = append(g.time, ts)
	}
	return g, nil
}

// webUILCMGrid is the run of the web UI's LCM: even timesteps from the last to the first that the model was distilled
// on, noise levels interpolated between those.
func webUILCMGrid(t *Table, c Config) (*run, error) {
	const origin = 50
	steps, kept := c.scheduled()
	if stride := len(t.Sigmas) / origin; steps > MaxSteps || stride == 0 {
		return nil, bad("Config.Steps", c.Steps, "what can be placed: LCM would have %d of them on %d training timesteps", steps, len(t.Sigmas))
	}
	grid := lcmTimesteps(len(t.Sigmas), origin, origin)
	slices.Reverse(grid)
	first, stride := grid[0], grid[1]-grid[0]
	var sigmas []float64
	times := linspace(grid[origin-1], first, steps)
	for _, ts := range times {
		j := min(int((ts-first)/stride), origin-2)
		w := (ts - grid[j]) / stride
		sigmas = append(sigmas, math.Exp((1-w)*t.logSigmas[int(grid[j])]+w*t.logSigmas[int(grid[j+1])]))
	}
	g := c.tail(append(sigmas, 0), steps-kept-1)
	g.time = times[len(times)-len(g.sigma)+1:]
	g.lcm = lcmRule{scaling: 10, sigmaData: 0.5}
	return g, nil
}
