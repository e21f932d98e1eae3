package compute

import (
	"strings"
	"testing"
)

func TestBufferFit(t *testing.T) {
	floats, half, ids := Type{F32, Shape{2, 3}}, Type{F16, Shape{2, 3}}, Type{I32, Shape{2, 3}}
	for _, c := range []struct {
		name string
		b    Buffer
		t    Type
		fits bool
	}{
		{"floats", Floats(make([]float32, 6)), floats, true},
		{"floats for half precision", Floats(make([]float32, 6)), half, true},
		{"ids", Ints(make([]int32, 6)), ids, true},
		{"new floats", NewBuffer(half), half, true},
		{"new ids", NewBuffer(ids), ids, true},
		{"nothing", Buffer{}, floats, false},
		{"too few", Floats(make([]float32, 5)), floats, false},
		{"too many", Ints(make([]int32, 7)), ids, false},
		{"ids for floats", Ints(make([]int32, 6)), floats, false},
		{"floats for ids", Floats(make([]float32, 6)), ids, false},
		{"both", Buffer{make([]float32, 6), make([]int32, 6)}, floats, false},
	} {
		err := c.b.Fit(c.t)
		if (err == nil) != c.fits {
			t.Errorf("%s: %v, want fits %v", c.name, err, c.fits)
		}
		if err != nil && !strings.Contains(err.Error(), c.t.String()) {
			t.Errorf("%s: the error %q does not name the tensor's type", c.name, err)
		}
	}
}
