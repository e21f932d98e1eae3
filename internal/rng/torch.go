package rng

import (
	"encoding/binary"
	"errors"
	"math"

	"gonum.org/v1/gonum/mathext/prng"
)

// Torch is PyTorch's CPU generator: the stream of torch.Generator().manual_seed(seed). Draws equal
// torch.randn, torch.rand and torch.randint in float32, bit for bit, as PyTorch computes them on x86
// processors with AVX2. A Torch is not safe for concurrent use.
type Torch struct {
	mt prng.MT19937
	// Draws of fewer than 16 normals come in pairs, whose second waits here for the next such draw.
	spare    float64
	hasSpare bool
}

var _ Source = (*Torch)(nil)

// NewTorch starts the stream of a seed. PyTorch uses the lower 32 bits only.
func NewTorch(seed uint64) *Torch {
	t := new(Torch)
	t.mt.Seed(seed)
	return t
}

// Normal fills dst as torch.randn(len(dst)) does.
func (t *Torch) Normal(dst []float32) {
	if len(dst) < normalBlock {
		for i := range dst {
			dst[i] = float32(t.normal())
		}
		return
	}
	t.Uniform(dst)
	whole := len(dst) / normalBlock * normalBlock
	for i := 0; i < whole; i += normalBlock {
		boxMuller((*[normalBlock]float32)(dst[i:]))
	}
	if whole < len(dst) {
		// The last block reaches back over normals already made and starts from fresh numbers.
		last := dst[len(dst)-normalBlock:]
		t.Uniform(last)
		boxMuller((*[normalBlock]float32)(last))
	}
}

// normal is one normal number the slow way, in float64.
func (t *Torch) normal() float64 {
	if t.hasSpare {
		t.hasSpare = false
		return t.spare
	}
	theta := 2 * math.Pi * t.float64()
	r := math.Sqrt(-2 * math.Log1p(-t.float64()))
	t.spare, t.hasSpare = r*math.Sin(theta), true
	return r * math.Cos(theta)
}

// float64 is uniform in [0, 1), a multiple of 2⁻⁵³.
func (t *Torch) float64() float64 { return float64(t.mt.Uint64()&(1<<53-1)) * 0x1p-53 }

// Uniform fills dst as torch.rand(len(dst)) does: multiples of 2⁻²⁴ in [0, 1).
func (t *Torch) Uniform(dst []float32) {
	for i := range dst {
		dst[i] = float32(t.mt.Uint32()&(1<<24-1)) * 0x1p-24
	}
}

// Intn fills dst as torch.randint(0, n, (len(dst),)) does, with integers in [0, n). n is at least 1.
func (t *Torch) Intn(dst []int32, n int32) {
	for i := range dst {
		dst[i] = int32(t.mt.Uint32() % uint32(n))
	}
}

// The parts of a saved Torch: all words of the twister and the position in them, the spare normal and whether there is one.
const (
	twisterWords = 624
	torchState   = twisterWords*4 + 2 + 8 + 1
)

// MarshalBinary saves the state of the stream (encoding.BinaryMarshaler). It never fails.
func (t *Torch) MarshalBinary() ([]byte, error) {
	twister, err := t.mt.MarshalBinary() // big-endian, the position as another word
	data := make([]byte, 0, torchState)
	for i := range twisterWords {
		data = binary.LittleEndian.AppendUint32(data, binary.BigEndian.Uint32(twister[4*i:]))
	}
	data = binary.LittleEndian.AppendUint16(data, uint16(binary.BigEndian.Uint32(twister[4*twisterWords:])))
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(t.spare))
	if t.hasSpare {
		return append(data, 1), err
	}
	return append(data, 0), err
}

// UnmarshalBinary resumes a stream that MarshalBinary saved (encoding.BinaryUnmarshaler). Data that
// is no such state is an error and leaves the stream as it was.
func (t *Torch) UnmarshalBinary(data []byte) error {
	if len(data) != torchState {
		return errors.New("rng: saved state is not that of a Torch generator: wrong length")
	}
	words, rest := data[:twisterWords*4], data[twisterWords*4:]
	next, hasSpare := binary.LittleEndian.Uint16(rest), rest[10]
	if next > twisterWords || hasSpare > 1 {
		return errors.New("rng: saved state of a Torch generator is damaged")
	}
	twister := make([]byte, 0, 4*twisterWords+4)
	for i := range twisterWords {
		twister = binary.BigEndian.AppendUint32(twister, binary.LittleEndian.Uint32(words[4*i:]))
	}
	twister = binary.BigEndian.AppendUint32(twister, uint32(next))
	t.spare, t.hasSpare = math.Float64frombits(binary.LittleEndian.Uint64(rest[2:])), hasSpare == 1
	return t.mt.UnmarshalBinary(twister)
}
