package f16

import "encoding/binary"

// Widen converts the binary16 numbers of src, 2·len(dst) bytes in little-endian order, to float32.
func Widen(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	n := widen(dst, src)
	for i := n; i < len(dst); i++ {
		dst[i] = ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// Narrow converts src to binary16, in little-endian order, the first 2·len(src) bytes of dst.
func Narrow(dst []byte, src []float32) {
	dst = dst[:2*len(src)]
	n := narrow(dst, src)
	for i := n; i < len(src); i++ {
		binary.LittleEndian.PutUint16(dst[2*i:], FromF32(src[i]))
	}
}
