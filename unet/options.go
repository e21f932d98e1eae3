package unet

import (
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// Options change what a network computes, for time or for another look. The zero value is the network as it was trained.
type Options struct {
	FreeU     FreeU
	HyperTile HyperTile

	// TokenMerging is the part, 0 to 1, of the tokens of a whole map that self-attention at the full resolution sees merged with those
	// most like them, by [compute.MergeTokens]; at most three quarters are.
	TokenMerging float64
}

// FreeU weighs what the first two up blocks read: Si et al., "FreeU" (arXiv:2309.11497), as in diffusers. B multiplies the first half of the
// channels that come from below, S the lowest frequencies of the skip connections. 0 stands for 1, which changes nothing.
type FreeU struct {
	B1 float64 `json:"b1,omitzero"`
	B2 float64 `json:"b2,omitzero"`
	S1 float64 `json:"s1,omitzero"`
	S2 float64 `json:"s2,omitzero"`
}

// HyperTile divides the map into tiles among whose tokens self-attention stays: at least Side tokens high and wide, or the whole map
// where it has no such divisor; 0 is off. It does so at the full resolution and at Depth levels below.
type HyperTile struct{ Side, Depth int }

// With is the same network with other options.
func (m *Model) With(o Options) *Model {
	with := *m
	with.options = o
	return &with
}

// regroup is what the options make of self-attention on a map at a level, nil if nothing.
func (o Options) regroup(level, height, width int) nn.Regroup {
	h, w := height, width
	if side := o.HyperTile.Side; side > 0 && level <= o.HyperTile.Depth {
		h, w = divisor(height, side), divisor(width, side)
	}
	merged := 0
	if level == 0 && h > 1 && w > 1 {
		merged = min(int(float64(h*w)*o.TokenMerging), h*w-h/2*(w/2))
	}
	if h == height && w == width && merged == 0 {
		return nil
	}
	return func(b *compute.Builder, x compute.Value) (compute.Value, func(compute.Value) compute.Value) {
		y, untile := tile(b, x, height, width, h, w)
		y, unmerge := merge(b, y, h, w, merged)
		return y, func(y compute.Value) compute.Value { return untile(unmerge(y)) }
	}
}

// divisor is the smallest divisor of n that is not below least, or n.
func divisor(n, least int) int {
	for d := least; d < n; d++ {
		if n%d == 0 {
			return d
		}
	}
	return n
}

// tile makes a sample of each tile of h·w tokens of maps of height·width.
func tile(b *compute.Builder, x compute.Value, height, width, h, w int) (y compute.Value, untile func(compute.Value) compute.Value) {
	if h == height && w == width {
		return x, func(y compute.Value) compute.Value { return y }
	}
	d := b.Dims(x, 3)
	rows, columns, channels := d[0]*height/h, width/w, d[2]
	var parts []compute.Value
	x = b.Reshape(x, rows, h, columns, w*channels)
	for i := range columns {
		parts = append(parts, b.Op(compute.Slice{X: x, Axis: 2, Start: i, Length: 1}))
	}
	y = b.Reshape(b.Op(compute.Concat{Parts: parts}), columns*rows, h*w, channels)
	return y, func(y compute.Value) compute.Value {
		var parts []compute.Value
		for i := range columns {
			part := b.Op(compute.Slice{X: y, Start: i * rows, Length: rows})
			parts = append(parts, b.Reshape(part, rows, h, 1, w*channels))
		}
		return b.Reshape(b.Op(compute.Concat{Parts: parts, Axis: 2}), d[0], height*width, channels)
	}
}

// merge makes one token of similar ones in maps of h·w.
func merge(b *compute.Builder, x compute.Value, h, w, merged int) (y compute.Value, unmerge func(compute.Value) compute.Value) {
	if merged == 0 {
		return x, func(y compute.Value) compute.Value { return y }
	}
	results := b.Results(compute.MergeTokens{X: x, Height: h, Width: w, Merged: merged})
	return results[0], func(y compute.Value) compute.Value {
		d := b.Dims(y, 3)
		return b.Op(compute.Embed{IDs: results[1], Table: b.Reshape(y, d[0]*d[1], d[2])})
	}
}

// weigh applies what is for an up block: to x, what comes from below, and to a skip connection.
func (f FreeU) weigh(b *compute.Builder, block int, x, skip compute.Value) (compute.Value, compute.Value) {
	var backbone, skips float64
	switch block {
	case 0:
		backbone, skips = f.B1, f.S1
	case 1:
		backbone, skips = f.B2, f.S2
	}
	if backbone != 0 && backbone != 1 {
		channels := b.Dims(x, 4)[3]
		factors := slices.Repeat([]float32{1}, channels)
		for i := range channels / 2 {
			factors[i] = float32(backbone)
		}
		x = b.Op(compute.Multiply{X: x, Factors: b.Op(compute.Fill{Shape: compute.Shape{1, channels}, Values: factors})})
	}
	if skips != 0 && skips != 1 {
		skip = lowFrequencies(b, skip, skips)
	}
	return x, skip
}

// lowFrequencies multiplies the coefficients of frequencies -1 and 0 along both axes: x + (factor-1)·B·Bᵀ·x, where the columns of B are the
// waves that these are made of, as cosines and sines of length 1.
func lowFrequencies(b *compute.Builder, x compute.Value, factor float64) compute.Value {
	d := b.Dims(x, 4)
	positions := d[1] * d[2]
	waves := lowWaves(d[1], d[2])
	basis := b.Op(compute.Fill{Shape: compute.Shape{positions, len(waves) / positions}, Values: waves})
	var samples []compute.Value
	for n := range d[0] {
		one := b.Reshape(b.Op(compute.Slice{X: x, Start: n, Length: 1}), positions, d[3])
		low := b.Op(compute.MatMul{A: basis, B: one, TransposeA: true})
		one = b.Op(compute.MatMul{A: basis, B: low, Scale: factor - 1, Add: one})
		samples = append(samples, b.Reshape(one, 1, d[1], d[2], d[3]))
	}
	return b.Op(compute.Concat{Parts: samples})
}

// lowWaves is B, row after row: of the frequencies (0,0), (-1,0), (0,-1) and (-1,-1), those that there are.
func lowWaves(height, width int) (rows []float32) {
	scale := 1 / math.Sqrt(float64(height*width))
	for y := range height {
		for x := range width {
			for p := range min(2, height) {
				for q := range min(2, width) {
					sin, cos := math.Sincos(2 * math.Pi * (float64(p*y)/float64(height) + float64(q*x)/float64(width)))
					rows = append(rows, float32(cos*scale), float32(sin*scale))
				}
			}
		}
	}
	return rows
}
