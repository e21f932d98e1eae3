package library

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestUnknownNames asks for names that are not known, as a stranger may: the folders are looked through now and then, not for each of them, and
// a file that was added is found in the end.
func TestUnknownNames(t *testing.T) {
	l, err := Open(Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l.rescans.owed = time.Now().Add(time.Hour)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				var missing *NotFoundError
				if _, err := l.Checkpoint("nobody"); !errors.As(err, &missing) {
					t.Errorf("a checkpoint: %v", err)
				}
				if _, err := l.Upscaler("nobody"); !errors.As(err, &missing) {
					t.Errorf("an upscaler: %v", err)
				}
			}
		})
	}
	all.Wait()
	if l.rescans.count != 0 {
		t.Errorf("the folders were looked through %d times within an hour in which they should not", l.rescans.count)
	}
	if err := os.WriteFile(filepath.Join(l.CheckpointDirs()[0], "new.safetensors"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint("new"); err == nil {
		t.Error("a new file is found without looking")
	}
	l.rescans.owed = time.Time{}
	if _, err := l.Checkpoint("new"); err != nil || l.rescans.count != 1 {
		t.Errorf("a new file: %v after %d looks", err, l.rescans.count)
	}
	if owed := time.Until(l.rescans.owed); owed <= 0 || owed > 2*rescanWait {
		t.Errorf("the look is owed for %v", owed)
	}
}
