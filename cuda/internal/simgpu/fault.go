package simgpu

import "fmt"

// Fault is something that a kernel must not do.
type Fault struct {
	Kernel string
	Block  [3]int
	Warp   int
	Line   int    // of the text
	Text   string // what it says there
	What   string // what was wrong
}

// Error names the place and what was wrong.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s, block %v, warp %d, line %d: %s: %s", f.Kernel, f.Block, f.Warp, f.Line, f.Text, f.What)
}

// fail ends the launch with a fault at the warp's place.
func (w *warp) fail(format string, args ...any) {
	in := w.block.kernel.code[w.at.pc]
	panic(&Fault{w.block.kernel.Name, w.block.index, w.id, in.line, in.text, fmt.Sprintf(format, args...)})
}
