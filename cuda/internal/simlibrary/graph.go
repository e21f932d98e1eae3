package simlibrary

import (
	"math"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// Numbers that cuDNN answers with; notInitialized and executionFailed have others than cuBLASLt's.
const (
	cudnnNotInitialized  = 1001
	badParameter         = 2000
	engineless           = 3000
	cudnnExecutionFailed = 5000
)

// The kinds of descriptors that the library has.
const (
	pointwise      = 0
	convolution    = 1
	engineConfig   = 3
	engineChoice   = 4
	executionPlan  = 5
	opForward      = 10
	opInput        = 12
	opPointwise    = 13
	operationGraph = 15
	variantPack    = 16
	tensor         = 17
)

// The types of attributes.
const (
	handleValue     = 0
	dataValue       = 1
	booleanValue    = 2
	int64Value      = 3
	floatValue      = 4
	addressValue    = 6
	modeValue       = 7
	heuristicValue  = 8
	pointwiseValue  = 14
	descriptorValue = 15
)

// addMode and swishMode are the pointwise operations that are known.
const addMode, swishMode = 0, 106

// graphHandle is the library in use, with the stream that its work goes to.
type graphHandle struct{ stream uintptr }

// object is a descriptor.
type object struct {
	kind       int32
	attributes map[int32][]uint64 // each element in 8 bytes
	final      bool
}

// attributes are the types of those of each kind; the first are those that it cannot be without.
var attributes = map[int32]struct{ needed, optional map[int32]int32 }{
	pointwise:      {map[int32]int32{0: pointwiseValue, 1: dataValue}, nil},
	convolution:    {map[int32]int32{100: dataValue, 101: modeValue, 102: int64Value, 103: int64Value, 104: int64Value, 105: int64Value, 106: int64Value}, nil},
	engineChoice:   {map[int32]int32{200: heuristicValue, 201: descriptorValue}, nil},
	executionPlan:  {map[int32]int32{400: handleValue, 401: descriptorValue}, nil},
	opForward:      {map[int32]int32{700: floatValue, 701: floatValue, 702: descriptorValue, 703: descriptorValue, 704: descriptorValue, 705: descriptorValue}, nil},
	opInput:        {map[int32]int32{706: floatValue, 707: floatValue, 708: descriptorValue, 709: descriptorValue, 710: descriptorValue, 711: descriptorValue}, nil},
	opPointwise:    {map[int32]int32{750: descriptorValue, 751: descriptorValue, 753: descriptorValue}, map[int32]int32{752: descriptorValue}},
	operationGraph: {map[int32]int32{800: handleValue, 801: descriptorValue}, nil},
	variantPack:    {map[int32]int32{1000: int64Value, 1001: addressValue}, map[int32]int32{1003: addressValue}},
	tensor:         {map[int32]int32{900: int64Value, 901: dataValue, 902: int64Value, 903: int64Value, 906: int64Value}, map[int32]int32{907: booleanValue}},
}

// elementSizes are the bytes of an element of each type.
var elementSizes = map[int32]int{
	handleValue: 8, dataValue: 4, booleanValue: 1, int64Value: 8, floatValue: 4, addressValue: 8, modeValue: 4, heuristicValue: 4, pointwiseValue: 4, descriptorValue: 8,
}

// descriptor does something with a descriptor.
func descriptor(name string, d uintptr, do func(m *simdriver.Machine, o *object) int32) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		o, ok := m.Kept(d).(*object)
		if !ok {
			return badParameter
		}
		return do(m, o)
	})
}

// ofGraphs are cuDNN's functions about itself and about graphs.
var ofGraphs = map[string]any{
	"cudnnGetVersion":         func() uintptr { return uintptr(installed.CuDNN) },
	"cudnnGetCudartVersion":   func() uintptr { return uintptr(installed.CUDA) },
	"cudnnGetLastErrorString": func(text *byte, n uintptr) uintptr { copy(unsafe.Slice(text, n), "words\x00"); return 0 },
	"cudnnCreate": func(h *uintptr) uintptr {
		return simdriver.Call("cudnnCreate", func(m *simdriver.Machine) int32 {
			if !m.Usable() {
				return cudnnNotInitialized
			}
			*h = m.Keep(&graphHandle{})
			return 0
		})
	},
	"cudnnDestroy": func(h uintptr) uintptr { return drop("cudnnDestroy", h, badParameter) },
	"cudnnSetStream": func(h, stream uintptr) uintptr {
		return simdriver.Call("cudnnSetStream", func(m *simdriver.Machine) int32 {
			handle, ok := m.Kept(h).(*graphHandle)
			if !ok {
				return badParameter
			}
			handle.stream = stream
			return 0
		})
	},
	"cudnnBackendCreateDescriptor": func(kind int32, d *uintptr) uintptr {
		return keep("cudnnBackendCreateDescriptor", d, &object{kind: kind, attributes: make(map[int32][]uint64)})
	},
	"cudnnBackendDestroyDescriptor": func(d uintptr) uintptr { return drop("cudnnBackendDestroyDescriptor", d, badParameter) },
	"cudnnBackendSetAttribute": func(d uintptr, a, v int32, n int64, data unsafe.Pointer) uintptr {
		return descriptor("cudnnBackendSetAttribute", d, func(m *simdriver.Machine, o *object) int32 { return o.set(a, v, int(n), data) })
	},
	"cudnnBackendGetAttribute": func(d uintptr, a, v int32, n int64, count *int64, data *uintptr) uintptr {
		return descriptor("cudnnBackendGetAttribute", d, func(m *simdriver.Machine, o *object) int32 { return o.get(m, a, n, count, data) })
	},
	"cudnnBackendFinalize": func(d uintptr) uintptr {
		return descriptor("cudnnBackendFinalize", d, func(m *simdriver.Machine, o *object) int32 { return o.finish() })
	},
	"cudnnBackendExecute": func(h, plan, pack uintptr) uintptr {
		return descriptor("cudnnBackendExecute", plan, func(m *simdriver.Machine, o *object) int32 {
			handle, ok := m.Kept(h).(*graphHandle)
			memory, also := m.Kept(pack).(*object)
			switch {
			case !ok || !also || !o.final || o.kind != executionPlan || !memory.final || memory.kind != variantPack:
				return badParameter
			case !m.Usable():
				return cudnnExecutionFailed
			}
			run, status := o.graph(m, memory)
			if status == 0 && !m.Give(handle.stream, run) {
				return badParameter
			}
			return status
		})
	},
}

func (o *object) set(a, v int32, n int, data unsafe.Pointer) int32 {
	t := attributes[o.kind]
	want, ok := t.needed[a]
	if !ok {
		want, ok = t.optional[a]
	}
	if !ok || want != v || o.final {
		return badParameter
	}
	elements := make([]uint64, n)
	for i := range elements {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&elements[i])), 8), unsafe.Slice((*byte)(unsafe.Add(data, i*elementSizes[v])), elementSizes[v]))
	}
	o.attributes[a] = elements
	return 0
}

// get answers how many configurations there are, fills them in, and tells a plan's workspace.
func (o *object) get(m *simdriver.Machine, a int32, n int64, count *int64, data *uintptr) int32 {
	switch {
	case o.kind == engineChoice && a == 202 && o.final:
		if *count = 2; installed.NoEngines {
			*count = 0
		}
		for _, config := range unsafe.Slice(data, min(n, *count)) {
			m.Kept(config).(*object).attributes[300] = o.attributes[201]
		}
	case o.kind == executionPlan && a == 402 && o.final:
		*count, *data = 1, uintptr(installed.Workspace)
	default:
		return badParameter
	}
	return 0
}

func (o *object) finish() int32 {
	for a := range attributes[o.kind].needed {
		if len(o.attributes[a]) == 0 {
			return badParameter
		}
	}
	if o.kind == executionPlan && installed.Refuse > 0 {
		installed.Refuse--
		return engineless
	}
	o.final = true
	return 0
}

// part is a descriptor that an attribute refers to.
func (o *object) part(m *simdriver.Machine, a int32) *object {
	if len(o.attributes[a]) == 0 {
		return nil
	}
	part, _ := m.Kept(uintptr(o.attributes[a][0])).(*object)
	return part
}

// operation is one of a graph, looked up.
type operation struct {
	kind                int32
	mode                int32
	how                 window
	x, w, second, y, dx *array
}

// graph looks up a plan's operations, and returns what does them one by one when the stream comes to it.
func (o *object) graph(m *simdriver.Machine, memory *object) (run func(*simgpu.Device) error, status int32) {
	arrays := make(map[uint64]*array)
	fetch := func(op *object, a int32) *array { return arrayOf(op.part(m, a), memory, arrays) }
	var operations []operation
	for _, h := range o.part(m, 401).part(m, 300).attributes[801] {
		op, ok := m.Kept(uintptr(h)).(*object)
		if !ok {
			return nil, badParameter
		}
		switch op.kind {
		case opForward:
			operations = append(operations, operation{kind: op.kind, how: windowOf(op.part(m, 702)), w: fetch(op, 703), x: fetch(op, 704), y: fetch(op, 705)})
		case opInput:
			operations = append(operations, operation{kind: op.kind, how: windowOf(op.part(m, 708)), w: fetch(op, 709), dx: fetch(op, 710), y: fetch(op, 711)})
		case opPointwise:
			operations = append(operations, operation{kind: op.kind, mode: int32(op.part(m, 750).attributes[0][0]), x: fetch(op, 751), second: fetch(op, 752), y: fetch(op, 753)})
		}
	}
	workspace := uintptr(memory.attributes[1003][0])
	return func(device *simgpu.Device) error {
		if err := scribble(device, workspace, installed.Workspace); err != nil {
			return err
		}
		for _, op := range operations {
			if err := op.run(device); err != nil {
				return err
			}
		}
		return nil
	}, 0
}

// run does an operation.
func (op operation) run(memory *simgpu.Device) error {
	for _, a := range []*array{op.x, op.w, op.second} {
		if err := a.load(memory); err != nil {
			return err
		}
	}
	switch op.kind {
	case opForward:
		op.y.values = op.how.forward(op.x, op.w, op.y)
	case opInput:
		if err := op.y.load(memory); err != nil {
			return err
		}
		op.dx.values = op.how.gradient(op.dx, op.w, op.y)
		return op.dx.store(memory)
	case opPointwise:
		op.y.values = make([]float64, len(op.x.values))
		for i, v := range op.x.values {
			if op.mode == swishMode {
				op.y.values[i] = v / (1 + math.Exp(-v))
			} else {
				op.y.values[i] = v + op.second.values[op.second.broadcast(i, op.y)]
			}
		}
	}
	if installed.Wrong {
		for i := range op.y.values {
			op.y.values[i] *= 2
		}
	}
	return op.y.store(memory)
}
