package cli

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/internal/atomicfile"
)

// Writable finds out before the work that the file of a flag could not be written after it.
func Writable(name, path string) error {
	if err := atomicfile.Check(path); err != nil {
		return fmt.Errorf("-%s %s: %w; choose a file in a folder that exists and can be written to, or make it first", name, path, err)
	}
	return nil
}

// MemoryLimit is how much memory this process may have where a container or a service manager limits it, by a control group of
// Linux; an error where nothing does. Tests replace it.
var MemoryLimit = memlimit.FromCgroup

// Fits refuses work that needs more bytes of memory than this process may have: it would be killed in the midst without a word.
func Fits(need int64) error {
	if limit, err := MemoryLimit(); err == nil && uint64(need) > limit {
		return fmt.Errorf("this needs %s of memory, but the control group of this process (a container's or a service's limit) allows %s: "+
			"raise that limit, or make pictures and batches smaller", terminal.Bytes(need), terminal.Bytes(int64(limit)))
	}
	return nil
}
