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

// fragments are the places of the operands of an mma instruction.
type fragments struct{ d, a, b, c []int }

func (p *parser) fragments(s statement, sums int) fragments {
	return fragments{p.vector(s.operands[0], sums), p.vector(s.operands[1], 4), p.vector(s.operands[2], 2), p.vector(s.operands[3], sums)}
}

// tile is the operands of an mma instruction: a[16][16], the transpose of b[16][8], and c[16][8].
type tile struct {
	a [16][16]uint16
	b [8][16]uint16
	c [16][8]float32
}

// gather reads the halves that the lanes hold of a and b.
func (t *tile) gather(w *warp, f fragments) {
	for i, r := range f.a {
		x := w.read(r, all)
		for l, v := range x {
			row, column := l/4+i%2*8, l%4*2+i/2*8
			t.a[row][column], t.a[row][column+1] = uint16(v), uint16(v>>16)
		}
	}
	for i, r := range f.b {
		x := w.read(r, all)
		for l, v := range x {
			row, column := l%4*2+8*i, l/4
			t.b[column][row], t.b[column][row+1] = uint16(v), uint16(v>>16)
		}
	}
}

// multiply adds the product to c: in float32, or as a chip does, which rounds sums in half precision to halves.
func (t *tile) multiply(chip *Chip, half bool) {
	if chip != nil {
		t.multiplyAs(*chip, half)
		return
	}
	var a [16][16]float32
	for i := range a {
		for k := range a[i] {
			a[i][k] = halves[t.a[i][k]]
		}
	}
	for j := range t.b {
		var b [16]float32
		for k := range b {
			b[k] = halves[t.b[j][k]]
		}
		for i := range a {
			sum := t.c[i][j]
			for k, x := range a[i] {
				sum += x * b[k]
			}
			t.c[i][j] = sum
		}
	}
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
		var t tile
		t.gather(w, f)
		for i, r := range f.c {
			for l, v := range w.read(r, all) {
				t.c[l/4+i/2*8][l%4*2+i%2] = float(v)
			}
		}
		t.multiply(w.block.launch.Chip, false)
		for i, r := range f.d {
			y := w.write(r, all)
			for l := range y {
				y[l] = word(t.c[l/4+i/2*8][l%4*2+i%2])
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
		var t tile
		t.gather(w, f)
		for i, r := range f.c {
			for l, v := range w.read(r, all) {
				t.c[l/4+8*i][l%4*2], t.c[l/4+8*i][l%4*2+1] = halves[v&0xffff], halves[v>>16]
			}
		}
		t.multiply(w.block.launch.Chip, true)
		for i, r := range f.d {
			y := w.write(r, all)
			for l := range y {
				y[l] = uint32(f16.FromF32(t.c[l/4+8*i][l%4*2])) | uint32(f16.FromF32(t.c[l/4+8*i][l%4*2+1]))<<16
			}
		}
		w.block.stats.Products++
	}
}
