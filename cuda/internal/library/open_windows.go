package library

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// handle is what the system calls an opened library.
type handle windows.Handle

// open opens a library and whatever it needs from its own folder, those of beside and the system's; a bare name only from the
// system's folder, where nobody but an administrator can have put it.
func open(path string) (Symbols, error) {
	flags := uintptr(windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if filepath.IsAbs(path) {
		flags = windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
	}
	h, err := windows.LoadLibraryEx(path, 0, flags)
	if err != nil {
		return nil, explain(err)
	}
	return handle(h), nil
}

// explain adds what the system's messages leave out.
func explain(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_MOD_NOT_FOUND):
		return fmt.Errorf("%w: it, or a library that it needs, is missing", err)
	case errors.Is(err, windows.ERROR_PROC_NOT_FOUND):
		return fmt.Errorf("%w: another version of a library that it needs is open already", err)
	case errors.Is(err, windows.ERROR_BAD_EXE_FORMAT):
		return fmt.Errorf("%w: it is for another kind of processor", err)
	}
	return err
}

// Symbol implements Symbols.
func (h handle) Symbol(name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(h), name)
}

var (
	addDirectory    = windows.NewLazySystemDLL("kernel32.dll").NewProc("AddDllDirectory")
	removeDirectory = windows.NewLazySystemDLL("kernel32.dll").NewProc("RemoveDllDirectory")
)

// beside adds a folder to those that libraries are looked for in, until undo: cuDNN opens its parts by bare name when it first
// needs them.
func beside(folder string) (undo func()) {
	path, err := windows.UTF16PtrFromString(folder)
	if err != nil || folder == "" || addDirectory.Find() != nil {
		return func() {}
	}
	cookie, _, _ := addDirectory.Call(uintptr(unsafe.Pointer(path)))
	return func() {
		if cookie != 0 {
			removeDirectory.Call(cookie)
		}
	}
}
