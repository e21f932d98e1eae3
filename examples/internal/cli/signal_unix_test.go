//go:build unix

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram is the environment variable by which the test binary knows that it is the program of these tests.
const asProgram = "ATELIER_CLI_TEST"

// TestMain is a program that saves something when it is told to end, or does not end at all, where the tests start it as one.
func TestMain(m *testing.M) {
	mode := os.Getenv(asProgram)
	if mode == "" {
		os.Exit(m.Run())
	}
	Main("work", func(ctx context.Context, _ []string, out, log io.Writer) error {
		fmt.Fprintln(out, "ready")
		switch mode {
		case "hang":
			time.Sleep(time.Hour)
		case "talk":
			for range 100 {
				fmt.Fprintln(out, "progress")
				fmt.Fprintln(log, "progress")
			}
			return os.WriteFile(os.Args[1], []byte("saved"), 0o666)
		case "print":
			return nil
		}
		<-ctx.Done()
		fmt.Fprintln(out, "saved")
		return context.Cause(ctx)
	})
}

// start starts the program and waits until it works.
func start(t *testing.T, mode string, args ...string) (p *exec.Cmd, output io.ReadCloser) {
	t.Helper()
	p = exec.CommandContext(t.Context(), os.Args[0], args...)
	p.Env = append(os.Environ(), asProgram+"="+mode)
	output, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return p, output
}

// TestSignals ends programs as terminals, shells, system shutdowns and lost connections do: they have time to save.
func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		p, output := start(t, "work")
		if err := p.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		printed, _ := io.ReadAll(output)
		p.Wait() // says nothing that the status does not
		if status := p.ProcessState.ExitCode(); status != Interrupted || !strings.Contains(string(printed), "saved") {
			t.Errorf("%v: status %d, printed %q; want %d and what was saved", s, status, printed, Interrupted)
		}
	}
}

// TestSecondSignal wants a program that waits an hour for something to end at the second Ctrl-C.
func TestSecondSignal(t *testing.T) {
	p, _ := start(t, "hang")
	for range 2 {
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // two that come at once may count as one
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case <-ended:
		if status := p.ProcessState.ExitCode(); status != Interrupted {
			t.Errorf("status %d, want %d", status, Interrupted)
		}
	case <-time.After(time.Minute):
		p.Process.Kill()
		t.Error("it still runs")
	}
}

// TestStylesPipe: a named pipe in place of a file is an error, and nobody waits for it.
func TestStylesPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "styles.csv")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStyles(pipe); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("the error is %v", err)
	}
}

// TestNobodyReads closes the pipe that a program prints to: it works on to its end.
func TestNobodyReads(t *testing.T) {
	saved := t.TempDir() + "/saved"
	p, output := start(t, "talk", saved)
	output.Close()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(saved); err != nil {
		t.Error(err)
	}
}

// TestFullOutput prints to a device without room: a program that did all else is said to have failed, as scripts have to know.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer full.Close()
	p := exec.CommandContext(t.Context(), os.Args[0])
	p.Env, p.Stdout = append(os.Environ(), asProgram+"=print"), full
	var log strings.Builder
	p.Stderr = &log
	if err := p.Run(); p.ProcessState.ExitCode() != 1 || !strings.Contains(log.String(), "writing to the standard output: write /dev/stdout: no space left") {
		t.Errorf("%v, and it says %q", err, log.String())
	}
}
