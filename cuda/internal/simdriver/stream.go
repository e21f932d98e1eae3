package simdriver

// stream is a queue of work.
type stream struct {
	queue   []work
	capture *graph // what is recorded instead of queued
}

// work is done in a stream's order.
type work struct {
	do     func() error
	record *event // passes this event
	wait   *event // waits until this one was passed so many times
	passes int
}

// event is a point in streams.
type event struct {
	recorded, passed int
	at               float32 // milliseconds
}

// ofStreams are the functions about streams and events.
var ofStreams = map[string]any{
	"cuStreamCreate": func(s *handle, flags uint32) uintptr {
		return call("cuStreamCreate", context, func(m *Machine) Code {
			*s = m.new()
			m.streams[*s] = new(stream)
			return 0
		})
	},
	"cuStreamDestroy_v2": func(s handle) uintptr {
		return call("cuStreamDestroy_v2", context, func(m *Machine) Code {
			return m.of(s, func(q *stream) Code {
				code := m.drain(q)
				delete(m.streams, s)
				return code
			})
		})
	},
	"cuStreamSynchronize": func(s handle) uintptr {
		return call("cuStreamSynchronize", context, func(m *Machine) Code {
			return m.of(s, func(q *stream) Code {
				if q.capture != nil {
					return m.spoil()
				}
				return m.drain(q)
			})
		})
	},
	"cuStreamWaitEvent": func(s, e handle, flags uint32) uintptr {
		return call("cuStreamWaitEvent", context, func(m *Machine) Code {
			return m.at(e, func(point *event) Code { return m.add(s, work{wait: point, passes: point.recorded}) })
		})
	},
	"cuEventCreate": func(e *handle, flags uint32) uintptr {
		return call("cuEventCreate", context, func(m *Machine) Code {
			*e = m.new()
			m.events[*e] = new(event)
			return 0
		})
	},
	"cuEventRecord": func(e, s handle) uintptr {
		return call("cuEventRecord", context, func(m *Machine) Code {
			return m.at(e, func(point *event) Code {
				point.recorded++
				return m.add(s, work{record: point})
			})
		})
	},
	"cuEventSynchronize": func(e handle) uintptr {
		return call("cuEventSynchronize", context, func(m *Machine) Code {
			return m.at(e, func(point *event) Code { return m.until(func() bool { return point.passed >= point.recorded }) })
		})
	},
	"cuEventElapsedTime": func(milliseconds *float32, start, end handle) uintptr {
		return call("cuEventElapsedTime", context, func(m *Machine) Code {
			return m.at(start, func(from *event) Code {
				return m.at(end, func(to *event) Code {
					if from.passed == 0 || to.passed == 0 {
						return InvalidHandle
					}
					*milliseconds = to.at - from.at
					return 0
				})
			})
		})
	},
	"cuEventDestroy_v2": func(e handle) uintptr {
		return call("cuEventDestroy_v2", context, func(m *Machine) Code {
			return m.at(e, func(*event) Code { delete(m.events, e); return 0 })
		})
	},
}

// of finds a stream.
func (m *Machine) of(s handle, do func(q *stream) Code) Code {
	q, ok := m.streams[s]
	if !ok {
		return InvalidHandle
	}
	return do(q)
}

// at finds an event.
func (m *Machine) at(e handle, do func(point *event) Code) Code {
	point, ok := m.events[e]
	if !ok {
		return InvalidHandle
	}
	return do(point)
}

// add gives a stream work, or records it.
func (m *Machine) add(s handle, w work) Code {
	return m.of(s, func(q *stream) Code {
		if q.capture != nil {
			q.capture.work = append(q.capture.work, w)
		} else {
			q.queue = append(q.queue, w)
		}
		return 0
	})
}

func (m *Machine) enqueue(s handle, do func() error) Code { return m.add(s, work{do: do}) }

// work does the next of what waits in some stream, and reports whether there was anything that may be done.
func (m *Machine) work() bool {
	var ready []*stream
	for _, h := range sorted(m.streams) {
		if q := m.streams[h]; len(q.queue) > 0 && (q.queue[0].wait == nil || q.queue[0].wait.passed >= q.queue[0].passes) {
			ready = append(ready, q)
		}
	}
	if len(ready) == 0 || m.lost != 0 {
		return false
	}
	q := ready[m.random.IntN(len(ready))]
	w := q.queue[0]
	q.queue = q.queue[1:]
	if w.record != nil {
		w.record.passed++
		w.record.at = float32(m.launches)
	}
	if w.do != nil {
		if err := w.do(); err != nil {
			m.fault(err)
		}
	}
	return true
}

// until works until something holds. Where it never will, waiting would not end.
func (m *Machine) until(holds func() bool) Code {
	for !holds() {
		if !m.work() {
			if m.lost == 0 {
				m.lost = LaunchFailed
			}
			return m.lost
		}
	}
	return m.lost
}

// drain does all that a stream was given.
func (m *Machine) drain(q *stream) Code {
	return m.until(func() bool { return len(q.queue) == 0 })
}

// finish does all that every stream was given.
func (m *Machine) finish() Code {
	return m.until(func() bool {
		for _, q := range m.streams {
			if len(q.queue) > 0 {
				return false
			}
		}
		return true
	})
}
