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

func (t *tensor) Upload(src any) error {
	n := -1
	switch src := src.(type) {
	case []float32:
		if n = len(src); t.f32 != nil && n == len(t.f32) {
			copy(t.f32, src)
			return nil
		}
	case []int32:
		if n = len(src); t.i32 != nil && n == len(t.i32) {
			copy(t.i32, src)
			return nil
		}
	}
	return t.mismatch("upload", src, n)
}

func (t *tensor) Download(dst any) error {
	n := -1
	switch dst := dst.(type) {
	case []float32:
		if n = len(dst); t.f32 != nil && n == len(t.f32) {
			copy(dst, t.f32)
			return nil
		}
	case []int32:
		if n = len(dst); t.i32 != nil && n == len(t.i32) {
			copy(dst, t.i32)
			return nil
		}
	}
	return t.mismatch("download", dst, n)
}

func (t *tensor) mismatch(verb string, host any, n int) error {
	if t.f32 == nil && t.i32 == nil {
		return errors.New("cpu: the tensor is closed")
	}
	if n < 0 {
		return fmt.Errorf("cpu: %s: the host data is %T, want []float32 or []int32", verb, host)
	}
	return fmt.Errorf("cpu: %s: the host data is %T of length %d, the tensor %v%v", verb, host, n, t.DType(), t.shape)
}

func (t *tensor) Close() error {
	t.f32, t.i32 = nil, nil
	return nil
}
