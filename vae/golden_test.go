package vae_test

import (
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// open builds the autoencoder of a kit.
func open(t testing.TB, k golden.Kit) (*vae.Model, *weights.Component) {
	t.Helper()
	params, err := k.Open(t).VAE()
	if err != nil {
		t.Fatal(err)
	}
	config, err := vae.ParseConfig(params.Config())
	if err != nil {
		t.Fatal(err)
	}
	m, err := vae.New(config, params)
	if err != nil {
		t.Fatal(err)
	}
	if err := params.Err(); err != nil {
		t.Fatal(err)
	}
	return m, params
}

// TestGolden compares both directions, of whole pictures and in tiles, with those of diffusers.
func TestGolden(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		m, params := open(t, k)
		want := k.Load(t, "vae")
		decode, encode := runner(t, dev, params, m.Decode), runner(t, dev, params, m.Encode)

		for n := range want.Tensor(t, "latent").Shape[0] {
			picture, err := decode(grid(want.Tensor(t, "latent").Sample(n)))
			check(t, "decode.out", picture, err, want.Tensor(t, "decode.out").Sample(n))
		}
		for n := range want.Tensor(t, "image").Shape[0] {
			moments, err := encode(grid(want.Tensor(t, "image").Sample(n)))
			checkMoments(t, "encode.", n, moments, err, want)
		}

		if len(want.Names("tiled.")) == 0 {
			return
		}
		picture, err := m.Config().DecodeTiling().Tiled(grid(want.Tensor(t, "tiled.latent")), decode)
		check(t, "tiled.decode.out", picture, err, want.Tensor(t, "tiled.decode.out"))
		moments, err := m.Config().EncodeTiling().Tiled(grid(want.Tensor(t, "tiled.image")), encode)
		checkMoments(t, "tiled.encode.", 0, moments, err, want)
	})
}

// grid is a golden of one sample.
func grid(x golden.Tensor) vae.Grid {
	x = x.ChannelsLast()
	return vae.Grid{Height: x.Shape[1], Width: x.Shape[2], Channels: x.Shape[3], Data: x.Float32}
}

// runner runs one direction of the autoencoder on single grids.
func runner(t *testing.T, dev compute.Device, params *weights.Component, record func(*compute.Builder, compute.Value) compute.Value) func(vae.Grid) (vae.Grid, error) {
	return func(in vae.Grid) (vae.Grid, error) {
		var b compute.Builder
		v := record(&b, b.Input("x", compute.F32, 1, in.Height, in.Width, in.Channels))
		b.Output(v)
		d := b.Dims(v, 4)
		out := golden.Run(t, dev, params, &b, in.Data)
		return vae.Grid{Height: d[1], Width: d[2], Channels: d[3], Data: out[0]}, nil
	}
}

func check(t *testing.T, name string, got vae.Grid, err error, want golden.Tensor) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if h, w := want.Shape[2], want.Shape[3]; got.Height != h || got.Width != w {
		t.Fatalf("%s is %d×%d, want %d×%d", name, got.Height, got.Width, h, w)
	}
	t.Logf("%s: worst relative error %.2g", name, golden.Check(t, name, got.Data, want))
}

func checkMoments(t *testing.T, prefix string, n int, moments vae.Grid, err error, want golden.File) {
	t.Helper()
	g := moments
	g.Channels /= 2
	var std []float32
	g.Data, std = vae.Moments(moments.Data, g.Channels)
	check(t, prefix+"mean", g, err, want.Tensor(t, prefix+"mean").Sample(n))
	g.Data = make([]float32, len(std))
	for i, s := range std {
		g.Data[i] = float32(2 * math.Log(float64(s)))
	}
	check(t, prefix+"logvar", g, err, want.Tensor(t, prefix+"logvar").Sample(n))
}
