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

func (t *tensor) Upload(src compute.Buffer) error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	if err := t.fit(src); err != nil {
		return fmt.Errorf("ref: upload: %w", err)
	}
	copy(t.f32, src.F32)
	copy(t.i32, src.I32)
	return nil
}

func (t *tensor) Download(dst compute.Buffer) error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	if err := t.fit(dst); err != nil {
		return fmt.Errorf("ref: download: %w", err)
	}
	copy(dst.F32, t.f32)
	copy(dst.I32, t.i32)
	return nil
}

func (t *tensor) fit(host compute.Buffer) error {
	if t.closed() {
		return errors.New("the tensor is closed")
	}
	return host.Fit(t.typ)
}

func (t *tensor) Close() error {
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	t.f32, t.i32 = nil, nil
	return nil
}

func (t *tensor) closed() bool { return t.f32 == nil && t.i32 == nil }
