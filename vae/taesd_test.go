package vae_test

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// tiny opens the file of a small TAESD of random weights, which PyTorch wrote.
func tiny(t *testing.T, file string) *weights.Component {
	t.Helper()
	f, err := weights.OpenFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	decoder := vae.IsTinyDecoder(f.Names())
	c, err := f.Component("TAESD", func(key string) string { return vae.TinyName(key, decoder) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTAESD compares both halves, in both forms of their files, with a PyTorch implementation in float64.
func TestTAESD(t *testing.T) {
	want, err := weights.OpenFile("testdata/taesd_goldens.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	load := func(name string) golden.Tensor {
		x, err := want.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return golden.Tensor{Shape: x.Shape, Float32: x.Float32s()}
	}
	config := vae.TinyConfig{Channels: 8, LatentChannels: 4}
	for _, d := range golden.Devices {
		dev, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		for _, files := range [][2]string{{"taesd_encoder.pth", "taesd_decoder.pth"}, {"taesd_diffusers.safetensors", "taesd_diffusers.safetensors"}} {
			t.Run(files[0]+"/"+d.Name, func(t *testing.T) {
				enc, dec := tiny(t, files[0]), tiny(t, files[1])
				encoder, decoder := vae.NewTinyEncoder(config, enc), vae.NewTinyDecoder(config, dec)
				if files[0] == files[1] { // each claims its half of the file
					vae.NewTinyDecoder(config, enc)
					vae.NewTinyEncoder(config, dec)
				}
				if err := enc.Err(); err != nil {
					t.Fatal(err)
				}
				if err := dec.Err(); err != nil {
					t.Fatal(err)
				}
				latents, err := runner(t, dev, enc, encoder.Encode)(grid(load("encode.in")))
				check(t, "encode.out", latents, err, load("encode.out"))
				in := grid(load("decode.in"))
				vae.BoundLatents(in.Data)
				pictures, err := runner(t, dev, dec, decoder.Decode)(in)
				check(t, "decode.out", pictures, err, load("decode.out"))
			})
		}
	}
}

func TestTinyName(t *testing.T) {
	for _, c := range []struct {
		key     string
		decoder bool
		want    string
	}{
		{"1.weight", true, "decoder.layers.0.weight"},
		{"3.conv.0.bias", true, "decoder.layers.2.conv.0.bias"},
		{"0.weight", false, "encoder.layers.0.weight"},
		{"taesd_decoder.19.weight", false, "decoder.layers.18.weight"},
		{"taesd_encoder.14.bias", true, "encoder.layers.14.bias"},
		{"decoder.layers.7.conv.2.weight", false, "decoder.layers.7.conv.2.weight"},
	} {
		if got := vae.TinyName(c.key, c.decoder); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.key, got, c.want)
		}
	}
}

// TestFullTAESD counts the parameters of the real one.
func TestFullTAESD(t *testing.T) {
	count := counter(0)
	vae.NewTinyEncoder(vae.TAESD(), &count)
	if count != 1222532 {
		t.Errorf("the encoder has %d parameters, want 1222532", count)
	}
	count = 0
	vae.NewTinyDecoder(vae.TAESD(), &count)
	if count != 1222531 {
		t.Errorf("the decoder has %d parameters, want 1222531", count)
	}
}

// counter counts what is claimed.
type counter int

// Claim implements nn.Claimer.
func (c *counter) Claim(name string, shape ...int) { *c += counter(compute.Shape(shape).Elements()) }

func TestWebUI(t *testing.T) {
	webui.Test(t, "cheap_preview", func(t *testing.T, r struct {
		ID          string
		Latent, RGB []float32
	}) {
		pixels := len(r.Latent) / 4
		in := vae.Grid{Height: 1, Width: pixels, Channels: 4, Data: make([]float32, len(r.Latent))}
		for i, v := range r.Latent {
			in.Data[i%pixels*4+i/pixels] = v
		}
		got, err := vae.CheapPreview(in)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range r.RGB {
			if d := got.Data[i%pixels*3+i/pixels] - want; !(d*d < 1e-12) {
				t.Errorf("%s: value %d is off by %g", r.ID, i, d)
			}
		}
	})
	if _, err := vae.CheapPreview(vae.Grid{Height: 1, Width: 1, Channels: 16, Data: make([]float32, 16)}); err == nil {
		t.Error("latents of 16 channels have colours")
	}
}
