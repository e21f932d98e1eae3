package face

import (
	"encoding/binary"
	"math"
	"slices"
)

// pupils is a cascade of regression trees that walks from somewhere near an eye to its pupil: N. Markuš et al., "Eye pupil
// localization with an ensemble of randomized trees", Pattern Recognition 47 (2014).
type pupils struct {
	shrink float64  // how much smaller the window is in each stage than in the one before
	stages [][]tree // each adds the means of its trees
}

// tree compares pixels: tests is a heap of them, and moves has a step for each way to a leaf.
type tree struct {
	tests [][4]int8 // rows and columns of two pixels, in 256ths of the window from its centre
	moves [][2]float64
}

// readPupils reads a cascade in pigo's form: little-endian counts of stages, the factor, counts of trees, their depth; then the
// trees one by one.
func readPupils(b []byte) *pupils {
	word := func() uint32 { v := binary.LittleEndian.Uint32(b); b = b[4:]; return v }
	number := func() float64 { return float64(math.Float32frombits(word())) }
	p := &pupils{stages: make([][]tree, word()), shrink: number()}
	trees, leaves := word(), 1<<word()
	for s := range p.stages {
		p.stages[s] = make([]tree, trees)
		for t := range p.stages[s] {
			tree := tree{make([][4]int8, leaves-1), make([][2]float64, leaves)}
			for i := range tree.tests {
				tree.tests[i] = [4]int8{int8(b[0]), int8(b[1]), int8(b[2]), int8(b[3])}
				b = b[4:]
			}
			for i := range tree.moves {
				tree.moves[i] = [2]float64{number(), number()}
			}
			p.stages[s][t] = tree
		}
	}
	return p
}

// find walks to a pupil from many places around one and returns the medians of where it arrives. Everything is turned
// counterclockwise by an angle with the given sine and cosine.
func (p *pupils) find(g *grey, row, column, window, sin, cos float64) (atRow, atColumn float64) {
	const walks = 31
	rows, columns := make([]float64, walks), make([]float64, walks)
	for i := range walks {
		// Powers of the plastic number's relatives fill the cube evenly, the same way each time.
		spread := func(step float64) float64 { return math.Mod(0.5+step*float64(i), 1) - 0.5 }
		rows[i], columns[i] = p.walk(g, row+0.15*window*spread(0.8191725134), column+0.15*window*spread(0.6710436067),
			window*(1+0.15*spread(0.5497004779)), sin, cos)
	}
	slices.Sort(rows)
	slices.Sort(columns)
	return rows[walks/2], columns[walks/2]
}

// walk goes from one place through all stages.
func (p *pupils) walk(g *grey, row, column, window, sin, cos float64) (atRow, atColumn float64) {
	for _, stage := range p.stages {
		var down, right float64
		for _, t := range stage {
			move := t.move(g, row, column, window/256, sin, cos)
			down, right = down+move[0], right+move[1]
		}
		row += window * (cos*down - sin*right)
		column += window * (sin*down + cos*right)
		window *= p.shrink
	}
	return row, column
}

// move is what the tree advises at a place.
func (t tree) move(g *grey, row, column, unit, sin, cos float64) [2]float64 {
	pixel := func(down, right int8) uint8 {
		y, x := unit*float64(down), unit*float64(right)
		return g.at(int(row+cos*y-sin*x), int(column+sin*y+cos*x))
	}
	i := 0
	for i < len(t.tests) {
		test := t.tests[i]
		i = 2*i + 1
		if pixel(test[0], test[1]) > pixel(test[2], test[3]) {
			i++
		}
	}
	return t.moves[i-len(t.tests)]
}
