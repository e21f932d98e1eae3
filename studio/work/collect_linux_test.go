package work_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// diary keeps what a log is told, until somebody reads it.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(b)
}

func (d *diary) says(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Contains(d.text.String(), what)
}

// TestCollectDiskFull fills the disk of the outputs: that a picture cannot be saved is told, nothing half written is left in its place, and it is
// saved, once, when there is room.
func TestCollectDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	s := newStudio(t)
	full, err := library.Open(library.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var log diary
	stop := s.collect(full, slog.NewTextHandler(&log, nil))
	defer stop() // before the disk goes
	s.work("a")
	before := s.submit(work.Draw{Request: small("before", 1), Save: library.Txt2Img})
	s.done(before.ID)
	await(t, "with room a picture is saved", func() bool { return len(outputs(t, dir)) == 1 })
	junk := filepath.Join(dir, "junk")
	fill(t, junk)
	after := s.submit(work.Draw{Request: small("after", 1), Count: 2, Save: library.Txt2Img})
	s.done(after.ID)
	for _, name := range []string{"0.png", "1.png"} {
		await(t, "it is told that there is no room", func() bool {
			return log.says(`level=WARN msg="a result cannot be saved" id=` + after.ID + " result=" + name)
		})
	}
	if !log.says("no space left") {
		t.Error("why is not told")
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("on the full disk there are %q", got)
	}
	s.check(os.Remove(junk))
	await(t, "with room again they are saved", func() bool { saved, _ := full.Saved(after.ID); return len(saved) == 2 })
	stop()
	if got := entries(t, dir); len(got) != 3 || len(outputs(t, dir)) != 3 {
		t.Errorf("saved are %q", got)
	}
}

// entries are all files among the outputs, whatever they are.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "outputs", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fill takes all the room that a disk has.
func fill(t *testing.T, path string) {
	t.Helper()
	for size := 1 << 20; size >= 1; {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
		f.Close()
	}
}
