package ptx

// LoadMatrices loads four 8×8 matrices of halves from shared memory. Lane i gives the address of row i%8 of matrix i/8, and gets of
// each matrix the two neighbours 2·(i%4), +1 of row i/4.
func (k *Kernel) LoadMatrices(a Int, offset int) [4]Int { return k.loadMatrices("", a, offset) }

// LoadTransposed is LoadMatrices of matrices that are transposed on the way: a lane gets rows 2·(i%4), +1 of column i/4.
func (k *Kernel) LoadTransposed(a Int, offset int) [4]Int {
	return k.loadMatrices(".trans", a, offset)
}

func (k *Kernel) loadMatrices(how string, a Int, offset int) [4]Int {
	registers := k.fresh(b32, 4)
	k.op("ldmatrix.sync.aligned.m8n8.x4"+how+".shared.b16", vector(registers), at(a.name, offset))
	return [4]Int(ints(k, registers))
}

// MultiplyAdd adds to the fragment c of a 16×8 matrix the product of the fragments a of a 16×16 and b of a 16×8 one, with sums in
// float32. Lane l has, with g = l/4 and t = l%4,
//
//	of a: rows g and g+8 of columns 2t, 2t+1, then the same rows of columns 2t+8, 2t+9,
//	of b: rows 2t, 2t+1, then rows 2t+8, 2t+9 of column g,
//	of c: columns 2t, 2t+1 of row g, then of row g+8.
func (k *Kernel) MultiplyAdd(c [4]Float, a [4]Int, b [2]Int) {
	sum := vector(floatNames(c[:]))
	k.op("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", sum, vector(intNames(a[:])), vector(intNames(b[:])), sum)
}

// MultiplyAddHalf is MultiplyAdd with sums in half precision, two to a register: into d goes the product and c.
func (k *Kernel) MultiplyAddHalf(d [2]Int, a [4]Int, b, c [2]Int) {
	k.op("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", vector(intNames(d[:])), vector(intNames(a[:])), vector(intNames(b[:])), vector(intNames(c[:])))
}

// Word is a fresh register whose value is of no matter until an instruction writes it.
func (k *Kernel) Word() Int { return Int{k, k.register(b32)} }
