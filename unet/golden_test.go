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

// inputs declares what Apply reads, with the types of the given goldens.
func inputs(b *compute.Builder, sample, timestep, context golden.Tensor) (x, t, c compute.Value) {
	return b.Input("sample", compute.F32, sample.Shape...), b.Input("timestep", compute.F32, timestep.Shape...),
		b.Input("encoder_hidden_states", compute.F32, context.Shape...)
}

// TestGolden compares the network and everything inside it that was recorded with diffusers, in the order of
// execution: the first failure is where the network leaves the golden.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		m, params := open(t, k)
		want := k.Load(t, "unet")
		sample, timestep, context := want.Tensor(t, "sample").ChannelsLast(), want.Tensor(t, "timestep"), want.Tensor(t, "encoder_hidden_states")

		var b compute.Builder
		out := m.Apply(&b, inputs(&b, sample, timestep, context))
		names := []string{"out"}
		b.Output(out)
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		order := []compute.Value{out}
		for _, name := range want.Names("act.") {
			v := golden.LastUnder(t, p, strings.TrimPrefix(name, "act."))
			b.Output(v)
			names, order = append(names, name), append(order, v)
		}
		got := golden.Run(t, dev, params, &b, sample.Float32, timestep.Float32, context.Float32)

		golden.CheckInOrder(t, p, names, order, got, want)
	})
}
