package program_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, talk) }

// talk prints more than a pipe holds, and then makes a file of the name given.
func talk() {
	line := strings.Repeat("x", 99)
	fmt.Println("begun: now")
	for range 10000 {
		fmt.Println(line)
	}
	if err := os.WriteFile(os.Args[1], nil, 0o666); err != nil {
		fmt.Println(err)
	}
	fmt.Println("begun: again")
}

// TestTalkative has a program that prints much come to its end while nobody asks for what it prints.
func TestTalkative(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made")
	p := program.Start(t, path)
	if rest := p.Await("begun: "); rest != "now" {
		t.Errorf("it has begun %q", rest)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it stands still")
		}
	}
	if rest := p.AwaitNth("begun: ", 2); rest != "again" {
		t.Errorf("the second time it has begun %q", rest)
	}
	if status, log := p.End(); status != 0 || len(log) < 1000000 {
		t.Errorf("it exits with %d and has printed %d bytes", status, len(log))
	}
}
