package rng

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// reference reads testdata/torch.txt: what PyTorch 2.15 drew, one tensor a line, a name and then the
// bits of its elements. "randn.SEED.N" and so on; "two_draws.SEED.x" are consecutive draws.
func reference(t *testing.T) map[string][]uint32 {
	t.Helper()
	data, err := os.ReadFile("testdata/torch.txt")
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string][]uint32{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		var words []uint32
		for _, f := range fields[1:] {
			w, err := strconv.ParseUint(f, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, uint32(w))
		}
		tensors[fields[0]] = words
	}
	return tensors
}

// sameBits compares floats with the reference's bits.
func sameBits(t *testing.T, name string, got []float32, want []uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	bad, first := 0, 0
	for i := range got {
		if math.Float32bits(got[i]) != want[i] {
			if bad == 0 {
				first = i
			}
			bad++
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d differ, first [%d] got %v, want %v", name, bad, len(got), first, got[first], math.Float32frombits(want[first]))
	}
}

func TestTorchReference(t *testing.T) {
	tensors := reference(t)
	checked := 0
	for name, want := range tensors {
		part := strings.Split(name, ".")
		seed, err := strconv.ParseUint(part[1], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		torch := NewTorch(seed)
		switch {
		case part[0] == "randn" && len(part) == 4:
			got := make([]float32, 16384)
			torch.Normal(got)
			if part[3] == "first64" {
				got = got[:64]
			} else {
				got = got[16384-64:]
			}
			sameBits(t, name, got, want)
		case part[0] == "randn":
			got := make([]float32, len(want))
			torch.Normal(got)
			sameBits(t, name, got, want)
		case part[0] == "rand":
			got := make([]float32, len(want))
			torch.Uniform(got)
			sameBits(t, name, got, want)
		case part[0] == "randint1000":
			got := make([]int32, len(want))
			torch.Intn(got, 1000)
			for i := range got {
				if uint32(got[i]) != want[i] {
					t.Errorf("%s: [%d] got %d, want %d", name, i, got[i], want[i])
					break
				}
			}
		case part[0] == "two_draws":
			if part[2] != "a" {
				continue // with a
			}
			for _, draw := range []string{"a", "b", "c", "d"} {
				name := "two_draws." + part[1] + "." + draw
				got := make([]float32, len(tensors[name]))
				torch.Normal(got)
				sameBits(t, name, got, tensors[name])
				checked++
			}
			checked--
		default:
			t.Errorf("%s: what is it?", name)
		}
		checked++
	}
	if checked != len(tensors) || checked != 102 {
		t.Errorf("checked %d of %d tensors, want all 102", checked, len(tensors))
	}
}

func TestMersenneTwister(t *testing.T) {
	// The first and the 10,000th output for the default seed, as the C++ standard fixes the latter.
	m := &NewTorch(5489).mt
	first := m.Uint32()
	for range 9998 {
		m.Uint32()
	}
	if last := m.Uint32(); first != 3499211612 || last != 4123659995 {
		t.Errorf("first %d, 10000th %d, want 3499211612, 4123659995", first, last)
	}
}

// TestSavedForm holds the bytes of a saved stream to the form that states of trainings on disk have: little-endian words, of
// which a new stream has used none.
func TestSavedForm(t *testing.T) {
	data, err := NewTorch(5489).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if seed, next := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint16(data[624*4:]); seed != 5489 || next != 624 || len(data) != 624*4+11 {
		t.Errorf("%d bytes that begin with %d, at word %d; want %d, 5489, 624", len(data), seed, next, 624*4+11)
	}
}

func TestStateResumes(t *testing.T) {
	type saver interface {
		Source
		MarshalBinary() ([]byte, error)
		UnmarshalBinary([]byte) error
	}
	for name, pair := range map[string][2]saver{
		"Torch":  {NewTorch(7), NewTorch(8)},
		"Philox": {NewPhilox(7 << 33), NewPhilox(8)},
	} {
		t.Run(name, func(t *testing.T) {
			one, other := pair[0], pair[1]
			for _, n := range []int{5, 100, 3} { // leaves a spare behind
				one.Normal(make([]float32, n))
			}
			state, err := one.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if err := other.UnmarshalBinary(state); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{3, 700, 1} {
				a, b := make([]float32, n), make([]float32, n)
				one.Normal(a)
				other.Normal(b)
				for i := range a {
					if a[i] != b[i] {
						t.Fatalf("draw of %d: [%d] %v after resuming, want %v", n, i, b[i], a[i])
					}
				}
			}
			for _, bad := range [][]byte{nil, state[1:], append(state, 0)} {
				if err := other.UnmarshalBinary(bad); err == nil || !strings.HasPrefix(err.Error(), "rng: ") {
					t.Errorf("%d bytes: error %v", len(bad), err)
				}
			}
		})
	}
	state, _ := NewTorch(1).MarshalBinary()
	state[624*4+1] = 0xFF
	if err := NewTorch(1).UnmarshalBinary(state); err == nil {
		t.Error("a position beyond the words is accepted")
	}
}

// fma32 rounds once: compared with exact arithmetic where the sum of the float64 rounding and the
// float32 rounding would go wrong.
func TestFusedMultiplyAdd(t *testing.T) {
	for _, c := range []struct {
		name          string
		a, b, c, want float32
	}{
		{"exact", 3, 5, 7, 22},
		{"tie broken upwards", 1 + 0x1p-12, 1 + 0x1p-12, 0x1p-60, 1 + 0x1p-11 + 0x1p-23},
		{"tie to even", 1 + 0x1p-12, 1 + 0x1p-12, 0, 1 + 0x1p-11},
		{"tie broken downwards", 1 + 0x1p-12, 1 + 0x1p-12, -0x1p-60, 1 + 0x1p-11},
		{"negative", -(1 + 0x1p-12), 1 + 0x1p-12, -0x1p-60, -(1 + 0x1p-11 + 0x1p-23)},
	} {
		if got := fma32(c.a, c.b, c.c); got != c.want {
			t.Errorf("%s: got %x, want %x", c.name, got, c.want)
		}
	}
}

func BenchmarkNormal(b *testing.B) {
	latent := make([]float32, 4*64*64)
	for name, source := range map[string]Source{"source=Torch": NewTorch(0), "source=Philox": NewPhilox(0)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * int64(len(latent)))
			b.ReportAllocs()
			for b.Loop() {
				source.Normal(latent)
			}
		})
	}
}

func ExampleNewTorch() {
	noise := make([]float32, 4*64*64) // one latent of a 512×512 picture
	NewTorch(0).Normal(noise)
	fmt.Printf("%.4f\n", noise[:4])
	// Output: [-1.1258 -1.1524 -0.2506 -0.4339]
}
