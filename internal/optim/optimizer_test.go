package optim_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/optim"
)

// problem are parameters of the given shapes in a bowl that shakes, as testdata/optimizers.py has them.
type problem struct{ tensors []optim.Tensor }

// newProblem begins at cosines, but the 3×2 convolution at zero.
func newProblem(o optim.Optimizer, rate float64, shapes [][]int) problem {
	var p problem
	at := 0
	for _, shape := range shapes {
		n := elements(shape)
		x := optim.Tensor{Shape: shape, Parameter: make([]float32, n), Gradient: make([]float32, n), Rate: rate}
		for i := range n {
			if len(shape) != 4 || shape[0] != 3 {
				x.Parameter[i] = float32(math.Cos(float64(at + i)))
			}
		}
		for _, a := range o.Arrays(shape) {
			x.State = append(x.State, make([]float32, elements(a.Shape)))
		}
		p.tensors = append(p.tensors, x)
		at += n
	}
	return p
}

// gradients sets those of step k, from 0.
func (p problem) gradients(k int) {
	at := 0
	for _, x := range p.tensors {
		for i, v := range x.Parameter {
			x.Gradient[i] = float32(float64(v) - 0.5*math.Sin(float64(2*at)) - 0.1*math.Sin(float64(k+at)))
			at++
		}
	}
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// TestOptimizersGolden repeats what the Python optimizers did in float64, in testdata/optimizers.json. State is float32
// here, so that twenty steps differ by a few of its roundings. Prodigy and DAdaptAdam begin at a larger d0 than usual:
// from 1e-6 on d grows by what first moves of 1e-6 tell, of which a float32 parameter keeps two digits.
func TestOptimizersGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/optimizers.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Steps  int
		Shapes [][]int
		Cases  []struct {
			Type       string
			Args       []string
			Rate, D    float64
			Parameters [][]float64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 14 {
		t.Fatalf("%d cases, want 14", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(fmt.Sprint(c.Type, c.Args), func(t *testing.T) {
			choice, err := optim.Choose(c.Type, c.Args)
			if err != nil {
				t.Fatal(err)
			}
			p := newProblem(choice.Host, c.Rate, golden.Shapes)
			for k := range golden.Steps {
				p.gradients(k)
				choice.Host.Step(k+1, p.tensors)
			}
			worst := 0.0
			for i, want := range c.Parameters {
				size := 0.0
				for _, w := range want {
					size = max(size, math.Abs(w))
				}
				for j, w := range want {
					got := float64(p.tensors[i].Parameter[j])
					e := math.Abs(got-w) / size
					if worst = max(worst, e); !(e <= 2e-6) {
						t.Errorf("parameter %d, element %d is %.9g, want %.9g: %.2g of the largest away", i, j, got, w, e)
					}
				}
			}
			t.Logf("worst error %.2g", worst)
			if d, ok := choice.Host.Numbers()["d"]; c.D != 0 && (!ok || math.Abs(*d-c.D) > 2e-6*c.D) {
				t.Errorf("d is %v, want %v", *d, c.D)
			}
		})
	}
}

// TestOptimizersFirstStep looks at the first step from 0.5 with a gradient of 0.1.
func TestOptimizersFirstStep(t *testing.T) {
	for _, c := range []struct {
		name string
		rate float64
		want float64
		kept map[string]float64
	}{
		{"Lion", 1e-4, 0.4999, map[string]float64{"m": 0.001}},
		{"Prodigy", 1, 0.499996838, map[string]float64{"m": 1e-8, "p0": 0.5}},
		{"SGDNesterov", 1e-2, 0.5 - 1e-2*(0.1+0.9*0.1), map[string]float64{"momentum": 0.1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			choice, err := optim.Choose(c.name, nil)
			if err != nil {
				t.Fatal(err)
			}
			x := optim.Tensor{Shape: []int{1, 1}, Parameter: []float32{0.5}, Gradient: []float32{0.1}, Rate: c.rate}
			arrays := choice.Host.Arrays(x.Shape)
			for range arrays {
				x.State = append(x.State, make([]float32, 1))
			}
			choice.Host.Step(1, []optim.Tensor{x})
			if got := float64(x.Parameter[0]); math.Abs(got-c.want) > 3e-8 { // half a unit of float32's last place
				t.Errorf("it moves to %.9f, want %.9f", got, c.want)
			}
			for i, a := range arrays {
				if want, ok := c.kept[a.Name]; ok && math.Abs(float64(x.State[i][0])-want) > 1e-7*want {
					t.Errorf("%s is %g, want %g", a.Name, x.State[i][0], want)
				}
			}
			if d := choice.Host.Numbers()["d"]; d != nil && *d != 1e-6 {
				t.Errorf("d is %g, want 1e-6", *d)
			}
		})
	}
}

// TestOptimizersIdle gives gradients of nothing and rates of nothing: no parameter may move or become NaN.
func TestOptimizersIdle(t *testing.T) {
	for _, name := range []string{"Lion", "SGDNesterov", "Adafactor", "Prodigy", "DAdaptAdam"} {
		for _, rate := range []float64{0, 1} {
			choice, err := optim.Choose(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := newProblem(choice.Host, rate, [][]int{{2, 3}, {3, 2, 1, 1}})
			before := fmt.Sprint(p.tensors[0].Parameter, p.tensors[1].Parameter)
			for k := range 3 {
				if rate == 0 && name != "Adafactor" { // its rate is its own
					p.gradients(k)
				} else {
					clear(p.tensors[0].Gradient)
					clear(p.tensors[1].Gradient)
				}
				choice.Host.Step(k+1, p.tensors)
			}
			if after := fmt.Sprint(p.tensors[0].Parameter, p.tensors[1].Parameter); after != before {
				t.Errorf("%s with rate %v: parameters were %s, are %s", name, rate, before, after)
			}
		}
	}
}

func TestOptimizersAllocate(t *testing.T) {
	for _, name := range []string{"Lion", "SGDNesterov", "Adafactor", "Prodigy", "DAdaptAdam"} {
		choice, err := optim.Choose(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := newProblem(choice.Host, 1e-3, [][]int{{2, 3}, {3, 2, 1, 1}})
		k := 0
		if n := testing.AllocsPerRun(10, func() {
			p.gradients(k)
			k++
			choice.Host.Step(k, p.tensors)
		}); n != 0 {
			t.Errorf("a step of %s allocates %v times, want 0", name, n)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		class string
		adamW *optim.AdamW
		note  string
	}{
		{"", nil, "torch.optim.adamw.AdamW", &optim.AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01}, ""},
		{"adamw8BIT", []string{"weight_decay=0.1", "betas=(0.8, 0.99)"}, "torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.8, 0.99))",
			&optim.AdamW{Beta1: 0.8, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1}, "AdamW8bit runs as AdamW"},
		{"AdamW", []string{"betas=[0.8,0.99]"}, "torch.optim.adamw.AdamW(betas=[0.8,0.99])", &optim.AdamW{Beta1: 0.8, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.01}, ""},
		{"AdamW", []string{"betas=0.8,0.99", "eps=1e-6"}, "torch.optim.adamw.AdamW(betas=0.8,0.99,eps=1e-6)", &optim.AdamW{Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, WeightDecay: 0.01}, ""},
		{"PagedLion8bit", nil, "lion_pytorch.lion_pytorch.Lion", nil, "PagedLion8bit runs as Lion"},
		{"sgdnesterov", nil, "torch.optim.sgd.SGD(momentum=0.9)", nil, ""},
		{"SGDNesterov", []string{"momentum=0.5"}, "torch.optim.sgd.SGD(momentum=0.5)", nil, ""},
		{"Adafactor", []string{"beta1=None"}, "transformers.optimization.Adafactor(relative_step=True,beta1=None)", nil, ""},
		{"Prodigy", nil, "prodigyopt.prodigy.Prodigy", nil, ""},
	} {
		got, err := optim.Choose(c.name, c.args)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Class != c.class || (got.Note == "") != (c.note == "") || !strings.HasPrefix(got.Note, c.note) || (got.Host == nil) != (c.adamW != nil) {
			t.Errorf("%s%v is %+v, want class %s and note %q", c.name, c.args, got, c.class, c.note)
		}
		if c.adamW != nil && (got.AdamW == nil || *got.AdamW != *c.adamW) {
			t.Errorf("%s%v has constants %v, want %v", c.name, c.args, got.AdamW, c.adamW)
		}
	}
}

func TestChooseErrors(t *testing.T) {
	for _, c := range []struct {
		name, arg, say string
	}{
		{"SGD", "", `Options.OptimizerType is "SGD", want one of AdamW, AdamW8bit, PagedAdamW, PagedAdamW8bit, PagedAdamW32bit, Lion, Lion8bit, PagedLion8bit, SGDNesterov, SGDNesterov8bit, Adafactor, Prodigy, DAdaptAdam`},
		{"Lion", "eps=1", `"eps=1", want one of what Lion knows, betas, weight_decay, each as key=value`},
		{"Lion", "betas", "each as key=value"},
		{"Lion", "betas=(0.9,1)", `"betas=(0.9,1)": want numbers from 0 to 1`},
		{"Lion", "betas=0.9", "want 2 numbers"},
		{"Lion", "betas=[0.9,0.99", "want 2 numbers"},
		{"Lion", "betas=[[0.9,0.99]]", "want 2 numbers"},
		{"Lion", "weight_decay=None", "want numbers from 0"},
		{"Lion", "weight_decay=0.1x", "want numbers from 0"},
		{"AdamW", "weight_decay=NaN", "want numbers from 0 to"},
		{"AdamW", "eps=0", "want numbers from 1e-37"},
		{"Adafactor", "relative_step=yes", "want True or False"},
		{"Adafactor", "clip_threshold=None", "want numbers"},
		{"Prodigy", "growth_rate=0.5", "want numbers from 1 to +Inf"},
	} {
		var args []string
		if c.arg != "" {
			args = []string{c.arg}
		}
		if _, err := optim.Choose(c.name, args); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s %s: the error is %v\nwant %q in it", c.name, c.arg, err, c.say)
		}
	}
}

// BenchmarkStep moves the factors of Stable Diffusion 1.5 at rank 16, 9.4 million numbers.
func BenchmarkStep(b *testing.B) {
	for _, name := range []string{"Lion", "SGDNesterov", "Adafactor", "Prodigy", "DAdaptAdam"} {
		b.Run("optimizer="+name, func(b *testing.B) {
			choice, err := optim.Choose(name, nil)
			if err != nil {
				b.Fatal(err)
			}
			p := newProblem(choice.Host, 1, slices.Repeat([][]int{{16, 1024}, {1280, 16, 1, 1}}, 256))
			p.gradients(0)
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				k++
				choice.Host.Step(k, p.tensors)
			}
		})
	}
}

// FuzzOptions reads options as a config file may hold them: an optimizer that is chosen must be one, and rules in order.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"AdamW betas=(0.9,0.99)", "Prodigy growth_rate=inf", "Adafactor beta1=None", "Lion weight_decay=1e400", "x step_rules=1:10,0.1:20,0.01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, arg, _ := strings.Cut(s, " ")
		if c, err := optim.Choose(name, []string{arg}); err == nil && (c.AdamW == nil) == (c.Host == nil) {
			t.Errorf("%q gives %+v", s, c)
		}
		ruled := optim.Schedule{Type: optim.PiecewiseConstant}
		if err := ruled.SetArgs([]string{arg}); err == nil && !slices.IsSortedFunc(ruled.Rules, func(a, b optim.Rule) int { return a.Until - b.Until }) {
			t.Errorf("%q gives the rules %v", s, ruled.Rules)
		}
	})
}
