package cudnn

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
)

// function is one that cuDNN exports, by its place in names.
type function uint8

const (
	getVersion function = iota
	getCudartVersion
	getLastErrorString
	create
	destroy
	setStream
	createDescriptor
	destroyDescriptor
	setAttribute
	getAttribute
	finalize
	execute

	createTensor // from here on the calls that were there before graphs
	setTensor
	destroyTensor
	createFilter
	setFilter
	destroyFilter
	createConvolution
	setConvolution
	setMath
	destroyConvolution
	forwardAlgorithms
	inputAlgorithms
	convolveForward
	convolveInput
)

var names = [...]string{
	getVersion:         "cudnnGetVersion",
	getCudartVersion:   "cudnnGetCudartVersion",
	getLastErrorString: "cudnnGetLastErrorString",
	create:             "cudnnCreate",
	destroy:            "cudnnDestroy",
	setStream:          "cudnnSetStream",
	createDescriptor:   "cudnnBackendCreateDescriptor",
	destroyDescriptor:  "cudnnBackendDestroyDescriptor",
	setAttribute:       "cudnnBackendSetAttribute",
	getAttribute:       "cudnnBackendGetAttribute",
	finalize:           "cudnnBackendFinalize",
	execute:            "cudnnBackendExecute",
	createTensor:       "cudnnCreateTensorDescriptor",
	setTensor:          "cudnnSetTensor4dDescriptor",
	destroyTensor:      "cudnnDestroyTensorDescriptor",
	createFilter:       "cudnnCreateFilterDescriptor",
	setFilter:          "cudnnSetFilter4dDescriptor",
	destroyFilter:      "cudnnDestroyFilterDescriptor",
	createConvolution:  "cudnnCreateConvolutionDescriptor",
	setConvolution:     "cudnnSetConvolution2dDescriptor",
	setMath:            "cudnnSetConvolutionMathType",
	destroyConvolution: "cudnnDestroyConvolutionDescriptor",
	forwardAlgorithms:  "cudnnGetConvolutionForwardAlgorithm_v7",
	inputAlgorithms:    "cudnnGetConvolutionBackwardDataAlgorithm_v7",
	convolveForward:    "cudnnConvolutionForward",
	convolveInput:      "cudnnConvolutionBackwardData",
}

// Library is cuDNN, opened.
type Library struct {
	functions library.Functions
	path      string
}

// Open opens the computer's cuDNN that a driver of the given CUDA version can work with: 12 for 12.4. Where there is none, the
// error is a *library.NotFoundError.
func Open(c library.Computer, cuda int) (*Library, error) {
	found, err := c.Find(library.CuDNN, cuda)
	if err != nil {
		return nil, err
	}
	l, err := New(found, cuda)
	if err != nil {
		return nil, err
	}
	if _, err := c.Find(library.CuBLASOf(l.cuda()), cuda); err != nil { // version 9.10 aborts the process where it has none
		return nil, fmt.Errorf("cuda: %s needs cuBLASLt: %w", l.path, err)
	}
	// Without a compiler there are no engines for what follows a convolution. Some packages of cuDNN look for it where no package has it, and
	// find it if it is open already.
	_, _ = c.Find(library.NVRTC(l.cuda()), cuda)
	return l, nil
}

// New takes a cuDNN that is open already. Version 9 is built for several versions of CUDA under one name, so it is asked.
func New(found *library.Library, cuda int) (*Library, error) {
	l := &Library{functions: library.Resolve(found, names[:]), path: found.Path}
	for f, address := range l.functions {
		if address == 0 && function(f) != getLastErrorString && function(f) < createTensor { // version 8 lacks the one, a later one may lack the others
			return nil, fmt.Errorf("cuda: %s has no %s: install cuDNN 9, or name its folder in %s", found.Path, names[f], library.FolderVariable)
		}
	}
	if built := l.cuda(); built > cuda {
		return nil, fmt.Errorf("cuda: %s is for CUDA %d and the driver knows %d: update the driver", found.Path, built, cuda)
	}
	return l, nil
}

// cuda is the version of CUDA that the library is built for: 12 of 12.9.
func (l *Library) cuda() int { return int(l.functions.Call(int(getCudartVersion))) / 1000 }

// Path is where the library was found.
func (l *Library) Path() string { return l.path }

// Version is "9.10.2".
func (l *Library) Version() string {
	v := int(l.functions.Call(int(getVersion)))
	major := v / 10000
	if major < 9 { // before, the major version had its place at the thousands
		return fmt.Sprintf("%d.%d.%d", v/1000, v%1000/100, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", major, v%10000/100, v%100)
}

// ErrUnsupported is what an *Error is when the library has nothing for a convolution on this card.
var ErrUnsupported = errors.New("cuDNN has no engine for it")

// Error is a failure that the library reported.
type Error struct {
	Call   string
	Status int32
	Text   string // the library's words
}

// Error is the call and the library's words.
func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: status %d: %s", e.Call, e.Status, e.Text)
}

// Is reports whether target is ErrUnsupported and the library said so; versions 8 and 9 have different numbers for it.
func (e *Error) Is(target error) bool {
	return target == ErrUnsupported && (e.Status == 9 || 3000 <= e.Status && e.Status < 4000)
}

// call calls a function of the library. An address converted in the call stays valid until it returns.
//
//go:uintptrescapes
func (l *Library) call(f function, arguments ...uintptr) error {
	if status := l.functions.Call(int(f), arguments...); status != 0 {
		return &Error{names[f], status, l.words()}
	}
	return nil
}

// words are what the library says of a failure: version 9 tells what happened last.
func (l *Library) words() string {
	var last [512]byte
	if l.functions[getLastErrorString] != 0 {
		l.functions.Call(int(getLastErrorString), uintptr(unsafe.Pointer(&last)), uintptr(len(last)))
	}
	text, _, _ := strings.Cut(string(last[:]), "\x00")
	return text
}

// Handle is the library in use on the context that is current on the thread. It and what is made from it belong to that thread.
type Handle struct {
	*Library
	handle uintptr
}

// Handle takes the library into use; its work goes to the stream.
func (l *Library) Handle(s driver.Stream) (Handle, error) {
	h := Handle{Library: l}
	if err := l.call(create, uintptr(unsafe.Pointer(&h.handle))); err != nil {
		return Handle{}, err
	}
	if err := l.call(setStream, h.handle, s.Handle()); err != nil {
		return Handle{}, errors.Join(err, h.Close())
	}
	return h, nil
}

// Close gives the handle back.
func (h Handle) Close() error { return h.call(destroy, h.handle) }
