package simdriver

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// kernel is a function of a module, with what it may have.
type kernel struct {
	code   *simgpu.Kernel
	shared int // bytes of dynamic shared memory that a launch may ask for
}

// unasked is how much shared memory a launch may have without asking before.
const unasked = 48 << 10

// ofModules are the functions about code and its launches.
var ofModules = map[string]any{
	"cuModuleLoadDataEx": func(module *handle, image *byte, count uint32, options *[2]int32, values *[2]uintptr) uintptr {
		return call("cuModuleLoadDataEx", context, func(m *Machine) Code { return m.load(module, text(image), values) })
	},
	"cuModuleUnload": func(module handle) uintptr {
		return call("cuModuleUnload", context, func(m *Machine) Code {
			code, ok := m.modules[module]
			if !ok {
				return InvalidHandle
			}
			failed := m.finish()
			delete(m.modules, module)
			for h, k := range m.kernels {
				if k.code == code {
					delete(m.kernels, h)
				}
			}
			return failed
		})
	},
	"cuModuleGetFunction": func(function *handle, module handle, name *byte) uintptr {
		return call("cuModuleGetFunction", context, func(m *Machine) Code {
			code, ok := m.modules[module]
			if !ok {
				return InvalidHandle
			}
			if code.Name != text(name) {
				return NotFound
			}
			*function = m.new()
			m.kernels[*function] = &kernel{code, unasked}
			return 0
		})
	},
	"cuFuncSetAttribute": func(function handle, attribute, value int32) uintptr {
		return call("cuFuncSetAttribute", context, func(m *Machine) Code {
			k, ok := m.kernels[function]
			switch {
			case !ok:
				return InvalidHandle
			case attribute != 8 || int(value) > m.Card.Shared:
				return InvalidValue
			}
			k.shared = int(value)
			return 0
		})
	},
	"cuFuncGetAttribute": func(value *int32, attribute int32, function handle) uintptr {
		return call("cuFuncGetAttribute", context, func(m *Machine) Code {
			if m.kernels[function] == nil {
				return InvalidHandle
			}
			*value = map[int32]int32{4: 64}[attribute] // registers; nothing is spilled
			return 0
		})
	},
	"cuLaunchKernel": func(function handle, gx, gy, gz, bx, by, bz, shared uint32, stream handle, arguments *unsafe.Pointer, extra uintptr) uintptr {
		return call("cuLaunchKernel", context, func(m *Machine) Code {
			k, ok := m.kernels[function]
			switch {
			case !ok:
				return InvalidHandle
			case int(bx) != k.code.Threads || by != 1 || bz != 1 || int(shared) > k.shared || extra != 0:
				return InvalidValue
			case min(gx, gy, gz) == 0 || gx >= 1<<31 || max(gy, gz) > 65535:
				return InvalidValue
			}
			l := simgpu.Launch{
				Grid: [3]int{int(gx), int(gy), int(gz)}, Shared: int(shared), Arguments: k.arguments(arguments), Seed: m.random.Uint32(), Off: m.Off, Chip: m.Chip,
			}
			return m.enqueue(stream, func() error {
				m.launches++
				_, err := m.memory.Run(k.code, l)
				return err
			})
		})
	},
}

// arguments copies the values that a launch's addresses point to.
func (k *kernel) arguments(addresses *unsafe.Pointer) (values []uint64) {
	sizes := k.code.Parameters()
	for i, at := range unsafe.Slice(addresses, len(sizes)) {
		if bytes := unsafe.Slice((*byte)(at), sizes[i]); sizes[i] == 8 {
			values = append(values, binary.LittleEndian.Uint64(bytes))
		} else {
			values = append(values, uint64(binary.LittleEndian.Uint32(bytes)))
		}
	}
	return values
}

// load takes code, or assembles text. What is wrong with it is written to the log that was handed in.
func (m *Machine) load(module *handle, image string, values *[2]uintptr) Code {
	switch {
	case m.capturing():
		return m.spoil()
	case m.Card.Capability < 80:
		return NoBinary
	}
	if code, isCode := strings.CutPrefix(image, elf); isCode {
		if image, isCode = strings.CutPrefix(code, m.chip()); !isCode {
			return NoBinary
		}
	}
	code, err := assemble(image)
	if err != nil {
		tell(values, err)
		return InvalidPTX
	}
	own := *code // so that modules of one text are told apart
	*module = m.new()
	m.modules[*module] = &own
	return 0
}

// text is a text of C.
func text(s *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(s), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(s, n))
}
