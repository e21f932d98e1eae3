package simlibrary

import "github.com/atelier-go/atelier/cuda/internal/simgpu"

// array is a tensor of a graph, with its numbers while the graph is computed.
type array struct {
	shape  [4]int // N, C, H, W; channels lie last
	dtype  int32
	at     uintptr // 0 for one between two operations
	values []float64
}

// arrayOf is the array that a tensor stands for, one for each of a graph's numbers.
func arrayOf(t, memory *object, known map[uint64]*array) *array {
	if t == nil {
		return nil
	}
	number := t.attributes[906][0]
	if a := known[number]; a != nil {
		return a
	}
	a := &array{dtype: int32(t.attributes[901][0])}
	for i, v := range t.attributes[902] {
		a.shape[i] = int(v)
	}
	s := t.attributes[903]
	if c, h, w := a.shape[1], a.shape[2], a.shape[3]; s[1] != 1 || int(s[3]) != c || int(s[2]) != c*w || int(s[0]) != c*h*w {
		panic("simlibrary: the tensor does not lie channels last")
	}
	for i, n := range memory.attributes[1000] {
		if n == number && t.attributes[907] == nil {
			a.at = uintptr(memory.attributes[1001][i])
		}
	}
	known[number] = a
	return a
}

func (a *array) elements() int { return a.shape[0] * a.shape[1] * a.shape[2] * a.shape[3] }

// load reads an array that is in memory.
func (a *array) load(memory *simgpu.Device) (err error) {
	if a != nil && a.at != 0 {
		a.values, err = read(memory, a.at, a.dtype, a.elements())
	}
	return err
}

// store writes an array that is in memory.
func (a *array) store(memory *simgpu.Device) error {
	if a.at == 0 {
		return nil
	}
	return write(memory, a.at, a.dtype, a.values)
}

// broadcast is the element that is added to element i of another array: extents of one serve all.
func (a *array) broadcast(i int, other *array) int {
	at, place := 0, i
	digits := [4]int{} // W, H and N of the element, and its channel
	for d, axis := range [4]int{1, 3, 2, 0} {
		digits[d], place = place%other.shape[axis], place/other.shape[axis]
	}
	for d, axis := range [4]int{0, 2, 3, 1} {
		if a.shape[axis] > 1 {
			at = at*a.shape[axis] + digits[3-d]
		}
	}
	return at
}

// window is how a convolution goes over an image.
type window struct{ stride, before [2]int }

func windowOf(how *object) (w window) {
	for i := range 2 {
		w.stride[i], w.before[i] = int(how.attributes[103][i]), int(how.attributes[105][i])
	}
	return w
}

// visit calls f for each position of y and each weight's pixel that is inside x, with the places of y's, x's and w's first channels; w's is
// that of its first output.
func (w window) visit(x, weights, y *array, f func(y, x, w int)) {
	for n := range y.shape[0] {
		for i := range y.shape[2] {
			for j := range y.shape[3] {
				for u := range weights.shape[2] {
					for v := range weights.shape[3] {
						row, column := i*w.stride[0]+u-w.before[0], j*w.stride[1]+v-w.before[1]
						if row < 0 || row >= x.shape[2] || column < 0 || column >= x.shape[3] {
							continue
						}
						f(((n*y.shape[2]+i)*y.shape[3]+j)*y.shape[1], ((n*x.shape[2]+row)*x.shape[3]+column)*x.shape[1], (u*weights.shape[3]+v)*weights.shape[1])
					}
				}
			}
		}
	}
}

// forward is y of x.
func (w window) forward(x, weights, y *array) []float64 {
	out, inputs, pitch := make([]float64, y.elements()), x.shape[1], weights.elements()/weights.shape[0]
	w.visit(x, weights, y, func(yAt, xAt, wAt int) {
		from := x.values[xAt:][:inputs]
		for o := range y.shape[1] {
			sum := 0.0
			for c, weight := range weights.values[o*pitch+wAt:][:inputs] {
				sum += weight * from[c]
			}
			out[yAt+o] += sum
		}
	})
	return out
}

// gradient is the derivative by x of that by y.
func (w window) gradient(x, weights, y *array) []float64 {
	out, inputs, pitch := make([]float64, x.elements()), x.shape[1], weights.elements()/weights.shape[0]
	w.visit(x, weights, y, func(yAt, xAt, wAt int) {
		to := out[xAt:][:inputs]
		for o := range y.shape[1] {
			for c, weight := range weights.values[o*pitch+wAt:][:inputs] {
				to[c] += weight * y.values[yAt+o]
			}
		}
	})
	return out
}
