package cuda

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simlibrary"
)

// bare is a computer with nothing on it.
func bare() library.Computer {
	return library.Computer{
		Names:  func(string) []string { return nil },
		Open:   func(path string) (library.Symbols, error) { return nil, errors.New(path + " is not there") },
		Beside: func(string) func() { return func() {} },
	}
}

func TestSurvey(t *testing.T) {
	for _, test := range []struct {
		name  string
		card  simdriver.Card
		fails string // a function of the driver
		want  func(s Survey) bool
	}{
		{"a card", simdriver.RTX3060, "", func(s Survey) bool {
			return s.Driver == "CUDA 12.4 (libcuda.so.1)" && s.Err == nil && s.Cards[0] == Card{"NVIDIA GeForce RTX 3060", "8.6", 12 << 30, 12 << 30, nil}
		}},
		{"an old card", simdriver.GTX1080, "", func(s Survey) bool { return errors.Is(s.Cards[0].Err, compute.ErrUnsupported) }},
		{"no card", simdriver.RTX3060, "cuDeviceGetCount", func(s Survey) bool {
			return s.Driver != "" && errors.Is(s.Err, ErrNoDevice) && len(s.Cards) == 0
		}},
		{"a card in use", simdriver.RTX3060, "cuDevicePrimaryCtxRetain", func(s Survey) bool { return s.Err == nil && s.Cards[0].Err != nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := simdriver.New(simdriver.Options{Card: test.card})
			d, err := driver.New(m.Library())
			check(t, err)
			if test.fails != "" {
				m.Fail(test.fails, 0, simdriver.NoDevice)
			}
			s := examine(d, bare())
			if !test.want(s) {
				t.Errorf("have %+v", s)
			}
			if len(s.Libraries) != 2 || s.Libraries[0].Err == nil || s.Libraries[1].Err == nil {
				t.Errorf("libraries %+v, want two that are missing", s.Libraries)
			}
			if leaks := m.Leaks(); len(leaks) > 0 {
				t.Errorf("not given back: %q", leaks)
			}
		})
	}
	t.Run("libraries", func(t *testing.T) {
		for status, want := range map[simdriver.Code]string{0: "", 1: "the driver or the card is not ready"} {
			m := simdriver.New(simdriver.Options{})
			d, err := driver.New(m.Library())
			check(t, err)
			if status != 0 {
				m.Fail("cublasLtCreate", 0, status)
			}
			s := examine(d, simlibrary.New().Computer())
			if have := fmt.Sprint(s.Libraries[0].Err); want == "" && s.Libraries[0].Err != nil || !strings.Contains(have, want) || s.Libraries[1].Err != nil {
				t.Errorf("have %+v", s.Libraries)
			}
			t.Setenv(LibrariesVariable, "0")
			if s := examine(d, simlibrary.New().Computer()); s.Libraries[1].Err == nil || s.Libraries[1].Missing() || s.Libraries[1].Path == "" {
				t.Errorf("left out: %+v", s.Libraries)
			}
			t.Setenv(LibrariesVariable, "")
			if leaks := m.Leaks(); len(leaks) > 0 {
				t.Errorf("not given back: %q", leaks)
			}
		}
	})
	s := look(bare())
	if s.Driver != "" || !errors.Is(s.Err, ErrNoDevice) || !strings.Contains(s.Err.Error(), "525") {
		t.Errorf("without a driver: %+v", s)
	}
}

func TestNeeds(t *testing.T) {
	last := Needs()[0]
	if last.Fits(last.Bytes) || !last.Fits(last.Bytes+margin()) {
		t.Error("what is left to others is not counted")
	}
}
