package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/filelock"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	for _, end := range []func(*filelock.Lock) error{(*filelock.Lock).Release, (*filelock.Lock).Remove} {
		lock, err := filelock.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = filelock.Take(path)
		held, ok := errors.AsType[*filelock.HeldError](err)
		if !ok || !strings.Contains(held.Error(), fmt.Sprint("process ", os.Getpid(), " on ")) {
			t.Errorf("the second is told %v", err)
		}
		if err := end(lock); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if _, err := filelock.Take(filepath.Join(t.TempDir(), "none", "x.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	var group sync.WaitGroup
	inside, most, waited := 0, 0, 0
	var mutex sync.Mutex
	for range 4 {
		group.Go(func() {
			lock, err := filelock.Wait(t.Context(), path, func(*filelock.HeldError) { mutex.Lock(); waited++; mutex.Unlock() })
			if err != nil {
				t.Error(err)
				return
			}
			mutex.Lock()
			inside++
			most = max(most, inside)
			mutex.Unlock()
			time.Sleep(20 * time.Millisecond)
			mutex.Lock()
			inside--
			mutex.Unlock()
			if err := lock.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most != 1 || waited == 0 {
		t.Errorf("%d at a time, %d waited", most, waited)
	}
	lock, err := filelock.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Remove()
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, err := filelock.Wait(ctx, path, func(*filelock.HeldError) { cancel(errors.New("enough")) }); err == nil || err.Error() != "enough" {
		t.Errorf("a wait that is given up: %v", err)
	}
}

// TestKilledHolder has another process take the lock and be killed.
func TestKilledHolder(t *testing.T) {
	if path := os.Getenv("FILELOCK_TEST"); path != "" {
		if _, err := filelock.Take(path); err != nil {
			t.Fatal(err)
		}
		fmt.Println("taken")
		time.Sleep(time.Minute)
	}
	path := filepath.Join(t.TempDir(), "x.lock")
	other := exec.Command(os.Args[0], "-test.run=^TestKilledHolder$")
	other.Env = append(os.Environ(), "FILELOCK_TEST="+path)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "taken\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = filelock.Take(path)
	if held, ok := errors.AsType[*filelock.HeldError](err); !ok || !strings.Contains(held.Holder, fmt.Sprint("process ", other.Process.Pid, " ")) {
		t.Errorf("held by another process: %v", err)
	}
	other.Process.Kill()
	other.Wait()
	lock, err := filelock.Take(path)
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	if err := lock.Remove(); err != nil {
		t.Error(err)
	}
}
