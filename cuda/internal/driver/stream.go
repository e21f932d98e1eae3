package driver

import "unsafe"

// Stream is a queue of work for the card, which is done in order.
type Stream struct {
	*Context
	handle uintptr
}

// Stream makes a stream that waits for no other one.
func (c *Context) Stream() (Stream, error) {
	const nonBlocking = 1
	s := Stream{Context: c}
	err := c.call(cuStreamCreate, uintptr(unsafe.Pointer(&s.handle)), nonBlocking)
	return s, err
}

// Handle is the driver's, for the libraries that take a stream.
func (s Stream) Handle() uintptr { return s.handle }

// Destroy ends a stream after all it was given.
func (s Stream) Destroy() error { return s.call(cuStreamDestroy, s.handle) }

// Wait waits until all that the stream was given is done. What a kernel did wrong is reported here.
func (s Stream) Wait() error { return s.repeat(cuStreamSynchronize, s.handle) }

// Event is a point in a stream's work.
type Event struct {
	*Context
	handle uintptr
}

// Event makes an event.
func (c *Context) Event() (Event, error) {
	e := Event{Context: c}
	err := c.call(cuEventCreate, uintptr(unsafe.Pointer(&e.handle)), 0)
	return e, err
}

// Destroy gives the event back.
func (e Event) Destroy() error { return e.call(cuEventDestroy, e.handle) }

// Record places the event behind all that the stream was given so far.
func (s Stream) Record(e Event) error { return s.repeat(cuEventRecord, e.handle, s.handle) }

// After makes what the stream is given from now on wait for an event of another one.
func (s Stream) After(e Event) error { return s.call(cuStreamWaitEvent, s.handle, e.handle, 0) }

// Wait waits until the card has come to the event.
func (e Event) Wait() error { return e.call(cuEventSynchronize, e.handle) }

// Since is how long the card took from one event to this one, in milliseconds.
func (e Event) Since(start Event) (milliseconds float32, err error) {
	err = e.call(cuEventElapsedTime, uintptr(unsafe.Pointer(&milliseconds)), start.handle, e.handle)
	return milliseconds, err
}
