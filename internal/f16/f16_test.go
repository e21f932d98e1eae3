package f16

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// value is the textbook reading of a format with the given field widths, in float64.
func value(bits uint32, exponentBits, fractionBits int) float64 {
	bias := 1<<(exponentBits-1) - 1
	fraction := float64(bits & (1<<fractionBits - 1))
	exponent := int(bits >> fractionBits & (1<<exponentBits - 1))
	v := math.Ldexp(fraction, 1-bias-fractionBits)
	if exponent > 0 {
		v = math.Ldexp(fraction+math.Ldexp(1, fractionBits), exponent-bias-fractionBits)
	}
	if bits>>(exponentBits+fractionBits)&1 == 1 {
		v = -v
	}
	return v
}

// same reports bit equality, any NaN of the same sign being as good as another.
func same(got float32, want float64) bool {
	if math.IsNaN(want) {
		return got != got
	}
	return math.Float32bits(got) == math.Float32bits(float32(want))
}

func TestWidenAll(t *testing.T) {
	for b := range uint32(1 << 16) {
		want := value(b, 5, 10)
		if b>>10&0x1F == 0x1F {
			want = math.Inf(1 - int(b>>15)*2)
			if b&0x3FF != 0 {
				want = math.NaN()
			}
		}
		if got := ToF32(uint16(b)); !same(got, want) {
			t.Fatalf("ToF32(%#04x) = %v, want %v", b, got, want)
		}
		if got := BF16ToF32(uint16(b)); math.Float32bits(got) != b<<16 {
			t.Fatalf("BF16ToF32(%#04x) = %v", b, got)
		}
	}
	for b := range uint32(256) {
		e4m3, e5m2 := value(b, 4, 3), value(b, 5, 2)
		if b&0x7F == 0x7F {
			e4m3 = math.NaN()
		}
		if b&0x7C == 0x7C {
			e5m2 = math.Inf(1 - int(b>>7)*2)
			if b&3 != 0 {
				e5m2 = math.NaN()
			}
		}
		if got := E4M3ToF32(uint8(b)); !same(got, e4m3) {
			t.Errorf("E4M3ToF32(%#02x) = %v, want %v", b, got, e4m3)
		}
		if got := E5M2ToF32(uint8(b)); !same(got, e5m2) {
			t.Errorf("E5M2ToF32(%#02x) = %v, want %v", b, got, e5m2)
		}
	}
}

func TestPublishedValues(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		format string
		got    float32
		want   float64
	}{
		{"F16 0001", ToF32(0x0001), 0x1p-24},
		{"F16 03FF", ToF32(0x03FF), 6.097555160522461e-05},
		{"F16 0400", ToF32(0x0400), 6.103515625e-05},
		{"F16 3555", ToF32(0x3555), 0.333251953125},
		{"F16 3C00", ToF32(0x3C00), 1},
		{"F16 7BFF", ToF32(0x7BFF), 65504},
		{"F16 7C00", ToF32(0x7C00), inf},
		{"BF16 3F80", BF16ToF32(0x3F80), 1},
		{"BF16 4049", BF16ToF32(0x4049), 3.140625},
		{"E4M3 01", E4M3ToF32(0x01), 0.001953125},
		{"E4M3 07", E4M3ToF32(0x07), 0.013671875},
		{"E4M3 08", E4M3ToF32(0x08), 0.015625},
		{"E4M3 38", E4M3ToF32(0x38), 1},
		{"E4M3 40", E4M3ToF32(0x40), 2},
		{"E4M3 7E", E4M3ToF32(0x7E), 448},
		{"E4M3 7F", E4M3ToF32(0x7F), nan},
		{"E4M3 B8", E4M3ToF32(0xB8), -1},
		{"E5M2 01", E5M2ToF32(0x01), 1.52587890625e-05},
		{"E5M2 04", E5M2ToF32(0x04), 6.103515625e-05},
		{"E5M2 3C", E5M2ToF32(0x3C), 1},
		{"E5M2 7B", E5M2ToF32(0x7B), 57344},
		{"E5M2 7C", E5M2ToF32(0x7C), inf},
		{"E5M2 7E", E5M2ToF32(0x7E), nan},
	} {
		if !same(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.format, c.got, c.want)
		}
	}
}

// narrowing checks one narrow format at every value, at every midpoint between neighbours and one
// float32 step to either side of it. Ordering by bits is ordering by magnitude, and the midpoint
// after the greatest finite value decides between it and infinity.
func narrowing(t *testing.T, name string, narrow func(float32) uint16, exponentBits, fractionBits int) {
	infinity := uint32(1<<exponentBits-1) << fractionBits
	for b := range infinity {
		low, high := value(b, exponentBits, fractionBits), value(b+1, exponentBits, fractionBits)
		if float64(float32(low)) != low {
			t.Fatalf("%s: %#04x is no float32", name, b)
		}
		even := b + b&1
		mid := float32((low + high) / 2)
		if float64(mid) != (low+high)/2 { // below the smallest float32 there is no midpoint
			continue
		}
		below, above := math.Nextafter32(mid, 0), math.Nextafter32(mid, float32(math.Inf(1)))
		for _, c := range []struct {
			f    float32
			want uint32
		}{{float32(low), b}, {below, b}, {mid, even}, {above, b + 1}} {
			for _, sign := range []uint32{0, 1 << 15} {
				f := math.Float32frombits(math.Float32bits(c.f) | sign<<16)
				if got := narrow(f); uint32(got) != c.want|sign {
					t.Fatalf("%s(%v = %#08x) = %#04x, want %#04x", name, f, math.Float32bits(f), got, c.want|sign)
				}
			}
		}
	}
	inf := float32(math.Inf(1))
	for f, want := range map[float32]uint32{inf: infinity, -inf: infinity | 1<<15, math.MaxFloat32: infinity} {
		if got := narrow(f); uint32(got) != want {
			t.Errorf("%s(%v) = %#04x, want %#04x", name, f, got, want)
		}
	}
	for _, bits := range []uint32{0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF} {
		got := uint32(narrow(math.Float32frombits(bits)))
		if got&^(1<<15) <= infinity || got>>15 != bits>>31 {
			t.Errorf("%s(NaN %#08x) = %#04x, want a NaN of the same sign", name, bits, got)
		}
	}
}

func TestNarrow(t *testing.T) {
	narrowing(t, "FromF32", FromF32, 5, 10)
	narrowing(t, "F32ToBF16", F32ToBF16, 8, 7)
}

// TestSlices holds the functions of slices to those of single numbers, at every length around a group: every binary16 widened, and
// narrowed values on both sides of what every binary16 rounds from.
func TestSlices(t *testing.T) {
	all := make([]byte, 2<<16)
	for b := range 1 << 16 {
		binary.LittleEndian.PutUint16(all[2*b:], uint16(b))
	}
	values := make([]float32, 1<<16)
	Widen(values, all)
	for b, v := range values {
		if want := ToF32(uint16(b)); math.Float32bits(v) != math.Float32bits(want) {
			t.Fatalf("%#04x is widened to %v, want %v", b, v, want)
		}
	}
	var around []float32
	for _, v := range values {
		bits := math.Float32bits(v)
		for _, d := range []uint32{0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF} {
			around = append(around, math.Float32frombits(bits+d))
		}
	}
	got := make([]byte, 2*len(around))
	Narrow(got, around)
	for i, v := range around {
		if n, want := binary.LittleEndian.Uint16(got[2*i:]), FromF32(v); n != want {
			t.Fatalf("%v (%#08x) is narrowed to %#04x, want %#04x", v, math.Float32bits(v), n, want)
		}
	}
	for n := range 40 {
		wide, narrow := make([]float32, n+1), make([]byte, 2*n+1)
		wide[n], narrow[2*n] = 7, 7
		Widen(wide[:n], all[2*15360:])
		Narrow(narrow, wide[:n])
		if wide[n] != 7 || narrow[2*n] != 7 || !bytes.Equal(narrow[:2*n], all[2*15360:][:2*n]) {
			t.Errorf("%d numbers: %v, %v", n, wide, narrow)
		}
	}
}
