package sampler

import (
	"cmp"
	"strconv"
)

// Setting is a key of the web UI's infotexts and its value.
type Setting struct{ Key, Value string }

// Settings are what the web UI's infotexts say of how a run is sampled, besides its sampler and steps: the schedule and
// whatever has effect and is not its default, in the web UI's order.
func (c Config) Settings() []Setting {
	m, _ := c.Sampler.find()
	var s settings
	s.flag("Discard penultimate sigma", c.DiscardPenultimate && !m.discards, "True")
	if spacing := cmp.Or(c.Spacing, m.spacing); !m.fixed && spacing != Automatic {
		s.schedule(c, spacing)
	}
	s.number("Extra noise", c.ExtraNoise, 0)
	s.flag("SGM noise multiplier", c.SGMNoise, "True")
	if c.Eta != nil && m.stochastic {
		key := "Eta"
		if m.fixed {
			key = "Eta DDIM"
		}
		s.number(key, *c.Eta, m.eta)
	}
	if m.churned {
		s.number("Sigma churn", c.SChurn, 0)
		s.number("Sigma tmin", c.STmin, 0)
		s.number("Sigma tmax", c.STmax, 0)
	}
	if c.SNoise != nil && (m.churned || m.scaled) {
		s.number("Sigma noise", *c.SNoise, 1)
	}
	if !m.fixed {
		s.number("NGMS", c.MinUncond, 0)
		s.flag("NGMS all steps", c.MinUncond > 0 && c.MinUncondAll, "True")
	}
	s.number("Skip Early CFG", c.SkipEarly, 0)
	if m.sampler == UniPC {
		s.number("UniPC order", float64(c.Order), 0)
		s.flag("UniPC variant", c.Variant != "", string(c.Variant))
		s.flag("UniPC skip type", c.Skip != "", string(c.Skip))
		s.flag("UniPC lower order final", c.KeepOrderFinal, "False")
	}
	s.flag("Downcast alphas_cumprod", c.Schedule.Half, "True")
	return s
}

// settings is a list that grows.
type settings []Setting

func (s *settings) flag(key string, set bool, value string) {
	if set {
		*s = append(*s, Setting{key, value})
	}
}

func (s *settings) number(key string, value, ordinary float64) {
	s.flag(key, value != ordinary, strconv.FormatFloat(value, 'g', -1, 64))
}

// schedule tells how noise levels are placed. The web UI names limits also where they have no effect.
func (s *settings) schedule(c Config, spacing Spacing) {
	s.flag("Schedule type", true, string(spacing))
	s.number("Schedule min sigma", c.SigmaMin, 0)
	s.number("Schedule max sigma", c.SigmaMax, 0)
	if ordinary, ok := map[Spacing]float64{Karras: 7, Polyexponential: 1}[spacing]; ok {
		s.number("Schedule rho", cmp.Or(c.Rho, ordinary), ordinary)
	}
	if spacing == Beta {
		s.number("Beta schedule alpha", cmp.Or(c.BetaAlpha, 0.6), 0)
		s.number("Beta schedule beta", cmp.Or(c.BetaBeta, 0.6), 0)
	}
}
