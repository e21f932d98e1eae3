package isa

import (
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	for s := Generic; int(s) < len(names); s++ {
		got, err := Parse(" " + s.String() + " ")
		if err != nil || got != s {
			t.Errorf("Parse(%q) = %v, %v; want %v", s.String(), got, err, s)
		}
	}
	if got, err := Parse("sse9"); err == nil {
		t.Errorf("Parse(sse9) = %v, want an error", got)
	}
}

func TestChooseLowersOnly(t *testing.T) {
	for s := Generic; int(s) < len(names); s++ {
		t.Setenv(EnvLower, s.String())
		got, err := Choose()
		if want := min(s, Detected()); err != nil || got != want {
			t.Errorf("%s=%v: Choose() = %v, %v; want %v", EnvLower, s, got, err, want)
		}
	}
	t.Setenv(EnvLower, "")
	if got, err := Choose(); err != nil || got != Detected() {
		t.Errorf("Choose() = %v, %v; want %v", got, err, Detected())
	}
	t.Setenv(EnvLower, "pentium")
	if got, err := Choose(); err == nil {
		t.Errorf("%s=pentium: Choose() = %v, want an error", EnvLower, got)
	}
}

func TestSets(t *testing.T) {
	sets := Sets()
	if len(sets) != int(Detected())+1 || sets[0] != Generic || sets[len(sets)-1] != Detected() {
		t.Errorf("Sets() = %v, want generic to %v", sets, Detected())
	}
}

// verdict records how Need ended a test.
type verdict struct{ how string }

func (v *verdict) Helper()               {}
func (v *verdict) Skipf(string, ...any)  { v.how = "skip" }
func (v *verdict) Fatalf(string, ...any) { v.how = "fail" }

func TestNeed(t *testing.T) {
	beyond := Set(len(names)) // no machine has it
	for _, c := range []struct {
		name, env string
		need      Set
		want      string
	}{
		{"present", "", Generic, ""},
		{"present and required", "generic", Generic, ""},
		{"missing", "avx2,avx512", beyond, "skip"},
		{"missing and required", fmt.Sprintf("avx2, %v", beyond), beyond, "fail"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(EnvRequire, c.env)
			var v verdict
			if Need(&v, c.need); v.how != c.want {
				t.Errorf("Need ended with %q, want %q", v.how, c.want)
			}
		})
	}
}
