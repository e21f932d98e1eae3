package dense

import (
	"io"
	"slices"
	"testing"

	"gorgonia.org/tensor"
)

func TestNew(t *testing.T) {
	data := []float32{0, 10, 1, 11, 2, 12}
	got, err := New(data, []int{1, 3, 1, 2}, nil)
	if err != nil || !got.Shape().Eq(tensor.Shape{1, 3, 1, 2}) || !slices.Equal(got.Data().([]float32), data) {
		t.Errorf("array %v of shape %v, %v", got, got.Shape(), err)
	}
	if _, err := New(nil, nil, io.EOF); err != io.EOF {
		t.Errorf("error %v, want %v", err, io.EOF)
	}
}
