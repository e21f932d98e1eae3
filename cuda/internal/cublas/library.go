package cublas

import (
	"fmt"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// function is one that cuBLASLt exports, by its place in names.
type function uint8

const (
	getVersion function = iota
	create
	destroy
	descriptionCreate
	descriptionDestroy
	descriptionSet
	layoutCreate
	layoutDestroy
	preferenceCreate
	preferenceDestroy
	preferenceSet
	heuristic
	matmul
)

var names = [...]string{
	getVersion:         "cublasLtGetVersion",
	create:             "cublasLtCreate",
	destroy:            "cublasLtDestroy",
	descriptionCreate:  "cublasLtMatmulDescCreate",
	descriptionDestroy: "cublasLtMatmulDescDestroy",
	descriptionSet:     "cublasLtMatmulDescSetAttribute",
	layoutCreate:       "cublasLtMatrixLayoutCreate",
	layoutDestroy:      "cublasLtMatrixLayoutDestroy",
	preferenceCreate:   "cublasLtMatmulPreferenceCreate",
	preferenceDestroy:  "cublasLtMatmulPreferenceDestroy",
	preferenceSet:      "cublasLtMatmulPreferenceSetAttribute",
	heuristic:          "cublasLtMatmulAlgoGetHeuristic",
	matmul:             "cublasLtMatmul",
}

// Library is cuBLASLt, opened.
type Library struct {
	functions library.Functions
	path      string
}

// Open opens the computer's cuBLASLt that a driver of the given CUDA version can work with: 12 for 12.4. Where there is none, the
// error is a *library.NotFoundError.
func Open(c library.Computer, cuda int) (*Library, error) {
	found, err := c.Find(library.CuBLAS, cuda)
	if err != nil {
		return nil, err
	}
	return New(found)
}

// New takes a cuBLASLt that is open already.
func New(found *library.Library) (*Library, error) {
	l := &Library{functions: library.Resolve(found, names[:]), path: found.Path}
	for f, address := range l.functions {
		if address == 0 {
			return nil, fmt.Errorf("cuda: %s has no %s: it is no cuBLASLt that works here; install another, or name its folder in %s", found.Path, names[f], library.FolderVariable)
		}
	}
	return l, nil
}

// Version is the library's: 120405 is 12.4.5.
func (l *Library) Version() int { return int(l.functions.Call(int(getVersion))) }

// Path is where the library was found.
func (l *Library) Path() string { return l.path }

// Status is the library's number for what went wrong.
type Status int32

// String is the library's name of the status.
func (s Status) String() string {
	switch s {
	case 1:
		return "not initialized: the driver or the card is not ready"
	case 3:
		return "allocation failed"
	case 7:
		return "invalid value"
	case 8:
		return "architecture mismatch: the library does not know the card"
	case 11:
		return "mapping error"
	case 13:
		return "execution failed"
	case 14:
		return "internal error"
	case notSupported:
		return "not supported"
	}
	return fmt.Sprintf("status %d", int32(s))
}

const notSupported Status = 15

// Error is a failure that the library reported.
type Error struct {
	Call   string
	Status Status
}

// Error is "cuda: cublasLtMatmul: execution failed".
func (e *Error) Error() string { return fmt.Sprintf("cuda: %s: %v", e.Call, e.Status) }

// Is reports whether target is ErrUnsupported and the library said so.
func (e *Error) Is(target error) bool { return target == ErrUnsupported && e.Status == notSupported }

// call calls a function of the library. An address converted in the call stays valid until it returns.
//
//go:uintptrescapes
func (l *Library) call(f function, arguments ...uintptr) error {
	if status := Status(l.functions.Call(int(f), arguments...)); status != 0 {
		return &Error{names[f], status}
	}
	return nil
}

// Handle is the library in use on the context that is current on the thread. It and what is made from it belong to that thread.
type Handle struct {
	*Library
	handle uintptr
}

// Handle takes the library into use.
func (l *Library) Handle() (Handle, error) {
	h := Handle{Library: l}
	err := l.call(create, uintptr(unsafe.Pointer(&h.handle)))
	return h, err
}

// Close gives the handle back.
func (h Handle) Close() error { return h.call(destroy, h.handle) }
