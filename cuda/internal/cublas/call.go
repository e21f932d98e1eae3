package cublas

import (
	"runtime"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/driver"
)

// Operands are where a product's matrices are, at multiples of 16 bytes; those it has not are 0.
type Operands struct{ Y, X, W, Bias, Residual, Workspace driver.Address }

// Call is a product ready to be given to streams. It is one object that does not move, because the library is handed addresses into it;
// giving it to a stream allocates nothing. It lives no longer than its plan.
type Call struct {
	At Operands // for the next Run

	plan      *Plan
	algorithm algorithm
	scales    [2]float32 // of the product and of what is added
	set       [4]uintptr
	run       [16]uintptr
}

// Call prepares the product by algorithm i.
func (p *Plan) Call(i int) *Call {
	c := &Call{plan: p, algorithm: p.algorithms[i], scales: [2]float32{1, 0}}
	if p.product.Residual {
		c.scales[1] = 1
	}
	c.set = [4]uintptr{p.description, biasAddress, uintptr(unsafe.Pointer(&c.At.Bias)), unsafe.Sizeof(c.At.Bias)}
	c.run = [16]uintptr{
		0: p.handle, 1: p.description, 2: uintptr(unsafe.Pointer(&c.scales[0])), 4: p.w, 6: p.x, 7: uintptr(unsafe.Pointer(&c.scales[1])), 9: p.y,
		11: p.y, 12: uintptr(unsafe.Pointer(&c.algorithm)), 14: uintptr(c.algorithm.workspace),
	}
	return c
}

// Run gives the product to a stream.
func (c *Call) Run(s driver.Stream) error {
	defer runtime.KeepAlive(c)
	if c.plan.product.Bias {
		if err := c.plan.call(descriptionSet, c.set[:]...); err != nil {
			return err
		}
	}
	addend := c.At.Y
	if c.plan.product.Residual {
		addend = c.At.Residual
	}
	c.run[3], c.run[5], c.run[8], c.run[10] = uintptr(c.At.W), uintptr(c.At.X), uintptr(addend), uintptr(c.At.Y)
	c.run[13], c.run[15] = uintptr(c.At.Workspace), s.Handle()
	return c.plan.call(matmul, c.run[:]...)
}
