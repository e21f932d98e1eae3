package cpu

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/bits"
	"runtime"
)

// usual is the number of workers where nobody says otherwise: one for each core that the process may run on, and no more than Go would use, which
// knows a container's share of the machine. A second worker on a core would compete with the first for the same multipliers and caches.
func usual() int {
	n := runtime.GOMAXPROCS(0)
	if c := cores(); c > 0 {
		n = min(n, c)
	}
	return n
}

// sysCores counts the cores of some processors by Linux's description of each: the list of those that share its core. It is 0 where that cannot be read.
func sysCores(system fs.FS, processors []int) int {
	seen := make(map[string]bool)
	for _, p := range processors {
		list, err := fs.ReadFile(system, fmt.Sprintf("cpu%d/topology/thread_siblings_list", p))
		if err != nil {
			return 0
		}
		seen[string(list)] = true
	}
	return len(seen)
}

// relationCore is Windows' number for what is told of cores.
const relationCore = 0

// windowsCores counts the cores in what GetLogicalProcessorInformationEx gives on 64-bit Windows that have a processor in the mask; a mask of 0 has all.
// Records are of a relation and their own size, 4 bytes each; that of a core continues with 22 bytes, the number of masks, and the masks, of 8 bytes and 8 more.
func windowsCores(records []byte, mask uint64) (n int) {
	const masksAt = 32
	for len(records) >= masksAt {
		size := int(binary.LittleEndian.Uint32(records[4:]))
		if size < masksAt || size > len(records) {
			return n
		}
		if binary.LittleEndian.Uint32(records) == relationCore && size >= masksAt+8 {
			if own := binary.LittleEndian.Uint64(records[masksAt:]); mask == 0 || bits.OnesCount64(own&mask) > 0 {
				n++
			}
		}
		records = records[size:]
	}
	return n
}
