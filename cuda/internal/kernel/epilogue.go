package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// end is what a product does with its sums, and the parameters for it.
type end struct {
	Epilogue
	y, bias, perChannel, residual array
	scale                         ptx.Float
	rows, columns, share          ptx.Int
	width                         int // neighbours at once
}

// declareEnd declares y, of a type, its rows and columns and what the epilogue reads, so many neighbours at once.
func declareEnd(k *ptx.Kernel, e Epilogue, t compute.DType, width int) *end {
	d := &end{Epilogue: e, width: width}
	d.y, d.rows, d.columns = declare(k, "y", t), k.Uint("rows"), k.Uint("columns")
	if e.Bias {
		d.bias = declare(k, "bias", compute.F32)
	}
	if e.PerChannel {
		d.perChannel, d.share = declare(k, "per_channel", t), k.Uint("share")
	}
	if e.Residual {
		d.residual = declare(k, "residual", t)
	}
	if e.Scaled {
		d.scale = k.Number("scale")
	}
	return d
}

// write stores the sums that are inside y. A lane has of each 16×8 tile two neighbours in row lane/4 and two in that eight below.
func (d *end) write(p *product) {
	row := p.Block(0).Times(p.tile.Rows).Plus(p.row).Plus(p.lane.Over(4))
	var above any = 0 // rows of other parts
	if p.start != 0 {
		above = p.Block(2).Times(d.rows)
	}
	column := p.Block(1).Times(p.tile.Columns).Plus(p.column).Plus(p.lane.Mod(4).Times(2))
	for i := range p.sums {
		for half := range 2 {
			r := row.Plus(16*i + 8*half)
			p.If(r.Less(d.rows), func() {
				for j := range p.sums[i] {
					for e := 0; e < 2; e += d.width {
						c := column.Plus(8*j + e)
						p.If(c.Less(d.columns), func() { d.element(p.Kernel, r.Plus(above), c, p.sums[i][j][2*half+e:][:d.width]) })
					}
				}
			})
		}
	}
}

// element finishes and stores neighbours in a row.
func (d *end) element(k *ptx.Kernel, row, column ptx.Int, sums []ptx.Float) {
	at := row.TimesPlus(d.columns, column)
	results := append([]ptx.Float(nil), sums...)
	if d.Scaled {
		for i, sum := range sums {
			results[i] = sum.Times(d.scale)
		}
	}
	plus := func(addends []ptx.Float) {
		for i, v := range addends {
			results[i] = results[i].Plus(v)
		}
	}
	if d.Bias {
		plus(d.bias.load(column, d.width))
	}
	if d.PerChannel {
		plus(d.perChannel.load(row.Over(d.share).TimesPlus(d.columns, column), d.width))
	}
	for i, v := range results {
		results[i] = activate(k, d.Activation, v)
	}
	if d.Residual {
		plus(d.residual.load(at, d.width))
	}
	d.y.store(at, results)
}

// Finish adds up the parts of a product's sums and does what the epilogue says.
type Finish struct {
	Epilogue
	Type  compute.DType
	Width int // neighbours at once: 4 or 2 if the number of columns is a multiple, else 1

	Halves bool // the parts are half precision
}

// Grid is that for so many elements of y.
func (f Finish) Grid(elements int) [3]int {
	return [3]int{ceil(elements, elementThreads*f.Width), 1, 1}
}

// Kernel has the parameters of Linear up to the epilogue's, then the parts, float32 or halves [parts][rows][columns], and their number.
func (f Finish) Kernel() *ptx.Kernel {
	name, t := fmt.Sprintf("finish_%d%s%v", f.Width, suffix(f.Type), f.Epilogue), compute.F32
	if f.Halves {
		name, t = name+"_halves", compute.F16
	}
	k := ptx.New(name, elementThreads)
	end := declareEnd(k, f.Epilogue, f.Type, f.Width)
	parts, n := declare(k, "parts", t), k.Uint("n")
	at := k.Block(0).Times(elementThreads).Plus(k.Thread()).Times(f.Width)
	elements := end.rows.Times(end.columns)
	k.If(at.Less(elements), func() {
		sums := k.Floats(f.Width, 0.0)
		k.For(0, n, 1, func(part ptx.Int) {
			for i, v := range parts.load(part.TimesPlus(elements, at), f.Width) {
				sums[i].Add(v)
			}
		})
		end.element(k, at.Over(end.columns), at.Mod(end.columns), sums)
	})
	return k
}
