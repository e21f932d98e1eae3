package simdriver

// theContext is the handle of the card's primary context, the only one there is.
const theContext handle = 1 << 16

// ofDriver are the functions about the driver, the card and its context.
var ofDriver = map[string]any{
	"cuInit": func(flags uint32) uintptr {
		return call("cuInit", nothing, func(m *Machine) Code { m.started = true; return 0 })
	},
	"cuDriverGetVersion": func(version *int32) uintptr {
		return call("cuDriverGetVersion", nothing, func(m *Machine) Code { *version = int32(m.Card.Driver); return 0 })
	},
	"cuGetErrorName": func(code int32, text **byte) uintptr {
		return call("cuGetErrorName", nothing, func(m *Machine) Code { return describe(Code(code), text) })
	},
	"cuGetErrorString": func(code int32, text **byte) uintptr {
		return call("cuGetErrorString", nothing, func(m *Machine) Code { return describe(Code(code), text) })
	},
	"cuDeviceGetCount": func(count *int32) uintptr {
		return call("cuDeviceGetCount", driver, func(m *Machine) Code { *count = 1; return 0 })
	},
	"cuDeviceGet": func(device *int32, ordinal int32) uintptr {
		return call("cuDeviceGet", driver, func(m *Machine) Code { *device = ordinal; return onlyCard(ordinal) })
	},
	"cuDeviceGetName": func(name *[256]byte, bytes, device int32) uintptr {
		return call("cuDeviceGetName", driver, func(m *Machine) Code {
			copy(name[:bytes], m.Card.Name+"\x00")
			return onlyCard(device)
		})
	},
	"cuDeviceGetUuid_v2": func(uuid *[16]byte, device int32) uintptr {
		return call("cuDeviceGetUuid_v2", driver, func(m *Machine) Code { copy(uuid[:], m.Card.Name); return onlyCard(device) })
	},
	"cuDeviceTotalMem_v2": func(bytes *int64, device int32) uintptr {
		return call("cuDeviceTotalMem_v2", driver, func(m *Machine) Code { *bytes = m.Card.Memory; return onlyCard(device) })
	},
	"cuDeviceGetAttribute": func(value *int32, attribute, device int32) uintptr {
		return call("cuDeviceGetAttribute", driver, func(m *Machine) Code {
			v, ok := m.Card.attributes()[attribute]
			if !ok {
				return InvalidValue
			}
			*value = int32(v)
			return onlyCard(device)
		})
	},
	"cuDevicePrimaryCtxRetain": func(context *handle, device int32) uintptr {
		return call("cuDevicePrimaryCtxRetain", driver, func(m *Machine) Code {
			m.retained++
			*context = theContext
			return onlyCard(device)
		})
	},
	"cuDevicePrimaryCtxRelease_v2": func(device int32) uintptr {
		return call("cuDevicePrimaryCtxRelease_v2", driver, func(m *Machine) Code { return m.release(device) })
	},
	"cuCtxSetCurrent": func(context handle) uintptr {
		return call("cuCtxSetCurrent", driver, func(m *Machine) Code { return m.setCurrent(context) })
	},
	"cuCtxSynchronize": func() uintptr {
		return call("cuCtxSynchronize", context, func(m *Machine) Code {
			if m.capturing() {
				return CaptureUnsupported
			}
			return m.finish()
		})
	},
}

func describe(code Code, text **byte) Code {
	w, ok := words[code]
	if !ok {
		return InvalidValue
	}
	*text = &w[0]
	return 0
}

// onlyCard refuses any card but the first.
func onlyCard(ordinal int32) Code {
	if ordinal != 0 {
		return InvalidDevice
	}
	return 0
}

func (m *Machine) setCurrent(context handle) Code {
	switch {
	case context == 0:
		delete(m.current, thread())
	case context == theContext && m.retained > 0:
		m.current[thread()] = true
	default:
		return InvalidContext
	}
	return 0
}

// release gives the context back. The last one to do so ends it with all that is in it, and with it what a fault did.
func (m *Machine) release(device int32) Code {
	if m.retained == 0 {
		return InvalidContext
	}
	if m.retained--; m.retained == 0 {
		m.finish()
		m.lost = 0
		clear(m.current)
	}
	return onlyCard(device)
}
