package sd

import (
	"image"
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/unet"
)

// TestUnguidedWeights compares what the parts between AND weigh without the negative prompt with U + Σ wₖ·(Cₖ − U) where U is the first part.
func TestUnguidedWeights(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   []float32
	}{
		{[]float64{1}, []float32{1}},
		{[]float64{0.25}, []float32{1}}, // the first part takes the place of the negative prompt as well
		{[]float64{0.5, 0.25}, []float32{0.75, 0.25}},
		{[]float64{1, -0.5, 2}, []float32{-0.5, -0.5, 2}},
	} {
		if got := (&conditioning{shares: c.shares}).unguided().weights; !slices.Equal(got, c.want) {
			t.Errorf("shares %v weigh %v, want %v", c.shares, got, c.want)
		}
	}
}

// TestUnguidedEvaluations runs two evaluations, of which NGMS does the second without the negative prompt, and compares each with a run
// of that evaluation alone, at the full guidance and at 1.
func TestUnguidedEvaluations(t *testing.T) {
	p := openTiny(t, openCPU(t))
	initial := make([]float32, 3*5*4)
	for i := range initial {
		initial[i] = float32(i%7) / 3
	}
	run := func(initial []float32, change func(*Request), cut func(*sampler.Plan)) []float32 {
		return sample(t, p, initial, change, cut)
	}
	euler := func(guidance float64) func(*Request) {
		return func(r *Request) { r.Sampler, r.Steps, r.Guidance = sampler.Euler, 5, &guidance }
	}
	skipping := func(r *Request) { r.Sampler, r.Steps, r.Speed.MinUncond = sampler.Euler, 5, 100 }
	first := run(initial, euler(7.5), func(p *sampler.Plan) { p.Evals = p.Evals[:1] })
	second := func(p *sampler.Plan) { p.Evals, p.Start.Noise = p.Evals[1:2], 1 }
	got, want := run(initial, skipping, func(p *sampler.Plan) { p.Evals = p.Evals[:2] }), run(first, euler(1), second)
	if d := golden.Compare(got, want); !(d.Relative < 1e-6) {
		t.Errorf("against an evaluation at guidance 1: %v", d)
	}
	if d := golden.Compare(got, run(first, euler(7.5), second)); d.Relative < 1e-3 {
		t.Error("leaving the negative prompt out makes no difference")
	}
}

// sample runs what is left of a small request's plan after a cut, on 5×3 latents.
func sample(t *testing.T, p *Pipeline, initial []float32, change func(*Request), cut func(*sampler.Plan)) []float32 {
	t.Helper()
	latents, err := runCut(t, p, initial, change, cut).latents()
	if err != nil {
		t.Fatal(err)
	}
	return latents
}

// runCut is the state after what is left of a small request's plan.
func runCut(t *testing.T, p *Pipeline, initial []float32, change func(*Request), cut func(*sampler.Plan)) *sampling {
	t.Helper()
	r, plan, err := p.plan(small(change))
	if err != nil {
		t.Fatal(err)
	}
	cut(plan)
	one := &pass{request: r, plan: plan}
	if one.cond, err = p.encode(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	s, err := p.newSampling(t.Context(), p.job(one), initial, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	for i := range plan.Evals {
		if _, err := s.evaluate(t.Context(), &plan.Evals[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestGuidanceRescale compares the network's guided output, as an Euler step shows it, with diffusers' formula.
func TestGuidanceRescale(t *testing.T) {
	p := openTiny(t, openCPU(t))
	initial := make([]float32, 3*5*4)
	for i := range initial {
		initial[i] = float32(i%7)/3 - 1
	}
	output := func(guidance, rescale float64) (f []float64) {
		var update sampler.Mix
		var start float64
		latents := sample(t, p, initial, func(r *Request) {
			r.Sampler, r.Steps, r.Guidance, r.GuidanceRescale = sampler.Euler, 5, &guidance, rescale
		}, func(p *sampler.Plan) {
			p.Evals = p.Evals[:1]
			update, start = p.Evals[0].Update[0], p.Start.Noise
		})
		for i, v := range latents {
			f = append(f, (float64(v)-update.Slot[0]*start*float64(initial[i]))/update.Model)
		}
		return f
	}
	prompt, guided, got := output(1, 0), output(7.5, 0), output(7.5, 0.7)
	deviation := func(x []float64) float64 {
		mean, sum := 0.0, 0.0
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			sum += (v - mean) * (v - mean)
		}
		return math.Sqrt(sum / float64(len(x)-1))
	}
	factor := 0.7*deviation(prompt)/deviation(guided) + 0.3
	if math.Abs(factor-1) < 0.01 {
		t.Fatalf("the factor is %v, which shows nothing", factor)
	}
	for i := range got {
		if want := factor * guided[i]; math.Abs(got[i]-want) > 1e-4 {
			t.Errorf("element %d is %v, want %v", i, got[i], want)
		}
	}
}

// TestDeepCache looks at which evaluations are whole: the first, and the first after a change of the prompt.
func TestDeepCache(t *testing.T) {
	p := openTiny(t, openCPU(t))
	initial := make([]float32, 3*5*4)
	for i := range initial {
		initial[i] = float32(i%7)/3 - 1
	}
	draw := func(evaluations int, prompt string, cache DeepCache) *sampling {
		return runCut(t, p, initial, func(r *Request) {
			r.Sampler, r.Steps, r.Prompt, r.Speed.DeepCache = sampler.Euler, 4, prompt, cache
		}, func(p *sampler.Plan) { p.Evals = p.Evals[:evaluations] })
	}
	for _, evaluations := range []int{1, 2} {
		plain, err1 := draw(evaluations, "a man", DeepCache{}).latents()
		cached, err2 := draw(evaluations, "a man", DeepCache{Interval: 4}).latents()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if same := golden.Compare(cached, plain).Relative < 1e-6; same != (evaluations == 1) {
			t.Errorf("after %d evaluations the latents are those without a cache: %v", evaluations, same)
		}
	}
	for words, since := range map[string]int{"a man": 3, "[a man:a hat:1]": 1} { // the edit comes after the second evaluation
		if got := draw(3, words, DeepCache{Interval: 4}).predictors[0].since; got != since {
			t.Errorf("%q: the last whole evaluation is %d back, want %d", words, got, since)
		}
	}
}

// TestSpeedChanges draws with each option, which must change the picture and not destroy it.
func TestSpeedChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p := openTiny(t, dev)
	draw := func(change func(*Request)) *image.NRGBA {
		return generate(t, p, small(func(r *Request) { r.Width, r.Height, r.Steps = 64, 64, 6; change(r) })).Pictures[0].Image
	}
	plain := draw(func(*Request) {})
	for name, change := range map[string]func(*Request){
		"token merging": func(r *Request) { r.Speed.TokenMerging = 0.5 },
		"HyperTile":     func(r *Request) { r.Speed.HyperTile.Tile = 32 },
		"DeepCache":     func(r *Request) { r.Speed.DeepCache = DeepCache{Interval: 2, Branch: 1} },
		"FreeU":         func(r *Request) { r.FreeU = unet.FreeU{B1: 1.5, B2: 1.6, S1: 0.9, S2: 0.2} },
		"CFG rescale":   func(r *Request) { r.GuidanceRescale = 0.7 },
	} {
		if difference(plain, draw(change)) == 0 {
			t.Errorf("%s: the same picture", name)
		}
	}
}

// TestUnguidedThroughout draws without the negative prompt in every evaluation, which is guidance 1.
func TestUnguidedThroughout(t *testing.T) {
	p := openTiny(t, openCPU(t))
	want := generate(t, p, small(func(r *Request) { r.Guidance = new(1.0) })).Pictures[0].Image
	for name, speed := range map[string]Speed{
		"NGMS": {MinUncond: 100, MinUncondAll: true}, "Skip early": {SkipEarly: 1},
	} {
		if d := difference(want, generate(t, p, small(func(r *Request) { r.Speed = speed })).Pictures[0].Image); d > 0 {
			t.Errorf("%s: off by %d/255 from guidance 1", name, d)
		}
	}
}

// TestGuidanceOfOne counts the predictions at guidance 1, with which few-step models draw.
func TestGuidanceOfOne(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for s, want := range map[sampler.Sampler]int{sampler.LCM: 1, sampler.TCD: 1, sampler.Euler: 1, sampler.DDIMCFGPP: 2} {
		r, plan, err := p.plan(small(func(r *Request) { r.Sampler, r.Guidance, r.Steps = s, new(1.0), 4 }))
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.read(&pass{request: r, plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.parts) != want {
			t.Errorf("%s: %d predictions, want %d", s, len(c.parts), want)
		}
	}
}
