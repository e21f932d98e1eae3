package ref

import "github.com/atelier-go/atelier/compute"

func (f *frame[T]) fill(op compute.Fill, y compute.Value) {
	out := f.value(y)
	for i := range out {
		out[i] = T(op.Value)
	}
	for i, v := range op.Values {
		out[i] = T(v)
	}
}

// scale is y[n,…] = Factors[n,Column]·X[n,…], 0 where the factor is.
func (f *frame[T]) scale(op compute.Scale, y compute.Value) {
	x, factors, out := f.value(op.X), f.value(op.Factors), f.value(y)
	rows, columns := f.shape(op.Factors)[0], f.shape(op.Factors)[1]
	sample := len(x) / f.shape(op.X)[0]
	for i, v := range x {
		factor := factors[i/sample%rows*columns+op.Column]
		if factor == 0 {
			v = 0
		}
		out[i] = T(float64(factor) * float64(v))
	}
}

// multiply is y = X·Factors, 0 where the factor is; factors of fewer rows than X are those of a sample, or of all.
func (f *frame[T]) multiply(op compute.Multiply, y compute.Value) {
	x, factors, out := f.value(op.X), f.value(op.Factors), f.value(y)
	channels, repeats := f.shape(y).Last(), len(x)/len(factors)
	for i, v := range x {
		factor := factors[i/(channels*repeats)*channels+i%channels]
		if factor == 0 {
			v = 0
		}
		out[i] = T(float64(factor) * float64(v))
	}
}

// slice copies the part from Start on along Axis.
func (f *frame[T]) slice(op compute.Slice, y compute.Value) {
	shape := f.shape(op.X)
	inner := shape[op.Axis+1:].Elements()
	from, length, all := op.Start*inner, op.Length*inner, shape[op.Axis]*inner
	if f.isIDs(y) {
		slice(f.ids(op.X), f.ids(y), from, length, all)
	} else {
		slice(f.value(op.X), f.value(y), from, length, all)
	}
}

func slice[E any](x, y []E, from, length, all int) {
	for len(y) > 0 {
		copy(y[:length], x[from:])
		x, y = x[all:], y[length:]
	}
}
