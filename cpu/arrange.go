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
		return step{prepare, []phase{{op.Times, func(task, _ int) { copy(y[task*len(x):], x) }}}}, nil
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
	info := c.info(op.Table)
	if info.Kind != compute.ParamKind {
		return lowered{}, fmt.Errorf("an embedding table that is not a parameter: %w", compute.ErrUnsupported)
	}
	if _, err := paramType(c.source, info); err != nil {
		return lowered{}, err
	}
	table := asTable(info.Name)
	packs := []packing{table}
	var position packing
	if op.Position.Valid() {
		var err error
		if position, err = c.vector(op.Position); err != nil {
			return lowered{}, err
		}
		packs = append(packs, position)
	}
	return lowered{packs: packs, bind: func(b *binding) (step, error) {
		idPlace, ys, width, length := b.place(op.IDs), b.place(out), c.program.Shape(out).Last(), c.program.Shape(op.IDs)[1]
		rows := b.packed(table)
		positions := b.vectorOf(position)
		var ids []int32
		var y []float32
		prepare := func() { ids, y = idPlace.i32(), ys.f32() }
		return step{prepare, []phase{{1, func(int, int) {
			if err := c.elem.Gather(y, rows.table, rows.dtype, width, ids); err != nil {
				b.fault(err)
				return
			}
			for i := range ids {
				if positions != nil {
					row := y[i*width:][:width]
					c.elem.Add(row, row, positions[i%length*width:][:width])
				}
			}
		}}}}, nil
	}}, nil
}

func (c *compiler) timestepEmbedding(op compute.TimestepEmbedding, out compute.Value) (lowered, error) {
	half := op.Dim / 2
	frequencies := make([]float64, half)
	for i := range frequencies {
		frequencies[i] = math.Exp(-math.Log(10000) * float64(i) / (float64(half) - op.FreqShift))
	}
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
					s, c := math.Sincos(float64(t) * f)
					row[sin+i], row[cos+i] = float32(s), float32(c)
				}
			}
		}}}}, nil
	}}, nil
}
