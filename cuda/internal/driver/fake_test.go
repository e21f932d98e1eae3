package driver

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// fake is a driver in Go behind the real way of calling: each of its functions has an address that C could call. It has one card
// with 1000 bytes of memory, whose addresses the host can use.
type fake struct {
	mu     sync.Mutex
	calls  []string             // what was called, with its numbers
	fails  map[function]Code    // what each function answers instead of doing anything
	lacks  []function           // what the library does not export
	memory map[uintptr][]uint64 // keeps allocations
	cards  int32
	free   int64
	args   []uint64 // what the last kernel was given
}

// current is what the callbacks, of which a process can make only so many, work on.
var current *fake

func newFake() *fake {
	current = &fake{fails: make(map[function]Code), memory: make(map[uintptr][]uint64), cards: 1, free: 1000}
	return current
}

// Symbol implements library.Symbols.
func (f *fake) Symbol(name string) (uintptr, error) {
	i := slices.Index(names[:], name)
	if i < 0 || slices.Contains(f.lacks, function(i)) {
		return 0, fmt.Errorf("no %s", name)
	}
	return callbacks()[i], nil
}

func (f *fake) open() (*Driver, error) {
	return New(&library.Library{Symbols: f, Path: "libcuda.so.1"})
}

// called notes a call and tells what to answer.
func (f *fake) called(fn function, numbers ...any) (Code, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := names[fn]
	for _, n := range numbers {
		text += fmt.Sprint(" ", n)
	}
	f.calls = append(f.calls, text)
	code, fails := f.fails[fn]
	return code, !fails
}

// simple is a function that only notes its numbers.
func simple(fn function) any {
	return func(a, b, c, d uintptr) uintptr {
		code, _ := current.called(fn)
		return uintptr(code)
	}
}

// callbacks are the addresses of the fake's functions.
var callbacks = sync.OnceValue(func() []uintptr {
	addresses := make([]uintptr, len(names))
	for i := range names {
		f, ok := functions[function(i)]
		if !ok {
			f = simple(function(i))
		}
		addresses[i] = purego.NewCallback(f)
	}
	return addresses
})

// answer is what a function returns that does what ok says unless it is to fail.
func answer(fn function, ok func(), numbers ...any) uintptr {
	code, works := current.called(fn, numbers...)
	if works {
		ok()
	}
	return uintptr(code)
}

var words = []byte("words\x00")

// attributes are those of an RTX 3060.
var attributes = map[int32]int32{1: 1024, 13: 1777000, 16: 28, 17: 1, 36: 7501000, 37: 192, 38: 2359296, 75: 8, 76: 6, 81: 102400, 97: 101376}

var functions = map[function]any{
	cuDriverGetVersion: func(v *int32) uintptr { return answer(cuDriverGetVersion, func() { *v = 12040 }) },
	cuGetErrorName:     func(code int32, text **byte) uintptr { *text = &words[0]; return 0 },
	cuGetErrorString:   func(code int32, text **byte) uintptr { *text = &words[0]; return 0 },
	cuDeviceGetCount:   func(n *int32) uintptr { return answer(cuDeviceGetCount, func() { *n = current.cards }) },
	cuDeviceGet: func(device *int32, ordinal int32) uintptr {
		return answer(cuDeviceGet, func() { *device = 40 + ordinal }, ordinal)
	},
	cuDeviceGetName: func(name *[256]byte, n, device int32) uintptr {
		return answer(cuDeviceGetName, func() { copy(name[:n], "RTX 3060\x00") }, n, device)
	},
	cuDeviceTotalMem: func(n *uint64, device int32) uintptr {
		return answer(cuDeviceTotalMem, func() { *n = 12 << 30 }, device)
	},
	cuDeviceGetAttribute: func(v *int32, attribute, device int32) uintptr { *v = attributes[attribute]; return 0 },
	cuDevicePrimaryCtxRetain: func(context *uintptr, device int32) uintptr {
		return answer(cuDevicePrimaryCtxRetain, func() { *context = 7 }, device)
	},
	cuCtxSetCurrent: func(context uintptr) uintptr { return answer(cuCtxSetCurrent, func() {}, context) },
	cuMemGetInfo:    func(free, total *int64) uintptr { *free, *total = current.free, 1000; return 0 },
	cuMemAlloc: func(address *uintptr, n uintptr) uintptr {
		return answer(cuMemAlloc, func() {
			memory := make([]uint64, n/8)
			*address = uintptr(unsafe.Pointer(&memory[0]))
			current.memory[*address] = memory
		}, n)
	},
	cuMemcpyHtoDAsync: func(to, from *byte, n, stream uintptr) uintptr {
		return answer(cuMemcpyHtoDAsync, func() { copy(unsafe.Slice(to, n), unsafe.Slice(from, n)) }, n, stream)
	},
	cuMemcpyDtoHAsync: func(to, from *byte, n, stream uintptr) uintptr {
		return answer(cuMemcpyDtoHAsync, func() { copy(unsafe.Slice(to, n), unsafe.Slice(from, n)) }, n, stream)
	},
	cuMemcpyDtoDAsync: func(to, from *byte, n, stream uintptr) uintptr {
		return answer(cuMemcpyDtoDAsync, func() { copy(unsafe.Slice(to, n), unsafe.Slice(from, n)) }, n, stream)
	},
	cuMemsetD32Async: func(to *uint32, v uint32, n, stream uintptr) uintptr {
		return answer(cuMemsetD32Async, func() {
			for i := range unsafe.Slice(to, n) {
				unsafe.Slice(to, n)[i] = v
			}
		}, v, n, stream)
	},
	cuStreamCreate: func(stream *uintptr, flags uint32) uintptr {
		return answer(cuStreamCreate, func() { *stream = 9 }, flags)
	},
	cuStreamBeginCapture: func(stream uintptr, mode int32) uintptr {
		return answer(cuStreamBeginCapture, func() {}, stream, mode)
	},
	cuStreamEndCapture: func(stream uintptr, graph *uintptr) uintptr {
		return answer(cuStreamEndCapture, func() { *graph = 11 }, stream)
	},
	cuEventElapsedTime: func(ms *float32, start, end uintptr) uintptr {
		return answer(cuEventElapsedTime, func() { *ms = 2.5 }, start, end)
	},
	cuModuleLoadDataEx: func(module *uintptr, image *byte, n uint32, options *[2]int32, values *[2]uintptr) uintptr {
		return answer(cuModuleLoadDataEx, func() { *module = 12 }, goString(image), n, options[0], options[1], values[1])
	},
	cuLinkCreate: func(n uint32, options *[2]int32, values *[2]uintptr, state *uintptr) uintptr {
		return answer(cuLinkCreate, func() { *state = 15 }, n, options[0], options[1], values[1])
	},
	cuLinkAddData: func(state uintptr, kind int32, text *byte, n uintptr, name *byte, options uint32, a, b uintptr) uintptr {
		return answer(cuLinkAddData, func() {}, state, kind, goString(text), n, goString(name), options, a, b)
	},
	cuLinkComplete: func(state uintptr, code **byte, n *uintptr) uintptr {
		return answer(cuLinkComplete, func() { *code, *n = &words[0], 5 }, state)
	},
	cuModuleGetFunction: func(kernel *uintptr, module uintptr, name *byte) uintptr {
		return answer(cuModuleGetFunction, func() { *kernel = 13 }, module, goString(name))
	},
	cuFuncSetAttribute: func(kernel uintptr, attribute, value int32) uintptr {
		return answer(cuFuncSetAttribute, func() {}, kernel, attribute, value)
	},
	cuLaunchKernel: func(kernel uintptr, gx, gy, gz, bx, by, bz, shared uint32, stream uintptr, arguments *[2]*uint64, extra uintptr) uintptr {
		return answer(cuLaunchKernel, func() { current.args = append(current.args, *arguments[0], *arguments[1]) }, kernel, gx, gy, gz, bx, by, bz, shared, stream, extra)
	},
	cuGraphInstantiate: func(exec *uintptr, graph uintptr, flags uint64) uintptr {
		return answer(cuGraphInstantiate, func() { *exec = 14 }, graph, flags)
	},
	cuGraphLaunch: func(exec, stream uintptr) uintptr { return answer(cuGraphLaunch, func() {}, exec, stream) },
}
