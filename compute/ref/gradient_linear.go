package ref

import "github.com/atelier-go/atelier/compute"

// linearInputGradient is y[r,c] = Σ_o DY[r,o]·Weight[o,First+c] + Add[r,c].
func (f *frame[T]) linearInputGradient(op compute.LinearInputGradient, y compute.Value) {
	dy, w, add, out := f.value(op.DY), f.value(op.Weight), f.optional(op.Add), f.value(y)
	outputs, inputs := f.shape(op.Weight)[0], f.shape(op.Weight)[1]
	parallel(f.shape(y).Rows(), func(first, end int) {
		for r := first; r < end; r++ {
			for c := range op.Channels {
				var sum float64
				for o := range outputs {
					sum += float64(dy[r*outputs+o]) * float64(w[o*inputs+op.First+c])
				}
				at := r*op.Channels + c
				out[at] = T(plus(sum, add, at))
			}
		}
	})
}

// conv2DInputGradient sends every DY[n,i,j,o], times the weight, back to the pixel that conv2D read it from. One sample is
// summed by one worker.
func (f *frame[T]) conv2DInputGradient(op compute.Conv2DInputGradient, y compute.Value) {
	dy, w, add, out := f.value(op.DY), f.value(op.Weight), f.optional(op.Add), f.value(y)
	result, kernel := f.shape(op.DY), f.shape(op.Weight)
	height, width := op.Height, op.Width
	if op.Resize != [2]int{} {
		height, width = op.Resize[0], op.Resize[1]
	}
	outputs, inputs, kh, kw := kernel[0], kernel[1], kernel[2], kernel[3]
	sample := op.Height * op.Width * op.Channels
	parallel(result[0], func(first, end int) {
		sum := make([]float64, sample)
		for n := first; n < end; n++ {
			clear(sum)
			for r := range result[1] * result[2] * kh * kw {
				i, j, u, v := r/(result[2]*kh*kw), r/(kh*kw)%result[2], r/kw%kh, r%kw
				row, column := i*op.Stride+u-op.Pad.Top, j*op.Stride+v-op.Pad.Left
				if row < 0 || height <= row || column < 0 || width <= column {
					continue
				}
				pixel := row*op.Height/height*op.Width + column*op.Width/width // nearest neighbour
				g := dy[((n*result[1]+i)*result[2]+j)*outputs:][:outputs]
				for c := range op.Channels {
					for o, d := range g {
						sum[pixel*op.Channels+c] += float64(d) * float64(w[((o*inputs+op.First+c)*kh+u)*kw+v])
					}
				}
			}
			for i, s := range sum {
				at := n*sample + i
				out[at] = T(plus(s, add, at))
			}
		}
	})
}
