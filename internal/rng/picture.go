package rng

import "math"

// Picture is the noise of one picture as AUTOMATIC1111's web UI draws it: a stream whose first draw, the noise that the
// picture starts from, can be varied by a second seed and can keep the composition of another size. Not safe for
// concurrent use.
type Picture struct {
	noise   PictureNoise
	stream  Source
	started bool
}

// PictureNoise describes the noise of a picture.
type PictureNoise struct {
	Source func(seed uint64) Source // makes a generator from a seed
	Seed   uint64

	Channels, Height, Width int // of the latent

	// Subseed is the seed of a variation and Strength how much of it there is: 0 none, 1 nothing else.
	Subseed  uint64
	Strength float64

	// FromHeight and FromWidth are the size of the latent whose noise is to stand in the middle of this one's; 0 or less, for
	// either, is this one's own.
	FromHeight, FromWidth int

	// Delta is added to the seed for all draws after the first, if it is not 0 ("eta noise seed delta").
	Delta int64
}

// NewPicture starts the stream of a picture.
func NewPicture(n PictureNoise) *Picture {
	if n.FromHeight <= 0 || n.FromWidth <= 0 {
		n.FromHeight, n.FromWidth = n.Height, n.Width
	}
	return &Picture{noise: n, stream: n.Source(n.Seed)}
}

var _ Source = (*Picture)(nil)

// Normal fills dst, [C,H,W], with the next draw.
func (p *Picture) Normal(dst []float32) {
	if p.started {
		p.stream.Normal(dst)
		return
	}
	p.started = true
	p.first(dst)
	if p.noise.Delta != 0 {
		p.stream = p.noise.Source(p.noise.Seed + uint64(p.noise.Delta))
	}
}

// first makes the noise that the picture starts from.
func (p *Picture) first(dst []float32) {
	n := p.noise
	if n.FromHeight == n.Height && n.FromWidth == n.Width {
		p.stream.Normal(dst)
		n.vary(dst)
		return
	}
	other := make([]float32, n.Channels*n.FromHeight*n.FromWidth)
	n.Source(n.Seed).Normal(other)
	n.vary(other)
	p.stream.Normal(dst)
	n.center(dst, other)
}

// vary turns noise towards that of the subseed.
func (n PictureNoise) vary(noise []float32) {
	if n.Strength == 0 {
		return
	}
	other := make([]float32, len(noise))
	n.Source(n.Subseed).Normal(other)
	slerp(noise, other, n.Strength, n.Channels, n.FromHeight, n.FromWidth)
}

// center copies the middle of a latent of the other size over the middle of dst.
func (n PictureNoise) center(dst, other []float32) {
	height, width := min(n.Height, n.FromHeight), min(n.Width, n.FromWidth)
	y, x := middle(n.Height, n.FromHeight), middle(n.Width, n.FromWidth)
	fromY, fromX := middle(n.FromHeight, n.Height), middle(n.FromWidth, n.Width)
	for c := range n.Channels {
		for row := range height {
			to := dst[((c*n.Height+y+row)*n.Width + x):]
			copy(to[:width], other[(c*n.FromHeight+fromY+row)*n.FromWidth+fromX:])
		}
	}
}

// middle is where what is part long begins in the middle of what is whole, or 0 if it is not shorter.
func middle(whole, part int) int { return max(whole-part, 0) / 2 }

// slerp turns low, [C,H,W], towards high by a part of the angle between them, one after the other for the columns along the
// height, as the web UI does. If these are nearly parallel it mixes them, with the parts exchanged: so does the web UI.
func slerp(low, high []float32, part float64, channels, height, width int) {
	cosines := make([]float64, channels*width)
	mean := 0.0
	for i := range cosines {
		cosines[i] = cosine(low, high, i/width*height*width+i%width, height, width)
		mean += cosines[i] / float64(len(cosines))
	}
	for i, cosine := range cosines {
		a, b := part, 1-part
		if omega := math.Acos(cosine); mean <= 0.9995 {
			a, b = math.Sin((1-part)*omega)/math.Sin(omega), math.Sin(part*omega)/math.Sin(omega)
		}
		for y := range height {
			at := (i/width*height+y)*width + i%width
			low[at] = float32(a*float64(low[at]) + b*float64(high[at]))
		}
	}
}

// cosine is that of the angle between two columns that begin at an index.
func cosine(a, b []float32, at, height, stride int) float64 {
	var aa, ab, bb float64
	for y := range height {
		u, v := float64(a[at+y*stride]), float64(b[at+y*stride])
		aa, ab, bb = aa+u*u, ab+u*v, bb+v*v
	}
	// Just inside ±1, where the web UI's noise of parallel columns is not a number.
	return min(max(ab/math.Sqrt(aa*bb), -1+1e-12), 1-1e-12)
}
