package sampler

import (
	"strings"
	"testing"
)

// TestParse checks names as users of three programs write them.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, schedule string
		sampler        Sampler
		spacing        Spacing
	}{
		{"", "", DPMPP2M, Automatic},
		{"DPM++ 2M Karras", "", DPMPP2M, Karras},
		{"dpm++ 2m karras", "Automatic", DPMPP2M, Karras},
		{"DPM++ 2M", "SGM Uniform", DPMPP2M, SGMUniform},
		{"DPM++ 2M", "SGMUniform", DPMPP2M, SGMUniform},
		{"DPM++ 2M SDE Heun Exponential", "", DPMPP2MSDEHeun, Exponential},
		{"DPM++ 2M SDE", "karras", DPMPP2MSDE, Karras},
		{"DPM++ 2M Karras", "exponential", DPMPP2M, Karras},
		{"DPM++ 2M Automatic", "", DPMPP2M, Automatic},
		{"Euler a", "", EulerA, Automatic},
		{"EULER A", "", EulerA, Automatic},
		{"k_euler_ancestral", "", EulerA, Automatic},
		{"euler_ancestral", "normal", EulerA, Normal},
		{"dpmpp_2m_sde", "sgm_uniform", DPMPP2MSDE, SGMUniform},
		{"dpmpp_sde", "simple", DPMPPSDE, Simple},
		{"euler", "ddim_uniform", Euler, DDIMUniform},
		{"LMS SGM Uniform", "", LMS, SGMUniform},
		{"uni_pc", "", UniPC, Automatic},
		{"UniPC", "Karras", UniPC, Automatic},
		{"DDIM", "karras", DDIM, Automatic},
		{"plms", "", PLMS, Automatic},
		{"LCM", "sgm_uniform", LCM, SGMUniform},
		{"EulerDiscreteScheduler", "trailing", Euler, Trailing},
		{"PNDMScheduler", "", PLMS, Automatic},
	} {
		s, spacing, err := Parse(c.name, c.schedule)
		if err != nil || s != c.sampler || spacing != c.spacing {
			t.Errorf("Parse(%q, %q) = %q, %q, %v; want %q, %q", c.name, c.schedule, s, spacing, err, c.sampler, c.spacing)
		}
	}
}

// TestParseErrors checks that unknown names are told what exists instead of getting a default.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ name, schedule, want string }{
		{"DPM9", "", "DPM++ 2M"},
		{"Karras", "", "Euler a"},
		{"Eulér", "", "Euler a"},
		{"Euler", "linear", "SGM Uniform"},
		{strings.Repeat("x", 1000), "", "Euler a"},
	} {
		if _, _, err := Parse(c.name, c.schedule); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
			t.Errorf("Parse(%.20q, %q): error %v, want a short one that offers %q", c.name, c.schedule, err, c.want)
		}
	}
}

// TestParseOwnNames checks that every listed name reads as itself.
func TestParseOwnNames(t *testing.T) {
	for _, s := range Names() {
		for _, spacing := range Spacings() {
			got, gotSpacing, err := Parse(string(s)+" "+string(spacing), "")
			if s == DDIM || s == DDIMCFGPP || s == PLMS || s == UniPC {
				spacing = Automatic
			}
			if err != nil || got != s || gotSpacing != spacing {
				t.Errorf("%q with %q reads as %q, %q, %v", s, spacing, got, gotSpacing, err)
			}
		}
	}
}

// FuzzParse checks that a name that parses makes a plan.
func FuzzParse(f *testing.F) {
	for _, s := range Names() {
		f.Add(string(s), "Karras")
	}
	f.Add("dpmpp_2m_sde_heun_sgm_uniform", "")
	f.Fuzz(func(t *testing.T, name, schedule string) {
		s, spacing, err := Parse(name, schedule)
		if err != nil {
			return
		}
		if _, err := New(Config{Sampler: s, Spacing: spacing, Steps: 4}); err != nil {
			t.Errorf("%q, %q: %v", s, spacing, err)
		}
	})
}
