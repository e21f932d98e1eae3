package cpu

import (
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// tensor is host memory: float32 or int32, row-major.
type tensor struct {
	shape compute.Shape
	f32   []float32
	i32   []int32
}

var _ compute.Tensor = (*tensor)(nil)

func (t *tensor) Shape() compute.Shape { return t.shape }

func (t *tensor) DType() compute.DType {
	if t.i32 != nil {
		return compute.I32
	}
	return compute.F32
}

func (t *tensor) Upload(src compute.Buffer) error {
	if err := t.fit(src); err != nil {
		return fmt.Errorf("cpu: upload: %w", err)
	}
	copy(t.f32, src.F32)
	copy(t.i32, src.I32)
	return nil
}

func (t *tensor) Download(dst compute.Buffer) error {
	if err := t.fit(dst); err != nil {
		return fmt.Errorf("cpu: download: %w", err)
	}
	copy(dst.F32, t.f32)
	copy(dst.I32, t.i32)
	return nil
}

func (t *tensor) fit(host compute.Buffer) error {
	if t.f32 == nil && t.i32 == nil {
		return errors.New("the tensor is closed")
	}
	return host.Fit(compute.Type{DType: t.DType(), Shape: t.shape})
}

func (t *tensor) Close() error {
	t.f32, t.i32 = nil, nil
	return nil
}
