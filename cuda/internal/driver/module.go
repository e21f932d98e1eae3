package driver

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Module is code on the card.
type Module struct {
	*Context
	handle uintptr
}

// Load assembles PTX text for the card. What the assembler has against it is in the *[Error].
func (c *Context) Load(ptx string) (Module, error) { return c.load(append([]byte(ptx), 0)) }

// load loads text that ends with a zero, or code.
func (c *Context) load(image []byte) (Module, error) {
	a := newAssembling()
	defer runtime.KeepAlive(a)
	m := Module{Context: c}
	err := c.call(cuModuleLoadDataEx, uintptr(unsafe.Pointer(&m.handle)), uintptr(unsafe.Pointer(&image[0])), uintptr(len(a.options)),
		uintptr(unsafe.Pointer(&a.options)), uintptr(unsafe.Pointer(&a.values)))
	return m, a.explained(err)
}

// Unload takes the code off the card.
func (m Module) Unload() error { return m.call(cuModuleUnload, m.handle) }

// Kernel is a function on the card.
type Kernel struct {
	*Context
	handle uintptr
}

// Kernel finds a function of the module by its name, to be run with so many bytes of dynamic shared memory.
func (m Module) Kernel(name string, shared int) (Kernel, error) {
	const maxDynamicShared, unasked = 8, 48 << 10
	k := Kernel{Context: m.Context}
	text := append([]byte(name), 0)
	if err := m.call(cuModuleGetFunction, uintptr(unsafe.Pointer(&k.handle)), m.handle, uintptr(unsafe.Pointer(&text[0]))); err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", name, err)
	}
	if shared <= unasked {
		return k, nil
	}
	if err := m.call(cuFuncSetAttribute, k.handle, maxDynamicShared, uintptr(shared)); err != nil {
		return Kernel{}, fmt.Errorf("kernel %s with %d bytes of shared memory: %w", name, shared, err)
	}
	return k, nil
}

// Registers is how many registers a thread of the kernel takes, and how many bytes of local memory it spills to.
func (k Kernel) Registers() (registers, spilled int, err error) {
	const local, registerCount = 3, 4
	var values [2]int32
	for i, attribute := range []uintptr{registerCount, local} {
		if err := k.call(cuFuncGetAttribute, uintptr(unsafe.Pointer(&values[i])), attribute, k.handle); err != nil {
			return 0, 0, err
		}
	}
	return int(values[0]), int(values[1]), nil
}
