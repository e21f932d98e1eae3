package optim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
)

// scheduleArgument is what "lr_scheduler_args" can say of a schedule.
type scheduleArgument struct {
	of         ScheduleType
	name, want string
	set        func(s *Schedule, value any) bool // false if the value is none
}

// scheduleArguments are those of transformers' functions that sd-scripts does not fill in from other options.
var scheduleArguments = []scheduleArgument{
	{Cosine, "num_cycles", "a number of waves above 0, 0.5 is usual", number(func(s *Schedule, v float64) bool { s.Waves = v; return v > 0 })},
	{Polynomial, "lr_end", "a learning rate from 0", number(func(s *Schedule, v float64) bool { s.End = &v; return v >= 0 })},
	{CosineWithMinLR, "min_lr", "a learning rate above 0, up to Config.LearningRate, in place of Config.LRSchedulerMinLRRatio", number(func(s *Schedule, v float64) bool {
		given := s.MinRatio != 0
		s.MinRatio = v / s.LearningRate
		return !given && v > 0 && v <= s.LearningRate
	})},
	{WarmupStableDecay, "warmup_type", "linear, cosine or 1-sqrt", shape(func(s *Schedule) *Shape { return &s.WarmupType })},
	{WarmupStableDecay, "decay_type", "linear, cosine or 1-sqrt", shape(func(s *Schedule) *Shape { return &s.DecayType })},
	{PiecewiseConstant, "step_rules", "factors with the steps they hold until, growing, and a last one without, such as step_rules=1:10,0.1:20,0.01", (*Schedule).setRules},
}

// number sets what is a finite number.
func number(set func(s *Schedule, v float64) bool) func(*Schedule, any) bool {
	return func(s *Schedule, value any) bool {
		v, ok := value.(float64)
		return ok && !math.IsNaN(v) && !math.IsInf(v, 0) && set(s, v)
	}
}

// shape sets what is the name of one.
func shape(field func(*Schedule) *Shape) func(*Schedule, any) bool {
	return func(s *Schedule, value any) bool {
		t := Shape(fmt.Sprint(value))
		*field(s) = t
		return slices.Contains([]Shape{Straight, Wave, SquareRoot}, t)
	}
}

// SetArgs takes "lr_scheduler_args", each NAME=VALUE with a value as Python writes it or a text without quotes: what the schedule's type
// has besides its other fields, which are set before.
func (s *Schedule) SetArgs(args []string) error {
	for _, arg := range args {
		name, text, _ := strings.Cut(arg, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		value, err := python.Parse(text)
		if err != nil {
			value = text
		}
		if name == "last_epoch" && value == -1.0 { // the default, of all of them
			continue
		}
		var names []string
		at := -1
		for i, a := range scheduleArguments {
			if a.of == s.Type {
				names = append(names, a.name)
				if a.name == name {
					at = i
				}
			}
		}
		switch {
		case at < 0 && names == nil:
			return invalid.Field("Config.LRSchedulerArgs", arg, "none: Config.LRScheduler %s has no arguments", cmp.Or(s.Type, Constant))
		case at < 0:
			return invalid.Field("Config.LRSchedulerArgs", arg, "%s=…, which Config.LRScheduler %s has", strings.Join(names, "=… or "), s.Type)
		case !scheduleArguments[at].set(s, value):
			return invalid.Field("Config.LRSchedulerArgs", arg, "%s", scheduleArguments[at].want)
		}
	}
	return nil
}

// setRules reads step_rules: "1:10,0.1:20,0.01" is a factor of 1 before step 10, of 0.1 before step 20 and of 0.01 from then on.
func (s *Schedule) setRules(value any) bool {
	parts := strings.Split(fmt.Sprint(value), ",")
	s.Rules = nil
	for i, part := range parts {
		factor, until, timed := strings.Cut(part, ":")
		r := Rule{Until: math.MaxInt}
		var err1, err2 error
		r.Factor, err1 = python.Float(factor)
		if timed {
			r.Until, err2 = strconv.Atoi(strings.TrimSpace(until))
		}
		last := i == len(parts)-1
		if err1 != nil || err2 != nil || !(r.Factor >= 0 && r.Factor <= 1e6) || timed == last || i > 0 && r.Until <= s.Rules[i-1].Until {
			return false
		}
		s.Rules = append(s.Rules, r)
	}
	return true
}
