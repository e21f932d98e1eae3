package cublas

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// fake is a cuBLASLt in Go behind the real way of calling. It refuses what the real one refuses and multiplies float32 matrices of
// the host's memory, column-major and in float64.
type fake struct {
	mu      sync.Mutex
	objects map[uintptr]any
	last    uintptr
	fails   map[function]Status
	without []string
	reduced bool // it was asked for TF32
}

type (
	description struct {
		compute, scale int32
		transA, transB int32
		epilogue       uint32
		bias           *float32
	}
	matrix     struct{ dtype, rows, columns, ld int }
	preference struct{ workspace uint64 }
)

var current *fake

func newFake() *fake {
	current = &fake{objects: make(map[uintptr]any), fails: make(map[function]Status)}
	return current
}

// Symbol implements library.Symbols.
func (f *fake) Symbol(name string) (uintptr, error) {
	i := slices.Index(names[:], name)
	if i < 0 || slices.Contains(f.without, name) {
		return 0, fmt.Errorf("no %s", name)
	}
	return callbacks()[i], nil
}

func (f *fake) open() (*Library, error) {
	return New(&library.Library{Symbols: f, Path: "libcublasLt.so.12"})
}

var callbacks = sync.OnceValue(func() []uintptr {
	addresses := make([]uintptr, len(functions))
	for i, f := range functions {
		addresses[i] = purego.NewCallback(f)
	}
	return addresses
})

// make answers a function that makes an object.
func (f *fake) make(fn function, to *uintptr, object any) uintptr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if status := f.fails[fn]; status != 0 {
		return uintptr(status)
	}
	f.last++
	f.objects[f.last] = object
	*to = f.last
	return 0
}

// drop answers a function that gives an object back.
func (f *fake) drop(fn function, object uintptr) uintptr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[object]; !ok {
		return invalid
	}
	delete(f.objects, object)
	return uintptr(f.fails[fn])
}

const invalid = 7

var functions = [...]any{
	getVersion: func() uintptr { return 120405 },
	create:     func(h *uintptr) uintptr { return current.make(create, h, "handle") },
	destroy:    func(h uintptr) uintptr { return current.drop(destroy, h) },
	descriptionCreate: func(d *uintptr, compute, scale int32) uintptr {
		return current.make(descriptionCreate, d, &description{compute: compute, scale: scale, epilogue: 1})
	},
	descriptionDestroy: func(d uintptr) uintptr { return current.drop(descriptionDestroy, d) },
	descriptionSet: func(d uintptr, attribute int32, value unsafe.Pointer, size uintptr) uintptr {
		if status := current.fails[descriptionSet]; status != 0 {
			return uintptr(status)
		}
		return current.objects[d].(*description).set(attribute, value, size)
	},
	layoutCreate: func(l *uintptr, dtype int32, rows, columns uint64, ld int64) uintptr {
		return current.make(layoutCreate, l, matrix{int(dtype), int(rows), int(columns), int(ld)})
	},
	layoutDestroy:     func(l uintptr) uintptr { return current.drop(layoutDestroy, l) },
	preferenceCreate:  func(p *uintptr) uintptr { return current.make(preferenceCreate, p, &preference{}) },
	preferenceDestroy: func(p uintptr) uintptr { return current.drop(preferenceDestroy, p) },
	preferenceSet: func(p uintptr, attribute int32, value *uint64, size uintptr) uintptr {
		if status := current.fails[preferenceSet]; status != 0 {
			return uintptr(status)
		}
		if attribute != 1 || size != 8 {
			return invalid
		}
		current.objects[p].(*preference).workspace = *value
		return 0
	},
	heuristic: func(h, d, a, b, c, y, p uintptr, want int32, results *algorithm, found *int32) uintptr {
		if status := current.fails[heuristic]; status != 0 {
			return uintptr(status)
		}
		*found = min(want, 2)
		for i := range *found {
			unsafe.Slice(results, want)[i] = algorithm{algorithm: [8]uint64{42, uint64(i)}, workspace: current.objects[p].(*preference).workspace}
		}
		return 0
	},
	matmul: func(h, d uintptr, alpha *float32, a *float32, la uintptr, b *float32, lb uintptr, beta *float32, c *float32, lc uintptr,
		y *float32, ly uintptr, algo *algorithm, workspace, bytes, stream uintptr) uintptr {
		if status := current.fails[matmul]; status != 0 {
			return uintptr(status)
		}
		if current.objects[h] != "handle" || algo.algorithm[0] != 42 || bytes != uintptr(algo.workspace) {
			return invalid
		}
		return current.multiply(current.objects[d].(*description), [4]uintptr{la, lb, lc, ly}, *alpha, a, b, *beta, c, y)
	},
}

// set takes an attribute if its number and size are right.
func (d *description) set(attribute int32, value unsafe.Pointer, size uintptr) uintptr {
	sizes := map[int32]uintptr{3: 4, 4: 4, 7: 4, 8: 8}
	if sizes[attribute] != size {
		return invalid
	}
	switch attribute {
	case 3:
		d.transA = *(*int32)(value)
	case 4:
		d.transB = *(*int32)(value)
	case 7:
		d.epilogue = *(*uint32)(value)
	case 8:
		d.bias = *(**float32)(value)
	}
	return 0
}

// multiply is D = alpha·op(A)·B + beta·C + bias, column-major.
func (f *fake) multiply(d *description, layouts [4]uintptr, alpha float32, a, b *float32, beta float32, c, y *float32) uintptr {
	var m [4]matrix
	for i, l := range layouts {
		m[i] = f.objects[l].(matrix)
	}
	f.reduced = d.compute == 77
	rows, depth := m[0].rows, m[0].columns
	if d.transA == 1 {
		rows, depth = depth, rows
	}
	columns := m[1].columns
	if d.transB != 0 || m[1].rows != depth || m[2] != m[3] || m[3].rows != rows || m[3].columns != columns || d.scale != 0 {
		return invalid
	}
	at := func(data *float32, m matrix, r, c int) *float32 { return &unsafe.Slice(data, m.ld*m.columns)[c*m.ld+r] }
	for r := range rows {
		for col := range columns {
			sum := 0.0
			for k := range depth {
				i, j := r, k
				if d.transA == 1 {
					i, j = k, r
				}
				sum += float64(*at(a, m[0], i, j)) * float64(*at(b, m[1], k, col))
			}
			sum *= float64(alpha)
			if beta != 0 {
				sum += float64(beta) * float64(*at(c, m[2], r, col))
			}
			if d.epilogue == 4 {
				sum += float64(unsafe.Slice(d.bias, rows)[r])
			}
			*at(y, m[3], r, col) = float32(sum)
		}
	}
	return 0
}
