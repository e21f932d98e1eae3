package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// TestTiny runs tiny autoencoders of both forms of files beside the networks of a checkpoint, and compares with PyTorch.
func TestTiny(t *testing.T) {
	data := func(name string) string { return filepath.Join(golden.Root(t), "vae", "testdata", name) }
	want, err := weights.OpenFile(data("taesd_goldens.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	load := func(name string) vae.Grid {
		x, err := want.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		g := golden.Tensor{Shape: x.Shape, Float32: x.Float32s()}.ChannelsLast()
		return vae.Grid{Height: g.Shape[1], Width: g.Shape[2], Channels: g.Shape[3], Data: g.Float32}
	}
	n, err := engine.Open(golden.Kits(t)[0].Open(t))
	if err != nil {
		t.Fatal(err)
	}
	c := engine.NewCache(ref.New(), n, 4)
	defer c.Close()
	for _, file := range []struct {
		name             string
		decodes, encodes bool
	}{{"taesd_decoder.pth", true, false}, {"taesd_encoder.pth", false, true}, {"taesd_diffusers.safetensors", true, true}} {
		x, err := engine.OpenTiny(data(file.name))
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if x.Decodes != file.decodes || x.Encodes != file.encodes {
			t.Errorf("%s decodes: %t, encodes: %t", file.name, x.Decodes, x.Encodes)
		}
		if x.Decodes {
			in := load("decode.in")
			first := in.Data[0]
			got, err := x.Decode(t.Context(), c, in, false)
			if d := golden.Compare(got.Data, load("decode.out").Data); err != nil || d.Relative > 1e-4 {
				t.Errorf("%s decodes with %v, %v", file.name, d, err)
			}
			if in.Data[0] != first {
				t.Errorf("%s changes the latents it is given", file.name)
			}
			tiled, err := x.Decode(t.Context(), c, in, true)
			if d := golden.Compare(tiled.Data, got.Data); err != nil || d.Relative > 1e-4 {
				t.Errorf("%s decodes in one tile with %v, %v", file.name, d, err)
			}
		}
		if x.Encodes {
			got, err := x.Encode(t.Context(), c, load("encode.in"), false)
			if d := golden.Compare(got.Data, load("encode.out").Data); err != nil || d.Relative > 1e-4 {
				t.Errorf("%s encodes with %v, %v", file.name, d, err)
			}
		}
	}
}

// TestNotTiny opens what is no tiny autoencoder.
func TestNotTiny(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(golden.Root(t), "vae", "testdata", "taesd_diffusers.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	renamed := filepath.Join(t.TempDir(), "taesd.safetensors")
	if err := os.WriteFile(renamed, []byte(strings.Replace(string(whole), "decoder.layers.18.bias", "decoder.layers.19.bias", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(golden.Root(t), "vae", "testdata", "taesd_goldens.safetensors"): "no tiny autoencoder",
		renamed:              "decoder.layers.18.bias",
		renamed + ".nowhere": "nowhere",
	} {
		if _, err := engine.OpenTiny(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
