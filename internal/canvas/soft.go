package canvas

import (
	"cmp"
	"image"
	"math"
	"slices"
)

// Soft is how inpainting goes over softly from what stays to what is painted.
type Soft struct {
	ScheduleBias            float64 // how early in the schedule what stays has its way: 1
	PreservationStrength    float64 // 0.5
	TransitionContrastBoost float64 // how much contrast is kept in between: 4
}

// Weight is the share of what is painted at a noise level, of its share m in the mask.
func (s Soft) Weight(m, sigma float64) float64 {
	return math.Pow(m, math.Pow(sigma, s.ScheduleBias)*s.PreservationStrength)
}

// Blend mixes two latents, [C,pixels], each pixel with its weight, to vectors of a length between theirs: that of the mean of their
// lengths' powers, so that mixing takes no contrast. out is as long as they are.
func (s Soft) Blend(out, init, current, weights []float32) {
	pixels := len(weights)
	for i, t := range weights {
		var a, b, mixed float64 // squares of lengths
		for at := i; at < len(init); at += pixels {
			out[at] = init[at]*(1-t) + current[at]*t
			a, b, mixed = a+square(init[at]), b+square(current[at]), mixed+square(out[at])
		}
		p := s.TransitionContrastBoost
		length := math.Pow(math.Pow(math.Sqrt(a), p)*float64(1-t)+math.Pow(math.Sqrt(b), p)*float64(t), 1/p)
		scale := length / (math.Sqrt(mixed) + 1e-5)
		for at := i; at < len(init); at += pixels {
			out[at] = float32(float64(out[at]) * scale)
		}
	}
}

func square(x float32) float64 { return float64(x) * float64(x) }

// Composite is how a picture that was painted softly is laid over the one that it was made of: the more the painting differs, the less
// of that stays.
type Composite struct {
	MaskInfluence       float64 // of the mask on what counts as different, 0 to 1: 0
	DifferenceThreshold float64 // distance of latents at which half stays: 0.5
	DifferenceContrast  float64 // how suddenly: 2
}

// Mask is what of each latent is seen of the painting, in bytes, [height,width] as the mask of what was painted. Latents are [C,pixels].
func (c Composite) Mask(init, painted, mask []float32, width int, preservation float64) *image.Gray {
	height := len(mask) / width
	distances := make([]float64, len(mask))
	for i := range distances {
		sum := 0.0
		for at := i; at < len(init); at += len(mask) {
			sum += square(painted[at] - init[at])
		}
		distances[i] = float64(float32(math.Sqrt(sum)))
	}
	distances = ranked(distances, width, 0.9, 1)
	distances = ranked(distances, width, 0.25, 0.75)
	out := image.NewGray(image.Rect(0, 0, width, height))
	for i, m := range mask {
		share := 1 - math.Pow(min(max(float64(m), 0), 1), preservation/2)
		share = 0.5*(1-c.MaskInfluence) + share*c.MaskInfluence
		half := c.DifferenceThreshold * share / (1.00001 - share)
		stays := 1 / (1 + math.Pow(distances[i]/half, c.DifferenceContrast))
		out.Pix[i] = uint8(255 * (1 - smootherstep(stays)))
	}
	return out
}

func smootherstep(x float64) float64 { return x * x * x * (x*(6*x-15) + 10) }

// Overlaid are the mask of a softly painted picture's composite, of the size of its overlay, and that overlay.
func (p *Prepared) Overlaid(latents *image.Gray, size image.Point) (*image.Gray, *image.NRGBA) {
	shown := softened(toRGBA(resizeMask(latents, size, Contain)), 4)
	mask := fromColour((*image.NRGBA)(shown))
	if !p.PasteTo.Empty() {
		mask = fromColour(Uncrop(toColour(mask), p.PasteTo, p.Overlay.Rect.Size()))
	}
	return mask, Keep(p.Overlay, mask)
}

func toRGBA(mask *image.Gray) *image.RGBA { return (*image.RGBA)(toColour(mask)) }

// A kernel of latents up to kernelReach away in each direction.
const kernelReach = 2

// kernel weighs a neighbour by its distance: 1 in the middle, 0 where the reach ends.
func kernel(x, y int) float64 {
	bell := func(square float64) float64 { return math.Exp(-square / (1.5 * 1.5)) }
	end := bell((kernelReach + 1) * (kernelReach + 1))
	return max(0, (bell(float64(x*x+y*y))-end)/(1-end))
}

// ranked replaces each value by the mean of those around it, in order, that lie between two shares of their weights. They
// span at least a weight of 1.
func ranked(values []float64, width int, low, high float64) []float64 {
	out, height := make([]float64, len(values)), len(values)/width
	type neighbour struct{ value, weight float64 }
	var around []neighbour
	for i := range values {
		around = around[:0]
		total := 0.0
		for y := max(i/width-kernelReach, 0); y <= min(i/width+kernelReach, height-1); y++ {
			for x := max(i%width-kernelReach, 0); x <= min(i%width+kernelReach, width-1); x++ {
				weight := kernel(x-i%width, y-i/width)
				around, total = append(around, neighbour{values[y*width+x], weight}), total+weight
			}
		}
		slices.SortStableFunc(around, func(a, b neighbour) int { return cmp.Compare(a.value, b.value) })
		from, to := window(total*low, total*high, total)
		sum, weight, at := 0.0, 0.0, 0.0
		for _, n := range around {
			if part := min(to, at+n.weight) - max(from, at); part > 0 {
				sum, weight = sum+n.value*part, weight+part
			}
			at += n.weight
		}
		if weight != 0 {
			out[i] = float64(float32(sum / weight))
		}
	}
	return out
}

// window is from low to high, but at least 1 wide around its middle, within 0 and total.
func window(low, high, total float64) (from, to float64) {
	if high-low >= 1 {
		return low, high
	}
	middle := (low + high) / 2
	low, high = middle-0.5, middle+0.5
	if high > total {
		low, high = total-1, total
	}
	if low < 0 {
		low, high = 0, 1
	}
	return low, high
}
