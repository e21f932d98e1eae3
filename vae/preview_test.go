package vae_test

import (
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/vae"
)

// BenchmarkCheapPreview previews a picture of 512×512, which is to take less than a hundredth of a step.
func BenchmarkCheapPreview(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	latents := vae.Grid{Height: 64, Width: 64, Channels: 4, Data: make([]float32, 64*64*4)}
	for i := range latents.Data {
		latents.Data[i] = float32(r.NormFloat64())
	}
	for b.Loop() {
		picture, err := vae.CheapPreview(latents)
		if err != nil {
			b.Fatal(err)
		}
		vae.ToImage(picture.Data, picture.Height, picture.Width)
	}
}
