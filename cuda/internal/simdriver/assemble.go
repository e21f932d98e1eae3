package simdriver

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// assembly is text on its way to code.
type assembly struct {
	values *[2]uintptr // of the log
	ptx    string
	code   []byte
}

// elf is what code begins with. It is followed by the chip that it is for, and the text it was made of.
const elf = "\x7fELF"

// chip names the card and the driver that code is for.
func (m *Machine) chip() string {
	return fmt.Sprintf("sm_%d by %d\n", m.Card.Capability, m.Card.Driver)
}

// ofAssembly are the functions that make code.
var ofAssembly = map[string]any{
	"cuLinkCreate_v2": func(count uint32, options *[2]int32, values *[2]uintptr, state *handle) uintptr {
		return call("cuLinkCreate_v2", context, func(m *Machine) Code {
			*state = handle(m.Keep(&assembly{values: values}))
			return 0
		})
	},
	"cuLinkAddData_v2": func(state handle, kind int32, data *byte, bytes uintptr, name *byte, count uint32, options, values uintptr) uintptr {
		return call("cuLinkAddData_v2", context, func(m *Machine) Code {
			a, ok := m.objects[state].(*assembly)
			ptx := text(data)
			if !ok || kind != 1 || len(ptx)+1 != int(bytes) {
				return InvalidValue
			}
			if _, err := assemble(ptx); err != nil {
				tell(a.values, err)
				return InvalidPTX
			}
			a.ptx = ptx
			return 0
		})
	},
	"cuLinkComplete": func(state handle, code **byte, bytes *uintptr) uintptr {
		return call("cuLinkComplete", context, func(m *Machine) Code {
			a, ok := m.objects[state].(*assembly)
			if !ok || a.ptx == "" {
				return InvalidValue
			}
			a.code = []byte(elf + m.chip() + a.ptx + "\x00")
			*code, *bytes = &a.code[0], uintptr(len(a.code))
			return 0
		})
	},
	"cuLinkDestroy": func(state handle) uintptr {
		return call("cuLinkDestroy", context, func(m *Machine) Code {
			if a, ok := m.objects[state].(*assembly); ok {
				clear(a.code) // whoever kept an address into it sees that
			}
			if !m.Drop(uintptr(state)) {
				return InvalidHandle
			}
			return 0
		})
	},
}

// parsed keeps kernels, which are read often: each machine of a test loads the same.
var parsed sync.Map

// assemble reads a module's text.
func assemble(ptx string) (*simgpu.Kernel, error) {
	if k, ok := parsed.Load(ptx); ok {
		return k.(*simgpu.Kernel), nil
	}
	k, err := simgpu.Parse(ptx)
	if err == nil {
		parsed.Store(ptx, k)
	}
	return k, err
}

// tell writes an error to a log.
func tell(values *[2]uintptr, err error) {
	log := unsafe.Slice(*(**byte)(unsafe.Pointer(&values[0])), int(values[1]))
	copy(log[:len(log)-1], err.Error())
}
