package simgpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestQuick holds what is computed for all lanes at once to what is computed for one.
func TestQuick(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() uint32 {
		switch random.IntN(4) {
		case 0:
			return random.Uint32N(40)
		case 1:
			return word(float32(random.NormFloat64()))
		case 2: // near what float32 cannot hold
			return word(float32(math.Ldexp(random.NormFloat64(), -120-random.IntN(30))))
		}
		return random.Uint32()
	}
	same := func(name string, l int, have, want uint32) {
		if have != want && !(math.IsNaN(float64(float(have))) && math.IsNaN(float64(float(want)))) {
			t.Errorf("%s of lane %d is %#x, want %#x", name, l, have, want)
		}
	}
	for range 300 {
		var a, b, c, z values
		for l := range a {
			a[l], b[l], c[l] = number(), number(), number()
		}
		for name, quick := range quickUnaries {
			quick(&z, &a)
			for l := range z {
				same(name, l, z[l], unaries[name](a[l]))
			}
		}
		for name, quick := range quickBinaries {
			quick(&z, &a, &b)
			for l := range z {
				same(name, l, z[l], binaries[name](a[l], b[l]))
			}
		}
		for name, quick := range quickTernaries {
			quick(&z, &a, &b, &c)
			for l := range z {
				same(name, l, z[l], ternaries[name](a[l], b[l], c[l]))
			}
		}
		for name, quick := range quickRelations {
			answer := quick(&a, &b)
			for l := range a {
				same(name, l, answer>>l&1, map[bool]uint32{true: 1}[relations[name](a[l], b[l])])
			}
		}
	}
}
