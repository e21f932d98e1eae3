package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/internal/f16"
)

// staging is pinned memory in two halves: while one is copied to the card the other is filled.
type staging struct {
	device *Device
	memory []byte
	copied [2]driver.Event
	turn   int
}

// stagingBytes is the size of both halves.
const stagingBytes = 32 << 20

func newStaging(d *Device, most int64) (*staging, error) {
	s := &staging{device: d}
	var err error
	if s.memory, err = d.context.Pinned(int(min(2*align(most), stagingBytes))); err != nil {
		return nil, err
	}
	for i := range s.copied {
		if s.copied[i], err = d.context.Event(); err != nil {
			for _, e := range s.copied[:i] {
				err = errors.Join(err, e.Destroy())
			}
			return nil, errors.Join(err, d.context.Unpin(s.memory))
		}
	}
	return s, nil
}

// close gives the memory back once all is copied.
func (s *staging) close() error {
	c := s.device.context
	return errors.Join(s.device.stream.Wait(), s.copied[0].Destroy(), s.copied[1].Destroy(), c.Unpin(s.memory))
}

// convert copies a parameter to the card piece by piece.
func (s *staging) convert(c conversion, to driver.Address) error {
	size := c.dtype.Size()
	elements, half := c.typ.Shape.Elements(), len(s.memory)/2
	for first := 0; first < elements; first += half / size {
		event := s.copied[s.turn]
		if err := event.Wait(); err != nil { // what was there before is on the card
			return err
		}
		piece := s.memory[s.turn*half:][:min((elements-first)*size, half)]
		c.fill(piece, first)
		if i := compute.FirstNonFinite(c.dtype, piece); i >= 0 {
			return fmt.Errorf("a number is too large for half precision; compute in fp32")
		}
		stream := s.device.stream
		if err := errors.Join(stream.Upload(to+driver.Address(first*size), piece), stream.Record(event)); err != nil {
			return err
		}
		s.turn = 1 - s.turn
	}
	return nil
}

// conversion is a parameter, as stored, on its way to a form.
type conversion struct {
	form
	typ  compute.Type
	data []byte
}

// fill writes the elements of the form from one on.
func (c conversion) fill(piece []byte, first int) {
	if c.order == kernel.AsStored && c.dtype == c.typ.DType {
		copy(piece, c.data[first*c.dtype.Size():])
		return
	}
	from := c.source()
	for i := 0; i < len(piece)/c.dtype.Size(); i++ {
		at := from(first + i)
		switch {
		case c.dtype == compute.F16 && c.typ.DType == compute.F16:
			copy(piece[2*i:2*i+2], c.data[2*at:])
		case c.dtype == compute.F16:
			binary.LittleEndian.PutUint16(piece[2*i:], f16.FromF32(c.number(at)))
		default:
			binary.LittleEndian.PutUint32(piece[4*i:], math.Float32bits(c.number(at)))
		}
	}
}

// source tells which stored element is element i of the form.
func (c conversion) source() func(i int) int {
	if c.order == kernel.AsStored {
		return func(i int) int { return i }
	}
	channels, window := c.typ.Shape[1], c.typ.Shape[2]*c.typ.Shape[3]
	return func(i int) int {
		channel, rest := i%channels, i/channels
		return (rest/window*channels+channel)*window + rest%window
	}
}

// number is a stored element.
func (c conversion) number(at int) float32 {
	switch c.typ.DType {
	case compute.F16:
		return f16.ToF32(binary.LittleEndian.Uint16(c.data[2*at:]))
	case compute.BF16:
		return f16.BF16ToF32(binary.LittleEndian.Uint16(c.data[2*at:]))
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(c.data[4*at:]))
}
