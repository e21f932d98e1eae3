package simlibrary

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/cuda/internal/simgpu"
	"github.com/atelier-go/atelier/internal/f16"
)

// The libraries' common numbers for types.
const (
	float32Type = 0
	float16Type = 2 // of both libraries
)

// size is how many bytes an element of a type has.
func size(dtype int32) int {
	if dtype == float16Type {
		return 2
	}
	return 4
}

// read is numbers of a type at an address, all of which must have been written.
func read(memory *simgpu.Device, at uintptr, dtype int32, n int) ([]float64, error) {
	if at%16 != 0 {
		return nil, fmt.Errorf("simlibrary: an array begins at %#x, which is no multiple of 16", at)
	}
	data, err := memory.Download(simgpu.Address(at), n*size(dtype))
	if err != nil {
		return nil, err
	}
	x := make([]float64, n)
	for i := range x {
		if dtype == float16Type {
			x[i] = float64(f16.ToF32(binary.LittleEndian.Uint16(data[2*i:])))
		} else {
			x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		}
	}
	return x, nil
}

// write rounds numbers to a type.
func write(memory *simgpu.Device, at uintptr, dtype int32, x []float64) error {
	var data []byte
	for _, v := range x {
		if dtype == float16Type {
			data = binary.LittleEndian.AppendUint16(data, f16.FromF32(float32(v)))
		} else {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		}
	}
	return memory.Write(simgpu.Address(at), data)
}

// scribble fills a workspace with what is no number.
func scribble(memory *simgpu.Device, at uintptr, bytes uint64) error {
	data := make([]byte, bytes)
	for i := range data {
		data[i] = 0xff
	}
	return memory.Write(simgpu.Address(at), data)
}
