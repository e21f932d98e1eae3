package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// Rates are the learning rates of a step for the two networks, 0 or more; 0 leaves a network as it is.
type Rates struct{ TextEncoder, UNet float64 }

// GroupRate is the learning rate of a group of factors, by the name that sd-scripts logs it under: "textencoder" or "unet",
// with "_block12" for one of the UNet's blocks if these have weights, with " plus" for the up factors of LoRA+.
type GroupRate struct {
	Name string
	Rate float64
}

// group is a part of the factors that has a learning rate of its own.
type group struct {
	kind  weights.Kind
	block int  // the UNet's, if its blocks have weights; else -1
	plus  bool // the up factors of LoRA+
}

// name is that of GroupRate.
func (g group) name() string {
	name := "unet"
	if g.kind == weights.KindTextEncoder {
		name = "textencoder"
	}
	if g.block >= 0 {
		name = fmt.Sprintf("%s_block%d", name, g.block)
	}
	if g.plus {
		name += " plus"
	}
	return name
}

// group is the one that a factor of a module belongs to.
func (o Options) group(t lora.Target, up bool) group {
	g := group{kind: t.Kind, block: -1, plus: up && o.loraPlus(t.Kind) != 0}
	if len(o.BlockLRWeight) > 0 {
		g.block = t.Block()
	}
	return g
}

// loraPlus is LoRA+'s ratio for a network, 0 for none.
func (o Options) loraPlus(kind weights.Kind) float64 {
	ratio := o.LoRAPlusUNetRatio
	if kind == weights.KindTextEncoder {
		ratio = o.LoRAPlusTextEncoderRatio
	}
	if ratio == 0 {
		ratio = o.LoRAPlusRatio
	}
	return ratio
}

// rate is the learning rate of a group.
func (o Options) rate(g group, r Rates) float64 {
	rate := r.UNet
	if g.kind == weights.KindTextEncoder {
		rate = r.TextEncoder
	}
	if g.block >= 0 {
		rate *= o.BlockLRWeight[g.block]
	}
	if g.plus {
		rate *= o.loraPlus(g.kind)
	}
	return rate
}

// GroupRates are the learning rates of a step, by groups in the order of their first modules.
func (t *Trainer) GroupRates(r Rates) []GroupRate {
	all := make([]GroupRate, len(t.groups))
	for i, g := range t.groups {
		all[i] = GroupRate{g.name(), t.options.rate(g, r)}
	}
	return all
}

// optimizer is the one that the options choose.
func (o Options) optimizer() (optim.Choice, error) {
	c, err := optim.Choose(o.OptimizerType, o.OptimizerArgs)
	if a, ok := c.Host.(*optim.Adafactor); ok && err == nil && a.WarmupInit && !a.RelativeStep {
		err = invalid.Field("Options.OptimizerArgs", "warmup_init=True", "relative_step=True with it")
	}
	return c, err
}

// distance is the part of optimizers that estimate how far there is to go, and so their learning rate.
type distance interface{ D() float64 }

// CheckRates reports learning rates that the optimizer, if it is one that Check knows, cannot work with: Prodigy and
// DAdaptAdam have one for everything that is trained.
func (o Options) CheckRates(r Rates) error {
	c, err := o.optimizer()
	if _, ok := c.Host.(distance); err != nil || !ok {
		return nil // what is wrong with the options is Check's to report
	}
	groups := []group{{weights.KindTextEncoder, -1, false}}
	if len(o.BlockLRWeight) == 0 {
		groups = append(groups, group{weights.KindUNet, -1, false})
	}
	for block := 1; block < len(o.BlockLRWeight); block++ { // the first has no layer
		groups = append(groups, group{weights.KindUNet, block, false})
	}
	for _, g := range groups {
		if g.plus = o.loraPlus(g.kind) != 0; g.plus {
			groups = append(groups, g)
		}
	}
	return o.checkEqual(c.Name, groups, r)
}

// checkEqual reports groups of which the rates are neither equal nor 0.
func (o Options) checkEqual(optimizer string, groups []group, r Rates) error {
	first := 0.0
	for _, g := range groups {
		switch rate := o.rate(g, r); {
		case first == 0:
			first = rate
		case rate != 0 && rate != first:
			return invalid.Field("Options.OptimizerType", optimizer, "another, or one learning rate for everything: that of the text encoder is %v, of the UNet %v, and that of %s would be %v; "+
				"make them equal, 1 is usual, or one of them 0 so that it is not trained, without LoRA+ and weights of blocks", r.TextEncoder, r.UNet, g.name(), rate)
		}
	}
	return nil
}

// Notes tell what a user of these options and learning rates should know: what runs for AdamW8bit, rates that the optimizer
// makes no use of, or that are too low for it.
func (o Options) Notes(r Rates) (notes []string) {
	c, err := o.optimizer()
	if err != nil {
		return nil
	}
	if c.Note != "" {
		notes = append(notes, c.Note)
	}
	highest := max(r.TextEncoder, r.UNet)
	if _, ok := c.Host.(distance); ok && highest > 0 && highest <= 0.1 {
		notes = append(notes, fmt.Sprintf("a learning rate of %v is too low for %s, which multiplies it with one that it finds itself; use about 1", highest, c.Name))
	}
	if a, ok := c.Host.(*optim.Adafactor); ok && a.RelativeStep {
		notes = append(notes, "Adafactor with relative_step has learning rates and a schedule of its own: those given and Config.LRScheduler are not used")
	}
	return notes
}

// schedule is the one that a training gets which asks for s: Adafactor's relative steps are none but their own.
func (o Options) schedule(s optim.Schedule) (optim.Schedule, error) {
	c, err := o.optimizer()
	if err != nil {
		return s, err
	}
	a, ok := c.Host.(*optim.Adafactor)
	switch relative := ok && a.RelativeStep; {
	case relative && s.Warmup != 0:
		return s, invalid.Field("Config.LRWarmupSteps", s.Warmup, "0, or relative_step=False in Config.Trainer.OptimizerArgs: Adafactor with relative_step has no warm-up")
	case relative:
		s.Type, s.Rules = optim.AdafactorRate, nil
	case s.Type == optim.AdafactorRate:
		return s, invalid.Field("Config.LRScheduler", "adafactor", "another, such as constant: it is for Adafactor with relative_step as Config.Trainer.OptimizerType")
	}
	return s, s.Check()
}

// checkOptimizer reports what is wrong with the options of the step.
func (o Options) checkOptimizer() error {
	var errs []error
	factor := func(field string, v float64) {
		if !(v >= 0) || math.IsInf(v, 0) {
			errs = append(errs, invalid.Field("Options."+field, v, "0 for none or a positive number"))
		}
	}
	factor("MaxGradNorm", o.MaxGradNorm)
	factor("ScaleWeightNorms", o.ScaleWeightNorms)
	factor("LoRAPlusRatio", o.LoRAPlusRatio)
	factor("LoRAPlusUNetRatio", o.LoRAPlusUNetRatio)
	factor("LoRAPlusTextEncoderRatio", o.LoRAPlusTextEncoderRatio)
	if n := len(o.BlockLRWeight); n != 0 && n != lora.Blocks {
		errs = append(errs, invalid.Field("Options.BlockLRWeight", nil, "%d values, not %d", lora.Blocks, n))
	}
	_, err := o.optimizer()
	return errors.Join(append(errs, err)...)
}
