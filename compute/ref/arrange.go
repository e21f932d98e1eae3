package ref

import "github.com/atelier-go/atelier/compute"

// repeat is y[k·N+n] = X[n].
func (f *frame[T]) repeat(op compute.Repeat, y compute.Value) {
	if f.isIDs(y) {
		repeat(f.ids(op.X), f.ids(y))
	} else {
		repeat(f.value(op.X), f.value(y))
	}
}

func repeat[E any](x, y []E) {
	for len(y) > 0 {
		y = y[copy(y, x):]
	}
}

// concat lays the parts one after the other along Axis.
func (f *frame[T]) concat(op compute.Concat, y compute.Value) {
	outer := f.shape(y)[:op.Axis].Elements()
	if f.isIDs(y) {
		concat(outer, op.Parts, f.ids, f.ids(y))
	} else {
		concat(outer, op.Parts, f.value, f.value(y))
	}
}

func concat[E any](outer int, parts []compute.Value, elements func(compute.Value) []E, y []E) {
	for o := range outer {
		for _, part := range parts {
			x := elements(part)
			n := len(x) / outer
			y = y[copy(y, x[o*n:][:n]):]
		}
	}
}
