package kernel

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// TestPlantedBugs plants the bugs that products of tensor cores are known for into the text of one that is right, and asks for what the
// simulator says: a fault that names the instruction, or, where nothing is done that must not be, a wrong result and the count of
// conflicts. Package simgpu plants the other kinds into kernels of a few instructions.
func TestPlantedBugs(t *testing.T) {
	const rows, columns, depth = 70, 40, 200 // no multiples of the tile's
	l := Linear{Tile: testTiles[1]}
	x, w := numbers(rows*depth, 1), numbers(columns*depth, 0.3)
	j := job{kernel: l.Kernel(), grid: l.Grid(rows, columns), shared: l.Shared(), arguments: []any{
		out{rows * columns, compute.F16}, rows, columns, in{x, compute.F16}, in{w, compute.F16}, depth,
	}}
	right, stats := j.run(t)
	if stats.Conflicts != 0 {
		t.Fatalf("without a bug there are %d conflicts", stats.Conflicts)
	}
	main := strings.Index(j.kernel.Text(), "cp.async.commit_group") // behind it the products' own addresses are found
	for name, bug := range map[string]struct {
		find, plant string
		at, fault   string // the instruction that is named, and what is said of it
		conflicts   bool
	}{
		"bar.sync left out": {`\tbar\.sync 0;\n`, "", "ldmatrix",
			"was never written|was written by warp . since the last barrier|is still being copied to by warp", false},
		"wait_group one group late": {`(wait_group) 1;`, "$1 2;", "ldmatrix", "is still being copied to by warp", false},
		"tail rows unguarded": {`and\.pred (%p\d+), %p\d+, (%p\d+);(\s+selp\.b32 %r\d+, 16, 0)`, "and.pred $1, $2, $2;$3", "cp.async",
			"16 bytes at 0x.* are outside every allocation", false},
		"swizzled on write, not on read": {`xor\.b32 (%r\d+), (%r\d+), %r\d+;`, "xor.b32 $1, $2, 0;", "", "", true},
		"halves of B in the other order": {`\{(%r\d+), (%r\d+)\}, (\{%f)`, "{$2, $1}, $3", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			before, behind := j.kernel.Text()[:main], j.kernel.Text()[main:]
			find := regexp.MustCompile(bug.find)
			planted := find.ReplaceAllString(behind, bug.plant)
			if planted == behind {
				t.Fatalf("the kernel has no %s", bug.find)
			}
			for seed := range uint32(3) {
				have, stats, err := j.launch(t, before+planted, seed)
				if bug.fault != "" {
					f, ok := errors.AsType[*simgpu.Fault](err)
					if !ok || f.Line == 0 || !strings.HasPrefix(f.Text, bug.at) || !regexp.MustCompile(bug.fault).MatchString(f.What) {
						t.Errorf("seed %d: have %v, want %s: %s", seed, err, bug.at, bug.fault)
					}
					continue
				}
				if err != nil || distance(have, right) < 0.9 || (stats.Conflicts > 0) != bug.conflicts {
					t.Errorf("seed %d: %v, relative error %.2g, %d conflicts", seed, err, distance(have, right), stats.Conflicts)
				}
			}
		})
	}
}
