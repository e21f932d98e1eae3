package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Enlargement is how an image is resized to the nearest neighbour before it is convolved.
type Enlargement uint8

// The enlargements.
const (
	AsIs    Enlargement = iota
	Twice               // each pixel becomes 2×2
	Resized             // to any size
	Spread              // a row and a column of zeros come between each two: what the derivative of a stride of 2 reads
)

// Conv2D is compute.Conv2D in half precision, as a product whose rows are the positions of y and whose depth runs over the window's
// rows, its columns and the channels. The patches of x are put together while they are copied to shared memory. Both parts of x have
// multiples of 8 channels. It is also Linear on an input of two parts, with a window of one pixel.
type Conv2D struct {
	Tile
	Epilogue
	Parts       int    // of x: 1 or 2
	Window      [2]int // height and width
	Stride      int
	Top, Left   int // rows and columns of zeros before x
	Enlargement Enlargement

	Odd, Promoted, Split bool // as for Linear

	// Backward is the derivative of a convolution by its input, of stride 1, or 2 if x is Spread: x is that by its result, and the products are with the weights of
	// each channel, in the order of the window turned by half a turn.
	Backward bool
}

// Kernel has the parameters of Linear up to the epilogue's, then w, x with its channels, x2 with its own, height and width of x, those
// that it is resized to (the same without), height and width of y, backward the number of elements of w
// from an output to the next and from a pixel to the next, and the slices of a part if it is split.
func (c Conv2D) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("conv_%v_%s%v%s", c.Tile, c.shape(), c.Epilogue, variant(c.Odd, c.Promoted, c.Split, false, c.Backward)), c.Threads())
	p := product{Kernel: k, tile: c.Tile, promoted: c.Promoted, transposedW: c.Backward}
	end := declareEnd(k, c.Epilogue, productType(c.Split), pairs(c.Odd))
	w := k.Pointer("w")
	x := &patches{product: &p, picture: declarePicture(k, c, compute.F16)}
	var pitch, between ptx.Int
	if c.Backward {
		pitch, between = k.Uint("w_pitch"), k.Uint("w_pixel")
	}
	p.begin(c.Split)
	depth := x.channels.Times(c.Window[0] * c.Window[1])
	x.place(end.rows)
	column, behind := k.Block(1).Times(c.Columns), c.Rows*c.pitch()
	if c.Backward {
		weights := tall{base: w, column: column, rows: x.channels, pitch: pitch, pixels: c.Window[0] * c.Window[1], between: between}
		p.multiply(depth, x, p.tall(weights, end.columns, c.Columns, behind))
	} else {
		p.multiply(depth, x, p.matrix(w, column, end.columns, depth, c.Columns, behind))
	}
	end.write(&p)
	return k
}

// shape names what decides which pixels are read.
func (c Conv2D) shape() string {
	return fmt.Sprintf("%dx%d_%d_%d_%d_%d_%d", c.Window[0], c.Window[1], c.Stride, c.Top, c.Left, c.Parts, c.Enlargement)
}

// patches is the source of what a convolution reads. A thread's chunks all have one place in the window and eight neighbouring
// channels, and move on together.
type patches struct {
	*product
	picture
	slots                            []slot
	image                            []ptx.Int // of each slot: the first row of its image among those of all
	y, x                             []ptx.Int // of each slot: where in the image the window begins, which may be before 0
	channel, windowRow, windowColumn ptx.Int
}

// far is a row that no image has, also with a window added.
const far = 1 << 30

// place finds the positions of the rows that the thread copies.
func (p *patches) place(rows ptx.Int) {
	slots, chunk := p.product.slots(p.tile.Rows, p.tile.chunks(), 0)
	p.slots = slots
	first := p.window(chunk.Times(8).Plus(p.start))
	p.windowRow, p.windowColumn, p.channel = p.Int(first[0]), p.Int(first[1]), p.Int(first[2])
	for _, s := range slots {
		position := p.Block(0).Times(p.tile.Rows).Plus(s.row)
		at := p.positions(position)
		p.image, p.x = append(p.image, at[0]), append(p.x, at[2])
		p.y = append(p.y, position.Less(rows).Choose(at[1], far))
	}
}

// wrap goes on to the window's next pixel while the channel is beyond the last.
func (p *patches) wrap() {
	p.While(func() ptx.Pred { return p.channel.AtLeast(p.channels) }, func() {
		p.channel.Set(p.channel.Minus(p.channels))
		p.windowColumn.Advance(1)
		p.If(p.windowColumn.Equal(p.conv.Window[1]), func() {
			p.windowColumn.Set(0)
			p.windowRow.Advance(1)
		})
	})
}

// fetch implements source.
func (p *patches) fetch(to ptx.Int) {
	base, stride, channel := p.part()
	left := p.windowRow.Less(p.conv.Window[0])
	for i, s := range p.slots {
		y, x := p.y[i].Plus(p.windowRow), p.x[i].Plus(p.windowColumn)
		inside := left.And(p.inside(y, x))
		y, x = p.shrink(y, p.height, p.resizedHeight), p.shrink(x, p.width, p.resizedWidth)
		pixel := p.image[i].Plus(y).TimesPlus(p.width, x)
		p.CopyAsync(s.to.Plus(to), base.Index(pixel.TimesPlus(stride, channel), 2), inside.Choose(16, 0))
	}
	p.channel.Advance(p.tile.Depth)
	p.wrap()
}

// part is the one of x that the channel is in: where it begins, its channels, and which of them it is.
func (p *patches) part() (base ptx.Addr, stride, channel ptx.Int) {
	if p.conv.Parts == 1 {
		return p.parts.arrays[0].base, p.parts.channels[0], p.channel
	}
	first := p.channel.Less(p.parts.channels[0])
	base = first.ChooseAddr(p.parts.arrays[0].base, p.parts.arrays[1].base)
	stride = first.Choose(p.parts.channels[0], p.parts.channels[1])
	return base, stride, first.Choose(p.channel, p.channel.Minus(p.parts.channels[0]))
}
