package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
	"github.com/atelier-go/atelier/cuda/internal/realcard"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
	"github.com/atelier-go/atelier/internal/f16"
)

// numbers are random ones that a half holds exactly.
func numbers(n int, scale float64) []float64 {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(f16.ToF32(f16.FromF32(float32(scale * r.NormFloat64()))))
	}
	return x
}

// bytes are numbers as the device keeps them.
func bytes(x []float64, t compute.DType) (data []byte) {
	for _, v := range x {
		if t != compute.F16 {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		} else {
			data = binary.LittleEndian.AppendUint16(data, f16.FromF32(float32(v)))
		}
	}
	return data
}

func values(data []byte, t compute.DType) (x []float64) {
	for i := 0; i < len(data); {
		if t == compute.I32 {
			x = append(x, float64(int32(binary.LittleEndian.Uint32(data[i:]))))
			i += 4
		} else if t == compute.F32 {
			x = append(x, float64(math.Float32frombits(binary.LittleEndian.Uint32(data[i:]))))
			i += 4
		} else {
			x = append(x, float64(f16.ToF32(binary.LittleEndian.Uint16(data[i:]))))
			i += 2
		}
	}
	return x
}

// in is an array that a launch reads, out one that it writes.
type (
	in struct {
		x []float64
		t compute.DType
	}
	out struct {
		n int
		t compute.DType
	}
)

// both is an array that a launch reads and writes, words are numbers without a point.
type (
	both  in
	words []int32
)

// job is a kernel with its grid, shared memory and arguments: in, out, int and float32.
type job struct {
	kernel    *ptx.Kernel
	grid      [3]int
	shared    int
	chip      *simgpu.Chip
	arguments []any
}

// run launches the job once for each of two seeds, neither of which may have a fault, and returns the array that it writes with the first.
func (j job) run(t *testing.T) (result []float64, stats simgpu.Stats) {
	t.Helper()
	for seed := range uint32(2) {
		have, counted, err := j.launch(t, j.kernel.Text(), seed)
		if err != nil {
			t.Fatal(err)
		}
		if seed == 0 {
			result = have
		}
		stats = counted
	}
	return result, stats
}

// launch launches the job with a kernel's text and returns the array that it writes.
func (j job) launch(t *testing.T, text string, seed uint32) ([]float64, simgpu.Stats, error) {
	var d simgpu.Device
	var written simgpu.Address
	var size int
	var dtype compute.DType
	l := simgpu.Launch{Grid: j.grid, Shared: j.shared, Seed: seed, Off: seed, Chip: j.chip}
	for _, a := range j.arguments {
		switch a := a.(type) {
		case in:
			l.Arguments = append(l.Arguments, uint64(d.Upload(bytes(a.x, a.t))))
		case both:
			data := bytes(a.x, a.t)
			size, dtype, written = len(data), a.t, d.Upload(data)
			l.Arguments = append(l.Arguments, uint64(written))
		case words:
			var data []byte
			for _, w := range a {
				data = binary.LittleEndian.AppendUint32(data, uint32(w))
			}
			l.Arguments = append(l.Arguments, uint64(d.Upload(data)))
		case out:
			size, dtype = len(bytes(make([]float64, a.n), a.t)), a.t
			written = d.Alloc(size)
			l.Arguments = append(l.Arguments, uint64(written))
		case int:
			l.Arguments = append(l.Arguments, uint64(uint32(a)))
		case float32:
			l.Arguments = append(l.Arguments, uint64(math.Float32bits(a)))
		}
	}
	stats, err := realcard.Run(t, &d, text, l)
	if err != nil {
		return nil, stats, err
	}
	data, err := d.Download(written, size)
	return values(data, dtype), stats, err
}

// oracle evaluates an op on inputs by package compute/ref.
func oracle(t *testing.T, record func(b *compute.Builder, input func(x []float64, shape ...int) compute.Value) compute.Value) []float64 {
	t.Helper()
	var b compute.Builder
	var inputs []any
	b.Output(record(&b, func(x []float64, shape ...int) compute.Value {
		inputs = append(inputs, x)
		return b.Input(string(rune('a'+len(inputs))), compute.F32, shape...)
	}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	results, err := ref.Evaluate(program, new(computetest.Source), inputs...)
	if err != nil {
		t.Fatal(err)
	}
	return results[0].([]float64)
}

// compare asks for a relative error of the whole, and bounds that of each element by the largest.
func compare(t *testing.T, have, want []float64, tolerance float64) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("have %d elements, want %d", len(have), len(want))
	}
	if e := distance(have, want); !(e <= tolerance) {
		t.Errorf("the relative error is %.2g, want at most %.2g", e, tolerance)
	}
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(v))
	}
	for i := range want {
		if !(math.Abs(have[i]-want[i]) <= 4*tolerance*top) {
			t.Fatalf("element %d is %g, want %g", i, have[i], want[i])
		}
	}
}

// distance is the relative error of the whole.
func distance(have, want []float64) float64 {
	var difference, size float64
	for i := range want {
		difference += (have[i] - want[i]) * (have[i] - want[i])
		size += want[i] * want[i]
	}
	return math.Sqrt(difference / size)
}

// tolerance is what a result of a type may be off by: for halves, rounding it alone is 2e-4.
func tolerance(t compute.DType) float64 {
	if t == compute.F32 {
		return 2e-6
	}
	return 5e-4
}

var types = []compute.DType{compute.F16, compute.F32}
