package driver

import (
	"runtime"
	"unsafe"
)

// Grid is how many blocks run a kernel, and with how many threads and bytes of dynamic shared memory each.
type Grid struct {
	Blocks  [3]int
	Threads int
	Shared  int
}

// Launch is a kernel with its grid and arguments, ready to be given to streams. It is one object that does not move, because the
// driver is handed addresses into it; giving it to a stream allocates nothing.
type Launch struct {
	kernel  Kernel
	call    [11]uintptr
	address []unsafe.Pointer
	value   []uint64
}

// Launch prepares a kernel. Each argument is the bits of one parameter, in order; of a 32-bit one the lower half counts.
func (k Kernel) Launch(grid Grid, arguments ...uint64) *Launch {
	l := &Launch{kernel: k, address: make([]unsafe.Pointer, len(arguments)+1), value: append(arguments[:len(arguments):len(arguments)], 0)}
	for i := range l.value {
		l.address[i] = unsafe.Pointer(&l.value[i])
	}
	l.call = [11]uintptr{
		k.handle, uintptr(grid.Blocks[0]), uintptr(grid.Blocks[1]), uintptr(grid.Blocks[2]), uintptr(grid.Threads), 1, 1, uintptr(grid.Shared),
		0, uintptr(unsafe.Pointer(&l.address[0])), 0,
	}
	return l
}

// Set changes argument i for the next Run.
func (l *Launch) Set(i int, value uint64) { l.value[i] = value }

// Run gives the launch to a stream. The driver copies the arguments before it returns.
func (s Stream) Run(l *Launch) error {
	l.call[8] = s.handle
	err := s.call(cuLaunchKernel, l.call[:]...)
	runtime.KeepAlive(l)
	return err
}
