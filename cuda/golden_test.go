package cuda

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/realcard"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/vae"
)

// tolerances are the greatest worst relative error of a network's result. Of half precision each op may err by 5e-3.
var tolerances = map[compute.Precision]float64{compute.PrecisionFP32: golden.Tolerance, compute.PrecisionFP16: 2e-2}

// TestGolden compares the networks of a tiny model, on a simulated card, or of all kits on the card that tests are to use, with diffusers' and transformers' in float32.
func TestGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes half a minute for the networks")
	}
	kits := []golden.Kit{tinyRandom(t)} // the others are larger: a simulation takes minutes
	if _, real := realcard.Number(t); real {
		kits = golden.Kits(t)
	}
	for precision, tolerance := range tolerances {
		t.Run(precision.String(), func(t *testing.T) {
			dev := device(t, Options{Precision: precision})(t)
			for _, kit := range kits {
				for _, network := range []struct {
					name string
					run  func(t *testing.T, k golden.Kit, dev compute.Device) (have []float32, want golden.Tensor)
				}{{"clip", text}, {"unet", noise}, {"vae decoder", picture}, {"vae encoder", moments}} {
					start := time.Now()
					have, want := network.run(t, kit, dev)
					d := golden.Compare(have, want.ChannelsLast().Float32)
					if t.Logf("%s, %s in %.1f s: %v", kit.Name, network.name, time.Since(start).Seconds(), d); !(d.Relative <= tolerance) {
						t.Errorf("%s, %s: %v, tolerance %g", kit.Name, network.name, d, tolerance)
					}
				}
			}
		})
	}
}

// TestOrder runs networks on cards that take streams, blocks and warps in different orders: the bits are the same.
func TestOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes twenty seconds for six networks")
	}
	k := tinyRandom(t)
	for name, run := range map[string]func(*testing.T, golden.Kit, compute.Device) ([]float32, golden.Tensor){"clip": text, "unet": noise} {
		t.Run(name, func(t *testing.T) {
			timed(t)
			var first []float32
			for seed := range uint64(3) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					have, _ := run(t, k, opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{Seed: seed})(t))
					if first == nil {
						first = have
					}
					if !slices.Equal(have, first) {
						t.Error("another order gives other bits")
					}
				})
			}
		})
	}
}

// TestPromoted keeps sums in half precision where the option has it: the network is less exact, and within the tolerance of half precision.
func TestPromoted(t *testing.T) {
	k, have := tinyRandom(t), make(map[bool][]float32)
	for _, promoted := range []bool{false, true} {
		t.Run(fmt.Sprint(promoted), func(t *testing.T) {
			seen, want := noise(t, k, opener(Options{Precision: compute.PrecisionFP16, Promoted: promoted}, simdriver.Options{})(t))
			d := golden.Compare(seen, want.ChannelsLast().Float32)
			if t.Log(d); !(d.Relative <= tolerances[compute.PrecisionFP16]) {
				t.Errorf("%v, tolerance %g", d, tolerances[compute.PrecisionFP16])
			}
			have[promoted] = seen
		})
	}
	if slices.Equal(have[true], have[false]) {
		t.Error("the option changes nothing")
	}
}

func text(t *testing.T, k golden.Kit, dev compute.Device) ([]float32, golden.Tensor) {
	params, err := k.Open(t).TextEncoder()
	check(t, err)
	config, err := clip.ParseConfig(params.Config())
	check(t, err)
	m, err := clip.New(config, params)
	check(t, err)
	want := k.Load(t, "clip")
	ids := want.Tensor(t, "input_ids")
	var b compute.Builder
	b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, ids.Shape...), 0))
	return golden.Run(t, dev, params, &b, ids.Int32())[0], want.Tensor(t, "last_hidden_state")
}

func noise(t *testing.T, k golden.Kit, dev compute.Device) ([]float32, golden.Tensor) {
	params, err := k.Open(t).UNet()
	check(t, err)
	config, err := unet.ParseConfig(params.Config())
	check(t, err)
	m, err := unet.New(config, params)
	check(t, err)
	want := k.Load(t, "unet")
	sample, timestep, context := want.Tensor(t, "sample").ChannelsLast(), want.Tensor(t, "timestep"), want.Tensor(t, "encoder_hidden_states")
	var b compute.Builder
	x, at := b.Input("sample", compute.F32, sample.Shape...), b.Input("timestep", compute.F32, timestep.Shape...)
	b.Output(m.Apply(&b, x, at, b.Input("encoder_hidden_states", compute.F32, context.Shape...)))
	return golden.Run(t, dev, params, &b, sample.Float32, timestep.Float32, context.Float32)[0], want.Tensor(t, "out")
}

func picture(t *testing.T, k golden.Kit, dev compute.Device) ([]float32, golden.Tensor) {
	return autoencode(t, k, dev, "latent", "decode.out", func(m *vae.Model) func(*compute.Builder, compute.Value) compute.Value { return m.Decode })
}

func moments(t *testing.T, k golden.Kit, dev compute.Device) ([]float32, golden.Tensor) {
	have, mean := autoencode(t, k, dev, "image", "encode.mean", func(m *vae.Model) func(*compute.Builder, compute.Value) compute.Value { return m.Encode })
	channels := mean.Shape[1]
	var means []float32
	for i := 0; i < len(have); i += 2 * channels { // of each position the means come before the variances
		means = append(means, have[i:i+channels]...)
	}
	return means, mean
}

func autoencode(t *testing.T, k golden.Kit, dev compute.Device, in, out string, direction func(m *vae.Model) func(*compute.Builder, compute.Value) compute.Value) ([]float32, golden.Tensor) {
	params, err := k.Open(t).VAE()
	check(t, err)
	config, err := vae.ParseConfig(params.Config())
	check(t, err)
	m, err := vae.New(config, params)
	check(t, err)
	want := k.Load(t, "vae")
	x := want.Tensor(t, in).ChannelsLast()
	var b compute.Builder
	b.Output(direction(m)(&b, b.Input("x", compute.F32, x.Shape...)))
	return golden.Run(t, dev, params, &b, x.Float32)[0], want.Tensor(t, out)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
