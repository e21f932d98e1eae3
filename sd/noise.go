package sd

import (
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/sampler"
)

// generator starts the stream of a seed.
func (s NoiseSource) generator(seed uint64) rng.Source {
	if s == CPU {
		return rng.NewTorch(seed)
	}
	return rng.NewPhilox(seed)
}

// noise draws the normal numbers of a run: each picture of a batch has its own generator, going on from draw to draw, so that a batch equals single pictures. Draws are [C,H,W] per picture, as the reference
// programs make them; dst is [N,H,W,C].
type noise struct {
	streams  []rng.Source
	paths    []*rng.Brownian // one a picture, only for plans that ask for Brownian noise
	channels int
	plane    []float32 // one picture's draw
}

// newNoise makes the noise of a resolved request, in latents of a size; factor is by how much pictures are larger.
func newNoise(r Request, channels, height, width, factor int, plan *sampler.Plan) (*noise, error) {
	n := &noise{channels: channels, plane: make([]float32, channels*height*width)}
	for i := range r.BatchSize {
		seed, variation := r.seeds(i)
		n.streams = append(n.streams, rng.NewPicture(rng.PictureNoise{
			Source: r.Noise.generator, Seed: uint64(seed), Delta: r.SamplerOptions.ENSD,
			Channels: channels, Height: height, Width: width,
			Subseed: uint64(variation), Strength: r.Variation.Strength,
			FromHeight: r.ResizeFrom.Height / factor, FromWidth: r.ResizeFrom.Width / factor,
		}))
	}
	if plan.Noise != sampler.Brownian {
		return n, nil
	}
	for i := range r.BatchSize {
		seed, _ := r.seeds(i)
		path, err := rng.NewBrownian(uint64(seed), len(n.plane), plan.BrownianMin, plan.BrownianMax, r.Noise.generator)
		if err != nil {
			return nil, err
		}
		n.paths = append(n.paths, path)
	}
	return n, nil
}

// draw fills dst with the next draw of every stream.
func (n *noise) draw(dst []float32) {
	n.each(dst, func(i int) { n.streams[i].Normal(n.plane) })
}

// fill makes the noise that an evaluation asks for and reports whether dst is to be sent to the device: [sampler.Kept] noise is there.
func (n *noise) fill(dst []float32, want sampler.Noise) bool {
	switch want.Kind {
	case sampler.Draw:
		n.draw(dst)
	case sampler.Brownian:
		n.each(dst, func(i int) { n.paths[i].Noise(n.plane, want.From, want.To) })
	default:
		return false
	}
	return true
}

// each lets next fill the plane for picture i and spreads it over dst, channels last.
func (n *noise) each(dst []float32, next func(i int)) {
	for i := range n.streams {
		next(i)
		channelsLast(dst[i*len(n.plane):][:len(n.plane)], n.plane, n.channels)
	}
}

// channelsLast turns one [C,H,W] picture into [H,W,C].
func channelsLast(dst, src []float32, channels int) {
	pixels := len(src) / channels
	for c := range channels {
		for i, v := range src[c*pixels:][:pixels] {
			dst[i*channels+c] = v
		}
	}
}

// channelsFirst turns one [H,W,C] picture into [C,H,W].
func channelsFirst(dst, src []float32, channels int) {
	pixels := len(src) / channels
	for i := range pixels {
		for c, v := range src[i*channels:][:channels] {
			dst[c*pixels+i] = v
		}
	}
}
