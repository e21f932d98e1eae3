package grid

import (
	"iter"
	"slices"
)

// Grid is three axes; those that are nil are of [Nothing].
type Grid struct{ X, Y, Z *Axis }

// Cell are the indices of its values.
type Cell struct{ X, Y, Z int }

func (g Grid) axes() [3]*Axis {
	axes := [3]*Axis{g.X, g.Y, g.Z}
	for i := range axes {
		if axes[i] == nil {
			axes[i] = &Axis{&kinds[0], []any{0}}
		}
	}
	return axes
}

// Size is how many values the axes have.
func (g Grid) Size() Cell {
	axes := g.axes()
	return Cell{len(axes[0].Values), len(axes[1].Values), len(axes[2].Values)}
}

// Index is a cell's place among all, X changing first and Z last, and At the reverse.
func (g Grid) Index(c Cell) int {
	size := g.Size()
	return (c.Z*size.Y+c.Y)*size.X + c.X
}

// At is the cell at a place among all.
func (g Grid) At(i int) Cell {
	size := g.Size()
	return Cell{X: i % size.X, Y: i / size.X % size.Y, Z: i / size.X / size.Y}
}

// Order are the axes, X being 0, from the one that changes least to the one that changes from cell to cell: the costlier, the
// earlier; at the same cost Z and then Y.
func (g Grid) Order() [3]int {
	axes, order := g.axes(), [3]int{2, 1, 0}
	dearest := func(i int) bool {
		return axes[i].Cost > axes[(i+1)%3].Cost && axes[i].Cost > axes[(i+2)%3].Cost
	}
	for first := range 3 {
		if !dearest(first) {
			continue
		}
		second, third := min((first+1)%3, (first+2)%3), max((first+1)%3, (first+2)%3)
		if axes[second].Cost <= axes[third].Cost {
			second, third = third, second
		}
		order = [3]int{first, second, third}
	}
	return order
}

// Cells are all, in the order in which they cost least.
func (g Grid) Cells() iter.Seq[Cell] {
	order, size := g.Order(), g.Size()
	sizes := [3]int{size.X, size.Y, size.Z}
	return func(yield func(Cell) bool) {
		for i := range sizes[0] * sizes[1] * sizes[2] {
			var at [3]int
			for _, axis := range slices.Backward(order[:]) {
				at[axis], i = i%sizes[axis], i/sizes[axis]
			}
			if !yield(Cell{at[0], at[1], at[2]}) {
				return
			}
		}
	}
}

// Apply makes a job that of a cell: X first, then Y, then Z.
func (g Grid) Apply(c Cell, j *Job) error {
	for i, at := range []int{c.X, c.Y, c.Z} {
		if err := g.axes()[i].Apply(at, j); err != nil {
			return err
		}
	}
	return nil
}

// Steps are those of all cells, if a picture takes so many where no axis is of steps.
func (g Grid) Steps(each int) int {
	size, total := g.Size(), 0
	cells := size.X * size.Y * size.Z
	for _, a := range g.axes() {
		if a.Name == "Steps" && len(a.Values) > 0 {
			for _, steps := range a.Values {
				total += steps.(int)
			}
			return total * (cells / len(a.Values))
		}
	}
	return each * cells
}
