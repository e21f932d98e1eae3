// Package program is test support: it starts the program that a test binary is made from as a process of its own, as a
// shell does, and interrupts it as a terminal does.
package program

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// started is the environment variable by which a test binary knows that Start has called it, and Started the variable as it is set then.
const (
	started = "ATELIER_STARTED_AS_PROGRAM"
	Started = started + "=1"
)

// Main is what TestMain of a program's tests does: it is the program where Start has called it, and runs the tests otherwise.
func Main(m *testing.M, main func()) {
	if os.Getenv(started) == "" {
		os.Exit(m.Run())
	}
	main()
	os.Exit(0)
}

// Process is a program that runs, or did.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	output io.Reader
	log    strings.Builder
}

// Start starts the program with arguments, in the tests' folder. It is killed when the test ends.
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	if err := console(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, cmd: exec.CommandContext(t.Context(), self, args...)}
	p.cmd.Env = append(os.Environ(), Started)
	if p.output, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Await returns when the program has printed a text, with the rest of the line.
func (p *Process) Await(text string) (rest string) {
	p.t.Helper()
	return p.AwaitNth(text, 1)
}

// AwaitNth is Await for the nth time that the text is printed.
func (p *Process) AwaitNth(text string, n int) (rest string) {
	p.t.Helper()
	for p.read() {
		if parts := strings.SplitN(p.log.String(), text, n+1); len(parts) == n+1 {
			if rest, _, whole := strings.Cut(parts[n], "\n"); whole {
				return rest
			}
		}
	}
	p.t.Fatalf("it ended without printing %q %d times:\n%s", text, n, p.log.String())
	return ""
}

// Drop takes what the program prints from here on without keeping it, so that it never waits for somebody to read.
func (p *Process) Drop() { go io.Copy(io.Discard, p.output) }

// ID is the process's, as the system has it.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Kill ends the program as a power cut does.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait() // says that it was killed
}

// Interrupt does what Ctrl-C does.
func (p *Process) Interrupt() {
	p.t.Helper()
	if err := interrupt(p.cmd.Process); err != nil {
		p.t.Fatal(err)
	}
}

// End waits for the program and returns its exit status and all that it has printed.
func (p *Process) End() (status int, log string) {
	for p.read() {
	}
	p.cmd.Wait() // says nothing that the status does not
	return p.cmd.ProcessState.ExitCode(), p.log.String()
}

// read takes what the program has printed, until there will be no more.
func (p *Process) read() bool {
	b := make([]byte, 4096)
	n, err := p.output.Read(b)
	p.log.Write(b[:n])
	return err == nil
}
