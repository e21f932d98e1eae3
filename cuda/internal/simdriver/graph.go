package simdriver

// graph is work that was recorded.
type graph struct {
	work    []work
	spoiled bool // something was called in between that must not be
}

// ofGraphs are the functions about recorded work.
var ofGraphs = map[string]any{
	"cuStreamBeginCapture_v2": func(s handle, mode int32) uintptr {
		return call("cuStreamBeginCapture_v2", context, func(m *Machine) Code {
			return m.of(s, func(q *stream) Code {
				if q.capture != nil {
					return CaptureUnsupported
				}
				q.capture = new(graph)
				return 0
			})
		})
	},
	"cuStreamEndCapture": func(s handle, g *handle) uintptr {
		return call("cuStreamEndCapture", context, func(m *Machine) Code {
			return m.of(s, func(q *stream) Code {
				recorded := q.capture
				q.capture = nil
				switch {
				case recorded == nil:
					return InvalidValue
				case recorded.spoiled:
					*g = 0
					return CaptureInvalidated
				}
				*g = m.new()
				m.graphs[*g] = recorded
				return 0
			})
		})
	},
	"cuGraphInstantiateWithFlags": func(exec *handle, g handle, flags uint64) uintptr {
		return call("cuGraphInstantiateWithFlags", context, func(m *Machine) Code {
			recorded, ok := m.graphs[g]
			if !ok {
				return InvalidHandle
			}
			*exec = m.new()
			m.execs[*exec] = recorded
			return 0
		})
	},
	"cuGraphLaunch": func(exec, s handle) uintptr {
		return call("cuGraphLaunch", context, func(m *Machine) Code {
			g, ok := m.execs[exec]
			if !ok {
				return InvalidHandle
			}
			for _, w := range g.work {
				if code := m.add(s, w); code != 0 {
					return code
				}
			}
			return 0
		})
	},
	"cuGraphExecDestroy": func(exec handle) uintptr {
		return call("cuGraphExecDestroy", context, func(m *Machine) Code { return destroy(m.execs, exec) })
	},
	"cuGraphDestroy": func(g handle) uintptr {
		return call("cuGraphDestroy", context, func(m *Machine) Code { return destroy(m.graphs, g) })
	},
}

// destroy takes recorded work away.
func destroy(from map[handle]*graph, g handle) Code {
	if from[g] == nil {
		return InvalidHandle
	}
	delete(from, g)
	return 0
}

// capturing reports whether a stream is being recorded.
func (m *Machine) capturing() bool {
	for _, q := range m.streams {
		if q.capture != nil {
			return true
		}
	}
	return false
}

// spoil makes what is being recorded worthless.
func (m *Machine) spoil() Code {
	for _, q := range m.streams {
		if q.capture != nil {
			q.capture.spoiled = true
		}
	}
	return CaptureUnsupported
}
