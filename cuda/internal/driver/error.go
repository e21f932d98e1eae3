package driver

import (
	"errors"
	"fmt"
	"unsafe"
)

// ErrNoDevice is wrapped by the error of a computer whose driver has no card to offer.
var ErrNoDevice = errors.New("there is no NVIDIA card")

// ErrOutOfMemory is what every *OutOfMemoryError is.
var ErrOutOfMemory = errors.New("out of device memory")

// ErrContextLost is what an *Error is after which the card is of no use to this process any more.
var ErrContextLost = errors.New("the card's context is lost")

// OutOfMemoryError says how much device memory was asked for and how much there was. It is [ErrOutOfMemory].
type OutOfMemoryError struct{ Need, Free, Total int64 }

// Error gives the numbers in GB.
func (e *OutOfMemoryError) Error() string {
	const gb = 1e9
	return fmt.Sprintf("cuda: out of device memory: %.2f GB were asked for, %.2f of %.2f GB are free; close other programs that use the card, draw smaller pictures or fewer at once, or train with smaller batches or gradient checkpointing",
		float64(e.Need)/gb, float64(e.Free)/gb, float64(e.Total)/gb)
}

// Is reports whether target is ErrOutOfMemory.
func (e *OutOfMemoryError) Is(target error) bool { return target == ErrOutOfMemory }

// Code is the driver's number for what went wrong.
type Code int32

// The codes that this package tells apart, of the driver's CUresult.
const (
	outOfMemory        Code = 2
	stub               Code = 34
	busy               Code = 46
	noDevice           Code = 100
	noBinary           Code = 209
	uncorrectable      Code = 214
	oldPTX             Code = 222
	illegalAddress     Code = 700
	timeout            Code = 702
	assertFailed       Code = 710
	contextDestroyed   Code = 709
	hardwareStackError Code = 714
	launchFailed       Code = 719
	mismatch           Code = 803
	forwardCompat      Code = 804
	unknown            Code = 999
)

// advice says what to do about codes that people meet.
var advice = map[Code]string{
	stub:          "the library is the toolkit's stub: install NVIDIA's driver",
	busy:          "another program has the card for itself: close it, or set the compute mode to default with nvidia-smi",
	noBinary:      "the card is older than compute capability 8.0 (RTX 30), which the kernels need",
	oldPTX:        "update NVIDIA's driver to version 525 or newer",
	timeout:       "the system stopped a kernel that took too long",
	mismatch:      "restart the computer: the driver was updated and the old one is still running",
	forwardCompat: "remove the compatibility package of the CUDA toolkit, which does not work with this card",
	unknown:       "on Linux load the module nvidia_uvm (modprobe nvidia_uvm), or restart the computer",
}

// Error is a failure that the driver reported.
type Error struct {
	Call string // the function: "cuInit"
	Code Code
	Name string // the driver's name for the code: "CUDA_ERROR_ILLEGAL_ADDRESS"
	Text string // the driver's description
	Log  string // what its assembler wrote about a module
}

// Error is the call, the driver's words and what to do.
func (e *Error) Error() string {
	text := fmt.Sprintf("cuda: %s: error %d", e.Call, e.Code)
	for _, part := range []string{e.Name, e.Text, e.Log, advice[e.Code]} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// Is reports whether target is ErrContextLost and the code is one that every later call gets too, or ErrNoDevice and the code is that. An
// unknown error is a card that fell off its bus, except when the driver starts.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrContextLost:
		return e.Code.sticky() || e.Code == unknown && e.Call != names[cuInit]
	case ErrNoDevice:
		return e.Code == noDevice
	}
	return false
}

func (c Code) sticky() bool {
	switch c {
	case uncorrectable, illegalAddress, timeout, contextDestroyed, assertFailed:
		return true
	}
	return hardwareStackError <= c && c <= launchFailed
}

// UnsupportedError says that the driver is too old to have a function.
type UnsupportedError struct {
	Call    string
	Version Version
}

// Error says which driver to install.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("cuda: the driver, for CUDA %v, has no %s: update it to version 525 or newer", e.Version, e.Call)
}

// call calls a function of the driver. An address converted in the call stays valid until it returns.
//
//go:uintptrescapes
func (d *Driver) call(f function, arguments ...uintptr) error {
	if d.functions[f] == 0 {
		return &UnsupportedError{names[f], d.version}
	}
	if code := Code(d.functions.Call(int(f), arguments...)); code != 0 {
		return d.failure(f, code)
	}
	return nil
}

// failure asks the driver for its words on a code.
func (d *Driver) failure(f function, code Code) *Error {
	return &Error{Call: names[f], Code: code, Name: d.words(cuGetErrorName, code), Text: d.words(cuGetErrorString, code)}
}

func (d *Driver) words(f function, code Code) string {
	var text *byte
	if d.functions[f] == 0 || d.functions.Call(int(f), uintptr(code), uintptr(unsafe.Pointer(&text))) != 0 {
		return ""
	}
	return goString(text)
}

// goString copies a text of C.
func goString(text *byte) string {
	if text == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(text), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(text, n))
}
