package sampler

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/invalid"
)

// webUIOptions are settings of the web UI; what is absent has its default.
type webUIOptions struct {
	EtaAncestral *float64 `json:"eta_ancestral"`
	EtaDDIM      *float64 `json:"eta_ddim"`
	SChurn       float64  `json:"s_churn"`
	STmin        float64  `json:"s_tmin"`
	STmax        float64  `json:"s_tmax"`
	SNoise       *float64 `json:"s_noise"`
	SigmaMin     float64  `json:"sigma_min"`
	SigmaMax     float64  `json:"sigma_max"`
	Rho          float64
	BetaAlpha    float64      `json:"beta_dist_alpha"`
	BetaBeta     float64      `json:"beta_dist_beta"`
	OldKarras    bool         `json:"use_old_karras_scheduler_sigmas"`
	Discard      bool         `json:"always_discard_next_to_last_sigma"`
	SGMNoise     bool         `json:"sgm_noise_multiplier"`
	ExactSteps   bool         `json:"img2img_fix_steps"`
	ExtraNoise   float64      `json:"img2img_extra_noise"`
	MinUncondAll bool         `json:"s_min_uncond_all"`
	SkipEarly    float64      `json:"skip_early_cond"`
	Variant      UniPCVariant `json:"uni_pc_variant"`
	Skip         UniPCSkip    `json:"uni_pc_skip_type"`
	Order        int          `json:"uni_pc_order"`
	LowerFinal   *bool        `json:"uni_pc_lower_order_final"`
	Downcast     bool         `json:"use_downcasted_alpha_bar"`
	Noise        string       `json:"sd_noise_schedule"`
	SeedDelta    int64        `json:"eta_noise_seed_delta"`
}

// config is what the options mean here.
func (o webUIOptions) config(s Sampler, schedule string, steps int) Config {
	c := Config{
		Sampler: s, Steps: steps, SChurn: o.SChurn, STmin: o.STmin, STmax: o.STmax, SNoise: o.SNoise, Eta: o.EtaAncestral,
		SigmaMin: o.SigmaMin, SigmaMax: o.SigmaMax, Rho: o.Rho, BetaAlpha: o.BetaAlpha, BetaBeta: o.BetaBeta,
		DiscardPenultimate: o.Discard, SGMNoise: o.SGMNoise, ExactSteps: o.ExactSteps, ExtraNoise: o.ExtraNoise,
		MinUncondAll: o.MinUncondAll, SkipEarly: o.SkipEarly,
	}
	if schedule != "" && schedule != "Automatic" {
		c.Spacing = Spacing(schedule)
	}
	m, _ := s.find()
	if m.grid != nil {
		c.Spacing, c.Eta = Automatic, o.EtaDDIM
	}
	if s == UniPC {
		c.Variant, c.Skip, c.Order = o.Variant, o.Skip, o.Order
		c.KeepOrderFinal = o.LowerFinal != nil && !*o.LowerFinal
	}
	if o.OldKarras {
		c.SigmaMin, c.SigmaMax = 0.1, 10
	}
	return c
}

// webUIRun is a run of the web UI's own code, with k-diffusion's samplers, on a model of three numbers; testdata/webui
// says how the records were made.
type webUIRun struct {
	identified
	Sampler    Sampler
	Schedule   string
	Steps      int
	Levels     []float64 // the whole list of noise levels, or of timesteps
	LevelsF32  []float64 `json:"levels_f32"`
	Guidance   *float64  `json:"cfg_scale"`
	Eta        *float64
	SChurn     float64      `json:"s_churn"` // of the request, as Eta is
	SNoise     *float64     `json:"s_noise"`
	MinUncond  float64      `json:"s_min_uncond"`
	Parts      [][3]float64 // of the prompt: mean, deviation, weight
	Options    webUIOptions
	Mode       string
	Strength   float64
	ForceSteps int `json:"force_steps"`
	Latent     []float64
	Mask       []float64
	Noise      string
	Seeds      []uint64
	Error      string
	X          []float64
	XF32       []float64 `json:"x_f32"`
	NFE        int
	Draws      int
	Evals      []float64
	Batches    []int // the model's outputs in each evaluation; nil is 2 in all
	Infotext   json.RawMessage
}

// webUISigmas is a schedule.
type webUISigmas struct {
	identified
	Sampler  Sampler
	Schedule string
	Steps    int
	Options  webUIOptions
	Sigmas   []float64
	Infotext json.RawMessage
}

// webUITimes is the grid of a timestep sampler, or its ends.
type webUITimes struct {
	identified
	Steps                  int
	Options                webUIOptions
	Timesteps, First, Last []int
	Count                  int
}

// webUINames is what two names came to.
type webUINames struct {
	identified
	Sampler, Schedule string
	API, UI           [2]string
}

// webUITable is the noise that the network was trained with.
type webUITable struct {
	identified
	Options     webUIOptions
	Index       []int
	Alphas      []webui.Number `json:"alphas_cumprod"`
	Sigma       []webui.Number
	LogSigma    []webui.Number `json:"log_sigma"`
	T           []float64
	TToSigma    []webui.Number `json:"t_to_sigma"`
	Sigmas      []float64
	SigmaToT    []float64 `json:"sigma_to_t"`
	SigmaToTInt []float64 `json:"sigma_to_t_quantized"`
}

// webUISteps is how many steps image to image schedules and how many it counts from the end.
type webUISteps struct {
	identified
	Steps      int
	Denoise    float64 `json:"denoising_strength"`
	FixSteps   bool    `json:"img2img_fix_steps"`
	HiresSteps *int    `json:"hires_steps"`
	Schedule   int     `json:"schedule_steps"`
	TEnc       int     `json:"t_enc"`
}

// identified is what every record has.
type identified struct{ ID string }

func (i identified) name() string { return i.ID }

// each checks one record in a subtest of its own.
func each[R interface {
	name() string
	check(*testing.T)
}](t *testing.T, r R) {
	t.Run(r.name(), r.check)
}

func TestWebUI(t *testing.T) {
	webui.Test(t, "samplers", each[webUIRun])
	webui.Test(t, "sigmas", each[webUISigmas])
	webui.Test(t, "timesteps", each[webUITimes])
	webui.Test(t, "sampler_names", each[webUINames])
	webui.Test(t, "noise_table", each[webUITable])
	webui.Test(t, "img2img_steps", each[webUISteps])
}

// single is how far numbers of a single-precision program may be off.
const single = 3e-5

func (r webUISigmas) check(t *testing.T) {
	c := r.Options.config(r.Sampler, r.Schedule, r.Steps)
	m, table, err := c.resolve()
	if err != nil {
		t.Fatal(err)
	}
	levels, err := c.levels(m, table)
	if err != nil {
		t.Fatal(err)
	}
	checkSettings(t, c, r.Options, r.Infotext)
	if len(levels) != len(r.Sigmas) {
		t.Fatalf("%d noise levels, want %d: %v", len(levels), len(r.Sigmas), levels)
	}
	for i, want := range r.Sigmas {
		if math.Abs(levels[i]-want) > single*want {
			t.Errorf("level %d: got %v, want %v", i, levels[i], want)
		}
	}
}

func (r webUITimes) check(t *testing.T) {
	c := r.Options.config(DDIM, "", r.Steps)
	got, _, err := c.webUITimestepRun(sd15(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Timesteps == nil {
		if len(got) != r.Count {
			t.Fatalf("%d timesteps, want %d", len(got), r.Count)
		}
		got, r.Timesteps = slices.Concat(got[:len(r.First)], got[len(got)-len(r.Last):]), slices.Concat(r.First, r.Last)
	}
	if !slices.Equal(got, r.Timesteps) {
		t.Errorf("got  %v\nwant %v", got, r.Timesteps)
	}
}

func (r webUISteps) check(t *testing.T) {
	c := Config{Steps: r.Steps, Denoise: &r.Denoise, ExactSteps: r.FixSteps}
	if r.HiresSteps != nil {
		c.Steps, c.ExactSteps = *r.HiresSteps, true
	}
	if schedule, kept := c.scheduled(); schedule != r.Schedule || kept != r.TEnc {
		t.Errorf("got %d and %d, want %d and %d", schedule, kept, r.Schedule, r.TEnc)
	}
}

// check holds the answer to the web UI's where that understood both names. Where it did not it silently took its
// defaults; here a name in other spelling or of its API is understood, and any other is an error.
func (r webUINames) check(t *testing.T) {
	s, spacing, err := Parse(r.Sampler, r.Schedule)
	got := [2]string{string(s), string(cmp.Or(spacing, "Automatic"))}
	if !webUIUnderstands(r.Sampler, r.Schedule) {
		switch {
		case err != nil && !strings.Contains(err.Error(), "there are Automatic, Uniform") && !strings.Contains(err.Error(), "there are DPM++ 2M, "):
			t.Errorf("%q, %q: %v does not tell what there is", r.Sampler, r.Schedule, err)
		case err == nil && !spelled(r.Sampler, s):
			t.Errorf("%q, %q: got %q, which it does not say", r.Sampler, r.Schedule, got)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := s.find(); m.grid != nil { // the web UI names a schedule in its infotext, and ignores it
		r.API[1], r.UI[1] = "Automatic", "Automatic"
	}
	if got != r.API {
		t.Errorf("%q, %q: got %q, want %q", r.Sampler, r.Schedule, got, r.API)
	}
	if spacing == s.Spacing() { // the default is shown as such
		got[1] = "Automatic"
	}
	if got != r.UI {
		t.Errorf("%q, %q: shown as %q, want %q", r.Sampler, r.Schedule, got, r.UI)
	}
}

// webUIUnderstands tells whether the web UI knows both names: its own in their case, and of a sampler also one with a
// schedule behind it.
func webUIUnderstands(sampler, schedule string) bool {
	schedules := []string{"Automatic", "automatic", "SGMUniform"}
	for _, s := range Spacings()[:11] {
		schedules = append(schedules, string(s), strings.ReplaceAll(strings.ToLower(string(s)), " ", "_"))
	}
	if !slices.Contains(append(schedules, "", "Use same scheduler"), schedule) || schedule == "SGMUniform" {
		return false
	}
	if sampler == "" {
		return true
	}
	for _, s := range schedules {
		if stem, ok := strings.CutSuffix(sampler, " "+s); ok {
			sampler = stem
			break
		}
	}
	return slices.Contains(Names()[:20], Sampler(sampler))
}

// spelled tells whether a text begins with a name of a sampler, in any case and with any blanks.
func spelled(text string, s Sampler) bool {
	plain := func(name string) string {
		return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name))
	}
	m, _ := s.find()
	return text == "" && s == DPMPP2M || slices.ContainsFunc(append(m.aliases, string(s)), func(name string) bool {
		return strings.HasPrefix(plain(text), plain(name))
	})
}

// checkSettings compares what infotexts say with a record's keys and values, in their order.
func checkSettings(t *testing.T, c Config, o webUIOptions, want json.RawMessage) {
	t.Helper()
	if o.OldKarras { // whose limits the web UI does not name
		c.SigmaMin, c.SigmaMax = 0, 0
	}
	var got []string
	for _, s := range c.Settings() {
		if _, err := strconv.ParseFloat(s.Value, 64); err != nil && s.Value != "True" {
			s.Value = strconv.Quote(s.Value)
		}
		if !strings.HasPrefix(s.Key, "UniPC") { // which the records leave to other parts of the program
			got = append(got, strconv.Quote(s.Key)+":"+strings.Replace(s.Value, "True", "true", 1))
		}
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, want); err != nil && len(want) > 0 {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`(\d)\.0([,}])`).ReplaceAllString(plain.String(), "$1$2")
	if text := "{" + strings.Join(got, ",") + "}"; text != said && (said != "" || got != nil) {
		t.Errorf("infotext %s, want %s", text, said)
	}
}

// check compares the table and its interpolation. A table that reaches infinity is an error here: what it would
// draw is not a number.
func (r webUITable) check(t *testing.T) {
	s := Schedule{ZeroTerminalSNR: r.Options.Noise == "Zero Terminal SNR", Half: r.Options.Downcast}
	table, err := s.Table()
	if s.ZeroTerminalSNR && s.Half {
		if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != "Schedule.Half" {
			t.Errorf("zero terminal SNR in half precision: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got float64, want webui.Number) {
		t.Helper()
		if math.Abs(got-float64(want)) > single*max(1e-3, math.Abs(float64(want))) {
			t.Errorf("%s: got %.9g, want %.9g", what, got, want)
		}
	}
	for k, i := range r.Index {
		near(fmt.Sprint("ᾱ ", i), table.AlphasCumprod[i], r.Alphas[k])
		near(fmt.Sprint("σ ", i), table.Sigmas[i], r.Sigma[k])
		near(fmt.Sprint("ln σ ", i), table.logSigmas[i], r.LogSigma[k])
	}
	for k, at := range r.T {
		near(fmt.Sprint("σ of timestep ", at), table.Sigma(at), r.TToSigma[k])
	}
	for k, sigma := range r.Sigmas {
		if got := table.Timestep(sigma); math.Abs(got-r.SigmaToT[k]) > 2e-3 {
			t.Errorf("timestep of %v: got %v, want %v", sigma, got, r.SigmaToT[k])
		}
		if got := table.nearestTimestep(sigma); got != r.SigmaToTInt[k] {
			t.Errorf("nearest timestep of %v: got %v, want %v", sigma, got, r.SigmaToTInt[k])
		}
	}
}

// config is the record's request.
func (r webUIRun) config() Config {
	c := r.Options.config(r.Sampler, r.Schedule, r.Steps)
	if r.Eta != nil {
		c.Eta = r.Eta
	}
	if c.SChurn == 0 { // an option that has not its default wins over the request
		c.SChurn = r.SChurn
	}
	if r.SNoise != nil && (c.SNoise == nil || *c.SNoise == 1) {
		c.SNoise = r.SNoise
	}
	c.MinUncond = r.MinUncond
	if r.Mode == "img2img" {
		c.Denoise = &r.Strength
		if r.ForceSteps > 0 {
			c.Steps, c.ExactSteps = r.ForceSteps, true
		}
	}
	return c
}

// plan is the plan of the record's request on its own list of noise levels, which must be ours to single precision.
func (r webUIRun) plan(t *testing.T, c Config, levels []float64) (*Plan, *Table, error) {
	m, own, err := c.resolve()
	if err != nil {
		return nil, nil, err
	}
	table := downcast(t, own)
	if m.grid != nil {
		g, err := m.grid(table, c)
		if err != nil {
			return nil, nil, err
		}
		return g.plan(m, c.builder(m, table)), table, nil
	}
	ours, err := c.levels(m, own)
	if err != nil {
		return nil, nil, err
	}
	if levels == nil {
		levels = ours
	}
	for i, want := range levels {
		if math.Abs(ours[i]-want) > single*want {
			t.Errorf("level %d: got %v, want %v", i, ours[i], want)
		}
	}
	p, err := c.planOn(levels, m, table)
	return p, table, err
}

// check runs the record as the package comment says, on the record's model.
func (r webUIRun) check(t *testing.T) {
	c := r.config()
	levels, want, tolerance := r.Levels, r.X, 2e-6
	if r.Noise == "brownian" { // a path is read at times rounded to six decimals, so that the last digits of a level count
		levels, want, tolerance = r.LevelsF32, r.XF32, 2e-3
	}
	p, table, err := r.plan(t, c, levels)
	if r.Error == "" && r.NFE == 0 { // the web UI returns what it started from, here that is told
		if fields := invalid.Fields(err); len(fields) != 1 {
			t.Fatalf("a run without a step: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	h := newWebUIHost(t, r, p, table)
	h.run(t, p)
	if r.Error == "" {
		c.SChurn, c.SNoise = r.Options.SChurn, r.Options.SNoise // those of the request leave no trace in the web UI, here they do
		checkSettings(t, c, r.Options, r.Infotext)
	}
	if r.Error != "" { // the web UI fails with too few steps for its history; here the order is lower
		for i, x := range h.slots[0] {
			if !(math.Abs(x) < 3) {
				t.Errorf("element %d is %v", i, x)
			}
		}
		return
	}
	for i, x := range want {
		differ(t, fmt.Sprint("element ", i), h.slots[0][i], x, tolerance)
	}
	if len(h.sigmas) != r.NFE {
		t.Errorf("%d evaluations, want %d", len(h.sigmas), r.NFE)
	}
	seen := h.sigmas
	if m, _ := r.Sampler.find(); m.grid != nil {
		seen = h.timesteps
	}
	for i, at := range r.Evals[:min(len(seen), len(r.Evals))] {
		differ(t, fmt.Sprint("evaluation ", i), seen[i], at, single)
	}
	if p.Noise != NoNoise && r.Noise == "" { // a run without noise draws none
		unused := 0
		if r.Sampler == DPMFast || r.Sampler == DPMAdaptive {
			unused = 1 // the web UI draws for the last step too, where the noise has the weight 0
		}
		if h.draws != r.Draws-unused {
			t.Errorf("%d draws, want %d", h.draws, r.Draws-unused)
		}
	}
	if r.Batches != nil && !slices.Equal(h.batches, r.Batches) {
		t.Errorf("outputs in each evaluation: %v, want %v", h.batches, r.Batches)
	}
}

// webUIHost runs a plan on three numbers, as the package comment says, and keeps count.
type webUIHost struct {
	record webUIRun
	table  *Table
	draw   func(z []float64, n Noise)
	weight float64 // of the prompt
	slots  [][]float64
	z      []float64

	sigmas, timesteps []float64
	draws             int
	batches           []int
}

func newWebUIHost(t *testing.T, r webUIRun, p *Plan, table *Table) *webUIHost {
	h := &webUIHost{record: r, table: table, weight: 1, z: make([]float64, 3)}
	if r.Parts == nil {
		h.record.Parts = [][3]float64{{0.7, 0.5, 1}}
	}
	if r.Guidance != nil {
		h.weight = *r.Guidance
	}
	h.weight = p.Guidance(h.weight)

	unit := []float64{1, -0.6, 0.35}
	h.draw = func(z []float64, _ Noise) {
		for i, offset := range []float64{0, 2.1, -1.3} {
			z[i] = math.Sqrt2 * math.Sin(1.3*float64(h.draws)+0.7+offset)
		}
	}
	if r.Noise != "" {
		h.drawRandom(t, r, p, unit)
	}
	for range p.Slots {
		h.slots = append(h.slots, make([]float64, 3))
	}
	for i, z := range unit {
		h.slots[0][i] = p.Start.Noise * z
		if r.Mode == "img2img" {
			h.slots[0][i] += p.Start.Latent * r.Latent[i]
		}
	}
	return h
}

// drawRandom takes all noise from the record's generator, the first included.
func (h *webUIHost) drawRandom(t *testing.T, r webUIRun, p *Plan, unit []float64) {
	float := make([]float32, 3)
	to := func(z []float64) {
		for i, v := range float {
			z[i] = float64(v)
		}
	}
	stream := rng.NewPhilox(r.Seeds[0])
	stream.Normal(float)
	to(unit)
	if r.Noise == "brownian" {
		path, err := rng.NewBrownian(r.Seeds[0], 3, p.BrownianMin, p.BrownianMax, func(seed uint64) rng.Source { return rng.NewPhilox(seed) })
		if err != nil {
			t.Fatal(err)
		}
		h.draw = func(z []float64, n Noise) { path.Noise(float, n.From, n.To); to(z) }
		return
	}
	if r.Options.SeedDelta != 0 {
		stream = rng.NewPhilox(r.Seeds[0] + uint64(r.Options.SeedDelta))
	}
	h.draw = func(z []float64, _ Noise) { stream.Normal(float); to(z) }
}

// run carries the plan out.
func (h *webUIHost) run(t *testing.T, p *Plan) {
	for range p.steps(t, func(e *Eval) (float64, error) { return h.evaluate(p, e), nil }) {
	}
}

func (h *webUIHost) evaluate(p *Plan, e *Eval) float64 {
	r := h.record
	h.sigmas, h.timesteps = append(h.sigmas, e.Sigma), append(h.timesteps, e.Timestep)
	if e.Noise.Kind == Draw || e.Noise.Kind == Brownian {
		h.draw(h.z, e.Noise)
		h.draws++
	}
	outputs := len(r.Parts)
	if !e.Unguided {
		outputs++
	}
	h.batches = append(h.batches, outputs)
	next := make([][]float64, p.Slots)
	for k := range next {
		next[k] = make([]float64, len(h.z))
	}
	for i := range h.z {
		mix := func(m Mix, model, unconditional float64) float64 {
			sum := m.Model*model + m.Unconditional*unconditional + m.Noise*h.z[i]
			for k, s := range h.slots {
				sum += m.Slot[k] * s[i]
			}
			return sum
		}
		input := mix(e.Input, 0, 0)
		if r.Mask != nil && p.MasksInput {
			input = r.Mask[i]*input + (1-r.Mask[i])*r.Latent[i]
		}
		model, unconditional := h.predict(e, input)
		if r.Mask != nil && !p.MasksInput {
			known := e.Known.Input*input + e.Known.Latent*r.Latent[i]
			model = r.Mask[i]*model + (1-r.Mask[i])*known
		}
		for k, m := range e.Update {
			next[k][i] = mix(m, model, unconditional)
		}
	}
	h.slots = next
	return measure(e.Measure, h.slots)
}

// predict is the guided output of the record's network and the one without the prompt.
func (h *webUIHost) predict(e *Eval, input float64) (model, unconditional float64) {
	r, sigma, weight := h.record, h.table.Sigma(e.Timestep), h.weight
	unconditional = toyNoise(input, sigma, -0.4, 0.9)
	if e.Unguided {
		unconditional, weight = toyNoise(input, sigma, r.Parts[0][0], r.Parts[0][1]), 1
	}
	model = unconditional
	for _, p := range r.Parts {
		model += weight * p[2] * (toyNoise(input, sigma, p[0], p[1]) - unconditional)
	}
	return model, unconditional
}

// downcast is a table as the web UI has it, with ᾱ rounded to single precision.
func downcast(t *testing.T, exact *Table) *Table {
	alphas := slices.Clone(exact.AlphasCumprod)
	for i, a := range alphas {
		alphas[i] = float64(float32(a))
	}
	table, err := newTable(alphas, Schedule{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// toyNoise is the noise that the records' network sees in an input at a noise level, with data of a mean and a deviation.
func toyNoise(input, sigma, mean, deviation float64) float64 {
	x := input * math.Sqrt(sigma*sigma+1)
	return (x - host{mean: mean, deviation: deviation}.denoise(x, sigma)) / sigma
}
