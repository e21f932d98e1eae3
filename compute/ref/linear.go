package ref

import "github.com/atelier-go/atelier/compute"

// linear is y[r,o] = epilogue(Σ_k x[r,k]·Weight[o,k] + Bias[o]).
func (f *frame[T]) linear(op compute.Linear, y compute.Value) {
	x := f.join(op.X, op.X2)
	e := f.epilogue(op.Bias, op.Epilogue, y)
	contract(f.shape(y).Rows(), x.channels(), f.value(op.Weight), x.row, e.write)
}

// joined is a value with the channels of an optional second one appended.
type joined[T number] struct {
	a, b   []T
	ca, cb int
}

func (f *frame[T]) join(x, x2 compute.Value) joined[T] {
	j := joined[T]{a: f.value(x), ca: f.shape(x).Last()}
	if x2.Valid() {
		j.b, j.cb = f.value(x2), f.shape(x2).Last()
	}
	return j
}

func (j joined[T]) channels() int { return j.ca + j.cb }

// at is channel c of row r.
func (j joined[T]) at(r, c int) float64 {
	if c < j.ca {
		return float64(j.a[r*j.ca+c])
	}
	return float64(j.b[r*j.cb+c-j.ca])
}

// row widens row r into dst.
func (j joined[T]) row(r int, dst []float64) {
	for c := range dst {
		dst[c] = j.at(r, c)
	}
}

// contract is the product shared by Linear and Conv2D: for every row r and output channel o it calls
// write(r, o, Σ_k row_r[k]·weight[o·depth+k]), where fill stores row r in its second argument.
// Four rows at a time share each weight; every sum still runs over k in order.
func contract[T number](rows, depth int, weight []T, fill func(r int, row []float64), write func(r, o int, sum float64)) {
	const tile = 4
	parallel((rows+tile-1)/tile, func(first, end int) {
		var x [tile][]float64
		for i := range x {
			x[i] = make([]float64, depth)
		}
		for t := first; t < end; t++ {
			present := min(tile, rows-t*tile)
			for i := range present {
				fill(t*tile+i, x[i])
			}
			for o := range len(weight) / depth {
				sums := dots(weight[o*depth:][:depth], x[0], x[1], x[2], x[3])
				for i := range present {
					write(t*tile+i, o, sums[i])
				}
			}
		}
	})
}

// dots are the inner products of w with four rows of its length.
func dots[T number](w []T, x0, x1, x2, x3 []float64) [4]float64 {
	x0, x1, x2, x3 = x0[:len(w)], x1[:len(w)], x2[:len(w)], x3[:len(w)]
	var s0, s1, s2, s3 float64
	for k, v := range w {
		v := float64(v)
		s0 += v * x0[k]
		s1 += v * x1[k]
		s2 += v * x2[k]
		s3 += v * x3[k]
	}
	return [4]float64{s0, s1, s2, s3}
}

// epilogue finishes the elements of a Linear or Conv2D.
type epilogue[T number] struct {
	y, bias, perChannel, residual []T
	channels                      int
	rowsPerSample                 int // rows of y that share a row of perChannel
	activation                    compute.Activation
}

func (f *frame[T]) epilogue(bias compute.Value, e compute.Epilogue, y compute.Value) epilogue[T] {
	shape := f.shape(y)
	done := epilogue[T]{
		y: f.value(y), bias: f.optional(bias), perChannel: f.optional(e.PerChannel), residual: f.optional(e.Residual),
		channels: shape.Last(), rowsPerSample: shape.Rows(), activation: e.Activation,
	}
	if e.PerChannel.Valid() && f.shape(e.PerChannel)[0] > 1 {
		done.rowsPerSample /= shape[0]
	}
	return done
}

// write stores Activation(sum + bias + perChannel) + residual in row r, channel o.
func (e epilogue[T]) write(r, o int, sum float64) {
	if e.bias != nil {
		sum += float64(e.bias[o])
	}
	if e.perChannel != nil {
		sum += float64(e.perChannel[r/e.rowsPerSample*e.channels+o])
	}
	sum = apply(e.activation, sum)
	if e.residual != nil {
		sum += float64(e.residual[r*e.channels+o])
	}
	e.y[r*e.channels+o] = T(sum)
}
