package ref

import "github.com/atelier-go/atelier/compute"

// conv2D is y[n,i,j,o] = epilogue(Σ_{c,u,v} Weight[o,c,u,v]·x[n, i·Stride+u-Top, j·Stride+v-Left, c] + Bias[o]):
// every output position gathers its patch in the order of the weight and contracts it.
func (f *frame[T]) conv2D(op compute.Conv2D, y compute.Value) {
	kernel := f.shape(op.Weight)
	p := f.patches(op.X, op.X2, f.shape(y), [2]int{kernel[2], kernel[3]}, op.Stride, op.Pad, op.Resize)
	e := f.epilogue(op.Bias, op.Epilogue, y)
	contract(f.shape(y).Rows(), p.size(), f.value(op.Weight), p.gather, e.write)
}

// patches are what a convolution reads for each position of its result.
type patches[T number] struct {
	x             joined[T]
	in, out       compute.Shape
	kernel, sizes [2]int // height and width of the kernel, and of the input after resizing
	stride        int
	pad           compute.Padding
}

func (f *frame[T]) patches(x, x2 compute.Value, out compute.Shape, kernel [2]int, stride int, pad compute.Padding, resize [2]int) patches[T] {
	in := f.shape(x)
	if resize == [2]int{} {
		resize = [2]int{in[1], in[2]}
	}
	return patches[T]{f.join(x, x2), in, out, kernel, resize, stride, pad}
}

func (p patches[T]) size() int { return p.x.channels() * p.kernel[0] * p.kernel[1] }

// gather stores the patch of position r of the result, in the order of a weight's [c,u,v].
func (p patches[T]) gather(r int, dst []float64) {
	n, i, j := r/(p.out[1]*p.out[2]), r/p.out[2]%p.out[1], r%p.out[2]
	kh, kw := p.kernel[0], p.kernel[1]
	for u := range kh {
		for v := range kw {
			row, column := i*p.stride+u-p.pad.Top, j*p.stride+v-p.pad.Left
			inside := 0 <= row && row < p.sizes[0] && 0 <= column && column < p.sizes[1]
			source := (n*p.in[1]+row*p.in[1]/p.sizes[0])*p.in[2] + column*p.in[2]/p.sizes[1] // nearest neighbour
			for c := range p.x.channels() {
				at := (c*kh+u)*kw + v
				if inside {
					dst[at] = p.x.at(source, c)
				} else {
					dst[at] = 0
				}
			}
		}
	}
}

// conv2DWeightGradient is y[o,c,u,v] = Σ_r DY[r,o]·patch_r[c,u,v] + Add[o,c,u,v] over all positions r of the result.
func (f *frame[T]) conv2DWeightGradient(op compute.Conv2DWeightGradient, y compute.Value) {
	p := f.patches(op.X, op.X2, f.shape(op.DY), op.Kernel, op.Stride, op.Pad, op.Resize)
	dy, add, out := f.value(op.DY), f.optional(op.Add), f.value(y)
	outputs := f.shape(y)[0]
	parallel(outputs, func(first, end int) {
		patch, sum := make([]float64, p.size()), make([]float64, (end-first)*p.size())
		for r := range f.shape(op.DY).Rows() {
			p.gather(r, patch)
			for o := first; o < end; o++ {
				axpy(sum[(o-first)*p.size():], float64(dy[r*outputs+o]), patch)
			}
		}
		for i, s := range sum {
			at := first*p.size() + i
			out[at] = T(plus(s, add, at))
		}
	})
}
