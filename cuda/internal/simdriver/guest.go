package simdriver

import "github.com/atelier-go/atelier/cuda/internal/simgpu"

// Call does what a function of another library does that works on the card, such as cuBLASLt's: it counts the call, and fails it as
// [Machine.Fail] ordered, with a number of that library's. do may call the machine's Usable, Keep, Kept, Drop, Give and no other method.
func Call(name string, do func(m *Machine) int32) uintptr {
	return call(name, nothing, func(m *Machine) Code { return Code(do(m)) })
}

// Usable reports whether the context is current on the thread, and not lost.
func (m *Machine) Usable() bool { return m.current[thread()] && m.lost == 0 }

// Keep gives an object of a library's a handle. What is not dropped is among the Leaks.
func (m *Machine) Keep(object any) uintptr {
	h := m.new()
	m.objects[h] = object
	return uintptr(h)
}

// Kept is the object with a handle, nil if there is none.
func (m *Machine) Kept(h uintptr) any { return m.objects[handle(h)] }

// Drop forgets an object, and reports whether there was one.
func (m *Machine) Drop(h uintptr) bool {
	if _, ok := m.objects[handle(h)]; !ok {
		return false
	}
	delete(m.objects, handle(h))
	return true
}

// Give gives a stream work on the card's memory, and reports whether there is such a stream. While the stream is captured the work is recorded.
func (m *Machine) Give(stream uintptr, do func(memory *simgpu.Device) error) bool {
	return m.enqueue(handle(stream), func() error { return do(&m.memory) }) == 0
}
