package cuda

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
)

// TestFullWidth has a UNet of Stable Diffusion 1.5's size with random parameters look at a picture of 64×64 pixels, in half precision on a simulated
// card, and compares what it sees with the CPU's float32.
func TestFullWidth(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes a minute, and six gigabytes of memory")
	}
	if runtime.GOOS == "windows" {
		t.Skip("a minute, for what differs in no way from other systems")
	}
	timed(t)
	params := random{golden.Claims{}}
	m, err := unet.New(unet.SD15(), params)
	check(t, err)
	var want, have []float32
	look := func(dev compute.Device) []float32 {
		var b compute.Builder
		x, at := b.Input("sample", compute.F32, 1, 8, 8, 4), b.Input("timestep", compute.F32, 1)
		b.Output(m.Apply(&b, x, at, b.Input("encoder_hidden_states", compute.F32, 1, 77, 768)))
		return golden.Run(t, dev, params, &b, normal(8*8*4), []float32{500}, normal(77*768))[0]
	}
	t.Run("cpu", func(t *testing.T) { want = look(cpuDevice(t)) })
	t.Run("card", func(t *testing.T) { have = look(device(t, Options{Precision: compute.PrecisionFP16})(t)) })
	d := golden.Compare(have, want)
	if t.Log(d); !(d.Relative <= tolerances[compute.PrecisionFP16]) {
		t.Errorf("%v, tolerance %g", d, tolerances[compute.PrecisionFP16])
	}
}

// normal are so many numbers around 0.
func normal(n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// random are the parameters that a network has claimed, in half precision: weights that keep the size of what they multiply, factors of norms
// above 1, and small biases.
type random struct{ golden.Claims }

func (r random) ParamType(name string) (compute.Type, error) {
	shape, ok := r.Claims[name]
	if !ok {
		return compute.Type{}, fmt.Errorf("%q is not claimed", name)
	}
	return compute.Type{DType: compute.F16, Shape: shape}, nil
}

// ParamData is of the same bits each time.
func (r random) ParamData(name string) ([]byte, error) {
	t, err := r.ParamType(name)
	if err != nil {
		return nil, err
	}
	fixed, free := uint64(0x2400), uint64(0x83ff) // bits of a number: its sign, five of the exponent, ten behind the point
	switch weight := strings.HasSuffix(name, ".weight"); {
	case weight && len(t.Shape) > 1:
		fixed = uint64(15-math.Ilogb(1.5*math.Sqrt(float64(t.Shape.Elements()/t.Shape[0])))) << 10
	case weight:
		fixed, free = 0x3c00, 0x3f
	}
	hash := fnv.New64()
	hash.Write([]byte(name))
	bits := rand.NewPCG(hash.Sum64(), 0)
	data := make([]byte, (t.Bytes()+7)&^7)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], bits.Uint64()&(free*0x1000100010001)|fixed*0x1000100010001)
	}
	return data[:t.Bytes()], nil
}
