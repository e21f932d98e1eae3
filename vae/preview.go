package vae

import "fmt"

// previewColours are red, green and blue of each channel of Stable Diffusion 1.x latents, as the web UI's "Approx cheap" has them.
var previewColours = [4][3]float32{
	{0.298, 0.207, 0.208},
	{0.187, 0.286, 0.173},
	{-0.158, 0.189, 0.264},
	{-0.184, -0.271, -0.473},
}

// CheapPreview is a picture of latents as the UNet has them, at their size and without any network: [H,W,4] to [H,W,3] in about
// [-1,1], for [ToImage].
func CheapPreview(latents Grid) (Grid, error) {
	if err := latents.check(); err != nil {
		return Grid{}, err
	}
	if latents.Channels != len(previewColours) {
		return Grid{}, fmt.Errorf("vae: latents of %d channels have no colours known here, only those of %d", latents.Channels, len(previewColours))
	}
	out := Grid{latents.Height, latents.Width, 3, make([]float32, latents.Height*latents.Width*3)}
	for i := range latents.Height * latents.Width {
		for c, x := range latents.Data[4*i:][:4] {
			for k, colour := range previewColours[c] {
				out.Data[3*i+k] += x * colour
			}
		}
	}
	return out, nil
}
