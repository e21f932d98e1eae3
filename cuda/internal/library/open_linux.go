package library

import (
	"runtime"

	"github.com/ebitengine/purego"
)

// handle is what the system calls an opened library.
type handle uintptr

// open opens a library so that those opened later find it by its bare name.
func open(path string) (Symbols, error) {
	runtime.LockOSThread() // what went wrong is kept for the thread
	defer runtime.UnlockOSThread()
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	return handle(h), nil
}

// Symbol implements Symbols.
func (h handle) Symbol(name string) (uintptr, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return purego.Dlsym(uintptr(h), name)
}

// beside is not needed: the parts of a family are opened before the library that asks for them.
func beside(string) func() { return func() {} }
