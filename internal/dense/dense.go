// Package dense converts the engine's channels-last host arrays to the arrays of the public API,
// gorgonia.org/tensor's *tensor.Dense of float32, channels first. It is the only package that imports Gorgonia.
//
// Gorgonia's tensor panics at start on current Go unless go.mod requires go4.org/unsafe/assume-no-moving-gc at
// v0.0.0-20231121144256-b99613f794b6 or newer; the test of this package, which just runs, is the alarm.
package dense

import "gorgonia.org/tensor"

// FromNHWC copies pictures or latents [n,h,w,c] to a new array [n,c,h,w].
func FromNHWC(data []float32, n, h, w, c int) *tensor.Dense {
	out, pixels := make([]float32, len(data)), h*w
	for i := range n {
		for channel := range c {
			for p := range pixels {
				out[(i*c+channel)*pixels+p] = data[(i*pixels+p)*c+channel]
			}
		}
	}
	return tensor.New(tensor.WithShape(n, c, h, w), tensor.WithBacking(out))
}
