package simgpu

import (
	"encoding/binary"
	"strings"

	"github.com/atelier-go/atelier/internal/f16"
)

// loadMatrices is ldmatrix of four matrices, transposed or not.
func (p *parser) loadMatrices(s statement) step {
	d, a := p.vector(s.operands[0], 4), p.sharedAddress(s.operands[1])
	transposed := strings.Contains(s.mnemonic, ".trans")
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		at := a.at(w, lanes)
		for matrix, r := range d {
			y := w.write(r, lanes)
			for row := range 8 {
				data := w.use(at[8*matrix+row], 16, false)
				if transposed {
					scatter(y, data, row)
					continue
				}
				for pair := range 4 {
					y[4*row+pair] = binary.LittleEndian.Uint32(data[4*pair:])
				}
			}
		}
		w.conflicts16(at, lanes)
	}
}

// scatter gives each column of a matrix's row to the lanes that have it of the transposed matrix.
func scatter(y *[32]uint32, data []byte, row int) {
	shift := 16 * (row % 2)
	for column := range 8 {
		lane := 4*column + row/2
		half := uint32(binary.LittleEndian.Uint16(data[2*column:]))
		y[lane] = y[lane]&^(0xffff<<shift) | half<<shift
	}
}

// fragments are the places of the operands of an mma instruction: of d and c, which are [16][8], of a[16][16] and of b[16][8].
type fragments struct{ d, a, b, c []int }

func (p *parser) fragments(s statement, sums int) fragments {
	return fragments{p.vector(s.operands[0], sums), p.vector(s.operands[1], 4), p.vector(s.operands[2], 2), p.vector(s.operands[3], sums)}
}

// factors are a and b of an mma instruction.
type factors struct {
	a      [4]values // as the lanes hold it
	b      [16][8]float32
	finite bool // b is
	chip   *Chip
	half   bool // sums are rounded to halves
}

// factors reads them.
func (w *warp) factors(f fragments, half bool) factors {
	t := factors{a: w.copies(f.a), finite: true, chip: w.block.launch.Chip, half: half}
	for i, r := range f.b {
		for l, v := range w.read(r, all) {
			row, column := l%4*2+8*i, l/4
			t.b[row][column], t.b[row+1][column] = halves[v&0xffff], halves[v>>16]
			t.finite = t.finite && v&0x7c00 != 0x7c00 && v&0x7c000000 != 0x7c000000
		}
	}
	return t
}

// copies are of up to four registers, so that an instruction may write them before it has read all.
func (w *warp) copies(registers []int) (x [4]values) {
	for i, r := range registers {
		x[i] = *w.read(r, all)
	}
	return x
}

// addRow adds the product of a row of a with b to sums: in float32, or as a chip does.
func (t *factors) addRow(row int, sums *[8]float32) {
	near, far := t.a[row/8][row%8*4:][:4], t.a[row/8+2][row%8*4:][:4]
	pairs := [8]uint32{near[0], near[1], near[2], near[3], far[0], far[1], far[2], far[3]}
	if t.chip == nil && t.finite && zeros(&pairs) && !negative(sums) {
		return // as behind the last row of a product
	}
	var a [16]float32
	for i, pair := range pairs {
		a[2*i], a[2*i+1] = halves[pair&0xffff], halves[pair>>16]
	}
	if t.chip != nil {
		t.chip.addRow(sums, &a, &t.b, t.half)
		return
	}
	s0, s1, s2, s3, s4, s5, s6, s7 := sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7]
	for k, x := range a {
		b := &t.b[k]
		s0 += x * b[0]
		s1 += x * b[1]
		s2 += x * b[2]
		s3 += x * b[3]
		s4 += x * b[4]
		s5 += x * b[5]
		s6 += x * b[6]
		s7 += x * b[7]
	}
	*sums = [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
}

// zeros tells whether all halves are.
func zeros(pairs *[8]uint32) bool {
	var some uint32
	for _, pair := range pairs {
		some |= pair
	}
	return some&0x7fff7fff == 0
}

// negative tells whether one of the numbers is the zero that is another with a zero added.
func negative(sums *[8]float32) bool {
	for _, s := range sums {
		if word(s) == 1<<31 {
			return true
		}
	}
	return false
}

// halves are the values of all half-precision numbers.
var halves = func() (values [1 << 16]float32) {
	for h := range values {
		values[h] = f16.ToF32(uint16(h))
	}
	return values
}()

// multiplyAdd is mma with float32 sums.
func (p *parser) multiplyAdd(s statement) step {
	f := p.fragments(s, 4)
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		t, c := w.factors(f, false), w.copies(f.c)
		for row := range 16 {
			even, odd, first := row/8*2, row/8*2+1, row%8*4
			var sums [8]float32
			for i := range 4 {
				sums[2*i], sums[2*i+1] = float(c[even][first+i]), float(c[odd][first+i])
			}
			t.addRow(row, &sums)
			x, y := w.write(f.d[even], all), w.write(f.d[odd], all)
			for i := range 4 {
				x[first+i], y[first+i] = word(sums[2*i]), word(sums[2*i+1])
			}
		}
		w.block.stats.Products++
	}
}

// multiplyAddHalf is mma with sums in half precision.
func (p *parser) multiplyAddHalf(s statement) step {
	f := p.fragments(s, 2)
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		t, c := w.factors(f, true), w.copies(f.c)
		for row := range 16 {
			first := row % 8 * 4
			var sums [8]float32
			for i, pair := range c[row/8][first:][:4] {
				sums[2*i], sums[2*i+1] = halves[pair&0xffff], halves[pair>>16]
			}
			t.addRow(row, &sums)
			x := w.write(f.d[row/8], all)
			for i := range 4 {
				x[first+i] = uint32(f16.FromF32(sums[2*i])) | uint32(f16.FromF32(sums[2*i+1]))<<16
			}
		}
		w.block.stats.Products++
	}
}
