package compute

import (
	"math"
	"testing"
)

func TestShapeElements(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape Shape
		want  int
	}{
		{"scalar", nil, 1},
		{"image", Shape{2, 64, 64, 320}, 2621440},
		{"empty axis", Shape{3, 0, 5}, 0},
		{"negative", Shape{3, -1}, -1},
		{"two negatives", Shape{-3, -1}, -1},
		{"largest", Shape{math.MaxInt}, math.MaxInt},
		{"largest times one", Shape{1, math.MaxInt, 1}, math.MaxInt},
		{"just too large", Shape{math.MaxInt/2 + 1, 2}, -1},
		{"wraps to zero", Shape{1 << 32, 1 << 32}, -1},
		{"wraps to something small", Shape{math.MaxInt/3 + 1, 6}, -1},
	} {
		if got := c.shape.Elements(); got != c.want {
			t.Errorf("%s: %v has %d elements, want %d", c.name, c.shape, got, c.want)
		}
	}
}

func TestShapeParts(t *testing.T) {
	for _, c := range []struct {
		shape      Shape
		rows, last int
		text       string
	}{
		{nil, 1, 1, "[]"}, {Shape{7}, 1, 7, "[7]"}, {Shape{2, 3, 5}, 6, 5, "[2 3 5]"},
	} {
		if got := c.shape.Rows(); got != c.rows {
			t.Errorf("%v has %d rows, want %d", c.shape, got, c.rows)
		}
		if got := c.shape.Last(); got != c.last {
			t.Errorf("%v has last extent %d, want %d", c.shape, got, c.last)
		}
		if got := c.shape.String(); got != c.text {
			t.Errorf("text is %q, want %q", got, c.text)
		}
	}
}

func TestTypeBytes(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		want int
	}{
		{Type{F32, Shape{3, 5}}, 60},
		{Type{F16, Shape{3, 5}}, 30},
		{Type{BF16, nil}, 2},
		{Type{I32, Shape{0}}, 0},
		{Type{InvalidDType, Shape{3}}, 0},
		{Type{DType(77), Shape{3}}, 0},
		{Type{F32, Shape{math.MaxInt / 2}}, -1},
		{Type{F32, Shape{-1}}, -1},
	} {
		if got := c.typ.Bytes(); got != c.want {
			t.Errorf("%v takes %d bytes, want %d", c.typ, got, c.want)
		}
	}
}
