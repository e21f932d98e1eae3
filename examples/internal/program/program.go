// Package program is test support: it starts the program that a test binary is made from as a process of its own, as a
// shell does, and interrupts it as a terminal does.
package program

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
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
	t   testing.TB
	cmd *exec.Cmd
	out output
}

// output is what a program has printed, taken at once whether somebody waits for it or not: a program that nobody listens to stands still
// when its pipe is full, with 64 kB on Linux and with 4 on Windows.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	ended bool
	news  chan struct{} // closed when there is more, or the program has ended
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.tell(func() { o.text.Write(b) })
	return len(b), nil
}

// tell changes the output and tells who waits.
func (o *output) tell(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
	close(o.news)
	o.news = make(chan struct{})
}

// until is what was printed when that is enough, or when the program has ended.
func (o *output) until(enough func(text string) bool) (text string) {
	for {
		o.mu.Lock()
		text, ended, news := o.text.String(), o.ended, o.news
		o.mu.Unlock()
		if enough(text) || ended {
			return text
		}
		<-news
	}
}

// Start starts the program with arguments, in the tests' folder. When the test ends it is killed, and gone.
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	if err := console(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, cmd: exec.Command(self, args...), out: output{news: make(chan struct{})}}
	p.cmd.Env = append(os.Environ(), Started)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // says nothing that the status does not
		p.out.tell(func() { p.out.ended = true })
	}()
	t.Cleanup(p.Kill)
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
	found := false
	log := p.out.until(func(log string) bool {
		if parts := strings.SplitN(log, text, n+1); len(parts) == n+1 {
			rest, _, found = strings.Cut(parts[n], "\n")
		}
		return found
	})
	if !found {
		p.t.Fatalf("it ended without printing %q %d times:\n%s", text, n, log)
	}
	return rest
}

// ID is the process's, as the system has it.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Kill ends the program as a power cut does, unless it has ended.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.End()
}

// Interrupt does what Ctrl-C does, which a program that has ended does not hear.
func (p *Process) Interrupt() {
	p.t.Helper()
	if err := interrupt(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// End waits for the program and returns its exit status and all that it has printed.
func (p *Process) End() (status int, log string) {
	log = p.out.until(func(string) bool { return false })
	return p.cmd.ProcessState.ExitCode(), log
}
