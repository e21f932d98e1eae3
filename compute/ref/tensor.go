package ref

import (
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// tensor is host memory, row-major: f32 or i32 holds the elements, both are nil once it is closed.
type tensor struct {
	device *Device
	typ    compute.Type
	f32    []float32
	i32    []int32
}

var _ compute.Tensor = (*tensor)(nil)

func (t *tensor) Shape() compute.Shape { return t.typ.Shape }
func (t *tensor) DType() compute.DType { return t.typ.DType }

func (t *tensor) Upload(src any) error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	switch src := src.(type) {
	case []float32:
		if t.f32 != nil && len(src) == len(t.f32) {
			copy(t.f32, src)
			return nil
		}
		return t.mismatch("upload", src, len(src))
	case []int32:
		if t.i32 != nil && len(src) == len(t.i32) {
			copy(t.i32, src)
			return nil
		}
		return t.mismatch("upload", src, len(src))
	}
	return fmt.Errorf("ref: upload of %T, want []float32 or []int32", src)
}

func (t *tensor) Download(dst any) error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	switch dst := dst.(type) {
	case []float32:
		if t.f32 != nil && len(dst) == len(t.f32) {
			copy(dst, t.f32)
			return nil
		}
		return t.mismatch("download", dst, len(dst))
	case []int32:
		if t.i32 != nil && len(dst) == len(t.i32) {
			copy(dst, t.i32)
			return nil
		}
		return t.mismatch("download", dst, len(dst))
	}
	return fmt.Errorf("ref: download to %T, want []float32 or []int32", dst)
}

func (t *tensor) mismatch(verb string, host any, n int) error {
	if t.closed() {
		return errors.New("ref: " + verb + ": the tensor is closed")
	}
	return fmt.Errorf("ref: %s: host data is %T of length %d, the tensor is %v", verb, host, n, t.typ)
}

func (t *tensor) Close() error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	t.f32, t.i32 = nil, nil
	return nil
}

func (t *tensor) closed() bool { return t.f32 == nil && t.i32 == nil }
