package train

import (
	"errors"
	"math"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/invalid"
)

// Noise says what is mixed into pictures, and when, in the options of sd-scripts. The zero value is plain noise at every
// timestep.
type Noise struct {
	// MinTimestep and MaxTimestep bound the timesteps, from the first to before the second; a MaxTimestep of 0 means 1000.
	MinTimestep int `json:"min_timestep"`
	MaxTimestep int `json:"max_timestep"`
	// NoiseOffset adds one more number to all of a channel, so that brightness is learned too: "noise_offset", 0.05 to 0.1 is
	// usual. NoiseOffsetRandomStrength draws its strength for each batch. AdaptiveNoiseScale adds to it that much of the
	// channel's mean.
	NoiseOffset               float64 `json:"noise_offset"`
	AdaptiveNoiseScale        float64 `json:"adaptive_noise_scale"`
	NoiseOffsetRandomStrength bool    `json:"noise_offset_random_strength"`
	// MultiresNoiseIterations adds as many layers of ever coarser noise, each weaker by MultiresNoiseDiscount, 0 meaning 0.3.
	MultiresNoiseIterations int     `json:"multires_noise_iterations"`
	MultiresNoiseDiscount   float64 `json:"multires_noise_discount"`
	// IPNoiseGamma adds that much of further noise to what is mixed in, and not to what is to be predicted: "ip_noise_gamma".
	// Ning et al. (arXiv:2301.11706). IPNoiseGammaRandomStrength draws its strength for each batch.
	IPNoiseGamma               float64 `json:"ip_noise_gamma"`
	IPNoiseGammaRandomStrength bool    `json:"ip_noise_gamma_random_strength"`
}

// maxMultires bounds the layers of noise; ten reach a single pixel from any size.
const maxMultires = 64

// Check reports what is wrong with the options, all of it, as [invalid.FieldError]s of a Noise.
func (n Noise) Check() error {
	var errs []error
	count := func(field string, n, most int, usual string) {
		if n < 0 || n > most {
			errs = append(errs, invalid.Field("Noise."+field, n, "0 to %d%s", most, usual))
		}
	}
	part := func(field string, v float64) {
		if math.IsNaN(v) || math.Abs(v) > 100 {
			errs = append(errs, invalid.Field("Noise."+field, v, "a small number such as 0.1"))
		}
	}
	count("MinTimestep", n.MinTimestep, trainSteps-1, "")
	count("MaxTimestep", n.MaxTimestep, trainSteps, "")
	count("MultiresNoiseIterations", n.MultiresNoiseIterations, maxMultires, "; 6 to 10 is usual")
	part("NoiseOffset", n.NoiseOffset)
	part("AdaptiveNoiseScale", n.AdaptiveNoiseScale)
	part("MultiresNoiseDiscount", n.MultiresNoiseDiscount)
	part("IPNoiseGamma", n.IPNoiseGamma)
	if n.AdaptiveNoiseScale != 0 && n.NoiseOffset == 0 {
		errs = append(errs, invalid.Field("Noise.NoiseOffset", 0, "a number such as 0.05, to which Noise.AdaptiveNoiseScale can add"))
	}
	return errors.Join(errs...)
}

// draw fills in the timesteps and the noise of a batch, all of it from one stream, for latents of the given channels.
func (n Noise) draw(b *Batch, channels int, r *rng.Torch) {
	b.Timesteps = n.timesteps(b.Samples, r)
	b.Noise = normal(r, len(b.Latents))
	if n.NoiseOffset != 0 {
		n.offset(b, channels, r)
	}
	if n.MultiresNoiseIterations > 0 {
		n.multires(b, channels, r)
	}
	if n.IPNoiseGamma != 0 {
		strength := n.IPNoiseGamma
		if n.IPNoiseGammaRandomStrength {
			strength *= uniform(r)
		}
		b.Perturbed = normal(r, len(b.Noise))
		for i, e := range b.Noise {
			b.Perturbed[i] = e + float32(strength)*b.Perturbed[i]
		}
	}
}

// timesteps draws one for each sample. Without room between the bounds all are the upper one.
func (n Noise) timesteps(samples int, r *rng.Torch) []int {
	low, high := n.MinTimestep, n.MaxTimestep
	if high == 0 {
		high = trainSteps
	}
	steps := make([]int, samples)
	if low >= high {
		for i := range steps {
			steps[i] = high
		}
		return steps
	}
	drawn := make([]int32, samples)
	r.Intn(drawn, int32(high-low))
	for i, s := range drawn {
		steps[i] = low + int(s)
	}
	return steps
}

// offset adds a number to each channel of each sample.
func (n Noise) offset(b *Batch, channels int, r *rng.Torch) {
	pixels := b.Height * b.Width
	strength := n.NoiseOffset
	if n.NoiseOffsetRandomStrength {
		strength *= uniform(r)
	}
	for i, shift := range normal(r, b.Samples*channels) {
		at, s := i/channels*pixels*channels+i%channels, strength
		if n.AdaptiveNoiseScale != 0 {
			mean := 0.0
			for p := range pixels {
				mean += float64(b.Latents[at+p*channels]) / float64(pixels)
			}
			s = max(0, s+n.AdaptiveNoiseScale*math.Abs(mean))
		}
		for p := range pixels {
			b.Noise[at+p*channels] += float32(s) * shift
		}
	}
}

// multires adds ever smaller noise, enlarged, and brings the whole back to a standard deviation of 1. See Whitaker,
// "Multi-Resolution Noise for Diffusion Model Training" (2023).
func (n Noise) multires(b *Batch, channels int, r *rng.Torch) {
	discount := n.MultiresNoiseDiscount
	if discount == 0 {
		discount = 0.3
	}
	for i := range n.MultiresNoiseIterations {
		shrink := math.Pow(2+2*uniform(r), float64(i))
		h, w := max(1, int(float64(b.Height)/shrink)), max(1, int(float64(b.Width)/shrink))
		enlarge(b, channels, normal(r, b.Samples*h*w*channels), h, w, float32(math.Pow(discount, float64(i))))
		if h == 1 || w == 1 {
			break
		}
	}
	var sum, squares float64
	for _, e := range b.Noise {
		sum += float64(e)
	}
	mean := sum / float64(len(b.Noise))
	for _, e := range b.Noise {
		squares += (float64(e) - mean) * (float64(e) - mean)
	}
	deviation := float32(math.Sqrt(squares / float64(len(b.Noise)-1)))
	for i := range b.Noise {
		b.Noise[i] /= deviation
	}
}

// enlarge adds small noise of h×w, times a weight, to the noise of a batch, interpolated bilinearly.
func enlarge(b *Batch, channels int, small []float32, h, w int, weight float32) {
	for y := range b.Height {
		top, bottom, down := between(y, b.Height, h)
		for x := range b.Width {
			left, right, across := between(x, b.Width, w)
			for s := range b.Samples {
				at := func(i, j int) []float32 { return small[((s*h+i)*w+j)*channels:] }
				tl, tr, bl, br := at(top, left), at(top, right), at(bottom, left), at(bottom, right)
				into := b.Noise[((s*b.Height+y)*b.Width+x)*channels:][:channels]
				for c := range into {
					upper := tl[c] + across*(tr[c]-tl[c])
					lower := bl[c] + across*(br[c]-bl[c])
					into[c] += weight * (upper + down*(lower-upper))
				}
			}
		}
	}
}

// between tells which two of n cells the centre of cell i of size cells lies between, and how far from the first.
func between(i, size, n int) (first, second int, part float32) {
	at := max(0, (float64(i)+0.5)*float64(n)/float64(size)-0.5)
	first = min(int(at), n-1)
	return first, min(first+1, n-1), float32(at - float64(first))
}

func normal(r *rng.Torch, n int) []float32 {
	v := make([]float32, n)
	r.Normal(v)
	return v
}

func uniform(r *rng.Torch) float64 {
	var v [1]float32
	r.Uniform(v[:])
	return float64(v[0])
}

// stream is the random stream of something that a seed and a few numbers tell from everything else, such as a batch of an
// epoch: the same whether or not what lies before was drawn.
func stream(seed uint64, place ...uint64) *rng.Torch { return rng.NewTorch(mix(seed, place...)) }

// mix makes one seed of a seed and a few numbers: SplitMix64 of Steele, Lea & Flood (2014) for each.
func mix(seed uint64, place ...uint64) uint64 {
	for _, p := range place {
		seed = scramble(seed + p + splitMixStep)
	}
	return seed
}

// splitMixStep lies between the states of SplitMix64, and scramble makes a number of a state.
const splitMixStep = 0x9e3779b97f4a7c15

func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// dropout makes a mask that drops numbers with probability p and multiplies the others with 1/(1-p). It draws from
// SplitMix64: masks of a batch have millions of numbers.
func dropout(mask []float32, p float64, seed uint64) {
	keep := float32(1 / (1 - p))
	for i := range mask {
		seed += splitMixStep
		mask[i] = 0
		if float64(scramble(seed)>>11)*0x1p-53 >= p {
			mask[i] = keep
		}
	}
}
