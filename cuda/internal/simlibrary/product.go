package simlibrary

import (
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// Numbers that cuBLASLt answers with.
const (
	notInitialized  = 1
	invalidValue    = 7
	executionFailed = 13
	notSupported    = 15
)

// The objects of cuBLASLt.
type (
	productHandle struct{}
	description   struct {
		compute, scale int32
		transA, transB int32
		epilogue       uint32
		bias           uintptr
	}
	matrix struct {
		dtype         int32
		rows, columns int
		pitch         int // elements from a column to the next
	}
	preference struct {
		workspace uint64
		alignment [4]uint32
	}
	// algorithm is cublasLtMatmulHeuristicResult_t, of which the first 64 bytes are the library's own.
	algorithm struct {
		mark, number uint64
		alignment    [4]uint32 // that the matrices must have
		_            [4]uint64
		workspace    uint64
		_            [6]int32
	}
)

// mark is in algorithms that the library made.
const mark = 0x4c74

// keep answers a function that makes an object.
func keep(name string, to *uintptr, object any) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		*to = m.Keep(object)
		return 0
	})
}

// drop answers a function that gives an object back.
func drop(name string, h uintptr, refused int32) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		if !m.Drop(h) {
			return refused
		}
		return 0
	})
}

// ofProducts are the functions of cuBLASLt.
var ofProducts = map[string]any{
	"cublasLtGetVersion": func() uintptr { return uintptr(installed.CuBLASLt) },
	"cublasLtCreate": func(h *uintptr) uintptr {
		return simdriver.Call("cublasLtCreate", func(m *simdriver.Machine) int32 {
			if !m.Usable() {
				return notInitialized
			}
			*h = m.Keep(productHandle{})
			return 0
		})
	},
	"cublasLtDestroy": func(h uintptr) uintptr { return drop("cublasLtDestroy", h, notInitialized) },
	"cublasLtMatmulDescCreate": func(d *uintptr, compute, scale int32) uintptr {
		return keep("cublasLtMatmulDescCreate", d, &description{compute: compute, scale: scale, epilogue: 1})
	},
	"cublasLtMatmulDescDestroy": func(d uintptr) uintptr { return drop("cublasLtMatmulDescDestroy", d, invalidValue) },
	"cublasLtMatmulDescSetAttribute": func(d uintptr, attribute int32, value unsafe.Pointer, bytes uintptr) uintptr {
		return simdriver.Call("cublasLtMatmulDescSetAttribute", func(m *simdriver.Machine) int32 {
			if object, ok := m.Kept(d).(*description); ok {
				return object.set(attribute, value, bytes)
			}
			return invalidValue
		})
	},
	"cublasLtMatrixLayoutCreate": func(l *uintptr, dtype int32, rows, columns uint64, pitch int64) uintptr {
		return keep("cublasLtMatrixLayoutCreate", l, matrix{dtype, int(rows), int(columns), int(pitch)})
	},
	"cublasLtMatrixLayoutDestroy": func(l uintptr) uintptr { return drop("cublasLtMatrixLayoutDestroy", l, invalidValue) },
	"cublasLtMatmulPreferenceCreate": func(p *uintptr) uintptr {
		return keep("cublasLtMatmulPreferenceCreate", p, &preference{alignment: [4]uint32{256, 256, 256, 256}})
	},
	"cublasLtMatmulPreferenceDestroy": func(p uintptr) uintptr { return drop("cublasLtMatmulPreferenceDestroy", p, invalidValue) },
	"cublasLtMatmulPreferenceSetAttribute": func(p uintptr, attribute int32, value unsafe.Pointer, bytes uintptr) uintptr {
		return simdriver.Call("cublasLtMatmulPreferenceSetAttribute", func(m *simdriver.Machine) int32 {
			if object, ok := m.Kept(p).(*preference); ok {
				return object.set(attribute, value, bytes)
			}
			return invalidValue
		})
	},
	"cublasLtMatmulAlgoGetHeuristic": func(h, d, a, b, c, y, p uintptr, want int32, results *algorithm, found *int32) uintptr {
		return simdriver.Call("cublasLtMatmulAlgoGetHeuristic", func(m *simdriver.Machine) int32 {
			product, ok := fetchProduct(m, h, d, [4]uintptr{a, b, c, y})
			preferred, also := m.Kept(p).(*preference)
			if !ok || !also || want < 1 {
				return invalidValue
			}
			if status := product.check(); status != 0 {
				return status
			}
			return preferred.fill(unsafe.Slice(results, want), found)
		})
	},
	"cublasLtMatmul": func(h, d uintptr, alpha *float32, a, la, b, lb uintptr, beta *float32, c, lc, y, ly uintptr, with *algorithm, workspace, bytes, stream uintptr) uintptr {
		return simdriver.Call("cublasLtMatmul", func(m *simdriver.Machine) int32 {
			product, ok := fetchProduct(m, h, d, [4]uintptr{la, lb, lc, ly})
			switch {
			case !ok || with.mark != mark || uint64(bytes) < with.workspace || workspace%16 != 0:
				return invalidValue
			case !m.Usable():
				return executionFailed
			}
			if status := product.check(); status != 0 {
				return status
			}
			product.alpha, product.beta, product.at = float64(*alpha), float64(*beta), [4]uintptr{a, b, c, y}
			for i, at := range product.at {
				if at%uintptr(with.alignment[i]) != 0 {
					return invalidValue
				}
			}
			product.workspace, product.bytes = workspace, with.workspace
			if installed.Wrong {
				product.alpha, product.beta = 2*product.alpha, 2*product.beta
			}
			if !m.Give(stream, product.run) {
				return invalidValue
			}
			return 0
		})
	},
}

// set takes an attribute if its number and size are right.
func (d *description) set(attribute int32, value unsafe.Pointer, bytes uintptr) int32 {
	if want := map[int32]uintptr{3: 4, 4: 4, 7: 4, 8: 8}[attribute]; want != bytes || bytes == 0 {
		return invalidValue
	}
	switch attribute {
	case 3:
		d.transA = *(*int32)(value)
	case 4:
		d.transB = *(*int32)(value)
	case 7:
		d.epilogue = *(*uint32)(value)
	case 8:
		d.bias = *(*uintptr)(value)
	}
	return 0
}

func (p *preference) set(attribute int32, value unsafe.Pointer, bytes uintptr) int32 {
	switch {
	case attribute == 1 && bytes == 8:
		p.workspace = *(*uint64)(value)
	case 5 <= attribute && attribute <= 8 && bytes == 4:
		p.alignment[attribute-5] = *(*uint32)(value)
	default:
		return invalidValue
	}
	return 0
}

// fill answers with up to three algorithms, which want the workspace, twice and three times it, as far as there is so much.
func (p *preference) fill(results []algorithm, found *int32) int32 {
	*found = 0
	for i := range min(len(results), 3) {
		workspace := installed.Workspace * uint64(i+1)
		if workspace > p.workspace {
			continue
		}
		results[*found] = algorithm{mark: mark, number: uint64(i), alignment: p.alignment, workspace: workspace}
		*found++
	}
	if *found == 0 {
		return notSupported
	}
	return 0
}

// product is D = alpha·op(A)·B + beta·C + bias, column-major.
type product struct {
	description
	a, b, c, d  matrix
	alpha, beta float64
	at          [4]uintptr
	workspace   uintptr
	bytes       uint64
}

// fetchProduct looks up what a call names.
func fetchProduct(m *simdriver.Machine, h, d uintptr, layouts [4]uintptr) (p product, ok bool) {
	_, ok = m.Kept(h).(productHandle)
	what, described := m.Kept(d).(*description)
	if !ok || !described {
		return p, false
	}
	p.description = *what
	for i, to := range []*matrix{&p.a, &p.b, &p.c, &p.d} {
		if *to, ok = m.Kept(layouts[i]).(matrix); !ok {
			return p, false
		}
	}
	return p, true
}

// check refuses matrices that do not fit, and types that do not go together.
func (p *product) check() int32 {
	rows, depth := p.a.rows, p.a.columns
	if p.transA == 1 {
		rows, depth = depth, rows
	}
	for _, m := range []matrix{p.a, p.b, p.c, p.d} {
		if m.rows < 1 || m.columns < 1 || m.pitch < m.rows {
			return invalidValue
		}
	}
	halves := p.a.dtype == float16Type && p.compute == 68
	single := p.a.dtype == float32Type && (p.compute == 68 || p.compute == 77)
	switch {
	case p.transB != 0 || p.b.rows != depth || p.c != p.d || p.d.rows != rows || p.d.columns != p.b.columns || p.scale != float32Type:
		return invalidValue
	case p.a.dtype != p.b.dtype || p.a.dtype != p.d.dtype || !halves && !single || p.epilogue != 1 && p.epilogue != 4:
		return notSupported
	}
	return 0
}

// run computes the product when its stream comes to it.
func (p product) run(memory *simgpu.Device) error {
	if err := scribble(memory, p.workspace, p.bytes); err != nil {
		return err
	}
	a, err := read(memory, p.at[0], p.a.dtype, p.a.elements())
	if err != nil {
		return err
	}
	b, err := read(memory, p.at[1], p.b.dtype, p.b.elements())
	if err != nil {
		return err
	}
	c := make([]float64, p.c.elements())
	if p.beta != 0 {
		if c, err = read(memory, p.at[2], p.c.dtype, len(c)); err != nil {
			return err
		}
	}
	bias := make([]float64, p.d.rows)
	if p.epilogue == 4 {
		if bias, err = read(memory, p.bias, p.d.dtype, len(bias)); err != nil {
			return err
		}
	}
	return write(memory, p.at[3], p.d.dtype, p.multiply(a, b, c, bias))
}

// elements is how many there are from the first to the last.
func (m matrix) elements() int { return (m.columns-1)*m.pitch + m.rows }

func (p *product) multiply(a, b, c, bias []float64) []float64 {
	y := make([]float64, p.d.elements())
	copy(y, c) // what lies between columns stays
	step, next, depth := p.a.pitch, 1, p.b.rows
	if p.transA == 1 {
		step, next = 1, p.a.pitch
	}
	for column := range p.d.columns {
		right := b[column*p.b.pitch:][:depth]
		for row := range p.d.rows {
			sum := 0.0
			for k, v := range right {
				sum += a[row*next+k*step] * v
			}
			y[column*p.d.pitch+row] = p.alpha*sum + p.beta*c[column*p.c.pitch+row] + bias[row]
		}
	}
	return y
}
