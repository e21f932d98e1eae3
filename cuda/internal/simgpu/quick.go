package simgpu

import "math"

// values are what a register holds in the lanes of a warp.
type values = [32]uint32

// The most frequent instructions for all lanes at once, in one loop without a call for each: what unaries, binaries and ternaries have for
// one.
var (
	quickUnaries = map[string]func(z, x *values){
		"mov.u32": move, "mov.f32": move, "mov.b32": move,
		"cvt.f32.f16": func(z, x *values) {
			for l := range z {
				z[l] = word(halves[uint16(x[l])])
			}
		},
	}
	quickBinaries = map[string]func(z, x, y *values){
		"add.s32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] + y[l]
			}
		},
		"sub.s32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] - y[l]
			}
		},
		"mul.lo.u32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] * y[l]
			}
		},
		"min.u32": func(z, x, y *values) {
			for l := range z {
				z[l] = min(x[l], y[l])
			}
		},
		"and.b32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] & y[l]
			}
		},
		"xor.b32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] ^ y[l]
			}
		},
		"shl.b32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] << y[l]
			}
		},
		"shr.u32": func(z, x, y *values) {
			for l := range z {
				z[l] = x[l] >> y[l]
			}
		},
		"add.rn.f32": func(z, x, y *values) {
			for l := range z {
				z[l] = word(float(x[l]) + float(y[l]))
			}
		},
		"sub.rn.f32": func(z, x, y *values) {
			for l := range z {
				z[l] = word(float(x[l]) - float(y[l]))
			}
		},
		"mul.rn.f32": func(z, x, y *values) {
			for l := range z {
				z[l] = word(float(x[l]) * float(y[l]))
			}
		},
	}
	quickTernaries = map[string]func(z, a, b, c *values){
		"mad.lo.u32": func(z, a, b, c *values) {
			for l := range z {
				z[l] = a[l]*b[l] + c[l]
			}
		},
		"fma.rn.f32": multiplyAddAll,
	}
	quickRelations = map[string]func(x, y *values) uint32{
		"lt.u32": func(x, y *values) (answer uint32) {
			for l := range x {
				if x[l] < y[l] {
					answer |= 1 << l
				}
			}
			return answer
		},
	}
)

func move(z, x *values) { *z = *x }

// multiplyAddAll is fma, which see, with the rare cases left to it.
func multiplyAddAll(z, a, b, c *values) {
	for l := range z {
		s := float64(float(a[l]))*float64(float(b[l])) + float64(float(c[l]))
		if math.Float64bits(s)&0x1fffffff != 0x10000000 && (s >= 0x1p-126 || s <= -0x1p-126 || s == 0) {
			z[l] = word(float32(s))
		} else {
			z[l] = word(fma(float(a[l]), float(b[l]), float(c[l])))
		}
	}
}
