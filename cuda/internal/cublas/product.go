package cublas

import (
	"errors"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/driver"
)

// ErrUnsupported is wrapped by the error for a product that the library has no algorithm for.
var ErrUnsupported = errors.New("cuBLASLt has no algorithm for it")

// DType is the type of a product's matrices. Sums are float32 throughout.
type DType int32

// The types, by the library's numbers.
const (
	F32  DType = 0
	F16  DType = 2
	BF16 DType = 14
)

// Product is y[Rows,Columns] = x[Rows,Depth]·w + bias + residual, row-major. Weights [Columns,Depth] are transposed, as in a linear
// layer; weights [Depth,Columns] are not, as in its input gradient.
type Product struct {
	Rows, Columns, Depth int
	Transposed           bool // w is [Columns,Depth]
	Type                 DType
	TF32                 bool // float32 matrices are multiplied with 10 bits of mantissa
	Bias                 bool // [Columns], of the matrices' type
	Residual             bool // of y's shape and type; it may be y
}

// Plan is a product with the algorithms that the library has for it, its best guess first.
type Plan struct {
	Handle
	product     Product
	description uintptr
	w, x, y     uintptr
	algorithms  []algorithm
}

// algorithm is cublasLtMatmulHeuristicResult_t.
type algorithm struct {
	algorithm [8]uint64
	workspace uint64
	status    Status
	waves     float32
	reserved  [4]int32
}

// The numbers of attributes and values.
const (
	computeF32, computeTF32              = 68, 77
	transA, epilogue, biasAddress        = 3, 7, 8
	transpose                     int32  = 1
	epilogueBias                  uint32 = 4
	maxWorkspace                         = 1
)

// Plan asks for at most limit algorithms that need no more than workspace bytes. If there is none, the error is [ErrUnsupported].
func (h Handle) Plan(p Product, workspace uint64, limit int) (*Plan, error) {
	plan := &Plan{Handle: h, product: p}
	err := errors.Join(plan.describe(), plan.layout())
	if err == nil {
		err = plan.choose(workspace, limit)
	}
	if err != nil {
		return nil, errors.Join(err, plan.Close())
	}
	return plan, nil
}

// describe makes the description of yᵀ = op(w)·xᵀ.
func (p *Plan) describe() error {
	compute := uintptr(computeF32)
	if p.product.TF32 {
		compute = computeTF32
	}
	if err := p.call(descriptionCreate, uintptr(unsafe.Pointer(&p.description)), compute, uintptr(F32)); err != nil {
		return err
	}
	var err error
	if value := transpose; p.product.Transposed {
		err = p.call(descriptionSet, p.description, transA, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
	}
	if value := epilogueBias; err == nil && p.product.Bias {
		err = p.call(descriptionSet, p.description, epilogue, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
	}
	return err
}

// layout describes the matrices as the library sees them, transposed.
func (p *Plan) layout() error {
	rows, columns, depth := p.product.Rows, p.product.Columns, p.product.Depth
	w := [2]int{columns, depth}
	if p.product.Transposed {
		w = [2]int{depth, columns}
	}
	return errors.Join(p.matrix(&p.w, w[0], w[1]), p.matrix(&p.x, depth, rows), p.matrix(&p.y, columns, rows))
}

// matrix describes a dense column-major matrix.
func (p *Plan) matrix(layout *uintptr, rows, columns int) error {
	return p.call(layoutCreate, uintptr(unsafe.Pointer(layout)), uintptr(p.product.Type), uintptr(rows), uintptr(columns), uintptr(rows))
}

// choose asks the library for algorithms.
func (p *Plan) choose(workspace uint64, limit int) error {
	var preference uintptr
	if err := p.call(preferenceCreate, uintptr(unsafe.Pointer(&preference))); err != nil {
		return err
	}
	defer p.call(preferenceDestroy, preference)
	if err := p.call(preferenceSet, preference, maxWorkspace, uintptr(unsafe.Pointer(&workspace)), unsafe.Sizeof(workspace)); err != nil {
		return err
	}
	var found int32
	p.algorithms = make([]algorithm, limit)
	err := p.call(heuristic, p.handle, p.description, p.w, p.x, p.y, p.y, preference,
		uintptr(limit), uintptr(unsafe.Pointer(&p.algorithms[0])), uintptr(unsafe.Pointer(&found)))
	p.algorithms = p.algorithms[:found]
	if err == nil && found == 0 {
		err = &Error{names[heuristic], notSupported}
	}
	return err
}

// Algorithms is how many there are to choose from.
func (p *Plan) Algorithms() int { return len(p.algorithms) }

// Workspace is how many bytes of scratch algorithm i needs.
func (p *Plan) Workspace(i int) int64 { return int64(p.algorithms[i].workspace) }

// Operands are where a product's matrices are.
type Operands struct{ Y, X, W, Bias, Residual, Workspace driver.Address }

// Run gives the product to a stream, by algorithm i.
func (p *Plan) Run(s driver.Stream, i int, at Operands) error {
	if p.product.Bias {
		if err := p.call(descriptionSet, p.description, biasAddress, uintptr(unsafe.Pointer(&at.Bias)), unsafe.Sizeof(at.Bias)); err != nil {
			return err
		}
	}
	one, scale, addend := float32(1), float32(0), at.Y
	if p.product.Residual {
		scale, addend = 1, at.Residual
	}
	a := &p.algorithms[i]
	return p.call(matmul, p.handle, p.description, uintptr(unsafe.Pointer(&one)), uintptr(at.W), p.w, uintptr(at.X), p.x,
		uintptr(unsafe.Pointer(&scale)), uintptr(addend), p.y, uintptr(at.Y), p.y,
		uintptr(unsafe.Pointer(a)), uintptr(at.Workspace), uintptr(a.workspace), s.Handle())
}

// Close gives back what describes the product.
func (p *Plan) Close() (err error) {
	if p.description != 0 {
		err = p.call(descriptionDestroy, p.description)
	}
	for _, layout := range []uintptr{p.w, p.x, p.y} {
		if layout != 0 {
			err = errors.Join(err, p.call(layoutDestroy, layout))
		}
	}
	return err
}
