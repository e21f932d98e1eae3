// Package f16 converts between float32 and the narrow floating-point formats of checkpoints: IEEE 754
// binary16 ("F16"), bfloat16 ("BF16"), and the two 8-bit formats F8_E4M3 and F8_E5M2 of Micikevicius
// et al., "FP8 Formats for Deep Learning" (arXiv:2209.05433), which are only ever read.
//
// Widening is exact. Narrowing rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN
// and keeps its sign. Formats are passed as their bits. The functions of one number are the definition
// that those of slices, in assembly where the processor converts, and the kernels of devices are tested against.
package f16

import "math"

// ToF32 is the value of a binary16, exactly.
func ToF32(h uint16) float32 {
	sign, magnitude := uint32(h&0x8000)<<16, uint32(h&0x7FFF)
	if magnitude-0x400 < 0x7800 { // normal
		return math.Float32frombits(sign | magnitude<<13 + (127-15)<<23)
	}
	if magnitude < 0x400 { // zero or subnormal: a count of 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(int32(magnitude))*0x1p-24))
	}
	if magnitude > 0x7C00 {
		magnitude |= 0x200 // NaN becomes quiet, as when a processor converts it
	}
	return math.Float32frombits(sign | 0x7F800000 | magnitude&0x3FF<<13)
}

// FromF32 is the binary16 nearest to f. Magnitudes of 65520 and more become infinity, those of 2⁻²⁵
// and less become zero.
func FromF32(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 0x7FFFFFFF
	switch {
	case bits > 0x7F800000: // NaN, made quiet so that its fraction is not lost
		return sign | 0x7E00 | uint16(bits>>13&0x3FF)
	case bits >= 0x477FF000: // 65520, half-way between the greatest finite value and 2¹⁶
		return sign | 0x7C00
	case bits >= 0x38800000: // 2⁻¹⁴, the smallest normal value
		bits -= (127 - 15) << 23
		return sign | uint16((bits+0xFFF+bits>>13&1)>>13)
	}
	// Adding ½ leaves the value as a count of 2⁻²⁴, rounded to even, in the lowest fraction bits.
	return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-math.Float32bits(0.5))
}

// BF16ToF32 is the value of a bfloat16, exactly.
func BF16ToF32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// F32ToBF16 is the bfloat16 nearest to f.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7FFFFFFF > 0x7F800000 {
		return uint16(bits>>16) | 0x40 // quiet, so that the fraction is not rounded to an infinity's
	}
	return uint16((bits + 0x7FFF + bits>>16&1) >> 16)
}

// E4M3ToF32 is the value of an F8_E4M3 in its finite form ("fn"): no infinities, 0x7F and 0xFF are
// NaN, the greatest magnitude is 448.
func E4M3ToF32(b uint8) float32 { return e4m3[b] }

// E5M2ToF32 is the value of an F8_E5M2: the upper half of a binary16, with infinities.
func E5M2ToF32(b uint8) float32 { return ToF32(uint16(b) << 8) }

var e4m3 = func() (values [256]float32) {
	for b := range uint32(256) {
		sign, exponent, fraction := b>>7<<31, b>>3&0xF, b&7
		var magnitude uint32
		switch {
		case b&0x7F == 0x7F:
			magnitude = 0x7FC00000
		case exponent == 0: // zero or subnormal: fraction · 2⁻⁹
			magnitude = math.Float32bits(float32(fraction) * 0x1p-9)
		default:
			magnitude = (exponent+127-7)<<23 | fraction<<20
		}
		values[b] = math.Float32frombits(sign | magnitude)
	}
	return values
}()
