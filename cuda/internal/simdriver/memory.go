package simdriver

import (
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// ofMemory are the functions about memory of the card and of the host.
var ofMemory = map[string]any{
	"cuMemGetInfo_v2": func(free, total *int64) uintptr {
		return call("cuMemGetInfo_v2", context, func(m *Machine) Code { *free, *total = m.Card.Memory-m.used, m.Card.Memory; return 0 })
	},
	"cuMemAlloc_v2": func(address *simgpu.Address, bytes uintptr) uintptr {
		return call("cuMemAlloc_v2", context, func(m *Machine) Code { return m.alloc(address, int64(bytes)) })
	},
	"cuMemFree_v2": func(address uint64) uintptr {
		return call("cuMemFree_v2", context, func(m *Machine) Code { return m.free(simgpu.Address(address)) })
	},
	"cuMemHostAlloc": func(address *unsafe.Pointer, bytes uintptr, flags uint32) uintptr {
		return call("cuMemHostAlloc", context, func(m *Machine) Code {
			if bytes == 0 {
				return InvalidValue
			}
			memory := make([]uint64, (bytes+7)/8)
			*address = unsafe.Pointer(&memory[0])
			m.pinned[uintptr(*address)] = unsafe.Slice((*byte)(*address), bytes)
			return 0
		})
	},
	"cuMemFreeHost": func(address uintptr) uintptr {
		return call("cuMemFreeHost", context, func(m *Machine) Code {
			if m.pinned[address] == nil {
				return InvalidValue
			}
			code := m.finish()
			delete(m.pinned, address)
			return code
		})
	},
	"cuMemcpyHtoDAsync_v2": func(to uint64, from *byte, bytes uintptr, stream handle) uintptr {
		return call("cuMemcpyHtoDAsync_v2", context, func(m *Machine) Code {
			return m.upload(simgpu.Address(to), unsafe.Slice(from, bytes), stream)
		})
	},
	"cuMemcpyDtoHAsync_v2": func(to *byte, from uint64, bytes uintptr, stream handle) uintptr {
		return call("cuMemcpyDtoHAsync_v2", context, func(m *Machine) Code {
			return m.download(unsafe.Slice(to, bytes), simgpu.Address(from), stream)
		})
	},
	"cuMemcpyDtoDAsync_v2": func(to, from uint64, bytes uintptr, stream handle) uintptr {
		return call("cuMemcpyDtoDAsync_v2", context, func(m *Machine) Code {
			return m.enqueue(stream, func() error {
				return m.memory.Copy(simgpu.Address(to), simgpu.Address(from), int(bytes))
			})
		})
	},
	"cuMemsetD32Async": func(to uint64, value uint32, words uintptr, stream handle) uintptr {
		return call("cuMemsetD32Async", context, func(m *Machine) Code {
			return m.enqueue(stream, func() error { return m.fill(simgpu.Address(to), value, int(words)) })
		})
	},
}

func (m *Machine) alloc(address *simgpu.Address, bytes int64) Code {
	switch {
	case m.capturing():
		return m.spoil()
	case bytes == 0:
		return InvalidValue
	case m.used+bytes > m.Card.Memory:
		return OutOfMemory
	}
	*address = m.memory.Alloc(int(bytes))
	m.sizes[*address] = bytes
	m.used += bytes
	return 0
}

// free waits for all work, as the driver does.
func (m *Machine) free(address simgpu.Address) Code {
	bytes, ok := m.sizes[address]
	if !ok {
		return InvalidValue
	}
	if m.capturing() {
		return m.spoil()
	}
	code := m.finish()
	delete(m.sizes, address)
	m.used -= bytes
	if err := m.memory.Free(address); err != nil {
		return InvalidValue
	}
	return code
}

// isPinned reports whether host memory lies in what was pinned.
func (m *Machine) isPinned(memory []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	for start, pinned := range m.pinned {
		if start <= at && at+uintptr(len(memory)) <= start+uintptr(len(pinned)) {
			return true
		}
	}
	return false
}

// upload copies from pinned memory when the stream comes to it; from other memory it takes what is there now.
func (m *Machine) upload(to simgpu.Address, from []byte, s handle) Code {
	if !m.isPinned(from) {
		if m.capturing() {
			return m.spoil()
		}
		from = append([]byte(nil), from...)
	}
	return m.enqueue(s, func() error { return m.memory.Write(to, from) })
}

// download waits for the stream unless the memory is pinned.
func (m *Machine) download(to []byte, from simgpu.Address, s handle) Code {
	pinned := m.isPinned(to)
	if !pinned && m.capturing() {
		return m.spoil()
	}
	code := m.enqueue(s, func() error {
		data, err := m.memory.Download(from, len(to))
		copy(to, data)
		return err
	})
	if code != 0 || pinned {
		return code
	}
	return m.drain(m.streams[s])
}

func (m *Machine) fill(to simgpu.Address, value uint32, words int) error {
	data := make([]byte, 4*words)
	for i := range data {
		data[i] = byte(value >> (8 * (i % 4)))
	}
	return m.memory.Write(to, data)
}
