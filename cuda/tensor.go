package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/atelier-go/atelier/compute"
)

// tensor is device memory: float32 or int32, row-major.
type tensor struct {
	device *Device
	typ    compute.Type
	memory block // none once closed

	host             []byte // of the transfer that is going on
	upload, download func() error
}

var _ compute.Tensor = (*tensor)(nil)

// NewTensor implements compute.Device. Float tensors are F32 whatever the device computes in.
func (d *Device) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	typ, err := typed(t, shape)
	if err != nil {
		return nil, err
	}
	x := &tensor{device: d, typ: typ}
	x.upload = func() error { return errors.Join(d.stream.Upload(x.memory.address, x.host), d.stream.Wait()) }
	x.download = func() error { return errors.Join(d.stream.Download(x.host, x.memory.address), d.stream.Wait()) }
	err = d.do(func() error {
		if x.memory, err = d.alloc(int64(typ.Bytes())); err != nil {
			return err
		}
		if err = d.stream.Fill(x.memory.address, 0, x.memory.size/4); err != nil {
			err = errors.Join(err, d.free(&x.memory))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cuda: a tensor %v: %w", typ, err)
	}
	return x, nil
}

// Shape implements compute.Tensor.
func (t *tensor) Shape() compute.Shape { return t.typ.Shape }

// DType implements compute.Tensor.
func (t *tensor) DType() compute.DType { return t.typ.DType }

// Upload implements compute.Tensor.
func (t *tensor) Upload(src compute.Buffer) error { return t.transfer("upload", src, t.upload) }

// Download implements compute.Tensor.
func (t *tensor) Download(dst compute.Buffer) error { return t.transfer("download", dst, t.download) }

// transfer copies between the tensor and host memory. It allocates nothing.
func (t *tensor) transfer(what string, host compute.Buffer, copy func() error) error {
	d := t.device
	d.mu.Lock()
	defer d.mu.Unlock()
	err := t.usable()
	if err == nil {
		err = host.Fit(t.typ)
	}
	if err == nil {
		t.host = bytesOf(host)
		err = d.context.Do(copy)
		t.host = nil
	}
	if err != nil {
		return fmt.Errorf("cuda: %s: %w", what, err)
	}
	return nil
}

func (t *tensor) usable() error {
	switch {
	case t.device.closed:
		return errClosed
	case t.memory.size == 0:
		return errors.New("the tensor is closed")
	}
	return nil
}

// Close implements compute.Tensor.
func (t *tensor) Close() error {
	d := t.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || t.memory.size == 0 {
		return nil
	}
	return forgiven(d.context.Do(func() error { return d.free(&t.memory) }))
}

// bytesOf views host memory, all of whose elements have four bytes, as the card has them.
func bytesOf(host compute.Buffer) []byte {
	if host.I32 != nil {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(host.I32))), 4*len(host.I32))
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(host.F32))), 4*len(host.F32))
}
