package rng

import (
	"fmt"
	"math"
	"testing"
)

func TestPhiloxBlocks(t *testing.T) {
	for _, c := range []struct {
		name    string
		counter [4]uint32
		k0, k1  uint32
		want    [4]uint32
	}{
		{"zeros", [4]uint32{}, 0, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{"seed 42, element 5", [4]uint32{0, 0, 5, 0}, 42, 0, [4]uint32{0x7b835adf, 0x68b79cb4, 0x7b2228a5, 0xdf5aef1c}},
	} {
		if got := philox4x32(c.counter, c.k0, c.k1); got != c.want {
			t.Errorf("%s: got %08x, want %08x", c.name, got, c.want)
		}
	}
}

// The values are AUTOMATIC1111's, printed with 8 decimals.
func TestPhiloxReference(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		draw int
		want []float64
	}{
		{0, 0, []float64{-0.92466241, -0.42534396, -2.64384580, 0.14518388, -0.12086651, -0.57972568, -0.62285131, -0.32838714, -1.07454205, -0.36314410, -1.67105043, 2.26550508}},
		{0, 1, []float64{0.18082589, -0.55226272, 0.92381340, -0.73497033, 1.37999463, 0.86763072}},
		{1, 0, []float64{-0.29627782, 2.67644811, -0.14084640, -0.84409505, 0.29053840, -0.28383082}},
		{42, 0, []float64{0.19401887, 2.16137385, -0.17205095, 0.84906000, -1.92439926, 0.65298527}},
		{1234567890, 0, []float64{0.23617812, 1.26339018, -0.54222375, -0.68376791, 1.50042784, 1.47751701}},
		{4294967294, 0, []float64{0.44065914, 0.15776151, -1.57080364, 0.35316673, -0.40191957, 0.22204807}},
		{4294967296, 0, []float64{-0.01742493, 0.48645717, 0.78404689, -0.19194348, 0.00775394, -0.93968463}},
	} {
		t.Run(fmt.Sprintf("seed=%d/draw=%d", c.seed, c.draw), func(t *testing.T) {
			philox := NewPhilox(c.seed)
			got := make([]float32, len(c.want))
			for range c.draw + 1 {
				philox.Normal(got)
			}
			for i := range got {
				// The printed digits determine the float32 where its steps exceed 10⁻⁸.
				if math.Abs(float64(got[i])-c.want[i]) > 0.5001e-8 {
					t.Errorf("[%d] got %.8f, want %.8f", i, got[i], c.want[i])
				}
			}
		})
	}
}
