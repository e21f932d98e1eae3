//go:build !race

// For the race detector, append allocates twice what it needs (the compiler's append of a make is off), so that nothing here
// could be measured with it; and no goroutine meets another here.

package picture_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
)

// TestMemory: decoding takes no more than was reserved for it, in all that it allocates, for files that are small for what they
// take.
func TestMemory(t *testing.T) {
	paths, err := filepath.Glob("testdata/bomb/*")
	if err != nil || len(paths) < 15 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := picture.Open(path, picture.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := f.Decode(t.Context()); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			const buffers = 1 << 19 // of readers and tables, whatever the size
			if took := int64(after.TotalAlloc - before.TotalAlloc); took > picture.Need(f)+buffers {
				t.Errorf("%d bytes, said to be %d", took, picture.Need(f))
			}
		})
	}
}
