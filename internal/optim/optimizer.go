package optim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
)

// Optimizer moves parameters by their gradients, on the host. A LoRA is small, 38 MB at rank 16, so that fetching its
// gradients and sending its factors back costs little beside a training step; in return every device has every optimizer,
// without a kernel of its own. Numbers are float32 between steps, the arithmetic is float64.
type Optimizer interface {
	// Arrays lists what is kept between steps for a parameter of the shape, of two dimensions or more. All begin as zeros.
	Arrays(shape []int) []Array
	// Numbers lists by name what is kept for all parameters together, for reading and for writing.
	Numbers() map[string]*float64
	// Step moves the parameters: the k-th step, from 1. It may write to the gradients, and allocates nothing.
	Step(k int, tensors []Tensor)
}

// Array is something that an optimizer keeps for a parameter.
type Array struct {
	Name  string
	Shape []int
}

// Tensor is a parameter in a step.
type Tensor struct {
	Shape               []int
	Parameter, Gradient []float32
	Rate                float64     // the learning rate
	State               [][]float32 // in the order of Optimizer.Arrays
}

// AdamW are the constants of AdamW, which is an op of package compute and runs on devices.
type AdamW struct{ Beta1, Beta2, Eps, WeightDecay float64 }

// Choice is an optimizer as "optimizer_type" and "optimizer_args" choose it.
type Choice struct {
	Name  string    // as sd-scripts spells it: "AdamW8bit"
	Class string    // the Python class that does the same and its arguments, "ss_optimizer" in files
	Note  string    // what a user should know about the choice, "" if nothing
	AdamW *AdamW    // nil for the others
	Host  Optimizer // nil for AdamW
}

// Choose makes an optimizer of sd-scripts' options: a type in any case, "" for AdamW, and arguments as "key=value" with
// Python's literals, such as "weight_decay=0.1", "betas=(0.9,0.99)" and "scale_parameter=False". What is unknown or out of
// range is an [invalid.FieldError] of train.Options that lists what there is.
func Choose(optimizerType string, args []string) (Choice, error) {
	if optimizerType == "" {
		optimizerType = "AdamW"
	}
	var names []string
	for _, m := range methods {
		for _, name := range append([]string{m.name}, m.aliases...) {
			names = append(names, name)
			if !strings.EqualFold(name, strings.TrimSpace(optimizerType)) {
				continue
			}
			c := Choice{Name: name, Class: m.class}
			arguments := m.choose(&c)
			if name != m.name {
				c.Note = fmt.Sprintf("%s runs as %s: what it keeps is float32 and stays in memory", name, m.name)
			}
			return c, c.set(arguments, m.implied, args)
		}
	}
	return Choice{}, invalid.Field("Options.OptimizerType", optimizerType, "one of %s", strings.Join(names, ", "))
}

// method is an optimizer there is.
type method struct {
	name    string
	aliases []string // the same with a state in 8 bits or in memory of the host, which differs in memory alone
	class   string
	implied string // an argument that sd-scripts adds
	// choose puts the optimizer with its defaults into a choice, and returns the arguments that change them.
	choose func(c *Choice) []argument
}

var methods = []method{
	{"AdamW", []string{"AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit"}, "torch.optim.adamw.AdamW", "", func(c *Choice) []argument {
		o := &AdamW{0.9, 0.999, 1e-8, 0.01}
		c.AdamW = o
		return []argument{beta("betas", &o.Beta1, &o.Beta2), positive("eps", &o.Eps), decay(&o.WeightDecay)}
	}},
	{"Lion", []string{"Lion8bit", "PagedLion8bit"}, "lion_pytorch.lion_pytorch.Lion", "", func(c *Choice) []argument {
		o := &Lion{0.9, 0.99, 0}
		c.Host = o
		return []argument{beta("betas", &o.Beta1, &o.Beta2), decay(&o.WeightDecay)}
	}},
	{"SGDNesterov", []string{"SGDNesterov8bit"}, "torch.optim.sgd.SGD", "momentum=0.9", func(c *Choice) []argument {
		o := &SGDNesterov{0.9, 0}
		c.Host = o
		return []argument{beta("momentum", &o.Momentum), decay(&o.WeightDecay)}
	}},
	{"Adafactor", nil, "transformers.optimization.Adafactor", "relative_step=True", func(c *Choice) []argument {
		o := &Adafactor{Eps1: 1e-30, Eps2: 1e-3, ClipThreshold: 1, DecayRate: -0.8, ScaleParameter: true, RelativeStep: true}
		c.Host = o
		return []argument{
			positive("eps", &o.Eps1, &o.Eps2), positive("clip_threshold", &o.ClipThreshold), {name: "decay_rate", numbers: []*float64{&o.DecayRate}, low: -1, high: -1e-3},
			beta("beta1", &o.Beta1).orNone(), decay(&o.WeightDecay),
			{name: "scale_parameter", flag: &o.ScaleParameter}, {name: "relative_step", flag: &o.RelativeStep}, {name: "warmup_init", flag: &o.WarmupInit},
		}
	}},
	{"Prodigy", nil, "prodigyopt.prodigy.Prodigy", "", func(c *Choice) []argument {
		o := &Prodigy{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decouple: true, D0: 1e-6, DCoef: 1, GrowthRate: math.Inf(1)}
		c.Host = o
		return []argument{
			beta("betas", &o.Beta1, &o.Beta2), beta("beta3", &o.Beta3).orNone(), positive("eps", &o.Eps), decay(&o.WeightDecay), {name: "decouple", flag: &o.Decouple},
			{name: "use_bias_correction", flag: &o.BiasCorrection}, {name: "safeguard_warmup", flag: &o.SafeguardWarmup},
			positive("d0", &o.D0), positive("d_coef", &o.DCoef), growth(&o.GrowthRate),
		}
	}},
	{"DAdaptAdam", nil, "dadaptation.dadapt_adam.DAdaptAdam", "", func(c *Choice) []argument {
		o := &DAdaptAdam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, D0: 1e-6, GrowthRate: math.Inf(1)}
		c.Host = o
		return []argument{
			beta("betas", &o.Beta1, &o.Beta2), positive("eps", &o.Eps), decay(&o.WeightDecay), {name: "decouple", flag: &o.Decouple}, positive("d0", &o.D0), growth(&o.GrowthRate),
		}
	}},
}

// argument is a constant of an optimizer that can be set: numbers, within bounds, or a flag.
type argument struct {
	name      string
	numbers   []*float64
	low, high float64
	none      bool // None is allowed, for its default
	flag      *bool
}

func beta(name string, into ...*float64) argument {
	return argument{name: name, numbers: into, high: math.Nextafter(1, 0)}
}

func positive(name string, into ...*float64) argument {
	return argument{name: name, numbers: into, low: 1e-37, high: 1e37} // as a float32 too
}

func decay(into *float64) argument {
	return argument{name: "weight_decay", numbers: []*float64{into}, high: 1e3}
}

func growth(into *float64) argument {
	return argument{name: "growth_rate", numbers: []*float64{into}, low: 1, high: math.Inf(1)}
}

func (a argument) orNone() argument {
	a.none = true
	return a
}

// set applies the arguments given, and names them in the class.
func (c *Choice) set(arguments []argument, implied string, args []string) error {
	if key, _, _ := strings.Cut(implied, "="); implied != "" && !slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), key+"=") }) {
		args = append([]string{implied}, args...)
	}
	names := make([]string, len(arguments))
	for i, a := range arguments {
		names[i] = a.name
	}
	for _, text := range args {
		key, value, ok := strings.Cut(text, "=")
		i := slices.Index(names, strings.TrimSpace(key))
		if !ok || i < 0 {
			return invalid.Field("Options.OptimizerArgs", text, "one of what %s knows, %s, each as key=value", c.Name, strings.Join(names, ", "))
		}
		if err := arguments[i].parse(strings.TrimSpace(value)); err != nil {
			return &invalid.FieldError{Field: "Options.OptimizerArgs", Value: text, Err: err}
		}
	}
	if len(args) > 0 {
		c.Class += "(" + strings.Join(args, ",") + ")"
	}
	return nil
}

// parse reads a value as Python writes it.
func (a argument) parse(text string) error {
	value, err := python.Parse(text)
	if err != nil {
		value = text // which no argument takes
	}
	if a.flag != nil {
		set, ok := value.(bool)
		if !ok {
			return errors.New("want True or False")
		}
		*a.flag = set
		return nil
	}
	if a.none && value == nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	switch n := len(a.numbers); {
	case len(list) != n && n == 1:
		return errors.New("want one number")
	case len(list) != n:
		return fmt.Errorf("want %d numbers", n)
	}
	for i, element := range list {
		v, ok := element.(float64)
		if !ok || !(v >= a.low && v <= a.high) {
			return fmt.Errorf("want numbers from %.6g to %.6g", a.low, a.high)
		}
		*a.numbers[i] = v
	}
	return nil
}
