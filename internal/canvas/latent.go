package canvas

import (
	"fmt"
	"math"
)

// Upscalers are the names of the ways to scale latents, the web UI's.
var Upscalers = []string{"Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)"}

// weight is the share of one source place in a target place.
type weight struct {
	at    int
	share float64
}

// UpscaleLatents scales latents [C,H,W] to [C,height,width] as PyTorch's interpolate does. name is one of Upscalers.
func UpscaleLatents(name string, latents []float32, channels, h, w, height, width int) ([]float32, error) {
	interpolate, ok := map[string]func(to, from, n int) []weight{
		"Latent": linear, "Latent (bicubic)": cubic, "Latent (nearest)": nearest, "Latent (nearest-exact)": nearestExact,
		"Latent (antialiased)":         func(to, from, n int) []weight { return antialiased(to, from, n, 1, triangle) },
		"Latent (bicubic antialiased)": func(to, from, n int) []weight { return antialiased(to, from, n, 2, keys(-0.5)) },
	}[name]
	if !ok {
		return nil, fmt.Errorf("canvas: no latent upscaler %.60q; there are %q", name, Upscalers)
	}
	if len(latents) != channels*h*w || h < 1 || w < 1 || height < 1 || width < 1 {
		return nil, fmt.Errorf("canvas: %d values for latents of %d channels, %d×%d, to be %d×%d", len(latents), channels, w, h, width, height)
	}
	columns, rows := make([][]weight, width), make([][]weight, height)
	for i := range columns {
		columns[i] = interpolate(i, w, width)
	}
	for i := range rows {
		rows[i] = interpolate(i, h, height)
	}
	out := make([]float32, 0, channels*height*width)
	for c := range channels {
		plane := latents[c*h*w:][:h*w]
		for _, row := range rows {
			for _, column := range columns {
				sum := 0.0
				for _, y := range row {
					for _, x := range column {
						sum += y.share * x.share * float64(plane[y.at*w+x.at])
					}
				}
				out = append(out, float32(sum))
			}
		}
	}
	return out, nil
}

// nearest takes the place at or before i·from/n.
func nearest(i, from, n int) []weight {
	return []weight{{min(int(float32(i)*(float32(from)/float32(n))), from-1), 1}}
}

// nearestExact takes the place that the centre of i lies in.
func nearestExact(i, from, n int) []weight {
	return []weight{{min(int((float32(i)+0.5)*(float32(from)/float32(n))), from-1), 1}}
}

// linear mixes the two places beside the centre of i.
func linear(i, from, n int) []weight {
	at := max((float64(i)+0.5)*float64(from)/float64(n)-0.5, 0)
	low := min(int(at), from-1)
	return []weight{{low, 1 - (at - float64(low))}, {min(low+1, from-1), at - float64(low)}}
}

// cubic mixes four places, those beyond the border being the border's.
func cubic(i, from, n int) (all []weight) {
	at := (float64(i)+0.5)*float64(from)/float64(n) - 0.5
	low, kernel := math.Floor(at), keys(-0.75)
	for tap := -1; tap <= 2; tap++ {
		p := low + float64(tap)
		all = append(all, weight{min(max(int(p), 0), from-1), kernel(at - p)})
	}
	return all
}

// antialiased mixes all places within the filter's support, which grows with what is shrunk, and no others.
func antialiased(i, from, n int, support float64, filter func(float64) float64) (all []weight) {
	scale := float64(from) / float64(n)
	wide := max(scale, 1)
	centre, sum := (float64(i)+0.5)*scale, 0.0
	first, last := max(int(centre-support*wide+0.5), 0), min(int(centre+support*wide+0.5), from)
	for at := first; at < last; at++ {
		share := filter((float64(at) - centre + 0.5) / wide)
		all, sum = append(all, weight{at, share}), sum+share
	}
	for k := range all {
		all[k].share /= sum
	}
	return all
}

func triangle(x float64) float64 { return max(1-math.Abs(x), 0) }

// keys is the cubic kernel with the given slope at 1.
func keys(a float64) func(x float64) float64 {
	return func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}
}
