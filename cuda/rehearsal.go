package cuda

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/internal/f16"
)

// rehearsal is memory on which the ways to compute a node are run to be compared: each of its values has a place, and scratch has one. A result
// that may take the place of an operand does.
type rehearsal struct {
	device  *Device
	program *compute.Program
	node    compute.Node
	memory  block
	size    int64
	places  map[int]int64 // of values, by index
	bytes   map[int]int64
	types   map[int]compute.DType // that ways read them as
	mixed   []int                 // values that not all ways read as the same type
	scratch int64
	want    []float32 // the result of the first way
}

// newRehearsal gives everything a place.
func newRehearsal(d *Device, p *compute.Program, node int, ways []kernel.Way) *rehearsal {
	r := &rehearsal{device: d, program: p, node: p.Nodes[node], places: make(map[int]int64), bytes: make(map[int]int64), types: make(map[int]compute.DType)}
	scratch := 0
	for _, w := range ways {
		scratch = max(scratch, w.Scratch)
		for _, l := range w.Launches {
			for _, a := range l.Arguments {
				if array, ok := a.(kernel.Array); ok {
					r.meet(array)
				}
			}
		}
	}
	y := r.node.Out[0].Index()
	for _, i := range slices.Sorted(maps.Keys(r.bytes)) {
		r.places[i] = r.size
		r.size += align(r.bytes[i])
	}
	if over, ok := r.node.Op.(compute.Overwriter); ok {
		for _, v := range over.Overwritable() {
			if p.Type(v).Equal(p.Type(r.node.Out[0])) && p.Values[v.Index()].Kind != compute.ParamKind {
				r.places[y] = r.places[v.Index()]
			}
		}
	}
	r.scratch = r.size
	r.size += align(int64(scratch))
	return r
}

// meet notes an array that a way reads or writes.
func (r *rehearsal) meet(a kernel.Array) {
	i := a.Value.Index()
	if t, met := r.types[i]; met && t != a.Type {
		r.mixed = append(r.mixed, i)
	}
	r.types[i] = a.Type
	r.bytes[i] = max(r.bytes[i], int64(r.program.Shape(a.Value).Elements()*a.Type.Size()))
}

// launches are those of a way.
func (r *rehearsal) launches(work kernel.Work) (launches []launch, err error) {
	for _, l := range work.Launches {
		values := make([]uint64, len(l.Arguments))
		for i, a := range l.Arguments {
			if values[i], err = r.argument(a); err != nil {
				return launches, err
			}
		}
		made, err := r.device.launch(l, values)
		if err != nil {
			return launches, err
		}
		launches = append(launches, made)
	}
	return launches, nil
}

func (r *rehearsal) argument(a any) (uint64, error) {
	if value, ok := constant(a); ok {
		return value, nil
	}
	base := uint64(r.memory.address)
	switch a := a.(type) {
	case kernel.Scratch:
		return base + uint64(r.scratch) + uint64(a), nil
	case kernel.Array:
		return base + uint64(r.places[a.Value.Index()]) + uint64(a.Offset), nil
	}
	return 0, fmt.Errorf("an argument of type %T", a)
}

// halves are so many bytes of numbers between -0.5 and 0.5, always the same.
func halves(bytes int) (data []byte) {
	random := rand.New(rand.NewPCG(1, 2))
	for range bytes / 2 {
		data = binary.LittleEndian.AppendUint16(data, f16.FromF32(random.Float32()-0.5))
	}
	return data
}

// fill gives every place but scratch the same numbers each time, and zeros to values that are read as several types.
func (r *rehearsal) fill() error {
	const piece = 1 << 16
	s, at := r.device.stream, r.memory.address
	have := min(int64(piece), r.scratch)
	err := s.Upload(at, halves(piece)[:have])
	for ; err == nil && have < r.scratch; have *= 2 {
		err = s.Copy(at+driver.Address(have), at, min(have, r.scratch-have))
	}
	for _, i := range r.mixed {
		if err == nil {
			err = s.Fill(at+driver.Address(r.places[i]), 0, align(r.bytes[i])/4)
		}
	}
	return err
}

// compare holds the result to that of the first way.
func (r *rehearsal) compare() error {
	y := r.node.Out[0]
	data := make([]byte, r.program.Type(y).Bytes())
	if err := r.device.stream.Download(data, r.memory.address+driver.Address(r.places[y.Index()])); err != nil {
		return err
	}
	if err := r.device.stream.Wait(); err != nil {
		return err
	}
	have := conversion{typ: r.program.Type(y), data: data}
	numbers := make([]float32, r.program.Shape(y).Elements())
	var difference, size float64
	for i := range numbers {
		numbers[i] = have.number(i)
		if r.want != nil {
			d, w := float64(numbers[i])-float64(r.want[i]), float64(r.want[i])
			difference, size = difference+d*d, size+w*w
		}
	}
	if r.want == nil {
		r.want = numbers
		return nil
	}
	if e := math.Sqrt(difference / size); !(e <= sameResult) {
		return fmt.Errorf("its result is off by %.2g of the size of that of own kernels", e)
	}
	return nil
}

// sameResult is how far apart results of two ways may be, of their size.
const sameResult = 5e-3
