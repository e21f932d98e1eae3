package rng

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Philox is the generator of NVIDIA cards as PyTorch draws normal numbers with it there, in the form
// of AUTOMATIC1111's "NV" noise source: Philox 4×32-10 of Salmon et al., "Parallel Random Numbers: As
// Easy as 1, 2, 3" (2011), one counter per element and draw, and one normal number from each block.
//
// A real card shares a counter between elements when a tensor has more of them than the card has
// threads, so its noise for very large pictures differs from this and from card to card. A Philox is
// not safe for concurrent use.
type Philox struct {
	seed uint64
	draw uint32 // number of draws so far
}

var _ Source = (*Philox)(nil)

// NewPhilox starts the stream of a seed, all 64 bits of which count.
func NewPhilox(seed uint64) *Philox { return &Philox{seed: seed} }

// Normal fills dst as torch.randn(len(dst), device="cuda") does, element i from counter i of this draw.
func (p *Philox) Normal(dst []float32) {
	const (
		scale = 0x1p-32
		// 2π·2⁻³² as the reference keeps it, a float32.
		angle = 0x1.921FB6p-30
	)
	for i := range dst {
		g := philox4x32([4]uint32{p.draw, 0, uint32(i), 0}, uint32(p.seed), uint32(p.seed>>32))
		u := float64(float64(g[0])*scale) + scale/2
		v := float64(float64(g[1])*angle) + angle/2
		dst[i] = float32(math.Sqrt(-2*math.Log(u)) * math.Sin(v))
	}
	p.draw++
}

// philox4x32 is ten rounds of Philox on a counter.
func philox4x32(c [4]uint32, k0, k1 uint32) [4]uint32 {
	for range 10 {
		high0, low0 := bits.Mul32(0xD2511F53, c[0])
		high1, low1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}

// MarshalBinary saves the state of the stream (encoding.BinaryMarshaler). It never fails.
func (p *Philox) MarshalBinary() ([]byte, error) {
	data := binary.LittleEndian.AppendUint64(nil, p.seed)
	return binary.LittleEndian.AppendUint32(data, p.draw), nil
}

// UnmarshalBinary resumes a stream that MarshalBinary saved (encoding.BinaryUnmarshaler). Data that
// is no such state is an error and leaves the stream as it was.
func (p *Philox) UnmarshalBinary(data []byte) error {
	if len(data) != 12 {
		return errors.New("rng: saved state is not that of a Philox generator: wrong length")
	}
	p.seed, p.draw = binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint32(data[8:])
	return nil
}
