package ref

import "github.com/atelier-go/atelier/compute"

// repeat is y[k·N+n] = X[n].
func (f *frame) repeat(op compute.Repeat, y compute.Value) {
	x, out := f.words(op.X), f.words(y)
	for k := range op.Times {
		copy(out[k*len(x):], x)
	}
}

// concat lays the parts one after the other along Axis.
func (f *frame) concat(op compute.Concat, y compute.Value) {
	out := f.words(y)
	outer := f.shape(y)[:op.Axis].Elements()
	for o := range outer {
		for _, part := range op.Parts {
			x := f.words(part)
			n := len(x) / outer
			copy(out, x[o*n:][:n])
			out = out[n:]
		}
	}
}
