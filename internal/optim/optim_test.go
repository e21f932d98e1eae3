package optim_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/optim"
)

// TestSchedule compares factors with values computed from the formulas of sd-scripts and transformers, to the digits
// they are given in.
func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		name string
		s    optim.Schedule
		want map[int]float64 // by step
	}{
		{"constant", optim.Schedule{Steps: 100}, map[int]float64{0: 1, 99: 1}},
		{"constant with warm-up", optim.Schedule{Type: optim.ConstantWithWarmup, Steps: 100, Warmup: 10}, map[int]float64{0: 0, 5: 0.5, 10: 1, 99: 1}},
		{"linear", optim.Schedule{Type: optim.Linear, Steps: 1296, Warmup: 129}, map[int]float64{0: 0, 129: 1, 700: 0.510711, 1295: 0.000856898, 1296: 0, 2000: 0}},
		{"cosine", optim.Schedule{Type: optim.Cosine, Steps: 1296, Warmup: 129, Cycles: 7}, map[int]float64{0: 0, 64: 0.496124, 129: 1, 700: 0.516822, 1295: 1.81e-6}},
		{"cosine with three restarts", optim.Schedule{Type: optim.CosineWithRestarts, Steps: 1296, Cycles: 3},
			map[int]float64{0: 1, 324: 0.146447, 432: 1, 647: 0.503636, 648: 0.5, 1295: 1.32e-5, 1296: 0}},
		{"polynomial", optim.Schedule{Type: optim.Polynomial, Steps: 1000, LearningRate: 1e-4}, map[int]float64{0: 1, 500: 0.5005, 1000: 0.001, 1500: 0.001}},
		{"polynomial of power 2", optim.Schedule{Type: optim.Polynomial, Steps: 1000, LearningRate: 1e-4, Power: 2}, map[int]float64{500: 0.25075}},
		{"inverse square root", optim.Schedule{Type: optim.InverseSqrt, Steps: 1000, Warmup: 100}, map[int]float64{50: 0.5, 100: 1, 400: 0.5}},
		{"inverse square root without warm-up", optim.Schedule{Type: optim.InverseSqrt, Steps: 1000}, map[int]float64{0: 1, 30000: 0.5}},
		{"inverse square root of a timescale", optim.Schedule{Type: optim.InverseSqrt, Steps: 1000, Warmup: 100, Timescale: 50}, map[int]float64{100: 1, 250: 0.5}},
		{"cosine with minimum", optim.Schedule{Type: optim.CosineWithMinLR, Steps: 1000, Warmup: 100, MinRatio: 0.1}, map[int]float64{50: 0.5, 550: 0.55, 1000: 0.1}},
		{"warm-up, stable, decay", optim.Schedule{Type: optim.WarmupStableDecay, Steps: 1000, Warmup: 100, Decay: 200, MinRatio: 0.2},
			map[int]float64{0: 0.2, 50: 0.6, 100: 1, 799: 1, 800: 1, 900: 0.6, 1000: 0.2, 1100: 0.2}},
		{"piecewise constant", optim.Schedule{Type: optim.PiecewiseConstant, Steps: 100, Rules: rules(t, "step_rules=1:10, 0.1:20,0.01")},
			map[int]float64{0: 1, 9: 1, 10: 0.1, 19: 0.1, 20: 0.01, 99: 0.01}},
		{"piecewise constant with warm-up", optim.Schedule{Type: optim.PiecewiseConstant, Steps: 100, Warmup: 4, Rules: rules(t, "step_rules=1:10,0.1")},
			map[int]float64{0: 0, 2: 0.5, 4: 1, 10: 0.1}},
		{"Adafactor's", optim.Schedule{Type: optim.AdafactorRate, Steps: 100}, map[int]float64{0: 1, 99: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.s.Check(); err != nil {
				t.Fatal(err)
			}
			for step, want := range c.want {
				// The values have six significant digits, those below 1e-4 three.
				tolerance := 1e-6
				if want < 1e-4 {
					tolerance = 5e-3 * want
				}
				if got := c.s.Factor(step); math.Abs(got-want) > tolerance {
					t.Errorf("step %d: factor is %.9g, want %g", step, got, want)
				}
			}
		})
	}
}

func TestScheduleErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		s    optim.Schedule
		say  string
	}{
		{"unknown", optim.Schedule{Type: "sine", Steps: 10}, `Config.LRScheduler is "sine", want one of constant,`},
		{"no steps", optim.Schedule{}, "0 steps"},
		{"constant with warm-up", optim.Schedule{Steps: 100, Warmup: 10}, "Config.LRWarmupSteps is 10, want 0, or constant_with_warmup"},
		{"negative warm-up", optim.Schedule{Type: optim.Cosine, Steps: 100, Warmup: -1}, "Config.LRWarmupSteps is -1, want 0 or more"},
		{"minimum missing", optim.Schedule{Type: optim.CosineWithMinLR, Steps: 100}, "Config.LRSchedulerMinLRRatio is 0, want a number above 0"},
		{"minimum too large", optim.Schedule{Type: optim.CosineWithMinLR, Steps: 100, MinRatio: 2}, "Config.LRSchedulerMinLRRatio is 2"},
		{"polynomial to more than it starts from", optim.Schedule{Type: optim.Polynomial, Steps: 100, LearningRate: 1e-8}, "Config.LearningRate is 1e-08, want a number above"},
		{"piecewise constant without rules", optim.Schedule{Type: optim.PiecewiseConstant, Steps: 100}, "step_rules=1:10"},
		{"rules of another", optim.Schedule{Type: optim.Cosine, Steps: 100, Rules: rules(t, "step_rules=1")}, "and with no other"},
		{"Adafactor's with warm-up", optim.Schedule{Type: optim.AdafactorRate, Steps: 100, Warmup: 10}, "adafactor has no warm-up"},
		{"power that is none", optim.Schedule{Type: optim.Polynomial, Steps: 100, LearningRate: 1, Power: math.NaN()}, "Config.LRSchedulerPower is NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.s.Check(); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("error is %v\nwant %q in it", err, c.say)
			}
		})
	}
}

func rules(t *testing.T, args ...string) []optim.Rule {
	t.Helper()
	s := optim.Schedule{Type: optim.PiecewiseConstant}
	if err := s.SetArgs(args); err != nil {
		t.Fatal(err)
	}
	return s.Rules
}

// TestScheduleArgs compares factors with those of transformers' functions, called as sd-scripts calls them with its lr_scheduler_args:
// testdata/schedules.py writes them.
func TestScheduleArgs(t *testing.T) {
	data, err := os.ReadFile("testdata/schedules.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Schedule optim.Schedule
		Args     []string
		Factors  []float64
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		s := c.Schedule
		if err := errors.Join(s.SetArgs(c.Args), s.Check()); err != nil {
			t.Errorf("%s %q: %v", s.Type, c.Args, err)
		}
		for step, want := range c.Factors {
			if got := s.Factor(step); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s %q: at step %d %.15g, want %.15g", s.Type, c.Args, step, got, want)
				break
			}
		}
	}
}

// TestScheduleArgsErrors names arguments that a schedule has not, and values that they cannot have.
func TestScheduleArgsErrors(t *testing.T) {
	for arg, c := range map[string]struct {
		of  optim.ScheduleType
		say string
	}{
		"num_cycles=2":        {optim.Linear, "want none: Config.LRScheduler linear has no arguments"},
		"last_epoch=3":        {"", "want none: Config.LRScheduler constant has no arguments"},
		"lr_end=0":            {optim.Cosine, "want num_cycles=…, which Config.LRScheduler cosine has"},
		"T_max=3":             {optim.WarmupStableDecay, "want warmup_type=… or decay_type=…, which"},
		"num_cycles=0":        {optim.Cosine, "a number of waves above 0"},
		"num_cycles='1'":      {optim.Cosine, "a number of waves above 0"},
		"num_cycles=1e999":    {optim.Cosine, "a number of waves above 0"},
		"num_cycles":          {optim.Cosine, "a number of waves above 0"},
		"lr_end=-1":           {optim.Polynomial, "a learning rate from 0"},
		"min_lr=1":            {optim.CosineWithMinLR, "up to Config.LearningRate"},
		"decay_type=straight": {optim.WarmupStableDecay, "linear, cosine or 1-sqrt"},
		"warmup_type=None":    {optim.WarmupStableDecay, "linear, cosine or 1-sqrt"},
	} {
		s := optim.Schedule{Type: c.of, Steps: 100, LearningRate: 1e-4}
		if err := s.SetArgs([]string{arg}); err == nil || !strings.Contains(err.Error(), "Config.LRSchedulerArgs is") || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: the error is %v, want %q in it", arg, err, c.say)
		}
	}
	both := optim.Schedule{Type: optim.CosineWithMinLR, Steps: 100, LearningRate: 1e-4, MinRatio: 0.1}
	if err := both.SetArgs([]string{"min_lr=1e-5"}); err == nil || !strings.Contains(err.Error(), "in place of Config.LRSchedulerMinLRRatio") {
		t.Errorf("both: %v", err)
	}
	late := optim.Schedule{Type: optim.Polynomial, Steps: 100, LearningRate: 1e-4}
	if err := errors.Join(late.SetArgs([]string{"lr_end=1e-3"}), late.Check()); err == nil || !strings.Contains(err.Error(), "a number above 0.001, where") {
		t.Errorf("it ends above where it begins: %v", err)
	}
}

// TestStepRulesLiteral has a text in quotes, as the trainer that the arguments come from wants it.
func TestStepRulesLiteral(t *testing.T) {
	want := rules(t, "step_rules=1:10,0.1")
	for _, arg := range []string{`step_rules="1:10,0.1"`, `step_rules='1:10,0.1'`, `step_rules=("1:10, 0.1")`} {
		if have := rules(t, arg); !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v", arg, have, want)
		}
	}
}

func TestStepRulesErrors(t *testing.T) {
	for _, arg := range []string{
		"T_max=10", "step_rules=", "step_rules=1:10", "step_rules=1:10,0.1", "step_rules=1:10,0.1:5,0.01", "step_rules=1:10,0.1:10,0.01",
		"step_rules=a:10,1", "step_rules=1:x,1", "step_rules=1,1", "step_rules=NaN", "step_rules=-1",
	} {
		s := optim.Schedule{Type: optim.PiecewiseConstant}
		err := s.SetArgs([]string{arg})
		if valid := arg == "step_rules=1:10,0.1"; (err == nil) != valid {
			t.Errorf("%s gives the error %v", arg, err)
		}
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		option string
		want   int
		ok     bool
	}{
		{"10%", 129, true}, {"0.1", 129, true}, {"129", 129, true}, {"", 0, true}, {"0", 0, true}, {" 100 ", 100, true}, {"100%", 1296, true},
		{"1.5", 0, false}, {"-1", 0, false}, {"101%", 0, false}, {"ten", 0, false}, {"NaN", 0, false}, {"1e300", 0, false},
	} {
		got, err := optim.Count(c.option, 1296)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("Count(%q, 1296) is %d, error %v; want %d, error %v", c.option, got, err, c.want, !c.ok)
		}
	}
}

// TestScaler follows PyTorch's: 65536, halved by an overflow, doubled after 2000 good steps in a row.
func TestScaler(t *testing.T) {
	var s optim.Scaler
	check := func(when string, want float64) {
		t.Helper()
		if got := s.Scale(); got != want {
			t.Errorf("%s the scale is %v, want %v", when, got, want)
		}
	}
	check("at first", 65536)
	s.Update(false)
	check("after an overflow", 32768)
	for range 1999 {
		s.Update(true)
	}
	check("after 1999 good steps", 32768)
	s.Update(true)
	check("after 2000 good steps", 65536)
	s.Update(true)
	s.Update(false)
	for range 1999 {
		s.Update(true)
	}
	check("1999 good steps after another overflow", 32768)
}
