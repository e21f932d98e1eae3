package cudnn

import (
	"errors"
	"runtime"
	"unsafe"
)

// older is a plain convolution by the calls that were there before graphs, which versions 8 and 9 still have.
type older struct {
	*Library
	convolution Convolution
	x, w, y     uintptr
	how         uintptr
	algorithm   int32
	workspace   int64
	scales      [2]float32
	arguments   [13]uintptr
}

// performance is cudnnConvolutionFwdAlgoPerf_t, and that of input gradients.
type performance struct {
	algorithm, status int32
	_                 float32 // milliseconds, of searches
	memory            uint64
	deterministic     int32
	_                 [4]int32 // the kind of arithmetic, and three that are kept free
}

// older describes the convolution and asks for an algorithm that gives the same bits each time.
func (h Handle) older(c Convolution, workspace int64) (*older, error) {
	for f := createTensor; f <= convolveInput; f++ {
		if h.functions[f] == 0 {
			return nil, &Error{names[f], unsupported, "the library does not have it any more"}
		}
	}
	o := &older{Library: h.Library, convolution: c, scales: [2]float32{1, 0}}
	err := o.describe()
	if err == nil {
		err = o.choose(h, workspace)
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// unsupported is version 9's number for what it has nothing for.
const unsupported = 3000

// describe makes the descriptors. The library counts dimensions as N, C, H, W and is told that channels lie last.
func (o *older) describe() error {
	const channelsLast, tensorCores = 1, 1
	c := o.convolution
	height, width := c.extents()
	image := func(d *uintptr, height, width, channels int) error {
		if err := o.call(createTensor, uintptr(unsafe.Pointer(d))); err != nil {
			return err
		}
		return o.call(setTensor, *d, channelsLast, uintptr(float16Type), uintptr(c.Batch), uintptr(channels), uintptr(height), uintptr(width))
	}
	if err := errors.Join(image(&o.x, c.Height, c.Width, c.Input), image(&o.y, height, width, c.Output)); err != nil {
		return err
	}
	if err := o.call(createFilter, uintptr(unsafe.Pointer(&o.w))); err != nil {
		return err
	}
	if err := o.call(setFilter, o.w, uintptr(float16Type), channelsLast, uintptr(c.Output), uintptr(c.Input), uintptr(c.Kernel[0]), uintptr(c.Kernel[1])); err != nil {
		return err
	}
	if err := o.call(createConvolution, uintptr(unsafe.Pointer(&o.how))); err != nil {
		return err
	}
	stride := uintptr(c.Stride)
	if err := o.call(setConvolution, o.how, uintptr(c.Before[0]), uintptr(c.Before[1]), stride, stride, 1, 1, uintptr(crossCorrelation), uintptr(float32Type)); err != nil {
		return err
	}
	return o.call(setMath, o.how, tensorCores)
}

// choose takes the library's best guess among the algorithms that need no more than so much scratch.
func (o *older) choose(h Handle, workspace int64) error {
	ask, first, second, last := forwardAlgorithms, o.x, o.w, o.y
	if o.convolution.Gradient {
		ask, first, second, last = inputAlgorithms, o.w, o.y, o.x
	}
	var found int32
	var results [8]performance
	if err := o.call(ask, h.handle, first, second, o.how, last, uintptr(len(results)), uintptr(unsafe.Pointer(&found)), uintptr(unsafe.Pointer(&results))); err != nil {
		return err
	}
	for _, r := range results[:found] {
		if r.status == 0 && r.deterministic == 1 && r.memory <= uint64(workspace) {
			o.algorithm, o.workspace = r.algorithm, int64(r.memory)
			return nil
		}
	}
	return &Error{names[ask], unsupported, "none of the algorithms can be used"}
}

// run gives the convolution to the handle's stream.
func (o *older) run(h Handle, at Operands) error {
	defer runtime.KeepAlive(o)
	one, zero := uintptr(unsafe.Pointer(&o.scales[0])), uintptr(unsafe.Pointer(&o.scales[1]))
	x, w, y, scratch := uintptr(at.X), uintptr(at.W), uintptr(at.Y), uintptr(at.Workspace)
	f := convolveForward
	o.arguments = [13]uintptr{h.handle, one, o.x, x, o.w, w, o.how, uintptr(o.algorithm), scratch, uintptr(o.workspace), zero, o.y, y}
	if o.convolution.Gradient {
		f = convolveInput
		o.arguments = [13]uintptr{h.handle, one, o.w, w, o.y, y, o.how, uintptr(o.algorithm), scratch, uintptr(o.workspace), zero, o.x, x}
	}
	return o.call(f, o.arguments[:]...)
}

// close gives the descriptors back.
func (o *older) close() (err error) {
	for _, d := range []struct {
		destroy function
		handle  uintptr
	}{{destroyTensor, o.x}, {destroyTensor, o.y}, {destroyFilter, o.w}, {destroyConvolution, o.how}} {
		if d.handle != 0 {
			err = errors.Join(err, o.call(d.destroy, d.handle))
		}
	}
	return err
}
