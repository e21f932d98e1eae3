package sd

import (
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
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
	p := openTiny(t, ref.New())
	run := func(initial []float32, change func(*Request), cut func(*sampler.Plan)) []float32 {
		r, plan, err := p.plan(small(change))
		if err != nil {
			t.Fatal(err)
		}
		cut(plan)
		c, err := p.encode(t.Context(), &pass{request: r, plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.newSampling(t.Context(), job{plan: plan, cond: c, batch: 1, height: 3, width: 5}, initial, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for i := range plan.Evals {
			if _, err := s.evaluate(t.Context(), &plan.Evals[i]); err != nil {
				t.Fatal(err)
			}
		}
		latents, err := s.latents()
		if err != nil {
			t.Fatal(err)
		}
		return latents
	}
	initial := make([]float32, 3*5*4)
	for i := range initial {
		initial[i] = float32(i%7) / 3
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

// TestUnguidedThroughout draws without the negative prompt in every evaluation, which is guidance 1.
func TestUnguidedThroughout(t *testing.T) {
	p := openTiny(t, ref.New())
	want := generate(t, p, small(func(r *Request) { r.Guidance = new(1.0) })).Pictures[0].Image
	for name, speed := range map[string]Speed{
		"NGMS": {MinUncond: 100, MinUncondAll: true}, "Skip early": {SkipEarly: 1},
	} {
		if d := difference(want, generate(t, p, small(func(r *Request) { r.Speed = speed })).Pictures[0].Image); d > 0 {
			t.Errorf("%s: off by %d/255 from guidance 1", name, d)
		}
	}
}
