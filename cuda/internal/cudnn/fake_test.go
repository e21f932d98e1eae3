package cudnn

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/internal/f16"
)

// fake is a cuDNN in Go behind the real way of calling. It takes each attribute only from the kind of descriptor that has it and with
// its type, and computes convolutions of the host's memory in float64.
type fake struct {
	mu          sync.Mutex
	descriptors map[uintptr]*object
	last        uintptr
	fails       map[function]int32
	refuse      int // how many plans cannot be finalised
	cuda        uintptr
	version     uintptr
	stream      uintptr
}

// object is a descriptor of the fake's.
type object struct {
	kind       kind
	attributes map[attribute][]uint64 // each element in 8 bytes
	final      bool
}

var current *fake

func newFake() *fake {
	current = &fake{descriptors: make(map[uintptr]*object), fails: make(map[function]int32), cuda: 12060, version: 91002}
	return current
}

// Symbol implements library.Symbols.
func (f *fake) Symbol(name string) (uintptr, error) {
	i := slices.Index(names[:], name)
	if i < 0 {
		return 0, fmt.Errorf("no %s", name)
	}
	return callbacks()[i], nil
}

func (f *fake) open(cuda int) (*Library, error) {
	return New(&library.Library{Symbols: f, Path: "libcudnn.so.9"}, cuda)
}

var callbacks = sync.OnceValue(func() []uintptr {
	addresses := make([]uintptr, len(functions))
	for i, f := range functions {
		addresses[i] = purego.NewCallback(f)
	}
	return addresses
})

const (
	badParameter = 2000
	notSupported = 3000
)

// do answers a function: with the status that it is to fail with, or with what f says.
func (f *fake) do(fn function, answer func() int32) uintptr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if status := f.fails[fn]; status != 0 {
		return uintptr(status)
	}
	return uintptr(answer())
}

// functions is set in init because it refers to itself through current.
var functions [len(names)]any

func init() {
	functions = [...]any{
		getVersion:         func() uintptr { return current.version },
		getCudartVersion:   func() uintptr { return current.cuda },
		getLastErrorString: func(text *byte, n uintptr) uintptr { copy(unsafe.Slice(text, n), "words\x00"); return 0 },
		create:             func(h *uintptr) uintptr { return current.do(create, func() int32 { *h = 77; return 0 }) },
		destroy:            func(h uintptr) uintptr { return 0 },
		setStream: func(h, stream uintptr) uintptr {
			return current.do(setStream, func() int32 { current.stream = stream; return 0 })
		},
		createDescriptor: func(k int32, d *uintptr) uintptr {
			return current.do(createDescriptor, func() int32 { *d = current.make(kind(k)); return 0 })
		},
		destroyDescriptor: func(d uintptr) uintptr {
			return current.do(destroyDescriptor, func() int32 { delete(current.descriptors, d); return 0 })
		},
		setAttribute: func(d uintptr, a, v int32, n int64, data unsafe.Pointer) uintptr {
			return current.do(setAttribute, func() int32 { return current.descriptors[d].set(attribute(a), value(v), int(n), data) })
		},
		getAttribute: func(d uintptr, a, v int32, n int64, count *int64, data *uintptr) uintptr {
			return current.do(getAttribute, func() int32 { return current.get(current.descriptors[d], attribute(a), n, count, data) })
		},
		finalize: func(d uintptr) uintptr {
			return current.do(finalize, func() int32 { return current.finish(current.descriptors[d]) })
		},
		execute: func(h, plan, pack uintptr) uintptr {
			return current.do(execute, func() int32 { return current.run(plan, pack) })
		},
	}
}

func (f *fake) make(k kind) uintptr {
	f.last++
	f.descriptors[f.last] = &object{kind: k, attributes: make(map[attribute][]uint64)}
	return f.last
}

// types are the attributes of each kind; the first are those that it cannot be without.
var types = map[kind]struct{ needed, optional map[attribute]value }{
	pointwise:      {map[attribute]value{0: pointwiseValue, 1: dataValue}, nil},
	convolution:    {map[attribute]value{100: dataValue, 101: modeValue, 102: int64Value, 103: int64Value, 104: int64Value, 105: int64Value, 106: int64Value}, nil},
	engineChoice:   {map[attribute]value{200: heuristicValue, 201: descriptorValue}, nil},
	executionPlan:  {map[attribute]value{400: handleValue, 401: descriptorValue}, nil},
	opForward:      {map[attribute]value{700: floatValue, 701: floatValue, 702: descriptorValue, 703: descriptorValue, 704: descriptorValue, 705: descriptorValue}, nil},
	opInput:        {map[attribute]value{706: floatValue, 707: floatValue, 708: descriptorValue, 709: descriptorValue, 710: descriptorValue, 711: descriptorValue}, nil},
	opPointwise:    {map[attribute]value{750: descriptorValue, 751: descriptorValue, 753: descriptorValue}, map[attribute]value{752: descriptorValue}},
	operationGraph: {map[attribute]value{800: handleValue, 801: descriptorValue}, nil},
	variantPack:    {map[attribute]value{1000: int64Value, 1001: addressValue}, map[attribute]value{1003: addressValue}},
	tensor:         {map[attribute]value{900: int64Value, 901: dataValue, 902: int64Value, 903: int64Value, 906: int64Value}, map[attribute]value{907: booleanValue}},
}

// sizes are the bytes of an element of each type.
var sizes = map[value]int{
	handleValue: 8, dataValue: 4, booleanValue: 1, int64Value: 8, floatValue: 4, addressValue: 8, modeValue: 4, heuristicValue: 4, pointwiseValue: 4, descriptorValue: 8,
}

func (o *object) set(a attribute, v value, n int, data unsafe.Pointer) int32 {
	t := types[o.kind]
	want, ok := t.needed[a]
	if !ok {
		want, ok = t.optional[a]
	}
	if !ok || want != v || o.final {
		return badParameter
	}
	elements := make([]uint64, n)
	for i := range elements {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&elements[i])), 8), unsafe.Slice((*byte)(unsafe.Add(data, i*sizes[v])), sizes[v]))
	}
	o.attributes[a] = elements
	return 0
}

// get answers how many configurations there are, fills them in, and tells a plan's workspace.
func (f *fake) get(o *object, a attribute, n int64, count *int64, data *uintptr) int32 {
	switch {
	case o.kind == engineChoice && a == 202 && o.final:
		*count = 2
		for _, config := range unsafe.Slice(data, min(n, *count)) {
			f.descriptors[config].attributes[300] = o.attributes[201]
		}
	case o.kind == executionPlan && a == 402 && o.final:
		*count, *data = 1, 4096
	default:
		return badParameter
	}
	return 0
}

func (f *fake) finish(o *object) int32 {
	for a := range types[o.kind].needed {
		if len(o.attributes[a]) == 0 {
			return badParameter
		}
	}
	if o.kind == executionPlan && f.refuse > 0 {
		f.refuse--
		return notSupported
	}
	o.final = true
	return 0
}

// part is a descriptor that an attribute refers to.
func (f *fake) part(o *object, a attribute) *object {
	if len(o.attributes[a]) == 0 {
		return nil
	}
	return f.descriptors[uintptr(o.attributes[a][0])]
}

// run computes a plan's graph, operation by operation, on arrays by the numbers of their tensors.
func (f *fake) run(plan, pack uintptr) int32 {
	memory, arrays := f.descriptors[pack], make(map[uint64][]float64)
	graph := f.part(f.part(f.descriptors[plan], 401), 300)
	for _, handle := range graph.attributes[801] {
		f.operate(f.descriptors[uintptr(handle)], memory, arrays)
	}
	return 0
}

func (f *fake) operate(op, memory *object, arrays map[uint64][]float64) {
	read := func(a attribute) []float64 { return f.read(f.part(op, a), memory, arrays) }
	switch op.kind {
	case opForward:
		f.write(f.part(op, 705), memory, arrays, f.convolve(f.part(op, 702), f.part(op, 703), f.part(op, 704), f.part(op, 705), read(703), read(704), nil))
	case opInput:
		f.write(f.part(op, 710), memory, arrays, f.convolve(f.part(op, 708), f.part(op, 709), f.part(op, 710), f.part(op, 711), read(709), nil, read(711)))
	case opPointwise:
		x, mode := read(751), int32(f.part(op, 750).attributes[0][0])
		y := make([]float64, len(x))
		for i := range y {
			y[i] = silu(x[i])
			if mode == addMode {
				second := read(752)
				y[i] = x[i] + second[i%len(second)]
			}
		}
		f.write(f.part(op, 753), memory, arrays, y)
	}
}

// convolve visits every product of the convolution: it sums them into y, or, where y is given, into x.
func (f *fake) convolve(how, wt, xt, yt *object, w, x, y []float64) []float64 {
	xd, yd, wd := dims(xt), dims(yt), dims(wt)
	stride, before := how.attributes[103], how.attributes[105]
	out := make([]float64, yd[0]*yd[1]*yd[2]*yd[3])
	if y != nil {
		out = make([]float64, xd[0]*xd[1]*xd[2]*xd[3])
	}
	each(yd, func(n, o, i, j, at int) {
		each([4]int{1, wd[1], wd[2], wd[3]}, func(_, c, u, v, _ int) {
			row, column := i*int(stride[0])+u-int(before[0]), j*int(stride[1])+v-int(before[1])
			if row < 0 || row >= xd[2] || column < 0 || column >= xd[3] {
				return
			}
			source, weight := ((n*xd[2]+row)*xd[3]+column)*xd[1]+c, w[((o*wd[2]+u)*wd[3]+v)*wd[1]+c]
			if y == nil {
				out[at] += weight * x[source]
			} else {
				out[source] += weight * y[at]
			}
		})
	})
	return out
}

// dims are a tensor's extents N, C, H, W; it must lie channels last.
func dims(t *object) (d [4]int) {
	for i, v := range t.attributes[902] {
		d[i] = int(v)
	}
	s := t.attributes[903]
	if s[1] != 1 || int(s[3]) != d[1] || int(s[2]) != d[1]*d[3] || int(s[0]) != d[1]*d[2]*d[3] {
		panic("the tensor does not lie channels last")
	}
	return d
}

// each visits the elements of a tensor by N, C, H, W and their place in memory.
func each(d [4]int, visit func(n, c, h, w, at int)) {
	at := 0
	for n := range d[0] {
		for h := range d[2] {
			for w := range d[3] {
				for c := range d[1] {
					visit(n, c, h, w, at)
					at++
				}
			}
		}
	}
}

// memoryOf is where a tensor lies, nil for one between two operations.
func memoryOf(t, memory *object) []uint16 {
	i := slices.Index(memory.attributes[1000], t.attributes[906][0])
	if i < 0 || t.attributes[907] != nil {
		return nil
	}
	d := dims(t)
	address := uintptr(memory.attributes[1001][i])
	return unsafe.Slice(*(**uint16)(unsafe.Pointer(&address)), d[0]*d[1]*d[2]*d[3])
}

func (f *fake) read(t, memory *object, arrays map[uint64][]float64) []float64 {
	halves := memoryOf(t, memory)
	if halves == nil {
		return arrays[t.attributes[906][0]]
	}
	x := make([]float64, len(halves))
	for i, h := range halves {
		x[i] = float64(f16.ToF32(h))
	}
	return x
}

func (f *fake) write(t, memory *object, arrays map[uint64][]float64, x []float64) {
	halves := memoryOf(t, memory)
	if halves == nil {
		arrays[t.attributes[906][0]] = x
		return
	}
	for i, v := range x {
		halves[i] = f16.FromF32(float32(v))
	}
}
