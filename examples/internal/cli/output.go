package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// output is the standard output of a program, which remembers that something could not be written.
type output struct {
	file *os.File
	err  error
}

// Fd tells terminals from files, for progress bars.
func (o *output) Fd() uintptr { return o.file.Fd() }

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if o.err == nil && err != nil && !nobodyReads(err) {
		o.err = fmt.Errorf("writing to the standard output: %w", err)
	}
	return n, err
}

// What Windows says of a pipe that nobody reads any more.
const errorBrokenPipe, errorNoData = syscall.Errno(109), syscall.Errno(232)

// nobodyReads reports whether an error is that of a pipe whose other end is closed, as that to a pager that was left.
func nobodyReads(err error) bool {
	number, _ := errors.AsType[syscall.Errno](err)
	if runtime.GOOS == "windows" {
		return number == errorBrokenPipe || number == errorNoData
	}
	return number == syscall.EPIPE
}
