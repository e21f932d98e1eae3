package simgpu

import (
	"math/rand/v2"
	"testing"
)

// TestGrains holds what is noted of a grain at once to what would be of each two bytes.
func TestGrains(t *testing.T) {
	const bytes = 100
	random := rand.New(rand.NewPCG(1, 2))
	a := newAllocation(0, bytes)
	var plain [bytes / 2]cell
	for range 20000 {
		first := random.IntN(bytes / 2)
		n := 1 + random.IntN(min(bytes/2-first, 12))
		change := func(c cell) cell {
			c.known, c.reader = true, c.reader/2+int32(n%3)
			return c
		}
		a.each(2*first, 2*n, func(c cell, _, _ int) cell { return change(c) })
		for i := range n {
			plain[first+i] = change(plain[first+i])
		}
		if random.IntN(10) == 0 {
			a.know(2*first, 2*n, false)
			for i := range n {
				plain[first+i].known = false
			}
		}
		visited := 0
		a.each(0, bytes, func(c cell, at, n int) cell {
			for i := at / 2; i < (at+n)/2; i++ {
				if visited++; c != plain[i] {
					t.Fatalf("the cell of bytes %d is %+v, want %+v", 2*i, c, plain[i])
				}
			}
			return c
		})
		if visited != bytes/2 {
			t.Fatalf("%d cells, want %d", visited, bytes/2)
		}
	}
	if len(a.parts) > len(a.grains) {
		t.Errorf("cells for %d grains of %d", len(a.parts), len(a.grains))
	}
}

// TestRows holds the product of a row, which is quick where it is zeros, to a plain sum in the same order.
func TestRows(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() float32 { // often a zero of either sign, seldom not finite
		h := uint16(random.Uint32())
		if random.IntN(3) > 0 {
			h &= 1 << 15
		}
		return halves[h]
	}
	for range 20000 {
		var f factors
		f.finite = true
		some := random.IntN(2) > 0
		var row [16]float32
		for k := range row {
			if h := uint32(random.Uint32()); some || random.IntN(40) == 0 {
				row[k] = halves[h&0xffff]
				f.a[k/8*2][k/2%4] |= h & 0xffff << (16 * (k % 2)) // of row 0
			}
			for j := range f.b[k] {
				f.b[k][j] = number()
				f.finite = f.finite && f.b[k][j]-f.b[k][j] == 0
			}
		}
		var sums, want [8]float32
		for j := range sums {
			sums[j] = number()
			want[j] = sums[j]
			for k, x := range row {
				want[j] += x * f.b[k][j]
			}
		}
		f.addRow(0, &sums)
		for j := range sums {
			if word(sums[j]) != word(want[j]) && (sums[j] == sums[j] || want[j] == want[j]) {
				t.Fatalf("sum %d is %g, want %g", j, sums[j], want[j])
			}
		}
	}
}
