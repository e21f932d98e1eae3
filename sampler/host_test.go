package sampler

import (
	"iter"
	"math"
	"testing"
)

// host runs plans on a single number with a toy network whose data are N(mean, deviation²), so that
// D(x,σ) = (deviation²·x + σ²·mean)/(deviation² + σ²) is known. It follows the package comment word by word.
type host struct {
	mean, deviation float64
	prediction      Prediction
	guidance        *float64 // with a negative prompt whose data are N(−0.4, 0.9²); nil has none
	noise           func(Noise) float64
	seen            func(e Eval, x, denoised, latent float64) // x in sigma space as the network saw it; latent after the update
}

// toy is the problem of the vectors.
func toy() host { return host{mean: 0.7, deviation: 0.5} }

func (h host) denoise(x, sigma float64) float64 {
	v := h.deviation * h.deviation
	return (v*x + sigma*sigma*h.mean) / (v + sigma*sigma)
}

// run returns slot 0 after the plan, started at the given slot 0.
func (h host) run(t testing.TB, p *Plan, start float64) float64 {
	t.Helper()
	slots := make([]float64, p.Slots)
	slots[0] = start
	z := 0.0
	evaluate := func(e *Eval) (float64, error) {
		if e.Noise.Kind != NoNoise && e.Noise.Kind != Kept {
			if usesNoise(*e) { // the vectors draw none that has no weight
				z = h.noise(e.Noise)
			}
		} else if e.Noise.Kind == NoNoise && usesNoise(*e) {
			t.Fatalf("step %d uses noise that it does not declare", e.Step)
		}
		mix := func(m Mix, model, unconditional float64) float64 {
			sum := m.Model*model + m.Unconditional*unconditional + m.Noise*z
			for k, s := range slots {
				sum += m.Slot[k] * s
			}
			return sum
		}
		if e.Input.Model != 0 {
			t.Fatalf("step %d: the input depends on the network's output", e.Step)
		}
		x := mix(e.Input, 0, 0) * math.Sqrt(1+e.Sigma*e.Sigma)
		denoised := h.denoise(x, e.Sigma)
		skip, out := h.prediction.scalings(e.Sigma)
		model := (denoised - skip*x) / out
		unconditional := model
		if h.guidance != nil {
			negative := host{mean: -0.4, deviation: 0.9}
			unconditional = (negative.denoise(x, e.Sigma) - skip*x) / out
			model = unconditional + *h.guidance*(model-unconditional)
		}
		next := make([]float64, p.Slots)
		for j, m := range e.Update {
			next[j] = mix(m, model, unconditional)
		}
		estimate := mix(e.Denoised, model, unconditional)
		copy(slots, next)
		if h.seen != nil {
			h.seen(*e, x, estimate, slots[0])
		}
		own := make([][]float64, p.Slots)
		for k, s := range slots {
			own[k] = []float64{s}
		}
		return measure(e.Measure, own), nil
	}
	for range p.steps(t, evaluate) {
	}
	return slots[0]
}

// measure is Distance.Between in double precision.
func measure(d *Distance, slots [][]float64) float64 {
	if d == nil {
		return 0
	}
	sum := 0.0
	for i, a := range slots[d.A] {
		sum += d.square(a, slots[d.B][i], slots[d.Reference][i])
	}
	return math.Sqrt(sum / float64(len(slots[d.A])))
}

// steps carries a plan out and checks that it counts its steps.
func (p *Plan) steps(t testing.TB, evaluate func(*Eval) (float64, error)) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		next, complete := 0, false
		for at, err := range p.Run(evaluate) {
			if err != nil {
				t.Fatal(err)
			}
			if at.Step != next || complete || at.Total <= at.Step || p.Steps != 0 && at.Total != p.Steps {
				t.Fatalf("step %d of %d comes after %d steps", at.Step, at.Total, next)
			}
			if next, complete = next+1, at.Last(); !yield(at) {
				return
			}
		}
		if !complete {
			t.Fatalf("the run ends after %d steps without a last one", next)
		}
	}
}

// usesNoise tells whether any coefficient of the evaluation multiplies noise.
func usesNoise(e Eval) bool {
	used := e.Input.Noise != 0
	for _, m := range e.Update {
		used = used || m.Noise != 0
	}
	return used
}

// stream is the artificial noise of the vectors: z_k = √2·sin(1.3k + 0.7) in the order of calls.
func stream() func(Noise) float64 {
	k := -1.0
	return func(Noise) float64 { k++; return math.Sqrt2 * math.Sin(1.3*k+0.7) }
}

func silence(Noise) float64 { return 0 }

// differ reports values that are further apart than tolerance, relative for large ones.
func differ(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: got %.17g, want %.17g, difference %.2g", what, got, want, d)
	}
}
