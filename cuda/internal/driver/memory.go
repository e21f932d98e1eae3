package driver

import "unsafe"

// Address is one in device memory, which the host cannot read.
type Address uint64

// Memory tells how many bytes of device memory are free, and how many there are.
func (c *Context) Memory() (free, total int64, err error) {
	err = c.call(cuMemGetInfo, uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)))
	return free, total, err
}

// Alloc allocates device memory, aligned to 256 bytes at least. If there is not enough, the error is an *[OutOfMemoryError].
func (c *Context) Alloc(bytes int64) (Address, error) {
	var address Address
	err := c.call(cuMemAlloc, uintptr(unsafe.Pointer(&address)), uintptr(bytes))
	return address, c.enough(err, bytes)
}

// enough makes an error about too little memory tell how much there is.
func (c *Context) enough(err error, need int64) error {
	if e, ok := err.(*Error); !ok || e.Code != outOfMemory {
		return err
	}
	free, total, err := c.Memory()
	if err != nil {
		return err
	}
	return &OutOfMemoryError{Need: need, Free: free, Total: total}
}

// Free gives device memory back.
func (c *Context) Free(address Address) error { return c.call(cuMemFree, uintptr(address)) }

// Pinned allocates host memory that copies run from and to while the host goes on. Give it back with Unpin.
func (c *Context) Pinned(bytes int) ([]byte, error) {
	var memory unsafe.Pointer
	if err := c.call(cuMemHostAlloc, uintptr(unsafe.Pointer(&memory)), uintptr(bytes), 0); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(memory), bytes), nil
}

// Unpin gives back what Pinned allocated.
func (c *Context) Unpin(memory []byte) error {
	return c.call(cuMemFreeHost, uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}

// Upload copies host memory to the device. The copy has its place among what the stream was given; from pinned memory, which must
// not change until then, the host does not wait for it.
func (s Stream) Upload(to Address, from []byte) error {
	return s.call(cuMemcpyHtoDAsync, uintptr(to), uintptr(unsafe.Pointer(unsafe.SliceData(from))), uintptr(len(from)), s.handle)
}

// Download copies device memory to the host, in the stream's order; to pinned memory the host does not wait for it.
func (s Stream) Download(to []byte, from Address) error {
	return s.call(cuMemcpyDtoHAsync, uintptr(unsafe.Pointer(unsafe.SliceData(to))), uintptr(from), uintptr(len(to)), s.handle)
}

// Copy copies within device memory, in the stream's order.
func (s Stream) Copy(to, from Address, bytes int64) error {
	return s.repeat(cuMemcpyDtoDAsync, uintptr(to), uintptr(from), uintptr(bytes), s.handle)
}

// Fill sets words of device memory to a value, in the stream's order.
func (s Stream) Fill(to Address, value uint32, words int64) error {
	return s.repeat(cuMemsetD32Async, uintptr(to), uintptr(value), uintptr(words), s.handle)
}
