package lora_test

import (
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
)

// TestGolden compares both networks with every adapter of the kit, at several strengths, with what diffusers and PEFT
// compute.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		files := loratest.Labels(t, k)
		m, want := loratest.OpenModel(t, k), k.Load(t, "lora_goldens")
		weight, err := strconv.ParseFloat(want.Metadata["weight"], 64)
		if err != nil {
			t.Fatal(err)
		}
		text, noise := m.Run(t, dev, want, lora.MergeOptions{})
		worst := max(golden.Check(t, "base.text", text, want.Tensor(t, "base.text")), golden.Check(t, "base.unet", noise, want.Tensor(t, "base.unet")))
		for _, label := range files {
			a, err := lora.Open(loratest.GoldenPath(t, k, "lora_"+label), m.Targets)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Unmatched)+len(a.Ignored) > 0 {
				t.Errorf("%s: unmatched %q, ignored %q", label, a.Unmatched, a.Ignored)
			}
			for _, c := range []struct {
				name     string
				strength lora.Strength
			}{
				{label + ".1", lora.Strength{TextEncoder: 1, UNet: 1}},
				{label + ".w", lora.Strength{TextEncoder: weight, UNet: weight}},
				{label + ".te0.3_unet0.9", lora.Strength{TextEncoder: 0.3, UNet: 0.9}},
			} {
				text, noise := m.Run(t, dev, want, lora.MergeOptions{Type: compute.F32}, lora.Applied{Adapter: a, Strength: c.strength})
				worst = max(worst, golden.Check(t, c.name+".text", text, want.Tensor(t, c.name+".text")),
					golden.Check(t, c.name+".unet", noise, want.Tensor(t, c.name+".unet")))
			}
		}
		t.Logf("worst relative error: %.2g", worst)
	})
}
