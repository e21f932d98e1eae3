package compute

import "encoding/binary"

// exponents describes a float type's exponent field, repeated over a 64-bit word: a field of all ones plus its lowest
// bit carries into the sign's place and no further.
var exponents = map[DType]struct{ field, low, sign uint64 }{
	F32:  {0x7F800000_7F800000, 0x00800000_00800000, 0x80000000_80000000},
	F16:  {0x7C00_7C00_7C00_7C00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000},
	BF16: {0x7F80_7F80_7F80_7F80, 0x0080_0080_0080_0080, 0x8000_8000_8000_8000},
}

// FirstNonFinite is the index of the first NaN or infinity among the little-endian elements of data, -1 if there
// is none. Devices use it to keep Compile's promise about parameters; it runs at the speed of memory.
func FirstNonFinite(t DType, data []byte) int {
	e, ok := exponents[t]
	if !ok {
		return -1
	}
	const block = 64
	i := 0
	for ; i+block <= len(data); i += block {
		b := data[i : i+block : i+block]
		var carries uint64
		for j := 0; j < block; j += 8 {
			carries |= binary.LittleEndian.Uint64(b[j:])&e.field + e.low
		}
		if carries&e.sign != 0 {
			break
		}
	}
	size := t.Size()
	for ; i+size <= len(data); i += size {
		var word [8]byte
		copy(word[:], data[i:i+size])
		if (binary.LittleEndian.Uint64(word[:])&e.field+e.low)&e.sign != 0 {
			return i / size
		}
	}
	return -1
}
