package sampler

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// webUISamplers are the samplers whose vectors are checked: those that use the unconditional output or decide as they go,
// and DPM fast, which shares their steps.
var webUISamplers = []Sampler{DPMFast, DPMAdaptive, DDIMCFGPP}

// webUIRecord is a run of the web UI's own code, with k-diffusion's samplers, on a model of three numbers; testdata/webui
// says how the records were made.
type webUIRecord struct {
	ID       string
	Sampler  Sampler
	Steps    int
	Levels   []float64 // the whole list of noise levels, or of timesteps
	Guidance *float64  `json:"cfg_scale"`
	Eta      *float64
	Options  struct {
		EtaAncestral *float64 `json:"eta_ancestral"`
		EtaDDIM      *float64 `json:"eta_ddim"`
		SGMNoise     bool     `json:"sgm_noise_multiplier"`
		ExactSteps   bool     `json:"img2img_fix_steps"`
	}
	Mode       string
	Strength   float64
	ForceSteps int `json:"force_steps"`
	Latent     []float64
	Noise      string
	X          []float64
	NFE        int
	Evals      []float64
}

// webUIRecords reads a file of records of this package's testdata and of the folder in ATELIER_WEBUI_VECTORS.
func webUIRecords(t *testing.T, file string) (records []webUIRecord) {
	t.Helper()
	folders := []string{filepath.Join("testdata", "webui")}
	if folder := os.Getenv("ATELIER_WEBUI_VECTORS"); folder != "" {
		folders = append(folders, folder)
	}
	for _, folder := range folders {
		f, err := os.Open(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue
			}
			var r webUIRecord
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			records = append(records, r)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

func TestWebUI(t *testing.T) {
	t.Run("samplers", func(t *testing.T) {
		for _, r := range webUIRecords(t, "samplers.jsonl") {
			// Random numbers and a strength of 0, which runs no sampler, belong to whoever draws pictures.
			if slices.Contains(webUISamplers, r.Sampler) && r.Noise == "" && (r.Mode == "" || r.Strength > 0) {
				t.Run(r.ID, func(t *testing.T) { r.check(t) })
			}
		}
	})
}

// plan is the plan of the record's request, on its own list of noise levels.
func (r webUIRecord) plan(table *Table) (*Plan, error) {
	c := Config{Sampler: r.Sampler, Steps: r.Steps, Eta: r.Eta, SGMNoise: r.Options.SGMNoise}
	if c.Eta == nil {
		if c.Eta = r.Options.EtaAncestral; r.Sampler == DDIMCFGPP {
			c.Eta = r.Options.EtaDDIM
		}
	}
	if r.Mode == "img2img" {
		c.Denoise = r.Strength
		if c.ExactSteps = r.Options.ExactSteps; r.ForceSteps > 0 {
			c.Steps, c.ExactSteps = r.ForceSteps, true
		}
	}
	if r.Sampler == DDIMCFGPP {
		return New(c)
	}
	m, _, err := c.resolve()
	if err != nil {
		return nil, err
	}
	_, kept := c.scheduled()
	g := c.tail(r.Levels, len(r.Levels)-1-kept-1)
	if err := m.span(table, c, g); err != nil {
		return nil, err
	}
	return g.plan(m, c.builder(m, table)), nil
}

// check runs the record as the package comment says, on the record's model.
func (r webUIRecord) check(t *testing.T) {
	table := webUITable(t)
	p, err := r.plan(table)
	if r.NFE == 0 {
		if err == nil {
			t.Fatal("a run without a step is accepted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	guidance := 1.0
	if r.Guidance != nil {
		guidance = *r.Guidance
	}
	guidance = p.Guidance(guidance)

	unit := []float64{1, -0.6, 0.35}
	slots := make([][]float64, p.Slots)
	for k := range slots {
		slots[k] = make([]float64, len(unit))
	}
	for e, z := range unit {
		slots[0][e] = p.Start.Noise * z
		if r.Mode == "img2img" {
			slots[0][e] += p.Start.Latent * r.Latent[e]
		}
	}
	draws, z := 0, make([]float64, len(unit))
	var sigmas, timesteps []float64
	evaluate := func(e *Eval) (float64, error) {
		sigmas, timesteps = append(sigmas, e.Sigma), append(timesteps, e.Timestep)
		if e.Noise.Kind == Draw {
			for i, offset := range []float64{0, 2.1, -1.3} {
				z[i] = math.Sqrt2 * math.Sin(1.3*float64(draws)+0.7+offset)
			}
			draws++
		}
		next := make([][]float64, p.Slots)
		for k := range next {
			next[k] = make([]float64, len(unit))
		}
		for i := range unit {
			mix := func(m Mix, model, unconditional float64) float64 {
				sum := m.Model*model + m.Unconditional*unconditional + m.Noise*z[i]
				for k, s := range slots {
					sum += m.Slot[k] * s[i]
				}
				return sum
			}
			input := mix(e.Input, 0, 0)
			negative := toyNoise(input, table.Sigma(e.Timestep), -0.4, 0.9)
			positive := toyNoise(input, table.Sigma(e.Timestep), 0.7, 0.5)
			for k, m := range e.Update {
				next[k][i] = mix(m, negative+guidance*(positive-negative), negative)
			}
		}
		slots = next
		return measure(e.Measure, slots), nil
	}
	for range p.steps(t, evaluate) {
	}
	for i, want := range r.X {
		differ(t, fmt.Sprint("element ", i), slots[0][i], want, 2e-6)
	}
	if len(sigmas) != r.NFE {
		t.Errorf("%d evaluations, want %d", len(sigmas), r.NFE)
	}
	seen := sigmas
	if r.Sampler == DDIMCFGPP {
		seen = timesteps
	}
	for i, want := range r.Evals[:min(len(seen), len(r.Evals))] {
		differ(t, fmt.Sprint("evaluation ", i), seen[i], want, 1e-5)
	}
}

// webUITable is the noise of SD 1.5 as the web UI has it, with ᾱ rounded to single precision.
func webUITable(t *testing.T) *Table {
	alphas := slices.Clone(sd15(t).AlphasCumprod)
	for i, a := range alphas {
		alphas[i] = float64(float32(a))
	}
	table, err := newTable(alphas, false)
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
