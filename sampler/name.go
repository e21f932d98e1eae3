package sampler

import (
	"fmt"
	"slices"
	"strings"
)

// Sampler names a sampling method as the web UI does.
type Sampler string

const (
	DPMPP2M        Sampler = "DPM++ 2M" // the default
	DPMPPSDE       Sampler = "DPM++ SDE"
	DPMPP2MSDE     Sampler = "DPM++ 2M SDE"
	DPMPP2MSDEHeun Sampler = "DPM++ 2M SDE Heun"
	DPMPP2SA       Sampler = "DPM++ 2S a"
	DPMPP3MSDE     Sampler = "DPM++ 3M SDE"
	EulerA         Sampler = "Euler a"
	Euler          Sampler = "Euler"
	LMS            Sampler = "LMS"
	Heun           Sampler = "Heun"
	DPM2           Sampler = "DPM2"
	DPM2A          Sampler = "DPM2 a"
	DPMFast        Sampler = "DPM fast"
	DPMAdaptive    Sampler = "DPM adaptive" // takes as many steps as its error asks for, whatever Steps says
	Restart        Sampler = "Restart"
	DDIM           Sampler = "DDIM"
	DDIMCFGPP      Sampler = "DDIM CFG++"
	PLMS           Sampler = "PLMS" // PNDM without its Runge–Kutta start
	UniPC          Sampler = "UniPC"
	LCM            Sampler = "LCM"

	// Samplers that the web UI does not have. CFG++ wants a guidance of 0 to about 2.
	TCD           Sampler = "TCD"
	EulerCFGPP    Sampler = "Euler CFG++"
	EulerACFGPP   Sampler = "Euler a CFG++"
	DPMPP2MCFGPP  Sampler = "DPM++ 2M CFG++"
	DPMPP2SACFGPP Sampler = "DPM++ 2S a CFG++"
)

// method is what there is to know about a sampler besides its formula.
type method struct {
	sampler Sampler
	aliases []string // names in ComfyUI, the web UI's API and diffusers
	solve   func(*builder)
	spacing Spacing                            // for Automatic; where there is none, that is Uniform or the grid
	grid    func(*Table, Config) (*run, error) // of its own, for Automatic
	span    func(*Table, Config, *run) error   // turns a list of noise levels into what the method runs on

	fixed       bool    // keeps to its own timesteps whatever schedule is named, as in the web UI
	secondOrder bool    // counted as two evaluations a step
	discards    bool    // places one level more and drops the lowest but the last
	distilled   bool    // knows fifty noise levels only
	stochastic  bool    // has an η
	eta         float64 // default
	brownian    bool    // its noise is one Brownian path
	churned     bool    // has churn
	scaled      bool    // obeys a factor on its noise, as those with churn do
	shifted     bool    // the web UI says of its pictures by how much the seed of its noise was shifted (ENSD)
	multistep   bool    // takes diffusers' multistep form of its spacings

	order, lowest, highest int // the default and the bounds of Config.Order; 0 if the method has one order only
	heun, cfgpp            bool
	guidance               float64 // part of the user's guidance that it takes; 0 is all of it
	lcm                    lcmRule
}

// methods are in the order of the web UI's menu, then those that it does not have.
var methods = []method{
	{sampler: DPMPP2M, solve: dpmpp2M, spacing: Karras, multistep: true,
		aliases: []string{"dpmpp_2m", "k_dpmpp_2m", "DPMSolverMultistepScheduler", "DPMSolverMultistep"}},
	{sampler: DPMPPSDE, solve: dpmppSDE, spacing: Karras, stochastic: true, eta: 1, secondOrder: true, brownian: true, scaled: true,
		aliases: []string{"dpmpp_sde", "k_dpmpp_sde", "DPMSolverSDEScheduler", "DPMSolverSDE"}},
	{sampler: DPMPP2MSDE, solve: dpmpp2M, spacing: Exponential, stochastic: true, eta: 1, brownian: true, scaled: true, multistep: true,
		aliases: []string{"dpmpp_2m_sde", "k_dpmpp_2m_sde"}},
	{sampler: DPMPP2MSDEHeun, solve: dpmpp2M, spacing: Exponential, stochastic: true, eta: 1, brownian: true, scaled: true, multistep: true, heun: true,
		aliases: []string{"dpmpp_2m_sde_heun", "k_dpmpp_2m_sde_heun"}},
	{sampler: DPMPP2SA, solve: dpmpp2SAncestral, spacing: Karras, stochastic: true, eta: 1, secondOrder: true, scaled: true, shifted: true,
		aliases: []string{"dpmpp_2s_ancestral", "k_dpmpp_2s_a"}},
	{sampler: DPMPP3MSDE, solve: dpmpp3MSDE, spacing: Exponential, stochastic: true, eta: 1, brownian: true, scaled: true, discards: true, multistep: true,
		aliases: []string{"dpmpp_3m_sde", "k_dpmpp_3m_sde"}},
	{sampler: EulerA, solve: eulerAncestral, stochastic: true, eta: 1, shifted: true,
		aliases: []string{"euler_a", "k_euler_a", "euler_ancestral", "k_euler_ancestral", "EulerAncestralDiscreteScheduler", "EulerAncestralDiscrete"}},
	{sampler: Euler, solve: euler, churned: true,
		aliases: []string{"k_euler", "EulerDiscreteScheduler", "EulerDiscrete"}},
	{sampler: LMS, solve: lms, order: 4, lowest: 1, highest: 4,
		aliases: []string{"k_lms", "LMSDiscreteScheduler", "LMSDiscrete"}},
	{sampler: Heun, solve: heun, secondOrder: true, churned: true,
		aliases: []string{"k_heun", "HeunDiscreteScheduler", "HeunDiscrete"}},
	{sampler: DPM2, solve: dpm2, spacing: Karras, secondOrder: true, churned: true, discards: true,
		aliases: []string{"dpm_2", "k_dpm_2", "KDPM2DiscreteScheduler", "KDPM2Discrete"}},
	{sampler: DPM2A, solve: dpm2Ancestral, spacing: Karras, stochastic: true, eta: 1, secondOrder: true, scaled: true, discards: true, shifted: true,
		aliases: []string{"dpm_2_ancestral", "dpm_2_a", "k_dpm_2_a", "KDPM2AncestralDiscreteScheduler", "KDPM2AncestralDiscrete"}},
	{sampler: DPMFast, solve: dpmFast, span: fastSpan, stochastic: true, eta: 1, scaled: true, shifted: true,
		aliases: []string{"dpm_fast", "k_dpm_fast"}},
	{sampler: DPMAdaptive, span: adaptiveSpan, stochastic: true, eta: 1, order: 3, lowest: 2, highest: 3, shifted: true,
		aliases: []string{"dpm_adaptive", "k_dpm_ad"}},
	{sampler: Restart, solve: restart, span: restartSpan, spacing: Karras, secondOrder: true},
	{sampler: DDIM, solve: eulerAncestral, grid: webUIGrid, fixed: true, stochastic: true,
		aliases: []string{"DDIMScheduler"}},
	{sampler: DDIMCFGPP, solve: eulerAncestral, grid: webUIGrid, fixed: true, stochastic: true, cfgpp: true, guidance: 1 / 12.5,
		aliases: []string{"ddim_cfgpp"}},
	{sampler: PLMS, solve: plms, grid: webUIGrid, fixed: true,
		aliases: []string{"PNDM", "PNDMScheduler"}},
	{sampler: UniPC, solve: unipc, grid: webUIUniPCGrid, fixed: true, order: 3, lowest: 1, highest: 5, multistep: true,
		aliases: []string{"uni_pc", "UniPCMultistepScheduler", "UniPCMultistep"}},
	{sampler: LCM, solve: lcm, distilled: true, lcm: lcmRule{scaling: 10, sigmaData: 0.5},
		aliases: []string{"k_lcm", "LCMScheduler"}},

	{sampler: TCD, solve: tcd, grid: tcdGrid, stochastic: true, eta: 0.3,
		aliases: []string{"TCDScheduler"}},
	{sampler: EulerCFGPP, solve: eulerAncestral, cfgpp: true,
		aliases: []string{"euler_cfg_pp"}},
	{sampler: EulerACFGPP, solve: eulerAncestral, cfgpp: true, stochastic: true, eta: 1,
		aliases: []string{"euler_ancestral_cfg_pp"}},
	{sampler: DPMPP2MCFGPP, solve: dpmpp2MCFGPP, spacing: Karras, cfgpp: true, multistep: true,
		aliases: []string{"dpmpp_2m_cfg_pp"}},
	{sampler: DPMPP2SACFGPP, solve: dpmpp2SAncestralCFGPP, spacing: Karras, cfgpp: true, stochastic: true, eta: 1, secondOrder: true, scaled: true,
		aliases: []string{"dpmpp_2s_ancestral_cfg_pp"}},
}

// Names lists the samplers: the twenty of the web UI's menu in its order, then those that it does not have.
func Names() []Sampler {
	list := make([]Sampler, len(methods))
	for i, m := range methods {
		list[i] = m.sampler
	}
	return list
}

// Spacings lists the schedules, [Automatic] aside.
func Spacings() []Spacing {
	list := make([]Spacing, len(spacings))
	for i, s := range spacings {
		list[i] = s.spacing
	}
	return list
}

// Spacing is the schedule that [Automatic] stands for with this sampler. It is Automatic again where the web UI has none
// and names none in its infotexts: that is Uniform, or timesteps of the sampler's own.
func (s Sampler) Spacing() Spacing {
	m, _ := s.find()
	return m.spacing
}

// Aliases are other names by which Parse knows the sampler.
func (s Sampler) Aliases() []string {
	m, _ := s.find()
	return slices.Clone(m.aliases)
}

// SecondOrder tells whether the web UI counts two evaluations for each step of this sampler where it divides a run, as for
// prompts that change.
func (s Sampler) SecondOrder() bool {
	m, _ := s.find()
	return m.secondOrder
}

// Shifted tells whether the web UI names a shift of the noise's seed (ENSD) in the infotexts of this sampler.
func (s Sampler) Shifted() bool {
	m, _ := s.find()
	return m.shifted
}

// find returns the method of a sampler; "" is DPM++ 2M.
func (s Sampler) find() (method, bool) {
	if s == "" {
		return methods[0], true
	}
	for _, m := range methods {
		if m.sampler == s {
			return m, true
		}
	}
	return method{}, false
}

// Parse reads a sampler and a schedule by the names of the web UI ("DPM++ 2M" and "Karras"), ComfyUI ("dpmpp_2m",
// "sgm_uniform") or diffusers ("EulerDiscreteScheduler"), in any case and with blanks, underscores and hyphens alike.
// The schedule may also follow the sampler's name ("DPM++ 2M Karras"), and then wins over one of its own, as in the web UI.
// Empty names, "Automatic" and "Use same scheduler" are the defaults. As in the web UI, DDIM, PLMS and UniPC ignore a
// schedule chosen by name because they bring their own timesteps; set [Config.Spacing] to give them one all the same.
func Parse(sampler, schedule string) (Sampler, Spacing, error) {
	spacing, ok := lookupSpacing(fold(schedule))
	if !ok {
		return "", "", fmt.Errorf("sampler: no schedule is called %.60q; there are Automatic, %s", schedule, join(Spacings()))
	}
	name := fold(sampler)
	found, ok := lookupSampler(name)
	if !ok {
		if stem, suffix, cut := cutSpacing(name); cut {
			spacing = suffix
			found, ok = lookupSampler(stem)
		}
	}
	if !ok {
		return "", "", fmt.Errorf("sampler: no sampler is called %.60q; there are %s", sampler, join(Names()))
	}
	if m, _ := found.find(); m.fixed {
		spacing = Automatic
	}
	return found, spacing, nil
}

// fold makes names comparable.
func fold(name string) string {
	name = strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name))
	return strings.ReplaceAll(name, "dpmpp", "dpm++")
}

func lookupSampler(folded string) (Sampler, bool) {
	if folded == "" {
		return methods[0].sampler, true
	}
	for _, m := range methods {
		if named(folded, string(m.sampler), m.aliases) {
			return m.sampler, true
		}
	}
	return "", false
}

func lookupSpacing(folded string) (Spacing, bool) {
	if folded == "" || folded == "automatic" || folded == "usesamescheduler" {
		return Automatic, true
	}
	for _, s := range spacings {
		if named(folded, string(s.spacing), s.aliases) {
			return s.spacing, true
		}
	}
	return "", false
}

// named tells whether a folded name is the given one or an alias of it.
func named(folded, name string, aliases []string) bool {
	return folded == fold(name) || slices.ContainsFunc(aliases, func(a string) bool { return folded == fold(a) })
}

// cutSpacing splits the longest schedule name off the end of a folded name.
func cutSpacing(folded string) (stem string, spacing Spacing, ok bool) {
	stem = folded
	for _, s := range spacings {
		for _, name := range append([]string{string(s.spacing)}, s.aliases...) {
			if rest, cut := strings.CutSuffix(folded, fold(name)); cut && rest != "" && len(rest) < len(stem) {
				stem, spacing, ok = rest, s.spacing, true
			}
		}
	}
	if rest, cut := strings.CutSuffix(folded, "automatic"); cut && rest != "" {
		return rest, Automatic, true
	}
	return stem, spacing, ok
}

// join lists names in prose.
func join[S ~string](names []S) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = string(n)
	}
	return strings.Join(list, ", ")
}
