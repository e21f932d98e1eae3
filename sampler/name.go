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
	EulerA         Sampler = "Euler a"
	Euler          Sampler = "Euler"
	LMS            Sampler = "LMS"
	Heun           Sampler = "Heun"
	DPMFast        Sampler = "DPM fast"
	DPMAdaptive    Sampler = "DPM adaptive" // takes as many steps as its error asks for, whatever Steps says
	DDIM           Sampler = "DDIM"
	DDIMCFGPP      Sampler = "DDIM CFG++"
	PLMS           Sampler = "PLMS" // PNDM without its Runge–Kutta start
	UniPC          Sampler = "UniPC"
	LCM            Sampler = "LCM"
)

// method is what there is to know about a sampler besides its formula.
type method struct {
	sampler   Sampler
	aliases   []string // names in ComfyUI, the web UI's API and diffusers
	solve     func(*builder)
	span      func(*Table, Config, *run) error // turns a list of noise levels into what the method runs on
	spacing   Spacing                          // for Automatic; a method with a grid of its own has none
	grid      func(*Table, Config) (*run, error)
	eta       float64 // default
	order     int     // default and highest; 0 if the method has one order only
	lowest    int     // order, 0 for 1
	heun      bool
	cfgpp     bool
	multistep bool // takes diffusers' multistep form of its spacings
	brownian  bool
}

// methods are in the order of the web UI's menu.
var methods = []method{
	{sampler: DPMPP2M, solve: dpmpp2M, spacing: Karras, multistep: true,
		aliases: []string{"dpmpp_2m", "k_dpmpp_2m", "DPMSolverMultistepScheduler", "DPMSolverMultistep"}},
	{sampler: DPMPPSDE, solve: dpmppSDE, spacing: Karras, eta: 1, brownian: true,
		aliases: []string{"dpmpp_sde", "k_dpmpp_sde", "DPMSolverSDEScheduler", "DPMSolverSDE"}},
	{sampler: DPMPP2MSDE, solve: dpmpp2M, spacing: Exponential, eta: 1, brownian: true, multistep: true,
		aliases: []string{"dpmpp_2m_sde", "k_dpmpp_2m_sde"}},
	{sampler: DPMPP2MSDEHeun, solve: dpmpp2M, spacing: Exponential, eta: 1, heun: true, brownian: true, multistep: true,
		aliases: []string{"dpmpp_2m_sde_heun", "k_dpmpp_2m_sde_heun"}},
	{sampler: EulerA, solve: eulerAncestral, spacing: Uniform, eta: 1,
		aliases: []string{"euler_a", "k_euler_a", "euler_ancestral", "k_euler_ancestral", "EulerAncestralDiscreteScheduler", "EulerAncestralDiscrete"}},
	{sampler: Euler, solve: euler, spacing: Uniform,
		aliases: []string{"k_euler", "EulerDiscreteScheduler", "EulerDiscrete"}},
	{sampler: LMS, solve: lms, spacing: Uniform, order: 4,
		aliases: []string{"k_lms", "LMSDiscreteScheduler", "LMSDiscrete"}},
	{sampler: Heun, solve: heun, spacing: Uniform,
		aliases: []string{"k_heun", "HeunDiscreteScheduler", "HeunDiscrete"}},
	{sampler: DPMFast, solve: dpmFast, span: fastSpan, spacing: Uniform, eta: 1,
		aliases: []string{"dpm_fast", "k_dpm_fast"}},
	{sampler: DPMAdaptive, span: adaptiveSpan, spacing: Uniform, eta: 1, order: 3, lowest: 2,
		aliases: []string{"dpm_adaptive", "k_dpm_ad"}},
	{sampler: DDIM, solve: eulerAncestral, grid: webUIGrid,
		aliases: []string{"DDIMScheduler"}},
	{sampler: DDIMCFGPP, solve: eulerAncestral, grid: webUIGrid, cfgpp: true,
		aliases: []string{"ddim_cfgpp"}},
	{sampler: PLMS, solve: plms, grid: webUIGrid,
		aliases: []string{"PNDM", "PNDMScheduler"}},
	{sampler: UniPC, solve: unipc, grid: webUIUniPCGrid, order: 3, multistep: true,
		aliases: []string{"uni_pc", "UniPCMultistepScheduler", "UniPCMultistep"}},
	{sampler: LCM, solve: lcm, grid: webUILCMGrid,
		aliases: []string{"k_lcm", "LCMScheduler"}},
}

// Names lists the samplers in the order of the web UI's menu.
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

// Spacing is the schedule that [Automatic] stands for with this sampler; Automatic again where it brings its own grid.
func (s Sampler) Spacing() Spacing {
	m, _ := s.find()
	return m.spacing
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
// The schedule may also follow the sampler's name ("DPM++ 2M Karras"); a schedule of its own wins over that. Empty
// names and "Automatic" are the defaults. As in the web UI, DDIM, PLMS and UniPC ignore a schedule chosen by name
// because they bring their own timesteps; set [Config.Spacing] to give them one all the same.
func Parse(sampler, schedule string) (Sampler, Spacing, error) {
	name, spacing := fold(sampler), Automatic
	found, ok := lookupSampler(name)
	if !ok {
		if stem, suffix, cut := cutSpacing(name); cut {
			if found, ok = lookupSampler(stem); ok {
				spacing = suffix
			}
		}
	}
	if !ok {
		return "", "", fmt.Errorf("sampler: no sampler is called %.60q; there are %s", sampler, join(Names()))
	}
	if schedule := fold(schedule); schedule != "" && schedule != "automatic" {
		if spacing, ok = lookupSpacing(schedule); !ok {
			return "", "", fmt.Errorf("sampler: no schedule is called %.60q; there are Automatic, %s", schedule, join(Spacings()))
		}
	}
	if m, _ := found.find(); m.grid != nil && found != LCM {
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
