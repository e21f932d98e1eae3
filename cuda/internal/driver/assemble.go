package driver

import (
	"bytes"
	"runtime"
	"unsafe"
)

// assembling is what the driver writes to while it assembles. It is one object that does not move, because the driver keeps addresses into it.
type assembling struct {
	options [2]int32
	values  [2]uintptr
	log     [8 << 10]byte
}

func newAssembling() *assembling {
	const errorLog, errorLogBytes = 5, 6
	a := &assembling{options: [2]int32{errorLog, errorLogBytes}}
	a.values = [2]uintptr{uintptr(unsafe.Pointer(&a.log)), uintptr(len(a.log))}
	return a
}

// explained adds to an error what the assembler says of it.
func (a *assembling) explained(err error) error {
	if e, ok := err.(*Error); ok {
		e.Log = goString(&a.log[0])
	}
	return err
}

// Assemble makes code for the card of PTX text, as [Context.Load] does, and returns it, to be loaded by LoadCubin now and by later processes.
func (c *Context) Assemble(ptx string) (cubin []byte, err error) {
	const textKind = 1
	a := newAssembling()
	defer runtime.KeepAlive(a)
	var state uintptr
	if err := c.call(cuLinkCreate, uintptr(len(a.options)), uintptr(unsafe.Pointer(&a.options)), uintptr(unsafe.Pointer(&a.values)), uintptr(unsafe.Pointer(&state))); err != nil {
		return nil, err
	}
	defer c.call(cuLinkDestroy, state)
	text, name := append([]byte(ptx), 0), []byte("kernel\x00")
	err = c.call(cuLinkAddData, state, textKind, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	if err != nil {
		return nil, a.explained(err)
	}
	var code unsafe.Pointer
	var size uintptr
	if err := c.call(cuLinkComplete, state, uintptr(unsafe.Pointer(&code)), uintptr(unsafe.Pointer(&size))); err != nil {
		return nil, err
	}
	return bytes.Clone(unsafe.Slice((*byte)(code), size)), nil // it is the driver's until the state is destroyed
}

// LoadCubin loads code that Assemble made. A driver refuses what was made for another card.
func (c *Context) LoadCubin(cubin []byte) (Module, error) { return c.load(cubin) }
