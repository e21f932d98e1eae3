package simlibrary

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ebitengine/purego"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// Libraries are those of a computer. A process has one set at a time: making another takes the place of the first.
type Libraries struct {
	CuBLASLt, CuDNN int      // versions as the libraries tell them; 0 means that there is none
	CUDA            int      // what cuDNN was built for: 12060 is 12.6
	Lacks           []string // functions that they do not export
	Refuse          int      // how many of the engines that are tried for a graph cannot be had
	NoEngines       bool     // graphs have none at all
	Wrong           bool     // results are twice what they should be
	Workspace       uint64   // bytes that each algorithm and engine wants
}

var (
	installed *Libraries // what the functions work on, of which a process can make only so many
	mutex     sync.Mutex
)

// New gives the process both libraries, for CUDA 12.
func New() *Libraries {
	mutex.Lock()
	defer mutex.Unlock()
	installed = &Libraries{CuBLASLt: 120405, CuDNN: 91002, CUDA: 12060, Workspace: 4096}
	return installed
}

// Computer is one on which the system finds the libraries.
func (l *Libraries) Computer() library.Computer {
	return library.Computer{
		Names:  func(string) []string { return nil },
		Beside: func(string) func() { return func() {} },
		Open: func(path string) (library.Symbols, error) {
			if version := map[string]int{"libcublasLt.so.12": l.CuBLASLt, "libcudnn.so.9": l.CuDNN}[path]; version != 0 {
				return l, nil
			}
			return nil, errors.New(path + " is not there")
		},
	}
}

// Symbol implements library.Symbols.
func (l *Libraries) Symbol(name string) (uintptr, error) {
	address, ok := addresses()[name]
	if !ok || slices.Contains(l.Lacks, name) {
		return 0, fmt.Errorf("simlibrary: there is no %s", name)
	}
	return address, nil
}

// addresses are those of all functions, by name.
var addresses = sync.OnceValue(func() map[string]uintptr {
	all := make(map[string]uintptr)
	for _, functions := range []map[string]any{ofProducts, ofGraphs, ofOlder} {
		for name, f := range functions {
			all[name] = purego.NewCallback(f)
		}
	}
	return all
})
