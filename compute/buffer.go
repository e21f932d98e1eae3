package compute

import "fmt"

// Buffer is host memory that a tensor is uploaded from or downloaded to, row-major: float32 for tensors of F32, F16 and BF16,
// int32 for those of I32. One of the two slices is set; the zero Buffer fits no tensor.
type Buffer struct {
	F32 []float32
	I32 []int32
}

// Floats is the Buffer of values, which it shares.
func Floats(values []float32) Buffer { return Buffer{F32: values} }

// Ints is the Buffer of values, which it shares.
func Ints(values []int32) Buffer { return Buffer{I32: values} }

// NewBuffer allocates host memory for the elements of t, zeros.
func NewBuffer(t Type) Buffer {
	if t.DType == I32 {
		return Ints(make([]int32, t.Shape.Elements()))
	}
	return Floats(make([]float32, t.Shape.Elements()))
}

// Len is the number of elements.
func (b Buffer) Len() int { return len(b.F32) + len(b.I32) }

// Fit returns an error unless b can hold exactly the elements of a tensor of type t. Devices ask before they copy.
func (b Buffer) Fit(t Type) error {
	want, kind := len(b.F32), "float32"
	if t.DType == I32 {
		want, kind = len(b.I32), "int32"
	}
	if b.Len() == want && want == t.Shape.Elements() {
		return nil
	}
	return fmt.Errorf("host memory of %d float32 and %d int32 for a tensor %v, want %d %s", len(b.F32), len(b.I32), t, t.Shape.Elements(), kind)
}
