package ref

import "github.com/atelier-go/atelier/compute"

// conv2D is y[n,i,j,o] = epilogue(Σ_{c,u,v} Weight[o,c,u,v]·x[n, i·Stride+u-Top, j·Stride+v-Left, c] + Bias[o]):
// every output position gathers its patch in the order of the weight and contracts it.
func (f *frame) conv2D(op compute.Conv2D, y compute.Value) {
	x := f.join(op.X, op.X2)
	in, out, kernel := f.shape(op.X), f.shape(y), f.shape(op.Weight)
	height, width := in[1], in[2]
	if op.Resize != [2]int{} {
		height, width = op.Resize[0], op.Resize[1]
	}
	kh, kw := kernel[2], kernel[3]

	patch := func(r int, dst []float64) {
		n, i, j := r/(out[1]*out[2]), r/out[2]%out[1], r%out[2]
		for u := range kh {
			for v := range kw {
				row, column := i*op.Stride+u-op.Pad.Top, j*op.Stride+v-op.Pad.Left
				inside := 0 <= row && row < height && 0 <= column && column < width
				source := (n*in[1]+row*in[1]/height)*in[2] + column*in[2]/width // nearest neighbour
				for c := range x.channels() {
					at := (c*kh+u)*kw + v
					if inside {
						dst[at] = x.at(source, c)
					} else {
						dst[at] = 0
					}
				}
			}
		}
	}
	e := f.epilogue(op.Bias, op.Epilogue, y)
	contract(out.Rows(), x.channels()*kh*kw, f.value(op.Weight), patch, e.write)
}
