package driver

import "unsafe"

// Graph is work that was recorded once and is given to the card as a whole.
type Graph struct {
	*Context
	handle uintptr
}

// Capture records what f gives to the stream, which must be nothing that waits or allocates, and makes a graph of it.
func (s Stream) Capture(f func() error) (Graph, error) {
	const threadLocal = 1
	if err := s.call(cuStreamBeginCapture, s.handle, threadLocal); err != nil {
		return Graph{}, err
	}
	failed := f()
	var recorded uintptr
	err := s.call(cuStreamEndCapture, s.handle, uintptr(unsafe.Pointer(&recorded)))
	if recorded != 0 {
		defer s.call(cuGraphDestroy, recorded)
	}
	if failed != nil {
		return Graph{}, failed
	}
	if err != nil {
		return Graph{}, err
	}
	g := Graph{Context: s.Context}
	err = s.call(cuGraphInstantiate, uintptr(unsafe.Pointer(&g.handle)), recorded, 0)
	return g, err
}

// Replay gives the graph's work to a stream.
func (s Stream) Replay(g Graph) error { return s.repeat(cuGraphLaunch, g.handle, s.handle) }

// Destroy gives the graph back.
func (g Graph) Destroy() error { return g.call(cuGraphExecDestroy, g.handle) }
