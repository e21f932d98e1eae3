package driver

import (
	"errors"
	"unsafe"
)

// Context is a card in use: its primary context, which libraries use too, current on a thread of its own. All methods but Do and
// Close are to be called from within Do.
type Context struct {
	*Driver
	Card   Card
	device uintptr
	thread *thread
	steady [8]uintptr // arguments of repeat
}

// Context takes a card into use.
func (d *Driver) Context(card Card) (*Context, error) {
	device, err := d.device(card.Ordinal)
	if err != nil {
		return nil, err
	}
	c := &Context{Driver: d, Card: card, device: device, thread: newThread()}
	if err := c.Do(c.retain); err != nil {
		c.thread.close()
		return nil, err
	}
	return c, nil
}

func (c *Context) retain() error {
	var context uintptr
	if err := c.call(cuDevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&context)), c.device); err != nil {
		return err
	}
	if err := c.call(cuCtxSetCurrent, context); err != nil {
		return errors.Join(err, c.call(cuDevicePrimaryCtxRelease, c.device))
	}
	return nil
}

// Do runs f on the context's thread and returns its error. Several goroutines may call it; f must not.
func (c *Context) Do(f func() error) error { return c.thread.do(f) }

// Close gives the card back. Nothing of the context may be used afterwards.
func (c *Context) Close() error {
	err := c.Do(func() error {
		return errors.Join(c.call(cuCtxSetCurrent, 0), c.call(cuDevicePrimaryCtxRelease, c.device))
	})
	c.thread.close()
	return err
}

// repeat is call for what is called again and again with no address of host memory among its arguments: it allocates nothing.
func (c *Context) repeat(f function, arguments ...uintptr) error {
	n := copy(c.steady[:], arguments)
	return c.call(f, c.steady[:n]...)
}

// Synchronize waits until the card has done all it was given.
func (c *Context) Synchronize() error { return c.call(cuCtxSynchronize) }
