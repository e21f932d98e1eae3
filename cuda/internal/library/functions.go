package library

import "github.com/ebitengine/purego"

// Functions are the addresses of a library's functions, in the order of their names; 0 stands for one that the library lacks.
type Functions []uintptr

// Resolve looks up functions by their names.
func Resolve(symbols Symbols, names []string) Functions {
	f := make(Functions, len(names))
	for i, name := range names {
		f[i], _ = symbols.Symbol(name)
	}
	return f
}

// Call calls function i, which the library must have, with integers and addresses, and returns its result. An address that is
// converted to a uintptr in the call itself stays valid until the call returns.
//
//go:uintptrescapes
func (f Functions) Call(i int, arguments ...uintptr) int32 {
	result, _, _ := purego.SyscallN(f[i], arguments...)
	return int32(result)
}
