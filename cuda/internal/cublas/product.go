package cublas

import (
	"cmp"
	"errors"
	"unsafe"
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
	Pitch                int  // elements from a row of w to the next; 0 if nothing lies between
	Type                 DType
	TF32                 bool // float32 matrices are multiplied with 10 bits of mantissa
	Bias                 bool // [Columns], of the matrices' type
	Residual             bool // of y's shape and type; it may be y
}

// alignment is that of the matrices' addresses, in bytes.
const alignment uint32 = 16

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
	alignmentA, alignmentD               = 5, 8
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
	pitch := cmp.Or(p.product.Pitch, w[0])
	return errors.Join(p.matrix(&p.w, w[0], w[1], pitch), p.matrix(&p.x, depth, rows, depth), p.matrix(&p.y, columns, rows, columns))
}

// matrix describes a column-major matrix, with so many elements from a column to the next.
func (p *Plan) matrix(layout *uintptr, rows, columns, pitch int) error {
	return p.call(layoutCreate, uintptr(unsafe.Pointer(layout)), uintptr(p.product.Type), uintptr(rows), uintptr(columns), uintptr(pitch))
}

// choose asks the library for algorithms.
func (p *Plan) choose(workspace uint64, limit int) error {
	preference, err := p.prefer(workspace)
	if preference != 0 {
		defer p.call(preferenceDestroy, preference)
	}
	if err != nil {
		return err
	}
	var found int32
	p.algorithms = make([]algorithm, limit)
	err = p.call(heuristic, p.handle, p.description, p.w, p.x, p.y, p.y, preference,
		uintptr(limit), uintptr(unsafe.Pointer(&p.algorithms[0])), uintptr(unsafe.Pointer(&found)))
	p.algorithms = p.algorithms[:found]
	if err == nil && found == 0 {
		err = &Error{names[heuristic], notSupported}
	}
	return err
}

// prefer makes the description of what an algorithm may need.
func (p *Plan) prefer(workspace uint64) (preference uintptr, err error) {
	if err := p.call(preferenceCreate, uintptr(unsafe.Pointer(&preference))); err != nil {
		return 0, err
	}
	err = p.call(preferenceSet, preference, maxWorkspace, uintptr(unsafe.Pointer(&workspace)), unsafe.Sizeof(workspace))
	for matrix := alignmentA; matrix <= alignmentD && err == nil; matrix++ {
		bytes := alignment
		err = p.call(preferenceSet, preference, uintptr(matrix), uintptr(unsafe.Pointer(&bytes)), unsafe.Sizeof(bytes))
	}
	return preference, err
}

// Algorithms is how many there are to choose from.
func (p *Plan) Algorithms() int { return len(p.algorithms) }

// Workspace is how many bytes of scratch algorithm i needs.
func (p *Plan) Workspace(i int) int64 { return int64(p.algorithms[i].workspace) }

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
