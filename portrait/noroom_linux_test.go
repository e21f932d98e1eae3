package portrait_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/portrait"
)

// diskFull is what a disk says that has no room left.
var diskFull error = syscall.ENOSPC

// noRoom is the environment variable with the stage from which on TestNoRoom has no room, the job's output and its photos.
const noRoom = "ATELIER_NO_ROOM"

// testNoRoom lets files grow no further than the account of the stages at the beginning of each: the job ends there and says so, and
// started again with room it goes on there, to the same files. The limit is a process's, so each time one of its own is begun.
func testNoRoom(t *testing.T, c portrait.Config, want map[string]string) {
	c.Output = filepath.Join(t.TempDir(), "portraits")
	for _, stage := range portrait.Stages {
		child := exec.Command(os.Args[0], "-test.run=^TestNoRoom$")
		child.Env = append(os.Environ(), noRoom+"="+strings.Join([]string{string(stage), c.Output, c.Photos}, "\n"))
		text, err := child.CombinedOutput()
		if said := fmt.Sprintf("stage %q: no room: true", stage); err != nil || !strings.Contains(string(text), said) {
			t.Fatalf("want %s: %v, %s", said, err, text)
		}
	}
	_, result := finish(t, c)
	same(t, left(t, c, result), want)
}

// TestNoRoom is what testNoRoom begins.
func TestNoRoom(t *testing.T) {
	told := strings.Split(os.Getenv(noRoom), "\n")
	if len(told) != 3 {
		t.Skip("it is run by TestRun, in a process of its own")
	}
	c := smallJob(t)
	c.Output, c.Photos = told[1], told[2]
	signal.Ignore(syscall.SIGXFSZ)
	for e, err := range portrait.Run(t.Context(), c) {
		if b, ok := e.(portrait.StageBegun); ok && b.Stage == portrait.Stage(told[0]) {
			limitFiles(t, c, b.Stage)
		}
		if s, ok := errors.AsType[*portrait.StageError](err); ok {
			fmt.Printf("stage %q: no room: %v\n", s.Stage, errors.Is(err, syscall.EFBIG))
		}
	}
}

// limitFiles leaves room for the note that a stage has begun, and for nothing where that is about as much as all that the stage writes.
func limitFiles(t *testing.T, c portrait.Config, stage portrait.Stage) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 0
	if info, err := os.Stat(filepath.Join(c.Output, "work", "stages.json")); err == nil && stage != portrait.Checking && stage != portrait.Ranking {
		limit.Cur = uint64(info.Size()) + 256
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}
