package cpu

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
)

func (c *compiler) repeat(op compute.Repeat, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.X), b.place(out)
		var x, y []float32
		prepare := func() { x, y = xs.f32(), ys.f32() }
		parts := (xs.n + grain - 1) / grain
		return step{prepare, []phase{{op.Times * parts, func(task, _ int) {
			n, from := task/parts, task%parts*grain
			copy(y[n*len(x):][:len(x)][from:], x[from:min(from+grain, len(x))])
		}}}}, nil
	}}, nil
}

func (c *compiler) concat(op compute.Concat, out compute.Value) (lowered, error) {
	shape := c.program.Shape(out)
	rows := shape[:op.Axis].Elements() // stretches of each part that are contiguous in the result
	return lowered{bind: func(b *binding) (step, error) {
		ys, width := b.place(out), shape.Elements()/rows
		parts, widths := make([]span, len(op.Parts)), make([]int, len(op.Parts))
		for i, v := range op.Parts {
			parts[i] = b.place(v)
			widths[i] = parts[i].n / rows
		}
		sources := make([][]float32, len(parts))
		var y []float32
		prepare := func() {
			y = ys.f32()
			for i, p := range parts {
				sources[i] = p.f32()
			}
		}
		return step{prepare, each(rows, max(grain/width, 1), func(from, to int) {
			for row := from; row < to; row++ {
				dst := y[row*width:][:width]
				for i, w := range widths {
					copy(dst, sources[i][row*w:][:w])
					dst = dst[w:]
				}
			}
		})}, nil
	}}, nil
}

func (c *compiler) embed(op compute.Embed, out compute.Value) (lowered, error) {
	table, position := packing{}, packing{}
	var packs []packing
	if info := c.info(op.Table); info.Kind == compute.ParamKind {
		if _, err := paramType(c.source, info); err != nil {
			return lowered{}, err
		}
		table = asTable(info.Name)
		packs = append(packs, table)
	}
	if op.Position.Valid() {
		var err error
		if position, err = c.vector(op.Position); err != nil {
			return lowered{}, err
		}
		packs = append(packs, position)
	}
	length, width := c.program.Shape(op.IDs)[1], c.program.Shape(out).Last()
	return lowered{packs: packs, bind: func(b *binding) (step, error) {
		idPlace, ys := b.place(op.IDs), b.place(out)
		positions, rows := b.vectorOf(position), c.program.Shape(op.Table)[0]
		var ids []int32
		var y, values []float32
		prepare := func() { ids, y = idPlace.i32(), ys.f32() }
		look := func(row []float32, id int32) error {
			copy(row, values[int(id)*width:])
			return nil
		}
		if len(table.key.name) > 0 {
			stored := b.packed(table)
			bytes := make([]byte, width*stored.dtype.Size())
			look = func(row []float32, id int32) error {
				_, err := stored.table.ReadAt(bytes, int64(id)*int64(len(bytes)))
				c.elem.Widen(row, bytes, stored.dtype)
				return err
			}
		} else {
			valuePlace := b.place(op.Table)
			prepare = func() { ids, y, values = idPlace.i32(), ys.f32(), valuePlace.f32() }
		}
		return step{prepare, []phase{{1, func(int, int) {
			for i, id := range ids {
				if id < 0 || int(id) >= rows {
					b.fault(fmt.Errorf("id %d at [%d %d] is outside a table of %d rows", id, i/length, i%length, rows))
					return
				}
				row := y[i*width:][:width]
				if err := look(row, id); err != nil {
					b.fault(err)
					return
				}
				if positions != nil {
					c.elem.Add(row, row, positions[i%length*width:][:width])
				}
			}
		}}}}, nil
	}}, nil
}

func (c *compiler) timestepEmbedding(op compute.TimestepEmbedding, out compute.Value) (lowered, error) {
	frequencies, half := op.Frequencies(), op.Dim/2
	sin, cos := 0, half
	if op.FlipSinToCos {
		sin, cos = half, 0
	}
	return lowered{bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.Timesteps), b.place(out)
		var x, y []float32
		prepare := func() { x, y = xs.f32(), ys.f32() }
		return step{prepare, []phase{{1, func(int, int) {
			for n, t := range x {
				row := y[n*op.Dim:][:op.Dim]
				for i, f := range frequencies {
					s, c := math.Sincos(float64(t * f))
					row[sin+i], row[cos+i] = float32(s), float32(c)
				}
			}
		}}}}, nil
	}}, nil
}
