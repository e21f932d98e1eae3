package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// command runs a program in a folder, with its output in the log. It is interrupted when ctx ends.
func command(ctx context.Context, log io.Writer, folder string, environment []string, name string, args ...string) error {
	fmt.Fprintf(log, "%s %s\n", name, strings.Join(args, " "))
	last := &tail{out: log}
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.Stdout, c.Stderr = folder, append(os.Environ(), environment...), last, last
	c.Cancel = func() error {
		if err := c.Process.Signal(os.Interrupt); err != nil { // Windows has none
			return c.Process.Kill()
		}
		return nil
	}
	c.WaitDelay = 5 * time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, last.text)
	}
	return nil
}

// tail passes on what is written, and keeps the end.
type tail struct {
	out  io.Writer
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(data []byte) (int, error) {
	const most = 1000
	t.text = append(t.text, data...)
	t.text = t.text[max(0, len(t.text)-most):]
	return t.out.Write(data)
}

// build has the go command make a program in the folder.
func (h *hour) build(ctx context.Context, log io.Writer, name string, args ...string) (path string, err error) {
	if path = h.path(name); runtime.GOOS == "windows" {
		path += ".exe"
	}
	args = append([]string{args[0], "-o", path}, args[1:]...)
	return path, command(ctx, log, h.repository, nil, "go", args...)
}

// counts are what tests came to. Equal, Approximate and Different are launches, compared with their simulation.
type counts struct {
	Passed      int      `json:"passed"`
	Skipped     int      `json:"skipped"`
	Failed      []string `json:"failed,omitempty"`
	OnCard      int      `json:"on_card"` // devices opened and launches compared
	Equal       int      `json:"equal,omitzero"`
	Approximate int      `json:"approximate,omitzero"`
	Different   int      `json:"different,omitzero"`
}

// test builds a package's tests and runs those of a pattern on the card, with NVIDIA's libraries if they are there, or without.
func (h *hour) test(folder, pattern string, libraries bool) func(context.Context, io.Writer) (found, error) {
	return func(ctx context.Context, log io.Writer) (found, error) {
		program, err := h.build(ctx, log, filepath.Base(folder)+".test", "test", "-c", "./"+folder)
		if err != nil {
			return found{}, err
		}
		environment := []string{"ATELIER_CUDA_DEVICE=" + strconv.Itoa(h.card)}
		if !libraries {
			environment = append(environment, "ATELIER_CUDA_LIBRARIES=0")
		}
		counting, lines := io.Pipe()
		counted := make(chan *counts)
		go func() { counted <- count(counting) }()
		err = command(ctx, io.MultiWriter(log, lines), filepath.Join(h.repository, filepath.FromSlash(folder)), environment,
			program, "-test.v", "-test.timeout", "60m", "-test.run", pattern)
		lines.Close()
		c := <-counted
		if err == nil && c.OnCard == 0 {
			err = errors.New("the tests passed without touching the card")
		}
		return found{Tests: c}, err
	}
}

var (
	verdict = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	onCard  = regexp.MustCompile(`: on the card: .*?( gives equal bits$|, which approximates|DIFFERS in|$)`)
)

// count reads what tests say.
func count(output io.Reader) *counts {
	c := new(counts)
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		c.line(strings.TrimRight(line, "\r\n"))
		if err != nil {
			return c
		}
	}
}

func (c *counts) line(text string) {
	if m := verdict.FindStringSubmatch(text); m != nil {
		switch m[1] {
		case "PASS":
			c.Passed++
		case "SKIP":
			c.Skipped++
		default:
			c.Failed = append(c.Failed, m[2])
		}
	}
	m := onCard.FindStringSubmatch(text)
	if m == nil {
		return
	}
	c.OnCard++
	switch {
	case strings.Contains(m[1], "equal"):
		c.Equal++
	case strings.Contains(m[1], "approximates"):
		c.Approximate++
	case m[1] != "":
		c.Different++
	}
}
