package rng

import (
	"fmt"
	"math"
	"strconv"
)

// Brownian is a Brownian path W(σ), one value per element of a latent, that depends on nothing but a
// seed and its end points: the virtual Brownian tree of Li et al., "Scalable Gradients for Stochastic
// Differential Equations" (arXiv:2001.01328), with the node order and seeds of torchsde. SDE samplers
// read it, so that more steps refine a picture instead of changing it. Not safe for concurrent use.
type Brownian struct {
	entropy []uint32
	source  func(seed uint64) Source
	normals []float32
	root    []float64 // W(max) − W(min)
	min     float64
	max     float64

	path     []*node // to the latest query, from the root down; later queries share its beginning
	free     []*node
	from, to []float64
}

// node is the bridge over [a, b]: its increment, and that of its left half [a, m].
type node struct {
	a, m, b   float64
	key       uint32 // position among the nodes of its depth
	all, left []float64
}

// NewBrownian starts the path of a seed with n elements on [sigmaMin, sigmaMax], in torchsde's use the
// smallest σ above zero and the largest of the whole schedule. source makes a generator from a seed;
// each node of the tree takes its normals from the first draw of one. Ends that are not finite and
// ascending at a resolution of 10⁻⁶ are an error.
func NewBrownian(seed uint64, n int, sigmaMin, sigmaMax float64, source func(seed uint64) Source) (*Brownian, error) {
	w := &Brownian{
		entropy: words32(seed), source: source,
		min: round6(sigmaMin), max: round6(sigmaMax),
	}
	if n < 0 || !(w.min < w.max) || math.IsInf(w.max-w.min, 0) || w.max > maxSigma || w.min < -maxSigma {
		return nil, fmt.Errorf("rng: Brownian path of %d elements from σ = %v to %v: want finite ends in ascending order", n, sigmaMin, sigmaMax)
	}
	w.normals = make([]float32, n)
	w.root, w.from, w.to = make([]float64, n), make([]float64, n), make([]float64, n)
	w.draw()
	scale := math.Sqrt(w.max - w.min)
	for i, z := range w.normals {
		w.root[i] = scale * float64(z)
	}
	return w, nil
}

// maxSigma is where float64 still tells multiples of 10⁻⁶ apart, with room to spare.
const maxSigma = 1e6

// Noise fills dst, of the path's length, with (W(to) − W(from)) / √|from − to|: standard normal noise
// for a step from one σ to another in either direction, zero if they coincide. Times outside the
// path's ends count as the nearer end.
func (w *Brownian) Noise(dst []float32, from, to float64) {
	w.at(w.from, from)
	w.at(w.to, to)
	scale := 0.0
	if from != to {
		scale = 1 / math.Sqrt(math.Abs(from-to))
	}
	for i := range dst {
		dst[i] = float32((w.to[i] - w.from[i]) * scale)
	}
}

// at sets dst to W(t) − W(min).
func (w *Brownian) at(dst []float64, t float64) {
	clear(dst)
	t = round6(t)
	if !(t > w.min) {
		return
	}
	if t >= w.max {
		copy(dst, w.root)
		return
	}
	a, b, key, all := w.min, w.max, uint32(0), w.root
	for depth := uint32(0); ; depth++ {
		n := w.node(depth, key, a, b, all)
		if t < n.m {
			b, key, all = n.m, 2*key, n.left
			continue
		}
		for i, left := range n.left {
			dst[i] += left
		}
		if t == n.m {
			return
		}
		// The right half has no slice of its own: its node derives it from this one.
		a, key, all = n.m, 2*key+1, nil
	}
}

// node is the node of the path at a depth, taken from the latest query or made. all is its increment,
// or nil if it is the right half of its parent.
func (w *Brownian) node(depth, key uint32, a, b float64, all []float64) *node {
	if int(depth) < len(w.path) {
		if w.path[depth].key == key {
			return w.path[depth]
		}
		w.free = append(w.free, w.path[depth:]...)
		w.path = w.path[:depth]
	}
	n := w.spare()
	n.a, n.m, n.b, n.key = a, round6((a+b)/2), b, key
	if all != nil {
		copy(n.all, all)
	} else {
		parent := w.path[depth-1]
		for i := range n.all {
			n.all[i] = parent.all[i] - parent.left[i]
		}
	}
	w.draw(key, depth)
	mean := (n.m - n.a) / (n.b - n.a)
	deviation := math.Sqrt((n.m - n.a) * (n.b - n.m) / (n.b - n.a))
	for i, z := range w.normals {
		n.left[i] = float64(mean*n.all[i]) + float64(deviation*float64(z))
	}
	w.path = append(w.path, n)
	return n
}

// spare is a node that no longer is on the path, or a new one.
func (w *Brownian) spare() *node {
	if last := len(w.free) - 1; last >= 0 {
		n := w.free[last]
		w.free = w.free[:last]
		return n
	}
	return &node{all: make([]float64, len(w.root)), left: make([]float64, len(w.root))}
}

// draw fills normals for the node with the given spawn key, the root increment having none.
func (w *Brownian) draw(key ...uint32) {
	var seed [1]uint32
	seedSequence(seed[:], 24, w.entropy, key)
	w.source(uint64(seed[0])).Normal(w.normals)
}

// round6 rounds to six decimals as Python's round does: the nearest decimal of the exact value.
func round6(t float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(t, 'f', 6, 64), 64)
	if err != nil {
		return t // infinite
	}
	return rounded
}
