package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// DirectGrid is the grid of Direct for so many elements of y.
func DirectGrid(elements int) [3]int { return [3]int{ceil(elements, elementThreads), 1, 1} }

// Direct is the convolution with a thread for each element of y, for any number of channels: those of latents and pictures, in the
// first and last convolution of a network. It has the parameters of Kernel; Tile and Promoted count for nothing.
func (c Conv2D) Direct() *ptx.Kernel {
	name := fmt.Sprintf("direct_%dx%d_%d_%d_%d_%d_%d", c.Window[0], c.Window[1], c.Stride, c.Top, c.Left, c.Parts, c.Enlargement)
	k := ptx.New(name+c.Epilogue.String(), elementThreads)
	p := product{Kernel: k}
	end := p.declareEnd(c.Epilogue, true)
	w := declare(k, "w", compute.F16)
	x := &patches{product: &p, conv: c, parts: declareParts(k, c.Parts, compute.F16)}
	x.declare()
	at := k.Block(0).Times(elementThreads).Plus(k.Thread())
	k.If(at.Less(end.rows.Times(end.columns)), func() {
		row, column := at.Over(end.columns), at.Mod(end.columns)
		end.element(k, row, column, []ptx.Float{x.dot(row, column, w)})
	})
	return k
}

// dot is the sum of the products of the window at a position of y with an output's weights.
func (p *patches) dot(position, output ptx.Int, w array) ptx.Float {
	sum := p.Float(0.0)
	line := position.Over(p.outWidth)
	image, top := line.Over(p.outHeight).Times(p.height), line.Mod(p.outHeight).Times(p.conv.Stride).Minus(p.conv.Top)
	left := position.Mod(p.outWidth).Times(p.conv.Stride).Minus(p.conv.Left)
	p.For(0, p.conv.Window[0], 1, func(u ptx.Int) {
		p.For(0, p.conv.Window[1], 1, func(v ptx.Int) {
			y, x := top.Plus(u), left.Plus(v)
			p.If(y.Less(p.resizedHeight).And(x.Less(p.resizedWidth)), func() {
				pixel := image.Plus(p.shrink(y, p.height, p.resizedHeight)).TimesPlus(p.width, p.shrink(x, p.width, p.resizedWidth))
				first := output.TimesPlus(p.conv.Window[0], u).TimesPlus(p.conv.Window[1], v).Times(p.channels)
				p.For(0, p.channels, 1, func(c ptx.Int) {
					sum.AddProduct(p.parts.load(pixel, c, 1)[0], w.load(first.Plus(c), 1)[0])
				})
			})
		})
	})
	return sum
}
