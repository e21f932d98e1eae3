package lora_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

func at(a *lora.Adapter, strength float64) lora.Applied {
	return lora.Applied{Adapter: a, Strength: lora.Strength{TextEncoder: strength, UNet: strength}}
}

// overlapping are three adapters of different ranks and alphas; each lacks modules of another.
func overlapping() []lora.Applied {
	forms := formsOfModules()
	r := loratest.Rand()
	var second, third []lora.Module
	for _, m := range forms[:5] {
		second = append(second, loratest.RandomModule(r, m.Target, 4))
	}
	for _, m := range forms[2:] {
		third = append(third, loratest.RandomModule(r, m.Target, 7))
	}
	return []lora.Applied{at(adapter(forms[:6]...), 0.7), at(adapter(second...), -1.3), at(adapter(third...), 0)}
}

// TestCombineSum wants the sum of all changes, and single adapters untouched.
func TestCombineSum(t *testing.T) {
	adapters := overlapping()
	want := map[string][]float64{}
	for _, a := range adapters {
		for _, m := range a.Modules {
			change := product(m, a.UNet, 0)
			if want[m.Name] == nil {
				want[m.Name] = change
				continue
			}
			for i, v := range change {
				want[m.Name][i] += v
			}
		}
	}
	combined, err := lora.Combine(t.Context(), lora.CombineOptions{}, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	if len(combined.Modules) != len(want) {
		t.Errorf("%d modules, want %d", len(combined.Modules), len(want))
	}
	for _, m := range combined.Modules {
		checkDelta(t, m.Name, product(m, 1, 0), want[m.Name], 1e-6)
	}
	if got := combined.Metadata["modelspec.merged_from"]; got != "x, x, x" {
		t.Errorf("merged_from %q", got)
	}
	// of a rank that holds it all, the decomposition is the sum again
	svd, err := lora.Combine(t.Context(), lora.CombineOptions{NewRank: 40, ClampQuantile: 1}, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range svd.Modules {
		checkDelta(t, "svd "+m.Name, product(m, 1, 0), want[m.Name], 2e-6)
		if loratest.LowRank(m).Scale() != 1 || m.Rank() > min(m.Shape[0], m.Shape[1:].Elements()) {
			t.Errorf("svd %s: rank %d, scale %v", m.Name, m.Rank(), loratest.LowRank(m).Scale())
		}
	}
	small, err := lora.Combine(t.Context(), lora.CombineOptions{NewRank: 4, NewConvRank: 2}, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range small.Modules {
		want := 4
		if m.Name == "conv" || m.Name == "mid" {
			want = 2
		} else if m.Name == "narrow" {
			want = 3
		}
		if m.Rank() != want {
			t.Errorf("%s: rank %d, want %d", m.Name, m.Rank(), want)
		}
	}
	one, err := lora.Combine(t.Context(), lora.CombineOptions{}, at(adapter(formsOfModules()[:5]...), 1))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one.Modules, formsOfModules()[:5]) {
		t.Error("a single adapter at strength 1 is not what it was")
	}
}

// TestCombineNetworks gives the networks different strengths, and only the first ranks.
func TestCombineNetworks(t *testing.T) {
	a := adapter(formsOfModules()[:5]...)
	combined, err := lora.Combine(t.Context(), lora.CombineOptions{}, lora.Applied{Adapter: a, Strength: lora.Strength{TextEncoder: 0.25, UNet: 2, Rank: 5}})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range combined.Modules {
		strength := 2.0
		if m.Kind == weights.KindTextEncoder {
			strength = 0.25
		}
		checkDelta(t, m.Name, product(m, 1, 0), product(a.Modules[i], strength, 5), 1e-6)
	}
}

// TestBlockWeights wants each block's change multiplied by its own weight, in both forms of the list.
func TestBlockWeights(t *testing.T) {
	r := loratest.Rand()
	unet := func(name string) lora.Module {
		return loratest.RandomModule(r, lora.Target{Kind: weights.KindUNet, Name: name, Shape: compute.Shape{6, 5}}, 2)
	}
	a := adapter(
		loratest.RandomModule(r, lora.Target{Kind: weights.KindTextEncoder, Name: "text_model.encoder.layers.3.mlp.fc1", Shape: compute.Shape{6, 5}}, 2),
		unet("down_blocks.0.attentions.1.proj_in"), unet("down_blocks.2.downsamplers.0.conv"), unet("mid_block.attentions.0.proj_in"),
		unet("up_blocks.0.resnets.1.time_emb_proj"), unet("up_blocks.1.attentions.0.proj_in"), unet("up_blocks.3.attentions.2.proj_out"),
	)
	long := make([]string, 26)
	for i := range long {
		long[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		name, text string
		want       []float64 // of each module
	}{
		{"26", "[" + strings.Join(long, ",") + "]", []float64{0, 3, 10, 13, 15, 17, 25}},
		{"17", "[" + strings.Join(long[:17], ", ") + "]", []float64{0, 2, 1, 7, 1, 8, 16}}, // BASE, IN02, -, MID, -, OUT03, OUT11
	} {
		w, err := lora.ParseBlockWeights(c.text)
		if err != nil {
			t.Fatal(err)
		}
		combined, err := lora.Combine(t.Context(), lora.CombineOptions{BlockWeights: []lora.BlockWeights{w}}, at(a, 0.5))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range combined.Modules {
			checkDelta(t, c.name+" "+m.Name, product(m, 1, 0), product(a.Modules[i], 0.5*c.want[i], 0), 1e-6)
		}
	}
}

func FuzzBlockWeights(f *testing.F) {
	f.Add("[1,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1,1]")
	f.Add("null")
	f.Add("[1e999]")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := lora.ParseBlockWeights(text)
		if (err == nil) != (len(w) == 26) || err != nil && !strings.HasPrefix(err.Error(), "lora: ") {
			t.Fatalf("%v (%v)", w, err)
		}
	})
}

// TestCombineTensors has the factors of sd-scripts' rule.
func TestCombineTensors(t *testing.T) {
	target := lora.Target{Kind: weights.KindUNet, Name: "m", Shape: compute.Shape{6, 5}}
	r := loratest.Rand()
	first, second := loratest.WithAlpha(loratest.RandomModule(r, target, 4), 16), loratest.WithAlpha(loratest.RandomModule(r, target, 4), 4)
	for _, c := range []struct {
		name               string
		ratios             []float64
		downs, ups         []float64 // what each factor is multiplied with
		modules            []lora.Module
		wantAlpha, ofDelta float64
	}{
		{"one at 0.5", []float64{0.5}, []float64{0.5}, []float64{0.5}, []lora.Module{first}, 16, 0.25},
		{"two at 0.5", []float64{0.5, 0.5}, []float64{0.5, 0.25}, []float64{0.5, 0.25}, []lora.Module{first, second}, 16, 0},
		{"one at -1", []float64{-1}, []float64{-1}, []float64{1}, []lora.Module{first}, 16, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var adapters []lora.Applied
			down, up := make([]float64, 20), make([]float64, 24)
			for i, m := range c.modules {
				adapters = append(adapters, at(adapter(m), c.ratios[i]))
				for j, v := range loratest.LowRank(m).Down.Data {
					down[j] += c.downs[i] * float64(v)
				}
				for j, v := range loratest.LowRank(m).Up.Data {
					up[j] += c.ups[i] * float64(v)
				}
			}
			combined, err := lora.Combine(t.Context(), lora.CombineOptions{Method: lora.CombineTensors}, adapters...)
			if err != nil {
				t.Fatal(err)
			}
			m := combined.Modules[0]
			checkDelta(t, "down", float64s(loratest.LowRank(m).Down.Data), down, 1e-7)
			checkDelta(t, "up", float64s(loratest.LowRank(m).Up.Data), up, 1e-7)
			if loratest.LowRank(m).Alpha != c.wantAlpha {
				t.Errorf("alpha %v, want %v", loratest.LowRank(m).Alpha, c.wantAlpha)
			}
			if c.ofDelta != 0 {
				checkDelta(t, "change", product(m, 1, 0), product(first, c.ofDelta, 0), 1e-6)
			}
		})
	}
	// concatenated, the change is the sum with the squared ratios, weaker by the rank that was added
	third := loratest.WithAlpha(loratest.RandomModule(loratest.Rand(), target, 2), 16)
	combined, err := lora.Combine(t.Context(), lora.CombineOptions{Method: lora.CombineConcat}, at(adapter(first), 0.5), at(adapter(third), 1))
	if err != nil {
		t.Fatal(err)
	}
	m := combined.Modules[0]
	if m.Rank() != 6 || loratest.LowRank(m).Alpha != 16 {
		t.Errorf("rank %d, alpha %v, want 6 and 16", m.Rank(), loratest.LowRank(m).Alpha)
	}
	want := product(first, 0.25*4.0/6, 0)
	for i, v := range product(third, 2.0/6, 0) {
		want[i] += v
	}
	checkDelta(t, "concatenated", product(m, 1, 0), want, 1e-6)
}

func float64s(x []float32) (y []float64) {
	for _, v := range x {
		y = append(y, float64(v))
	}
	return y
}

// TestCombineCancels wants no adapter of changes that cancel, whatever the method.
func TestCombineCancels(t *testing.T) {
	a := adapter(formsOfModules()[:5]...)
	for _, o := range []lora.CombineOptions{{}, {NewRank: 4}, {Method: lora.CombineTensors}} {
		if _, err := lora.Combine(t.Context(), o, at(a, 1), at(a, -1)); err == nil || !strings.Contains(err.Error(), "cancel out") {
			t.Errorf("%+v: the error is %v", o, err)
		}
		if _, err := lora.Combine(t.Context(), lora.CombineOptions{NewRank: o.NewRank}, at(a, 0.3), at(a, 0.5), at(a, -0.8)); err == nil {
			t.Error("0.3 + 0.5 - 0.8 is something")
		}
		if _, err := lora.Combine(t.Context(), o, at(a, 1), at(a, -0.999)); err != nil && o.Method == lora.CombineSum {
			t.Errorf("%+v: a thousandth is left, and the error is %v", o, err)
		}
	}
}

func TestCombineErrors(t *testing.T) {
	forms := formsOfModules()
	other := loratest.RandomModule(loratest.Rand(), lora.Target{Kind: weights.KindUNet, Name: "linear", Shape: compute.Shape{4, 24}}, 2)
	zero := loratest.WithAlpha(loratest.RandomModule(loratest.Rand(), forms[0].Target, 16), 0)
	for _, c := range []struct {
		name, say string
		o         lora.CombineOptions
		adapters  []lora.Applied
	}{
		{"nothing", "nothing to combine", lora.CombineOptions{}, nil},
		{"NaN", "strength NaN", lora.CombineOptions{}, []lora.Applied{at(adapter(forms...), math.NaN())}},
		{"infinite", "strength +Inf", lora.CombineOptions{}, []lora.Applied{at(adapter(forms...), math.Inf(1))}},
		{"other models", "different models", lora.CombineOptions{}, []lora.Applied{at(adapter(forms...), 1), at(adapter(other), 1)}},
		{"rank", "new_rank is -3", lora.CombineOptions{NewRank: -3}, []lora.Applied{at(adapter(forms...), 1)}},
		{"only conv rank", "give both", lora.CombineOptions{NewConvRank: 3}, []lora.Applied{at(adapter(forms...), 1)}},
		{"quantile", "clamp_quantile", lora.CombineOptions{NewRank: 3, ClampQuantile: 2}, []lora.Applied{at(adapter(forms...), 1)}},
		{"rank of the reference's rule", "exact sum only", lora.CombineOptions{NewRank: 3, Method: lora.CombineTensors}, []lora.Applied{at(adapter(forms...), 1)}},
		{"unequal ranks", "ranks 16 and 4", lora.CombineOptions{Method: lora.CombineTensors},
			[]lora.Applied{at(adapter(forms[0]), 1), at(adapter(loratest.RandomModule(loratest.Rand(), forms[0].Target, 4)), 1)}},
		{"alpha 0", "alpha 0 beside 0", lora.CombineOptions{Method: lora.CombineTensors}, []lora.Applied{at(adapter(zero), 1), at(adapter(forms[0]), 1)}},
		{"block weights", "want 26", lora.CombineOptions{BlockWeights: []lora.BlockWeights{{1}}}, []lora.Applied{at(adapter(forms...), 1)}},
		{"block weights of another", "for 2 of 1", lora.CombineOptions{BlockWeights: make([]lora.BlockWeights, 2)}, []lora.Applied{at(adapter(forms...), 1)}},
		{"block weights of the reference's rule", "exact sum only", lora.CombineOptions{BlockWeights: make([]lora.BlockWeights, 1), Method: lora.CombineConcat},
			[]lora.Applied{at(adapter(forms...), 1)}},
		{"mid", "three-factor form true", lora.CombineOptions{Method: lora.CombineTensors}, []lora.Applied{at(adapter(forms[5]), 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := lora.Combine(t.Context(), c.o, c.adapters...)
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
			if a != nil {
				t.Error("there is a result beside the error:", fmt.Sprint(len(a.Modules)))
			}
		})
	}
}
