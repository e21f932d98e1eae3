package simlibrary

import (
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// The descriptors of the calls that were there before graphs.
type (
	image struct {
		shape [4]int
		dtype int32
	}
	olderWindow struct {
		window
		tensorCores bool
	}
	// performance is cudnnConvolutionFwdAlgoPerf_t, and that of input gradients.
	performance struct {
		algorithm     int32
		_             [2]int32
		memory        uint64
		deterministic int32
		_             [4]int32
	}
)

// describe fills an image in.
func describe(name string, d uintptr, format, dtype, n, c, h, w int32) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		to, ok := m.Kept(d).(*image)
		if !ok || format != 1 || dtype != float16Type || min(n, c, h, w) < 1 {
			return badParameter
		}
		*to = image{[4]int{int(n), int(c), int(h), int(w)}, dtype}
		return 0
	})
}

// ofOlder are cuDNN's functions of a single convolution.
var ofOlder = map[string]any{
	"cudnnCreateTensorDescriptor": func(d *uintptr) uintptr { return keep("cudnnCreateTensorDescriptor", d, new(image)) },
	"cudnnSetTensor4dDescriptor": func(d uintptr, format, dtype, n, c, h, w int32) uintptr {
		return describe("cudnnSetTensor4dDescriptor", d, format, dtype, n, c, h, w)
	},
	"cudnnDestroyTensorDescriptor": func(d uintptr) uintptr { return drop("cudnnDestroyTensorDescriptor", d, badParameter) },
	"cudnnCreateFilterDescriptor":  func(d *uintptr) uintptr { return keep("cudnnCreateFilterDescriptor", d, new(image)) },
	"cudnnSetFilter4dDescriptor": func(d uintptr, dtype, format, k, c, h, w int32) uintptr {
		return describe("cudnnSetFilter4dDescriptor", d, format, dtype, k, c, h, w)
	},
	"cudnnDestroyFilterDescriptor": func(d uintptr) uintptr { return drop("cudnnDestroyFilterDescriptor", d, badParameter) },
	"cudnnCreateConvolutionDescriptor": func(d *uintptr) uintptr {
		return keep("cudnnCreateConvolutionDescriptor", d, new(olderWindow))
	},
	"cudnnSetConvolution2dDescriptor": func(d uintptr, padY, padX, strideY, strideX, dilationY, dilationX, mode, dtype int32) uintptr {
		return simdriver.Call("cudnnSetConvolution2dDescriptor", func(m *simdriver.Machine) int32 {
			to, ok := m.Kept(d).(*olderWindow)
			if !ok || dilationY != 1 || dilationX != 1 || mode != 1 || dtype != float32Type || min(strideY, strideX) < 1 {
				return badParameter
			}
			to.before, to.stride = [2]int{int(padY), int(padX)}, [2]int{int(strideY), int(strideX)}
			return 0
		})
	},
	"cudnnSetConvolutionMathType": func(d uintptr, math int32) uintptr {
		return simdriver.Call("cudnnSetConvolutionMathType", func(m *simdriver.Machine) int32 {
			to, ok := m.Kept(d).(*olderWindow)
			if !ok || math != 1 {
				return badParameter
			}
			to.tensorCores = true
			return 0
		})
	},
	"cudnnDestroyConvolutionDescriptor": func(d uintptr) uintptr { return drop("cudnnDestroyConvolutionDescriptor", d, badParameter) },
	"cudnnGetConvolutionForwardAlgorithm_v7": func(h, x, w, how, y uintptr, want int32, found *int32, results *performance) uintptr {
		return algorithms("cudnnGetConvolutionForwardAlgorithm_v7", [4]uintptr{x, w, how, y}, want, found, results)
	},
	"cudnnGetConvolutionBackwardDataAlgorithm_v7": func(h, w, dy, how, dx uintptr, want int32, found *int32, results *performance) uintptr {
		return algorithms("cudnnGetConvolutionBackwardDataAlgorithm_v7", [4]uintptr{dx, w, how, dy}, want, found, results)
	},
	"cudnnConvolutionForward": func(h uintptr, alpha *float32, x, xAt, w, wAt, how uintptr, algorithm int32, workspace, bytes uintptr, beta *float32, y, yAt uintptr) uintptr {
		return convolve("cudnnConvolutionForward", h, call{false, [4]uintptr{x, w, how, y}, [3]uintptr{xAt, wAt, yAt}, *alpha, *beta, algorithm, workspace, bytes})
	},
	"cudnnConvolutionBackwardData": func(h uintptr, alpha *float32, w, wAt, y, yAt, how uintptr, algorithm int32, workspace, bytes uintptr, beta *float32, x, xAt uintptr) uintptr {
		return convolve("cudnnConvolutionBackwardData", h, call{true, [4]uintptr{x, w, how, y}, [3]uintptr{xAt, wAt, yAt}, *alpha, *beta, algorithm, workspace, bytes})
	},
}

// call is what a convolution is called with; the descriptors and the addresses are those of x, w and y, with the window's before the last.
type call struct {
	gradient         bool
	descriptors      [4]uintptr
	at               [3]uintptr
	alpha, beta      float32
	algorithm        int32
	workspace, bytes uintptr
}

// fetch looks up descriptors, and refuses those that do not fit.
func fetch(m *simdriver.Machine, d [4]uintptr) (x, w, y image, how olderWindow, ok bool) {
	px, _ := m.Kept(d[0]).(*image)
	pw, _ := m.Kept(d[1]).(*image)
	ph, _ := m.Kept(d[2]).(*olderWindow)
	py, _ := m.Kept(d[3]).(*image)
	if px == nil || pw == nil || py == nil || ph == nil || !ph.tensorCores {
		return x, w, y, how, false
	}
	x, w, y, how = *px, *pw, *py, *ph
	ok = x.shape[0] == y.shape[0] && x.shape[1] == w.shape[1] && y.shape[1] == w.shape[0]
	for i := range 2 {
		ok = ok && y.shape[2+i] == (x.shape[2+i]+2*how.before[i]-w.shape[2+i])/how.stride[i]+1
	}
	return x, w, y, how, ok
}

// algorithms answers with one that gives other bits each time, one that wants too much, and one to take, number 1.
func algorithms(name string, d [4]uintptr, want int32, found *int32, results *performance) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		if _, _, _, _, ok := fetch(m, d); !ok || want < 3 {
			return badParameter
		}
		*found = 3
		copy(unsafe.Slice(results, want), []performance{{algorithm: 0}, {algorithm: 4, memory: 1 << 40, deterministic: 1}, {algorithm: 1, memory: installed.Workspace, deterministic: 1}})
		return 0
	})
}

// convolve gives a convolution to the handle's stream.
func convolve(name string, h uintptr, c call) uintptr {
	return simdriver.Call(name, func(m *simdriver.Machine) int32 {
		handle, known := m.Kept(h).(*graphHandle)
		x, w, y, how, ok := fetch(m, c.descriptors)
		switch {
		case !known || !ok || c.algorithm != 1 || uint64(c.bytes) < installed.Workspace || c.alpha != 1 || c.beta != 0:
			return badParameter
		case !m.Usable():
			return cudnnExecutionFailed
		}
		op := operation{
			kind: opForward, how: how.window, x: &array{x.shape, x.dtype, c.at[0], nil}, w: &array{w.shape, w.dtype, c.at[1], nil}, y: &array{y.shape, y.dtype, c.at[2], nil},
		}
		if c.gradient {
			op.kind, op.dx, op.x = opInput, op.x, nil
		}
		given := m.Give(handle.stream, func(memory *simgpu.Device) error {
			if err := scribble(memory, c.workspace, uint64(c.bytes)); err != nil {
				return err
			}
			return op.run(memory)
		})
		if !given {
			return badParameter
		}
		return 0
	})
}
