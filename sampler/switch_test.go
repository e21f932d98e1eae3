package sampler

import (
	"math"
	"testing"
)

// TestSwitch counts the evaluations before another network takes over, which follow from the web UI's rules: the part of 1000 timesteps, of
// planned calls, or of LCM's own table, that is over when a call begins.
func TestSwitch(t *testing.T) {
	for _, c := range []struct {
		name    string
		sampler Sampler
		steps   int
		at      float64
		byCalls bool
		denoise *float64
		before  int // -1 is all
	}{
		// Euler's 10 steps stand at timesteps 999, 888, ... 0.
		{"timesteps", Euler, 10, 0.5, false, nil, 5}, // 444 is the first one with 555 behind it
		{"at once", Euler, 10, 0, false, nil, 0},
		{"never", Euler, 10, 1, false, nil, -1},
		{"the last one", Euler, 10, 0.999, false, nil, 9},
		{"just before it", Euler, 10, 0.888, false, nil, 8},
		{"calls", Euler, 10, 0.55, true, nil, 6}, // 0.5 of them are over at call 5, 0.6 at call 6
		{"exactly so many calls", Euler, 10, 0.5, true, nil, 5},
		{"second order counts double", Heun, 10, 0.5, true, nil, 10},
		{"second order in timesteps", Heun, 10, 0.5, false, nil, 9}, // 444 is the end of the fifth step, and its second call
		{"image to image", Euler, 10, 0.8, true, new(0.45), 4},      // of 5 calls; 4 / 5 are over at call 4
		// DDIM's timesteps are 1, 101, ... 901: 501 is 498 from the start, 401 is 598.
		{"DDIM", DDIM, 10, 0.5, false, nil, 5},
		{"LCM counts the fifty timesteps of its table", LCM, 10, 0.9, false, nil, 0},
		{"LCM, nearly at its end", LCM, 10, 0.99, false, nil, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := New(Config{Sampler: c.sampler, Spacing: Uniform, Steps: c.steps, SwitchAt: &c.at, SwitchByCalls: c.byCalls, Denoise: c.denoise})
			if c.sampler == DDIM || c.sampler == LCM {
				p, err = New(Config{Sampler: c.sampler, Steps: c.steps, SwitchAt: &c.at, SwitchByCalls: c.byCalls})
			}
			if err != nil {
				t.Fatal(err)
			}
			before := 0
			for before < len(p.Evals) && !p.Evals[before].Switched {
				before++
			}
			for _, e := range p.Evals[before:] {
				if !e.Switched {
					t.Fatal("the first network is back")
				}
			}
			want := c.before
			if want < 0 {
				want = len(p.Evals)
			}
			if before != want || p.Switched != (before < len(p.Evals)) {
				for _, e := range p.Evals {
					t.Logf("%v at %v", e.Timestep, e.Sigma)
				}
				t.Errorf("%d of %d evaluations come before, want %d", before, len(p.Evals), want)
			}
		})
	}
	for _, at := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := New(Config{Steps: 2, SwitchAt: &at}); err == nil {
			t.Errorf("SwitchAt %v is taken", at)
		}
	}
}

// TestSwitchStays goes up and down in noise, where what has taken over stays.
func TestSwitchStays(t *testing.T) {
	for _, s := range []Sampler{Restart, DPMAdaptive, DPM2A} {
		p, err := New(Config{Sampler: s, Steps: 20, SwitchAt: new(0.6)})
		if err != nil {
			t.Fatal(err)
		}
		switched, calls, before := false, 0, 0
		for _, err := range p.Run(func(e *Eval) (float64, error) {
			if switched && !e.Switched {
				t.Errorf("%s: the first network is back at call %d", s, calls)
			}
			if switched = e.Switched; !switched {
				before++
			}
			calls++
			return 0.5, nil
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if before == 0 || before == calls || !p.Switched {
			t.Errorf("%s: %d of %d calls come before", s, before, calls)
		}
	}
}
