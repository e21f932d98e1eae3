package dense

import (
	"slices"
	"testing"

	"gorgonia.org/tensor"
)

func TestFromNHWC(t *testing.T) {
	// Two samples of 1×2 pixels with three channels: the value says sample, pixel, channel.
	data := []float32{0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112}
	got := FromNHWC(data, 2, 1, 2, 3)
	if !got.Shape().Eq(tensor.Shape{2, 3, 1, 2}) {
		t.Fatalf("shape %v, want (2, 3, 1, 2)", got.Shape())
	}
	want := []float32{0, 10, 1, 11, 2, 12, 100, 110, 101, 111, 102, 112}
	if !slices.Equal(got.Data().([]float32), want) {
		t.Errorf("data %v, want %v", got.Data(), want)
	}
}
