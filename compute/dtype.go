package compute

import "fmt"

// DType is the element type of a value or parameter.
type DType uint8

// The element types a program can hold. Activations are F32 (F16 on devices that compute in half
// precision); parameters keep the type of their file, narrowed to one of the three float types;
// I32 carries token ids and row indices.
const (
	InvalidDType DType = iota
	F32                // IEEE 754 binary32
	F16                // IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits
	BF16               // bfloat16: the upper half of an F32
	I32                // two's complement 32-bit integer
)

var dtypes = [...]struct {
	name string
	size int
}{InvalidDType: {"invalid", 0}, F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2}, I32: {"I32", 4}}

// Size is the number of bytes one element takes, 0 for an unknown type.
func (t DType) Size() int {
	if int(t) < len(dtypes) {
		return dtypes[t].size
	}
	return 0
}

// String is the safetensors name of the type: F32, F16, BF16 or I32.
func (t DType) String() string {
	if int(t) < len(dtypes) {
		return dtypes[t].name
	}
	return fmt.Sprintf("DType(%d)", uint8(t))
}
