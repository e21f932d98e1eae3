//go:build !linux

package cpu

// allocate makes n zero bytes.
func allocate(n int, _ bool) ([]byte, error) { return make([]byte, n), nil }

// free leaves the bytes to the garbage collector.
func free([]byte) error { return nil }

// touch leaves pages to the system.
func (m *freshMemory) touch([]byte) {}
