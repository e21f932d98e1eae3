package compute

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Shape lists the extent of each axis, slowest first; row-major. Images and latents are [N,H,W,C],
// token sequences [N,T,C], Linear weights [out,in], Conv2D weights [out,in,kh,kw] (OIHW, as stored in checkpoints).
type Shape []int

// Elements is the product of the extents: 1 for a scalar's empty shape, 0 if any extent is 0,
// -1 if an extent is negative or the product overflows an int.
func (s Shape) Elements() int {
	n := 1
	for _, d := range s {
		if d < 0 {
			return -1
		}
		if d != 0 && n > math.MaxInt/d {
			return -1
		}
		n *= d
	}
	return n
}

// Equal reports whether both shapes have the same rank and extents.
func (s Shape) Equal(o Shape) bool { return slices.Equal(s, o) }

// Last is the extent of the innermost axis, the channels; 1 for a scalar.
func (s Shape) Last() int {
	if len(s) == 0 {
		return 1
	}
	return s[len(s)-1]
}

// Rows is the number of channel vectors: Elements divided by Last.
func (s Shape) Rows() int {
	n := 1
	for _, d := range s[:max(len(s)-1, 0)] {
		n *= d
	}
	return n
}

// String formats the shape as "[2 64 64 320]".
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}

// Type is the element type and shape of a value.
type Type struct {
	DType DType
	Shape Shape
}

// Bytes is the storage a dense value of this type takes: 0 for an unknown element type, -1 if the shape has no
// number of elements or the product overflows an int.
func (t Type) Bytes() int {
	n, size := t.Shape.Elements(), t.DType.Size()
	if n < 0 || size > 0 && n > math.MaxInt/size {
		return -1
	}
	return n * size
}

// Equal reports whether both types have the same element type and shape.
func (t Type) Equal(o Type) bool { return t.DType == o.DType && t.Shape.Equal(o.Shape) }

// String formats the type as "F32[2 64 64 320]".
func (t Type) String() string { return t.DType.String() + t.Shape.String() }
