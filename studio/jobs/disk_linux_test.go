package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
)

// TestDiskFull fills the disk of a queue in a folder: a job fails with the reason or waits, nothing that was stored is lost, and all goes on when
// there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	q := open(t, filepath.Join(dir, "queue"))
	defer func() { close1(t, q) }()
	work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
		return task.Save(ctx, "0.png", bytes.NewReader(make([]byte, 2<<20)))
	})
	before := until(t, q, submit(t, q, jobs.Job{}).ID, ended)
	junk := filepath.Join(dir, "junk")
	for size := 1 << 20; size >= 1<<10; {
		f, err := os.OpenFile(junk, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
		f.Close()
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	j, err := q.Submit(ctx, jobs.Job{Kind: "draw"})
	if err == nil {
		t.Logf("a job was taken on the full disk: %s", j.ID)
	} else if !errors.Is(err, jobs.ErrFull) && !errors.Is(err, jobs.ErrUnreachable) {
		t.Errorf("a job on the full disk: %v", err)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	var next jobs.Job
	for end := time.Now().Add(time.Minute); next.State != jobs.Done; time.Sleep(100 * time.Millisecond) { // until the queue knows that there is room
		if next, err = q.Submit(t.Context(), jobs.Job{Kind: "draw"}); err == nil {
			next = until(t, q, next.ID, ended)
		}
		if time.Now().After(end) {
			t.Fatalf("with room again the job is %+v, %v", next, err)
		}
	}
	for _, j := range []jobs.Job{before, next} {
		if r, err := q.Result(t.Context(), j.ID, "0.png"); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
	}
}
