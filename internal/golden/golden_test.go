package golden

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// listener is a test that takes note of its failures.
type listener struct {
	testing.TB
	said []string
}

func (l *listener) Helper() {}

func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func (l *listener) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs body as a test of its own and returns what it complained about.
func failures(t *testing.T, body func(testing.TB)) []string {
	l := &listener{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(l)
	}()
	<-done
	return l.said
}

func TestKits(t *testing.T) {
	var names []string
	for _, k := range Kits(t) {
		names = append(names, k.Name)
	}
	for _, want := range []string{"tiny-portrait", "tiny-random", "tiny-variant"} {
		if !slices.Contains(names, want) {
			t.Errorf("the kits are %v, want %q among them", names, want)
		}
	}
}

// TestListedKits lists folders in the environment: a whole one, and ones that have to fail.
func TestListedKits(t *testing.T) {
	folder := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			path := filepath.Join(dir, f)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	whole := folder("model/model_index.json", "goldens/clip.safetensors", "goldens/run_ddim.safetensors")
	for _, c := range []struct {
		name string
		dirs []string
		say  string // "" for no complaint
	}{
		{"none", nil, ""},
		{"whole", []string{whole}, ""},
		{"two", []string{whole, whole}, ""},
		{"missing", []string{whole, filepath.Join(whole, "nowhere")}, "nowhere"},
		{"empty", []string{folder()}, "has no goldens"},
		{"no goldens", []string{folder("model/model_index.json", "goldens/README")}, "has no goldens"},
		{"no model", []string{folder("goldens/clip.safetensors")}, "no model"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(Variable, strings.Join(c.dirs, string(filepath.ListSeparator)))
			var kits []Kit
			said := failures(t, func(tb testing.TB) { kits = Kits(tb) })
			if c.say != "" {
				if len(said) != 1 || !strings.Contains(said[0], c.say) {
					t.Errorf("the complaints are %q, want one with %q", said, c.say)
				}
				return
			}
			if len(said) > 0 {
				t.Fatalf("complaints: %q", said)
			}
			for _, dir := range c.dirs {
				if !slices.ContainsFunc(kits, func(k Kit) bool { return k.dir == dir }) {
					t.Errorf("%s is not among the kits", dir)
				}
			}
		})
	}
	k := Kit{dir: whole}
	if got, want := k.Names("run_"), []string{"run_ddim"}; !slices.Equal(got, want) {
		t.Errorf("the names are %v, want %v", got, want)
	}
}

func TestCompare(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name      string
		got, want []float32
		relative  float64
		worst     int
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, 0, 0},
		{"relative to the greatest", []float32{1.5, -4}, []float32{1, -4}, 0.125, 0},
		{"the worst element", []float32{1, 3, 4}, []float32{1, 2, 2}, 1, 2},
		{"zeros", []float32{0, 0}, []float32{0, 0}, 0, 0},
		{"not zero", []float32{0, 1e-30}, []float32{0, 0}, math.Inf(1), 1},
		{"length", []float32{1}, []float32{1, 2}, math.Inf(1), -1},
		{"not a number", []float32{1, nan}, []float32{1, 2}, math.Inf(1), 1},
		{"golden is not a number", []float32{1, 2}, []float32{1, nan}, math.Inf(1), 1},
		{"infinite", []float32{inf, 2}, []float32{1, 2}, math.Inf(1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Compare(c.got, c.want)
			if d.Relative != c.relative || d.Worst != c.worst {
				t.Errorf("relative error %g at element %d, want %g at %d", d.Relative, d.Worst, c.relative, c.worst)
			}
			said := failures(t, func(tb testing.TB) {
				Check(tb, c.name, c.got, Tensor{compute.Shape{len(c.want)}, c.want})
			})
			if (len(said) > 0) != (c.relative > Tolerance) {
				t.Errorf("complaints: %q", said)
			}
		})
	}
}

func TestChannelsLast(t *testing.T) {
	x := Tensor{compute.Shape{2, 2, 1, 3}, []float32{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}}
	y := x.ChannelsLast()
	if want := (compute.Shape{2, 1, 3, 2}); !y.Shape.Equal(want) {
		t.Errorf("the shape is %v, want %v", y.Shape, want)
	}
	if want := []float32{0, 10, 1, 11, 2, 12, 20, 30, 21, 31, 22, 32}; !slices.Equal(y.Float32, want) {
		t.Errorf("have %v, want %v", y.Float32, want)
	}
	if got := x.Sample(1); !slices.Equal(got.Float32, x.Float32[6:]) || got.Shape[0] != 1 {
		t.Errorf("sample 1 is %v", got)
	}
}
