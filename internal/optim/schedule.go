// Package optim has what a training step needs that no device has a part in: the learning rate of each step under
// sd-scripts' schedules ([Schedule]), the warm-up counted from its options ([Count]), the state of a dynamic loss scale
// ([Scaler]), and the optimizers ([Optimizer]), but for AdamW, which is an op of package compute.
package optim

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
)

// ScheduleType names a schedule, "lr_scheduler".
type ScheduleType string

// The schedules of sd-scripts.
const (
	Constant           ScheduleType = "constant"
	ConstantWithWarmup ScheduleType = "constant_with_warmup"
	Linear             ScheduleType = "linear"
	Cosine             ScheduleType = "cosine"               // Waves waves; Cycles has no use for it
	CosineWithRestarts ScheduleType = "cosine_with_restarts" // Cycles half waves
	Polynomial         ScheduleType = "polynomial"           // to End with Power
	InverseSqrt        ScheduleType = "inverse_sqrt"
	CosineWithMinLR    ScheduleType = "cosine_with_min_lr"
	WarmupStableDecay  ScheduleType = "warmup_stable_decay"
	PiecewiseConstant  ScheduleType = "piecewise_constant" // by Rules
	AdafactorRate      ScheduleType = "adafactor"          // always 1: Adafactor's relative steps are a schedule of their own
)

// types lists the schedules there are.
var types = []ScheduleType{
	Constant, ConstantWithWarmup, Linear, Cosine, CosineWithRestarts, Polynomial, InverseSqrt, CosineWithMinLR, WarmupStableDecay,
	PiecewiseConstant, AdafactorRate,
}

// Shape is how WarmupStableDecay goes up or down.
type Shape string

// The shapes, by transformers' names.
const (
	Straight   Shape = "linear"
	Wave       Shape = "cosine"
	SquareRoot Shape = "1-sqrt" // slowly at first on the way up, fast at first on the way down
)

// Schedule says how the learning rate changes over a training, in the options of sd-scripts. Zero numbers mean the
// defaults that their comments name.
type Schedule struct {
	Type         ScheduleType // "" is Constant
	Steps        int          // all that the training has, at least 1: T
	Warmup       int          // steps from 0 to the full rate: w
	Decay        int          // steps of WarmupStableDecay's decay
	Cycles       int          // half waves that CosineWithRestarts, CosineWithMinLR and WarmupStableDecay have, "lr_scheduler_num_cycles"; 0 is 1
	Power        float64      // Polynomial's exponent, "lr_scheduler_power"; 0 is 1
	Timescale    int          // InverseSqrt's steps, "lr_scheduler_timescale"; 0 is Warmup, or 10000 without one
	MinRatio     float64      // the least factor that CosineWithMinLR, which needs it, and WarmupStableDecay come to, "lr_scheduler_min_lr_ratio"
	LearningRate float64      // the rate that Polynomial starts from, "learning_rate"

	// These are said by "lr_scheduler_args"; see SetArgs.
	Rules      []Rule   // what PiecewiseConstant goes by and needs, "step_rules"
	Waves      float64  // of Cosine, "num_cycles"; 0 is 0.5
	End        *float64 // the rate that Polynomial ends at, "lr_end"; nil is 1e-7
	WarmupType Shape    // of WarmupStableDecay, "warmup_type"; "" is Straight
	DecayType  Shape    // of WarmupStableDecay, "decay_type"; "" is Wave
}

// end is End, or its default.
func (s Schedule) end() float64 {
	if s.End == nil {
		return 1e-7
	}
	return *s.End
}

// Rule is a factor and the step before which it holds.
type Rule struct {
	Factor float64
	Until  int
}

// Check reports what is wrong with the schedule, all of it, as [invalid.FieldError]s of the train.Config that it is made of.
func (s Schedule) Check() error {
	var errs []error
	refuse := func(field string, value any, want string, args ...any) {
		errs = append(errs, invalid.Field("Config."+field, value, want, args...))
	}
	count := func(field string, n int) {
		if n < 0 {
			refuse(field, n, "0 or more")
		}
	}
	known := s.Type == ""
	names := make([]string, len(types))
	for i, t := range types {
		known = known || t == s.Type
		names[i] = string(t)
	}
	if !known {
		refuse("LRScheduler", string(s.Type), "one of %s", strings.Join(names, ", "))
	}
	if s.Steps < 1 {
		errs = append(errs, fmt.Errorf("optim: a schedule of %d steps; want at least 1", s.Steps))
	}
	count("LRWarmupSteps", s.Warmup)
	count("LRDecaySteps", s.Decay)
	count("LRSchedulerNumCycles", s.Cycles)
	count("LRSchedulerTimescale", s.Timescale)
	if (s.Type == "" || s.Type == Constant) && s.Warmup != 0 {
		refuse("LRWarmupSteps", s.Warmup, "0, or constant_with_warmup in Config.LRScheduler: constant has none")
	}
	if !(s.Power >= 0) || math.IsInf(s.Power, 0) {
		refuse("LRSchedulerPower", s.Power, "a number of 0 or more")
	}
	if s.Type == Polynomial && !(s.LearningRate > s.end()) {
		refuse("LearningRate", s.LearningRate, "a number above %v, where Config.LRScheduler polynomial ends", s.end())
	}
	if !(s.MinRatio >= 0 && s.MinRatio <= 1) {
		refuse("LRSchedulerMinLRRatio", s.MinRatio, "0 to 1")
	}
	if s.Type == CosineWithMinLR && s.MinRatio == 0 {
		refuse("LRSchedulerMinLRRatio", 0, "a number above 0: Config.LRScheduler cosine_with_min_lr needs it")
	}
	if (s.Type == PiecewiseConstant) != (len(s.Rules) > 0) {
		refuse("LRSchedulerArgs", nil, "step_rules such as step_rules=1:10,0.1:20,0.01 where Config.LRScheduler is piecewise_constant, and with no other")
	}
	if s.Type == AdafactorRate && s.Warmup != 0 {
		refuse("LRWarmupSteps", s.Warmup, "0: Config.LRScheduler adafactor has no warm-up")
	}
	return errors.Join(errs...)
}

// Factor is what the rates are multiplied with after the given number of steps, 0 for the first: λ. A warm-up therefore
// begins at 0.
func (s Schedule) Factor(step int) float64 {
	if step < s.Warmup {
		f := float64(step) / float64(max(1, s.Warmup))
		if s.Type == WarmupStableDecay {
			return s.MinRatio + (1-s.MinRatio)*s.WarmupType.up(f)
		}
		return f
	}
	cycles := float64(max(1, s.Cycles))
	x := float64(step-s.Warmup) / float64(max(1, s.Steps-s.Warmup)) // progress after the warm-up
	switch s.Type {
	case Linear:
		return max(0, 1-x)
	case Cosine:
		waves := s.Waves
		if waves == 0 {
			waves = 0.5
		}
		return max(0, wave(2*waves*x))
	case CosineWithRestarts:
		if x >= 1 {
			return 0
		}
		_, within := math.Modf(cycles * x)
		return wave(within)
	case Polynomial:
		if step > s.Steps {
			return s.end() / s.LearningRate
		}
		power := s.Power
		if power == 0 {
			power = 1
		}
		return ((s.LearningRate-s.end())*math.Pow(1-x, power) + s.end()) / s.LearningRate
	case InverseSqrt:
		scale := s.Timescale
		switch {
		case scale == 0 && s.Warmup > 0:
			scale = s.Warmup
		case scale == 0:
			scale = 10000
		}
		return 1 / math.Sqrt(float64(step+scale-s.Warmup)/float64(scale))
	case CosineWithMinLR:
		return s.MinRatio + (1-s.MinRatio)*wave(cycles*x)
	case WarmupStableDecay:
		into := step - (s.Steps - s.Decay) // steps of the decay that are done
		switch {
		case into < 0:
			return 1
		case into >= s.Decay:
			return s.MinRatio
		}
		return max(0, s.MinRatio+(1-s.MinRatio)*s.DecayType.down(float64(into)/float64(s.Decay), cycles))
	case PiecewiseConstant:
		for _, r := range s.Rules {
			if step < r.Until {
				return r.Factor
			}
		}
	}
	return 1
}

// wave falls from 1 to 0 over x from 0 to 1, as a cosine.
func wave(x float64) float64 { return (1 + math.Cos(math.Pi*x)) / 2 }

// up rises from 0 to 1 over x from 0 to 1.
func (t Shape) up(x float64) float64 {
	switch t {
	case Wave:
		return 1 - wave(x)
	case SquareRoot:
		return 1 - math.Sqrt(1-x)
	}
	return x
}

// down falls from 1 to 0 over x from 0 to 1, a Wave so many times half of one.
func (t Shape) down(x, cycles float64) float64 {
	switch t {
	case Straight:
		return 1 - x
	case SquareRoot:
		return 1 - math.Sqrt(x)
	}
	return wave(cycles * x)
}

// Count reads a number of steps as "lr_warmup_steps" and "lr_decay_steps" give it: whole numbers of 1 and more are steps,
// smaller ones and percentages ("10%") that part of all steps, rounded down. "" is 0.
func Count(option string, steps int) (int, error) {
	text := strings.TrimSpace(option)
	if text == "" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	f, err := python.Float(number)
	switch {
	case err != nil || math.IsNaN(f) || f < 0 || f > math.MaxInt32:
		return 0, fmt.Errorf("optim: %q steps; want a number such as 100, or a part of all steps such as 0.1 or 10%%", option)
	case percent && f > 100:
		return 0, fmt.Errorf("optim: %q of all steps; want at most 100%%", option)
	case percent:
		return int(f / 100 * float64(steps)), nil
	case f < 1:
		return int(f * float64(steps)), nil
	case f != math.Trunc(f):
		return 0, fmt.Errorf("optim: %q steps; want a whole number, or a part of all steps below 1", option)
	}
	return int(f), nil
}
