package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

const (
	elementThreads = 256
	perThread      = 8 // neighbours that a thread reads at once
)

// ElementGrid is the grid of the kernels that treat n elements alike.
func ElementGrid(n int) [3]int { return [3]int{ceil(n, elementThreads*perThread), 1, 1} }

// elementwise writes what each thread does with elements 0 to n-1: eight neighbours at once, and the last ones, which are fewer, one
// by one.
func elementwise(k *ptx.Kernel, n ptx.Int, body func(at ptx.Int, width int)) {
	first := k.Block(0).Times(elementThreads).Plus(k.Thread()).Times(perThread)
	k.If(first.Less(n), func() {
		whole := n.Minus(first).AtLeast(perThread)
		k.If(whole, func() { body(first, perThread) })
		k.If(whole.Not(), func() {
			k.For(first, n, 1, func(i ptx.Int) { body(i, 1) })
		})
	})
}

// one writes what each thread does with one of n elements. Its grid is [OneGrid].
func one(k *ptx.Kernel, n ptx.Int, body func(at ptx.Int)) {
	at := k.Block(0).Times(elementThreads).Plus(k.Thread())
	k.If(at.Less(n), func() { body(at) })
}

// OneGrid is the grid of the kernels with a thread for each of n elements.
func OneGrid(n int) [3]int { return [3]int{ceil(n, elementThreads), 1, 1} }

// Activate is y = Activation(x), and with Identity a change of type or a copy.
type Activate struct {
	Activation compute.Activation
	From, To   compute.DType
}

// Kernel has the parameters y, x, the number of elements. y may be x where they have one type.
func (a Activate) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("activate_%v%s%s", a.Activation, suffix(a.From), suffix(a.To)), elementThreads)
	y, x, n := declare(k, "y", a.To), declare(k, "x", a.From), k.Uint("n")
	elementwise(k, n, func(at ptx.Int, width int) {
		values := x.load(at, width)
		for i := range values {
			values[i] = activate(k, a.Activation, values[i])
		}
		y.store(at, values)
	})
	return k
}

// LinearCombination is y = Σ coefficient·term. A term whose coefficient is 0 is not read, whatever it holds.
type LinearCombination struct {
	Terms int
	Type  compute.DType
}

// Kernel has the parameters y, the coefficients (float32), the number of elements, and the terms, of which y may be one.
func (l LinearCombination) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("combine_%d%s", l.Terms, suffix(l.Type)), elementThreads)
	y, coefficients, n := declare(k, "y", l.Type), k.Pointer("coefficients"), k.Uint("n")
	terms := make([]array, l.Terms)
	for i := range terms {
		terms[i] = declare(k, fmt.Sprint("term", i), l.Type)
	}
	elementwise(k, n, func(at ptx.Int, width int) {
		sums := k.Floats(width, 0.0)
		for i, term := range terms {
			c := k.LoadFloats(coefficients, 4*i, 1)[0]
			k.If(c.Equal(0.0).Not(), func() {
				for j, v := range term.load(at, width) {
					sums[j].AddProduct(c, v)
				}
			})
		}
		y.store(at, sums)
	})
	return k
}

// Add is y = a + b.
type Add struct{ Type compute.DType }

// Kernel has the parameters y, a, b, the number of elements. y may be a or b.
func (a Add) Kernel() *ptx.Kernel {
	k := ptx.New("add"+suffix(a.Type), elementThreads)
	y, left, right, n := declare(k, "y", a.Type), declare(k, "a", a.Type), declare(k, "b", a.Type), k.Uint("n")
	elementwise(k, n, func(at ptx.Int, width int) {
		sums, more := left.load(at, width), right.load(at, width)
		for i := range sums {
			sums[i] = sums[i].Plus(more[i])
		}
		y.store(at, sums)
	})
	return k
}
