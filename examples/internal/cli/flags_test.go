package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// newFlags are flags of all kinds, in groups and in none.
func newFlags(log *strings.Builder) (*Flags, *Model, *Device) {
	m, d := new(Model), new(Device)
	f := NewFlags("work", "work works.\n\n  work -n 3\n", log)
	f.Int("n", 1, "`NUMBER` of things")
	f.Float64("rate", 0, "`NUMBER` how fast")
	f.Group("Usual", "n", "rate")
	f.Model(m)
	f.Weights(&m.Options, "vae", "text-encoder", "model-config", "variant")
	f.Group("Model", "model", "vae", "text-encoder", "model-config", "variant")
	f.Device(d)
	f.Precision(d)
	f.Bool("rare", false, "what few want")
	return f, m, d
}

// TestNumbers gives flags numbers as people write them, and as Go does.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		args []string
		n    int
		rate float64
		err  string
	}{
		{[]string{"-n", "010", "-rate", "1e-4"}, 10, 1e-4, ""},
		{[]string{"-n=-7", "-rate", "-.5"}, -7, -0.5, ""},
		{[]string{"-n", "+3"}, 3, 0, ""},
		{[]string{"-n", "0x10"}, 0, 0, "want a whole number"},
		{[]string{"-n", "0b1"}, 0, 0, "want a whole number"},
		{[]string{"-n", "1_000"}, 0, 0, "want a whole number"},
		{[]string{"-n", "1.5"}, 0, 0, "want a whole number"},
		{[]string{"-n", "99999999999999999999"}, 0, 0, "range"},
		{[]string{"-rate", "0x1p-2"}, 0, 0, "want a number"},
		{[]string{"-rate", "0x_1p-2"}, 0, 0, "want a number"},
		{[]string{"-rate", "fast"}, 0, 0, "want a number"},
	} {
		f := NewFlags("work", "", new(strings.Builder))
		n, rate := f.Int("n", 1, ""), f.Float64("rate", 0, "")
		err := f.Parse(c.args, 0)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), c.args[0]) {
				t.Errorf("%q: %v, want %q", c.args, err, c.err)
			}
		} else if err != nil || *n != c.n || *rate != c.rate {
			t.Errorf("%q: %d, %v, %v; want %d and %v", c.args, *n, *rate, err, c.n, c.rate)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, all := range []bool{false, true} {
		var log strings.Builder
		f, _, _ := newFlags(&log)
		args := []string{"-h"}
		if all {
			args = append(args, "all")
		}
		if err := f.Parse(args, 0); !errors.Is(err, flag.ErrHelp) {
			t.Fatal(err)
		}
		const begin = `work works.

  work -n 3

Usual:
  -n NUMBER             of things (default 1)
  -rate NUMBER          how fast
Model:
  -model PATH           .safetensors file`
		if !strings.HasPrefix(log.String(), begin) {
			t.Errorf("it begins\n%s\nwant\n%s", log.String(), begin)
		}
		if strings.Contains(log.String(), "-rare") != all || strings.Contains(log.String(), "-device") != all {
			t.Errorf("-h all: %v, and flags in no group are there or not:\n%s", all, log.String())
		}
		for line := range strings.Lines(log.String()) {
			if len(line) > 101 {
				t.Errorf("a line of %d columns: %s", len(line)-1, line)
			}
		}
	}
}

// TestParse reads numbers whole or not at all.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"-n", "12abc"}, []string{"-n", `"12abc"`, "work -h"}},
		{[]string{"-n", "1.5"}, []string{"-n", `"1.5"`}},
		{[]string{"-n", " 1"}, []string{"-n"}},
		{[]string{"-n", ""}, []string{"-n"}},
		{[]string{"-n=99999999999999999999"}, []string{"-n", "range"}},
		{[]string{"-rate", "0,5"}, []string{"-rate", `"0,5"`}},
		{[]string{"-rate", "1e-4x"}, []string{"-rate"}},
		{[]string{"-threads", "2 "}, []string{"-threads"}},
		{[]string{"-precision", "fp8"}, []string{"-precision", "fp32, bf16 or fp16"}},
		{[]string{"-colour", "red"}, []string{"-colour", "work -h"}},
		{[]string{"a", "b"}, []string{`"a"`, "flags come first"}},
	} {
		var log strings.Builder
		f, _, _ := newFlags(&log)
		err := f.Parse(c.args, 0)
		if err == nil {
			t.Errorf("%q: no error", c.args)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%q: %v; want %q in it", c.args, err, say)
			}
		}
		if log.Len() > 0 {
			t.Errorf("%q: besides the error it prints %q", c.args, log.String())
		}
	}
	var log strings.Builder
	f, m, d := newFlags(&log)
	if err := f.Parse([]string{"-model", "m", "--vae=v", "-text-encoder", "t", "-model-config", "c", "-variant", "fp16", "-threads", "2", "-device", "cpu", "x"}, 1); err != nil {
		t.Fatal(err)
	}
	if want := (weights.Options{VAE: "v", TextEncoder: "t", Config: "c", Variant: "fp16"}); m.Path != "m" || m.Options != want {
		t.Errorf("the model is %+v", m)
	}
	if d.Name != "cpu" || d.Options.Workers != 2 || f.Arg(0) != "x" || !f.Given("vae") || f.Given("n") {
		t.Errorf("the device is %+v, the rest %q", d, f.Args())
	}
}

func TestInFlags(t *testing.T) {
	plain := errors.New("disk full")
	own := map[string]string{"Request.Width": "-width"}
	width, vae := invalid.Field("Request.Width", 7, "a multiple of 8"), invalid.Field("Options.VAE", nil, "a file")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"none", nil, ""},
		{"another error", plain, "disk full"},
		{"a program's own", fmt.Errorf("sd: %w", width), "-width is 7, want a multiple of 8"},
		{"of all programs", fmt.Errorf("sd: weights: %w", vae), "-vae, want a file"},
		{"two", errors.Join(fmt.Errorf("sd: %w", width), vae), "-width is 7, want a multiple of 8\n-vae, want a file"},
		{"and another", fmt.Errorf("x.png: %w", errors.Join(width, plain)), "x.png: -width is 7, want a multiple of 8\ndisk full"},
		{"unknown", invalid.Field("Request.Depth", 1, "2"), "Request.Depth is 1, want 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := InFlags(c.err, own)
			if c.err == nil {
				if got != nil {
					t.Errorf("have %v", got)
				}
				return
			}
			if got.Error() != c.want || !errors.Is(got, c.err) {
				t.Errorf("have %q, want %q", got, c.want)
			}
		})
	}
}

// TestModelsParts names, where a checkpoint lacks a part, the flags that supply it.
func TestModelsParts(t *testing.T) {
	m := Model{Path: filepath.Join("..", "..", "..", "tinyportrait", "model", "unet")}
	checkpoint, err := m.Open(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer checkpoint.Close()
	_, text := checkpoint.TextEncoder()
	_, vae := checkpoint.VAE()
	for name, err := range map[string]error{"-text-encoder": text, "-vae": vae} {
		if got := InFlags(err, nil).Error(); !strings.HasPrefix(got, name) {
			t.Errorf("it says %q, want %s", got, name)
		}
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	for path, say := range map[string]string{
		filepath.Join(dir, "a.png"):             "",
		dir:                                     "-output " + dir,
		filepath.Join(dir, "nowhere", "a.png"):  "make it first",
		filepath.Join(os.Args[0], "below.file"): "folder",
	} {
		err := Writable("output", path)
		if (err == nil) != (say == "") || err != nil && !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want %q", path, err, say)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
}

func TestFits(t *testing.T) {
	defer func(limit func() (uint64, error)) { MemoryLimit = limit }(MemoryLimit)
	MemoryLimit = func() (uint64, error) { return 1_500_000_000, nil }
	if err := Fits(1_500_000_000); err != nil {
		t.Error(err)
	}
	if err := Fits(2_550_000_000); err == nil || !strings.Contains(err.Error(), "2.55 GB") || !strings.Contains(err.Error(), "1.50 GB") {
		t.Errorf("have %v, want both numbers", err)
	}
	MemoryLimit = func() (uint64, error) { return 0, errors.New("no limit") }
	if err := Fits(1 << 60); err != nil {
		t.Error(err)
	}
}
