package cudnn

import (
	"errors"

	"github.com/atelier-go/atelier/cuda/internal/driver"
)

// Operands are where a convolution's arrays are, at multiples of 16 bytes; those it has not are 0. Bias and PerChannel are half-precision.
type Operands struct{ Y, X, W, Bias, PerChannel, Residual, Workspace driver.Address }

// Call is a convolution ready to be given to its handle's stream, which allocates nothing while At stays the same. It lives no longer than its
// plan.
type Call struct {
	At Operands // for the next Run

	plan   *Plan
	pack   graph
	packed Operands // what the pack holds
	run    [3]uintptr
}

// Call prepares the convolution.
func (p *Plan) Call() *Call { return &Call{plan: p, pack: graph{Library: p.Library}} }

// Run gives the convolution to the handle's stream.
func (c *Call) Run() error {
	if c.plan.older != nil {
		return c.plan.older.run(c.plan.handle, c.At)
	}
	if c.At != c.packed {
		if err := c.repack(); err != nil {
			return err
		}
	}
	return c.plan.call(execute, c.run[:]...)
}

// repack describes where the operands are.
func (c *Call) repack() error {
	if err := c.Close(); err != nil {
		return err
	}
	g := &c.pack
	pack := g.make(variantPack, func(d descriptor) {
		numbers, addresses := c.At.present()
		set(g, d, 1000, int64Value, numbers...)
		set(g, d, 1001, addressValue, addresses...)
		set(g, d, 1003, addressValue, c.At.Workspace)
	})
	if err := g.err; err != nil {
		g.err = nil
		return errors.Join(err, c.Close())
	}
	c.packed, c.run = c.At, [3]uintptr{c.plan.handle.handle, c.plan.plan.handle, pack.handle}
	return nil
}

// present are the operands that are there, and their numbers.
func (o Operands) present() (numbers []int64, addresses []driver.Address) {
	for i, address := range []driver.Address{o.X, o.W, o.Y, o.Bias, o.PerChannel, o.Residual} {
		if address != 0 {
			numbers, addresses = append(numbers, operandX+int64(i)), append(addresses, address)
		}
	}
	return numbers, addresses
}

// Close gives back what describes where the operands are.
func (c *Call) Close() error {
	c.packed = Operands{}
	return c.pack.close()
}
