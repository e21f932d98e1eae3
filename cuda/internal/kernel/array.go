package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// array is a parameter that points to numbers of a type, F16 or F32, or to words of 32 bits that are only moved.
type array struct {
	*ptx.Kernel
	base  ptx.Addr
	dtype compute.DType
}

func declare(k *ptx.Kernel, name string, t compute.DType) array { return array{k, k.Pointer(name), t} }

// load reads n neighbours from element at on: 1, or 2, 4 or 8 if at is a multiple of n.
func (a array) load(at ptx.Int, n int) (values []ptx.Float) {
	if a.dtype.Size() == 4 {
		address := a.base.Index(at, 4)
		for i := 0; i < n; i += 4 {
			values = append(values, a.LoadFloats(address, 4*i, min(n-i, 4))...)
		}
		return values
	}
	address := a.base.Index(at, 2)
	if n == 1 {
		return []ptx.Float{a.LoadHalf(address, 0).Float()}
	}
	for _, pair := range a.LoadInts(address, 0, n/2) {
		low, high := pair.Halves()
		values = append(values, low.Float(), high.Float())
	}
	return values
}

// store writes neighbours from element at on, as many as load reads.
func (a array) store(at ptx.Int, values []ptx.Float) {
	if a.dtype.Size() == 4 {
		address := a.base.Index(at, 4)
		for i := 0; i < len(values); i += 4 {
			a.StoreFloats(address, 4*i, values[i:min(i+4, len(values))]...)
		}
		return
	}
	address := a.base.Index(at, 2)
	if len(values) == 1 {
		a.StoreHalf(address, 0, values[0].Half())
		return
	}
	var pairs []ptx.Int
	for i := 0; i < len(values); i += 2 {
		pairs = append(pairs, a.Pack(values[i], values[i+1]))
	}
	a.StoreInts(address, 0, pairs...)
}

// suffix tells kernels of different types apart by name.
func suffix(t compute.DType) string {
	if t == compute.F16 {
		return "_f16"
	}
	return "_f32"
}

// ceil is n / size, rounded up.
func ceil(n, size int) int { return (n + size - 1) / size }
