// Package svd computes singular value decompositions of weights and of low-rank products, in float64 and the same at
// every call on any number of processors, with the dense routines of gonum.
package svd

import (
	"errors"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"
)

// Decomposition is U·diag(S)·V with k singular values. Columns of U and rows of V are orthonormal, but for rows of V
// that belong to a singular value of 0, which may be 0 as well. Both are row-major.
type Decomposition struct {
	U []float64 // [rows,k]
	S []float64 // [k], descending, but for those that differ from 0 by rounding alone
	V []float64 // [k,cols]
}

// ErrNoConvergence says that the iteration of the dense routine did not end, which no known matrix of numbers causes.
var ErrNoConvergence = errors.New("svd: no convergence")

// Product decomposes up·down, [rows,rank]·[rank,cols], without forming it: both factors and the small matrix between them
// are decomposed. It has min(rows,rank,cols) singular values, the others of the product being 0. All numbers must be finite.
func Product(up, down []float32, rows, rank, cols int) (*Decomposition, error) {
	var left, right, middle mat.SVD
	if !left.Factorize(dense(up, rows, rank), mat.SVDThin) || !right.Factorize(dense(down, rank, cols), mat.SVDThin) {
		return nil, ErrNoConvergence
	}
	var u1, v1, u2, v2, core mat.Dense
	left.UTo(&u1)
	left.VTo(&v1)
	right.UTo(&u2)
	right.VTo(&v2)
	core.Mul(v1.T(), &u2)
	s1, s2 := left.Values(nil), right.Values(nil)
	core.Apply(func(i, j int, v float64) float64 { return s1[i] * v * s2[j] }, &core)
	if !middle.Factorize(&core, mat.SVDThin) {
		return nil, ErrNoConvergence
	}
	var u, v, inner mat.Dense
	middle.UTo(&inner)
	u.Mul(&u1, &inner)
	inner.Reset()
	middle.VTo(&inner)
	v.Mul(inner.T(), v2.T())
	return &Decomposition{u.RawMatrix().Data, middle.Values(nil), v.RawMatrix().Data}, nil
}

const (
	small        = 320  // matrices with as few rows or columns are decomposed whole
	oversampling = 10   // more vectors than asked for, which speed up the convergence of these
	depth        = 8    // blocks in a basis before it is started anew
	tolerance    = 1e-8 // of ‖A·Aᵀ·u - σ²·u‖ beside the largest σ²
	rounds       = 400  // before the matrix is decomposed whole after all
)

// Leading finds the k largest singular values of a, [rows,cols], and their vectors; fewer if the matrix has fewer. Large
// matrices are not decomposed whole: a block Krylov iteration from random vectors, with restarts, finds the leading part
// and goes on until the residual of each vector says that it is found. See Halko, Martinsson and Tropp, "Finding structure
// with randomness" (arXiv:0909.4061), and Musco and Musco (arXiv:1504.05477). All numbers must be finite.
func Leading(a []float32, rows, cols, k int) (*Decomposition, error) {
	x := dense(a, rows, cols)
	k = min(k, rows, cols)
	short := min(rows, cols)
	block := k + oversampling
	room := min(depth*block, short/2)
	if short > small && room >= 2*block {
		var wide mat.Matrix = x
		if rows > cols {
			wide = x.T()
		}
		if u := iterate(wide, k, block, room); u != nil {
			return project(x, u), nil
		}
	}
	var whole mat.SVD
	if !whole.Factorize(x, mat.SVDThin) {
		return nil, ErrNoConvergence
	}
	var u, v mat.Dense
	whole.UTo(&u)
	whole.VTo(&v)
	return &Decomposition{mat.DenseCopyOf(u.Slice(0, rows, 0, k)).RawMatrix().Data, whole.Values(nil)[:k],
		mat.DenseCopyOf(v.Slice(0, cols, 0, k).T()).RawMatrix().Data}, nil
}

// iterate finds the k leading left singular vectors of a, nil if they take too long. The basis is that of the Krylov
// space of A·Aᵀ, of which the best vectors are kept when its room is used up.
func iterate(a mat.Matrix, k, block, room int) *mat.Dense {
	rows, cols := a.Dims()
	basis, image := mat.NewDense(rows, room, nil), mat.NewDense(rows, room, nil) // image is A·Aᵀ·basis
	columns := func(x *mat.Dense, from, to int) *mat.Dense { return x.Slice(0, rows, from, to).(*mat.Dense) }
	next, back := mat.NewDense(rows, block, nil), mat.NewDense(cols, block, nil)
	next.Mul(a, gaussian(cols, block))
	used := 0
	for range rounds {
		orthonormalise(next, columns(basis, 0, used))
		columns(basis, used, used+block).Copy(next)
		back.Mul(a.T(), next)
		next.Mul(a, back)
		columns(image, used, used+block).Copy(next)
		used += block

		q, aq := columns(basis, 0, used), columns(image, 0, used)
		values, vectors, ok := ritz(q, aq, block)
		if !ok {
			return nil
		}
		var u, au mat.Dense
		u.Mul(q, vectors)
		au.Mul(aq, vectors)
		if residual(&u, &au, values[:k]) <= tolerance*values[0] {
			return mat.DenseCopyOf(u.Slice(0, rows, 0, k))
		}
		if used+block > room {
			columns(basis, 0, block).Copy(&u)
			columns(image, 0, block).Copy(&au)
			next.Copy(&au)
			used = block
		}
	}
	return nil
}

// ritz finds the n largest eigenvalues of A·Aᵀ seen in the basis q, descending, and their vectors in its coordinates.
func ritz(q, aq *mat.Dense, n int) (values []float64, vectors *mat.Dense, ok bool) {
	var seen mat.Dense
	seen.Mul(q.T(), aq)
	size, _ := seen.Dims()
	symmetric := mat.NewSymDense(size, nil)
	for i := range size {
		for j := i; j < size; j++ {
			symmetric.SetSym(i, j, (seen.At(i, j)+seen.At(j, i))/2)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(symmetric, true) {
		return nil, nil, false
	}
	ascending := eigen.Values(nil)
	var all mat.Dense
	eigen.VectorsTo(&all)
	vectors = mat.NewDense(size, n, nil)
	for i := range n {
		values = append(values, max(0, ascending[size-1-i]))
		vectors.SetCol(i, mat.Col(nil, size-1-i, &all))
	}
	return values, vectors, true
}

// residual is the largest ‖A·Aᵀ·u - λ·u‖.
func residual(u, au *mat.Dense, values []float64) (worst float64) {
	rows, _ := u.Dims()
	for j, lambda := range values {
		sum := 0.0
		for i := range rows {
			d := au.At(i, j) - lambda*u.At(i, j)
			sum += d * d
		}
		worst = max(worst, math.Sqrt(sum))
	}
	return worst
}

// orthonormalise makes the columns of x orthonormal and orthogonal to those of the basis. Once is not enough where
// little is left of x.
func orthonormalise(x, basis *mat.Dense) {
	raw := x.RawMatrix()
	tau, work := make([]float64, raw.Cols), make([]float64, 64*raw.Cols)
	for range 2 {
		if _, n := basis.Dims(); n > 0 {
			var coordinates, part mat.Dense
			coordinates.Mul(basis.T(), x)
			part.Mul(basis, &coordinates)
			x.Sub(x, &part)
		}
		lapack64.Geqrf(raw, tau, work, len(work))
		lapack64.Orgqr(raw, tau, work, len(work))
	}
}

// project completes singular vectors of the shorter side of a to a decomposition.
func project(a, vectors *mat.Dense) *Decomposition {
	rows, cols := a.Dims()
	_, k := vectors.Dims()
	d := &Decomposition{S: make([]float64, k)}
	var other mat.Dense
	if rows <= cols {
		other.Mul(vectors.T(), a)
		d.U, d.V = vectors.RawMatrix().Data, other.RawMatrix().Data
		for i := range d.S {
			d.S[i] = normalise(d.V[i*cols:][:cols], 1)
		}
		return d
	}
	other.Mul(a, vectors)
	d.U, d.V = other.RawMatrix().Data, mat.DenseCopyOf(vectors.T()).RawMatrix().Data
	for i := range d.S {
		d.S[i] = normalise(d.U[i:], k)
	}
	return d
}

// normalise divides every step-th number by the norm of these, which it returns.
func normalise(x []float64, step int) float64 {
	sum := 0.0
	for i := 0; i < len(x); i += step {
		sum += x[i] * x[i]
	}
	norm := math.Sqrt(sum)
	for i := 0; i < len(x) && norm > 0; i += step {
		x[i] /= norm
	}
	return norm
}

// gaussian draws a matrix, always the same.
func gaussian(rows, cols int) *mat.Dense {
	r := rand.New(rand.NewPCG(0, 0))
	x := mat.NewDense(rows, cols, nil)
	for i := range x.RawMatrix().Data {
		x.RawMatrix().Data[i] = r.NormFloat64()
	}
	return x
}

// dense widens a row-major matrix.
func dense(a []float32, rows, cols int) *mat.Dense {
	x := make([]float64, rows*cols)
	for i, v := range a[:rows*cols] {
		x[i] = float64(v)
	}
	return mat.NewDense(rows, cols, x)
}
