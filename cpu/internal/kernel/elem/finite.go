package elem

import "github.com/atelier-go/atelier/compute"

// exponents are the bits of the exponent in 32 bits of elements: all of them are set in what is no finite number.
var exponents = map[compute.DType]uint32{compute.F32: 0x7F80_0000, compute.F16: 0x7C00_7C00, compute.BF16: 0x7F80_7F80}

// FirstNonFinite is compute.FirstNonFinite, as fast as a core reads its own cache.
func (k *Kernels) FirstNonFinite(t compute.DType, data []byte) int {
	const block = 128
	exponent, blocks, skip := exponents[t], len(data)/block, 0
	if k.reaches != nil && exponent != 0 && blocks > 0 && !k.reaches(&data[0], blocks, exponent) {
		skip = blocks * block
	}
	i := compute.FirstNonFinite(t, data[skip:])
	if i >= 0 {
		i += skip / t.Size()
	}
	return i
}
