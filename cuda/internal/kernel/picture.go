package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// picture is what a convolution reads: x in its parts, its height and width, those that it is resized to, and those of y.
type picture struct {
	conv                        Conv2D
	parts                       parts
	channels                    ptx.Int
	height, width               ptx.Int
	resizedHeight, resizedWidth ptx.Int
	outHeight, outWidth         ptx.Int
}

// declarePicture declares x with its channels, x2 with its own, height and width of x, those that it is resized to (the same
// without), height and width of y.
func declarePicture(k *ptx.Kernel, c Conv2D, t compute.DType) picture {
	p := picture{conv: c, parts: declareParts(k, c.Parts, t)}
	p.channels = p.parts.total()
	p.height, p.width = k.Uint("height"), k.Uint("width")
	p.resizedHeight, p.resizedWidth = k.Uint("resized_height"), k.Uint("resized_width")
	p.outHeight, p.outWidth = k.Uint("out_height"), k.Uint("out_width")
	return p
}

// shrink is the row or column of x that one of the resized picture shows.
func (p picture) shrink(at, size, resized ptx.Int) ptx.Int {
	switch p.conv.Enlargement {
	case Twice, Spread:
		return at.Over(2)
	case Resized:
		return at.Times(size).Over(resized)
	}
	return at
}

// inside tells whether a place of the resized picture shows one of x.
func (p picture) inside(y, x ptx.Int) ptx.Pred {
	inside := y.Less(p.resizedHeight).And(x.Less(p.resizedWidth))
	if p.conv.Enlargement == Spread {
		inside = inside.And(y.Or(x).Mod(2).Equal(0))
	}
	return inside
}

// positions tells of a position of y among those of all samples: the first row of its picture, and where its window begins.
func (p picture) positions(i ptx.Int) place {
	line := i.Over(p.outWidth)
	return place{
		line.Over(p.outHeight).Times(p.height),
		line.Mod(p.outHeight).Times(p.conv.Stride).Minus(p.conv.Top),
		i.Mod(p.outWidth).Times(p.conv.Stride).Minus(p.conv.Left),
	}
}

// window tells of a weight of an output: its row and column in the window, and its channel, which counts fastest.
func (p picture) window(i ptx.Int) place {
	pixel := i.Over(p.channels)
	return place{pixel.Over(p.conv.Window[1]), pixel.Mod(p.conv.Window[1]), i.Mod(p.channels)}
}

// planes is window where the channel counts slowest.
func (p picture) planes(i ptx.Int) place {
	pixel := i.Mod(p.conv.Window[0] * p.conv.Window[1])
	return place{pixel.Over(p.conv.Window[1]), pixel.Mod(p.conv.Window[1]), i.Over(p.conv.Window[0] * p.conv.Window[1])}
}

// read is what a weight of the window at a position is multiplied with, 0 outside the picture.
func (p picture) read(position, weight place) ptx.Float {
	v := p.parts.Float(0.0)
	y, x := position[1].Plus(weight[0]), position[2].Plus(weight[1])
	p.parts.If(p.inside(y, x), func() {
		row := position[0].Plus(p.shrink(y, p.height, p.resizedHeight))
		v.Set(p.parts.load(row.TimesPlus(p.width, p.shrink(x, p.width, p.resizedWidth)), weight[2], 1)[0])
	})
	return v
}
