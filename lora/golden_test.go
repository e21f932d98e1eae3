package lora_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// model is the part of a kit that adapters change.
type model struct {
	text       *clip.Model
	unet       *unet.Model
	textParams *weights.Component
	unetParams *weights.Component
	targets    *lora.Targets
}

func openModel(t testing.TB, k golden.Kit) model {
	t.Helper()
	c := k.Open(t)
	var m model
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m.textParams, err = c.TextEncoder()
	check()
	m.unetParams, err = c.UNet()
	check()
	text, err := clip.ParseConfig(m.textParams.Config())
	check()
	net, err := unet.ParseConfig(m.unetParams.Config())
	check()
	m.text, err = clip.New(text, m.textParams)
	check()
	m.unet, err = unet.New(net, m.unetParams)
	check()
	err = m.textParams.Err()
	check()
	err = m.unetParams.Err()
	check()
	m.targets, err = lora.NewTargets(text, net)
	check()
	return m
}

// run computes the outputs of both networks with adapters merged, as PyTorch would have them unmerged.
func (m model) run(t testing.TB, dev compute.Device, in golden.File, o lora.MergeOptions, adapters ...lora.Applied) (text, noise []float32) {
	t.Helper()
	textParams, err := lora.Merge(m.textParams, weights.KindTextEncoder, o, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	unetParams, err := lora.Merge(m.unetParams, weights.KindUNet, o, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	ids, sample, timestep := in.Tensor(t, "input_ids"), in.Tensor(t, "sample").ChannelsLast(), in.Tensor(t, "timestep")

	var encoder compute.Builder
	encoder.Output(m.text.Forward(&encoder, encoder.Input("input_ids", compute.I32, ids.Shape...), 0))
	text = golden.Run(t, dev, textParams, &encoder, ids.Int32())[0]

	var b compute.Builder
	x := b.Input("sample", compute.F32, sample.Shape...)
	time := b.Input("timestep", compute.F32, timestep.Shape...)
	c := b.Input("encoder_hidden_states", compute.F32, ids.Shape[0], ids.Shape[1], m.text.Config().HiddenSize)
	b.Output(m.unet.Apply(&b, x, time, c))
	noise = golden.Run(t, dev, unetParams, &b, sample.Float32, timestep.Float32, text)[0]
	return text, noise
}

// goldenPath finds one of the kit's files: beside its model, or with the embedded model's goldens.
func goldenPath(t testing.TB, k golden.Kit, name string) string {
	t.Helper()
	dir := filepath.Join(golden.Root(t), "testdata", k.Name)
	for _, listed := range filepath.SplitList(os.Getenv(golden.Variable)) {
		if k.Model == os.DirFS(filepath.Join(listed, "model")) {
			dir = listed
		}
	}
	return filepath.Join(dir, "goldens", name+".safetensors")
}

// labels lists the kit's adapter files: "kohya" for lora_kohya.safetensors.
func labels(t testing.TB, k golden.Kit) (all []string) {
	t.Helper()
	goldens := false
	for _, name := range k.Names("lora_") {
		if name == "lora_goldens" {
			goldens = true
		} else {
			all = append(all, strings.TrimPrefix(name, "lora_"))
		}
	}
	switch {
	case len(all) == 0 && !goldens:
		t.Skip("the kit has no adapters")
	case len(all) == 0 || !goldens:
		t.Fatalf("the kit's adapters are %v, with their goldens: %v", all, goldens)
	}
	return all
}

// TestGolden compares both networks with every adapter of the kit, at several strengths, with what diffusers and PEFT
// compute.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		files := labels(t, k)
		m, want := openModel(t, k), k.Load(t, "lora_goldens")
		weight, err := strconv.ParseFloat(want.Metadata["weight"], 64)
		if err != nil {
			t.Fatal(err)
		}
		text, noise := m.run(t, dev, want, lora.MergeOptions{})
		worst := max(golden.Check(t, "base.text", text, want.Tensor(t, "base.text")), golden.Check(t, "base.unet", noise, want.Tensor(t, "base.unet")))
		for _, label := range files {
			a, err := lora.Open(goldenPath(t, k, "lora_"+label), m.targets)
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
				text, noise := m.run(t, dev, want, lora.MergeOptions{Type: compute.F32}, lora.Applied{Adapter: a, Strength: c.strength})
				worst = max(worst, golden.Check(t, c.name+".text", text, want.Tensor(t, c.name+".text")),
					golden.Check(t, c.name+".unet", noise, want.Tensor(t, c.name+".unet")))
			}
		}
		t.Logf("worst relative error: %.2g", worst)
	})
}
