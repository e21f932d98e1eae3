//go:build !linux && !windows

package library

import (
	"errors"
	"runtime"
)

// open fails: the libraries exist for Linux and Windows alone.
func open(string) (Symbols, error) {
	return nil, errors.New("NVIDIA has no driver for " + runtime.GOOS)
}

func beside(string) func() { return func() {} }
