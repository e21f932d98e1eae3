package weights

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestFloat32s(t *testing.T) {
	for _, tt := range []struct {
		dtype DType
		bits  uint64
		want  float64
	}{
		{F16, 0x0001, 5.9604645e-08}, {F16, 0x03FF, 6.097555e-05}, {F16, 0x0400, 6.1035156e-05}, {F16, 0x3555, 0.33325195},
		{F16, 0x3C00, 1}, {F16, 0x7BFF, 65504}, {F16, 0x7C00, math.Inf(1)},
		{BF16, 0x3F80, 1}, {BF16, 0x4049, 3.140625},
		{F8E4M3, 0x00, 0}, {F8E4M3, 0x01, 0.001953125}, {F8E4M3, 0x07, 0.013671875}, {F8E4M3, 0x08, 0.015625}, {F8E4M3, 0x38, 1}, {F8E4M3, 0x40, 2},
		{F8E4M3, 0x7E, 448}, {F8E4M3, 0x7F, math.NaN()}, {F8E4M3, 0xFF, math.NaN()}, {F8E4M3, 0xB8, -1}, {F8E4M3, 0x81, -0.001953125},
		{F8E5M2, 0x01, 1.52587890625e-05}, {F8E5M2, 0x04, 6.103515625e-05}, {F8E5M2, 0x3C, 1}, {F8E5M2, 0x7B, 57344},
		{F8E5M2, 0x7C, math.Inf(1)}, {F8E5M2, 0x7E, math.NaN()},
		{F32, 0x3F800000, 1}, {F64, 0x3FF8000000000000, 1.5}, {I64, 1<<64 - 8, -8}, {I32, 1<<32 - 8, -8}, {I16, 1<<16 - 8, -8}, {I8, 256 - 8, -8},
		{U64, 8, 8}, {U32, 8, 8}, {U16, 8, 8}, {U8, 8, 8}, {Bool, 1, 1},
	} {
		data := binary.LittleEndian.AppendUint64(nil, tt.bits)[:tt.dtype.Size()]
		got := Tensor{DType: tt.dtype, Data: data}.Float32s()
		if len(got) != 1 || got[0] != float32(tt.want) && !(math.IsNaN(tt.want) && got[0] != got[0]) {
			t.Errorf("%s %#x: have %v, want %v", tt.dtype, tt.bits, got, tt.want)
		}
	}
}

// TestE4M3 compares every value, direct and as handed to devices, with the definition: (−1)ˢ·2^(e−7)·(1+m/8), or m·2⁻⁹ where e is 0.
func TestE4M3(t *testing.T) {
	for i := range 256 {
		b := byte(i)
		e, m := float64(b>>3&0xF), float64(b&7)
		want := math.Exp2(e-7) * (1 + m/8)
		if e == 0 {
			want = m * math.Exp2(-9)
		}
		if b&0x7F == 0x7F {
			want = math.NaN()
		}
		if b >= 0x80 {
			want = -want
		}
		for _, got := range []float32{F8E4M3.float32s([]byte{b})[0], F16.float32s(F8E4M3.paramBytes([]byte{b}))[0]} {
			if float64(got) != want && !(got != got && math.IsNaN(want)) {
				t.Errorf("%#x: have %v, want %v", b, got, want)
			}
		}
	}
}
