package unet_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// open builds the UNet of a kit.
func open(t testing.TB, k golden.Kit) (*unet.Model, *weights.Component) {
	t.Helper()
	params, err := k.Open(t).UNet()
	if err != nil {
		t.Fatal(err)
	}
	config, err := unet.ParseConfig(params.Config())
	if err != nil {
		t.Fatal(err)
	}
	m, err := unet.New(config, params)
	if err != nil {
		t.Fatal(err)
	}
	if err := params.Err(); err != nil {
		t.Fatal(err)
	}
	return m, params
}

// TestGolden compares the network and everything inside it that was recorded with diffusers.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		m, params := open(t, k)
		want := k.Load(t, "unet")
		sample, timestep, context := want.Tensor(t, "sample").ChannelsLast(), want.Tensor(t, "timestep"), want.Tensor(t, "encoder_hidden_states")

		var b compute.Builder
		x := b.Input("sample", compute.F32, sample.Shape...)
		time := b.Input("timestep", compute.F32, timestep.Shape...)
		c := b.Input("encoder_hidden_states", compute.F32, context.Shape...)
		b.Output(m.Apply(&b, x, time, c))

		probes := []golden.Probe{{Golden: "out", Module: "conv_out"}}
		for _, name := range want.Names("act.") {
			probes = append(probes, golden.Probe{Golden: name, Module: strings.TrimPrefix(name, "act.")})
		}
		golden.CheckModules(t, dev, params, &b, want, probes, sample.Float32, timestep.Float32, context.Float32)
	})
}
