package lora_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// checkDelta compares changes of a weight: the worst element, beside the largest of what is wanted.
func checkDelta(t *testing.T, name string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", name, len(got), len(want))
	}
	largest, worst := 0.0, 0
	for i := range want {
		largest = max(largest, math.Abs(want[i]))
		if !(math.Abs(got[i]-want[i]) <= math.Abs(got[worst]-want[worst])) {
			worst = i
		}
	}
	if !(math.Abs(got[worst]-want[worst]) <= tolerance*largest) {
		t.Errorf("%s: element %d is %g, want %g; the largest is %g, tolerance %g of it", name, worst, got[worst], want[worst], largest, tolerance)
	}
}

// formsOfModules are modules in every form on small weights.
func formsOfModules() []lora.Module {
	r := loratest.Rand()
	unet := func(name string, shape ...int) lora.Target {
		return lora.Target{Kind: weights.KindUNet, Name: name, Shape: shape}
	}
	linear := unet("linear", 40, 24)
	point := unet("point", 30, 20, 1, 1)
	conv := unet("conv", 30, 20, 3, 3)
	narrow := unet("narrow", 3, 50)
	modules := []lora.Module{
		loratest.RandomModule(r, linear, 16), loratest.RandomModule(r, point, 16), loratest.RandomModule(r, conv, 16), loratest.RandomModule(r, narrow, 16),
		loratest.RandomModule(r, lora.Target{Kind: weights.KindTextEncoder, Name: "text", Shape: compute.Shape{40, 40}}, 16),
	}
	mid := lora.Module{Target: unet("mid", 30, 20, 3, 3), Delta: lora.LowRank{Down: loratest.RandomFactor(r, 4, 20, 1, 1), Up: loratest.RandomFactor(r, 30, 4, 1, 1), Mid: loratest.RandomFactor(r, 4, 4, 3, 3), Alpha: 2}}
	matrices := lora.Module{Target: unet("matrices", 30, 20, 1, 1), Delta: lora.LowRank{Down: loratest.RandomFactor(r, 16, 20), Up: loratest.RandomFactor(r, 30, 16), Alpha: 4}}
	return append(modules, mid, matrices)
}

func adapter(modules ...lora.Module) *lora.Adapter {
	return &lora.Adapter{Path: "x.safetensors", Modules: modules, Metadata: map[string]string{"ss_training_comment": "by me", "lora_adapter_metadata": "{}"}}
}

// TestResizeKeeps wants the same change of a rank that holds all of it.
func TestResizeKeeps(t *testing.T) {
	a := adapter(formsOfModules()...)
	resized, report, err := lora.Resize(t.Context(), a, lora.ResizeOptions{NewRank: 16})
	if err != nil {
		t.Fatal(err)
	}
	if len(resized.Modules) != len(a.Modules) || len(report) != len(a.Modules) {
		t.Fatalf("%d modules and %d reports of %d", len(resized.Modules), len(report), len(a.Modules))
	}
	for i, m := range resized.Modules {
		old := a.Modules[i]
		want := 16
		if old.Name == "narrow" {
			want = 3
		}
		if m.Rank() != want || report[i].NewRank != want || report[i].OldRank != old.Rank() {
			t.Errorf("%s: rank %d, reported %d from %d, want %d", m.Name, m.Rank(), report[i].NewRank, report[i].OldRank, want)
		}
		if loratest.LowRank(m).Scale() != loratest.LowRank(old).Scale() {
			t.Errorf("%s: scale %v, want %v", m.Name, loratest.LowRank(m).Scale(), loratest.LowRank(old).Scale())
		}
		checkDelta(t, m.Name, product(m, 1, 0), product(old, 1, 0), 1e-6)
		if r := report[i]; math.Abs(r.SumRetained-1) > 1e-12 || math.Abs(r.FroRetained-1) > 1e-12 {
			t.Errorf("%s: %v of the sum and %v of the norm retained, want all", m.Name, r.SumRetained, r.FroRetained)
		}
	}
	if err := lora.Write(filepath.Join(t.TempDir(), "x.safetensors"), resized.Modules, compute.F16, resized.Metadata); err != nil {
		t.Error(err)
	}
}

// TestResizeIsBest has the best approximation of rank 1 of a module as PyTorch finds it, and the alphas of sd-scripts.
func TestResizeIsBest(t *testing.T) {
	m := lora.Module{
		Target: lora.Target{Kind: weights.KindUNet, Name: "m", Shape: compute.Shape{4, 6}}, Delta: lora.LowRank{Alpha: 1,
			Up:   lora.Factor{Shape: compute.Shape{4, 2}, Data: []float32{-3.0625, -0.4375, -1.8125, 2.6875, 0.625, -3.5625, 0.0625, 0.3125}},
			Down: lora.Factor{Shape: compute.Shape{2, 6}, Data: []float32{-0.5, 3.4375, -0.9375, 3.0, -1.4375, 3.625, -1.3125, -3.0625, 2.125, 3.625, 0.875, -3.625}}},
	}
	resized, report, err := lora.Resize(t.Context(), adapter(m), lora.ResizeOptions{NewRank: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{
		-1.2453955536294141, -6.530129618668085, 3.3915384870895644, 2.1652176119319884, 2.22418934095786, -7.380139412580968,
		-2.739946059631123, -14.366682830533215, 7.46159120827688, 4.763610602886647, 4.893351997982515, -16.23675614072948,
		2.736513769106117, 14.348685896184206, -7.452244181639032, -4.7576432972604525, -4.887222167200206, 16.21641659278007,
		-0.18094060524237116, -0.9487472490724261, 0.492748689176216, 0.3145793993263238, 0.32314726381807823, -1.0722431826529841,
	}
	for i := range want {
		want[i] *= 0.5 // alpha 1 of rank 2
	}
	checkDelta(t, "rank 1", product(resized.Modules[0], 1, 0), want, 1e-6)
	const s0, s1 = 35.78521202585657, 15.591984840157506
	r := report[0]
	if math.Abs(r.SumRetained-s0/(s0+s1)) > 1e-12 || math.Abs(r.FroRetained-s0/math.Hypot(s0, s1)) > 1e-12 || r.MaxRatio != 1 {
		t.Errorf("report %+v", r)
	}
	big := loratest.RandomModule(loratest.Rand(), lora.Target{Kind: weights.KindUNet, Name: "big", Shape: compute.Shape{40, 40}}, 32)
	if resized, _, err = lora.Resize(t.Context(), adapter(loratest.WithAlpha(big, 16)), lora.ResizeOptions{NewRank: 3}); err != nil || loratest.LowRank(resized.Modules[0]).Alpha != 1.5 {
		t.Errorf("alpha 16 of rank 32 is %v at rank 3 (%v), want 1.5", loratest.LowRank(resized.Modules[0]).Alpha, err)
	}
}

// TestResizeRanks covers the rank of convolutions, ranks that grow, and the metadata.
func TestResizeRanks(t *testing.T) {
	a := adapter(formsOfModules()...)
	a.Modules = append(a.Modules, lora.Module{
		Target: lora.Target{Kind: weights.KindUNet, Name: "zero", Shape: compute.Shape{8, 8}},
		Delta:  lora.LowRank{Alpha: 2, Down: loratest.RandomFactor(loratest.Rand(), 4, 8), Up: lora.Factor{Shape: compute.Shape{8, 4}, Data: make([]float32, 32)}},
	})
	resized, _, err := lora.Resize(t.Context(), a, lora.ResizeOptions{NewRank: 20, NewConvRank: 6})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"linear": 20, "point": 6, "conv": 6, "narrow": 3, "text": 20, "mid": 6, "matrices": 20, "zero": 1}
	for i, m := range resized.Modules {
		if m.Rank() != want[m.Name] {
			t.Errorf("%s: rank %d, want %d", m.Name, m.Rank(), want[m.Name])
		}
		if m.Name == "linear" || m.Name == "text" || m.Name == "zero" {
			checkDelta(t, m.Name, product(m, 1, 0), product(a.Modules[i], 1, 0), 1e-6)
		}
	}
	for key, want := range map[string]string{
		"ss_training_comment": "dimension is resized from Dynamic to 20; by me", "ss_network_dim": "Dynamic", "ss_network_alpha": "Dynamic", "lora_adapter_metadata": "",
	} {
		if got := resized.Metadata[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	resized, _, err = lora.Resize(t.Context(), adapter(a.Modules[0]), lora.ResizeOptions{NewRank: 8, DynamicMethod: lora.SVFro, DynamicParam: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := resized.Metadata["ss_training_comment"], "Dynamic resize with sv_fro: 0.9 from 16; by me"; got != want {
		t.Errorf("comment %q, want %q", got, want)
	}
}

func TestResizeErrors(t *testing.T) {
	for _, c := range []struct {
		name, say string
		o         lora.ResizeOptions
	}{
		{"negative", "new_rank", lora.ResizeOptions{NewRank: -1}},
		{"too large", "new_conv_rank", lora.ResizeOptions{NewConvRank: 1 << 20}},
		{"unknown method", "dynamic_method", lora.ResizeOptions{DynamicMethod: "sv"}},
		{"no parameter", "dynamic_param", lora.ResizeOptions{DynamicMethod: lora.SVRatio}},
		{"ratio below 1", "dynamic_param", lora.ResizeOptions{DynamicMethod: lora.SVRatio, DynamicParam: 0.5}},
		{"part above 1", "dynamic_param", lora.ResizeOptions{DynamicMethod: lora.SVFro, DynamicParam: 1.5}},
		{"NaN", "dynamic_param", lora.ResizeOptions{DynamicMethod: lora.SVCumulative, DynamicParam: math.NaN()}},
		{"parameter without method", "dynamic_method", lora.ResizeOptions{DynamicParam: 0.9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := lora.Resize(t.Context(), adapter(formsOfModules()...), c.o)
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := lora.Resize(ctx, adapter(formsOfModules()...), lora.ResizeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
