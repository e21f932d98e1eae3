package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// busyVariable is set for processes that bench starts of itself to keep the machine busy.
const busyVariable = "ATELIER_BENCH_BUSY"

// keepBusy says that it is there, computes from the first line of in until that ends, as it does with the process that holds the other end, and says
// for how many seconds it did.
func keepBusy(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, "here")
	lines := bufio.NewReader(in)
	if _, err := lines.ReadString('\n'); err != nil {
		return
	}
	began, end := clock(), make(chan struct{})
	go func() {
		defer close(end)
		io.Copy(io.Discard, lines)
	}()
	for x := 1.0; ; {
		for range 1 << 20 {
			x = x*0.999 + 0.001
		}
		select {
		case <-end:
			fmt.Fprintln(out, clock()-began)
			return
		default:
		}
	}
}

// crowd is busy processes.
type crowd []busy

// busy is one of them.
type busy struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// gather starts n busy processes, which begin when all are there.
func gather(n int) (c crowd, err error) {
	defer func() {
		if err != nil {
			c.disperse()
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return c, err
	}
	for range n {
		b := busy{Cmd: exec.Command(program)}
		b.Env = append(os.Environ(), busyVariable+"=1")
		if b.in, err = b.StdinPipe(); err != nil {
			return c, err
		}
		out, err := b.StdoutPipe()
		if err != nil {
			return c, err
		}
		b.out = bufio.NewReader(out)
		if err := b.Start(); err != nil {
			return c, err
		}
		c = append(c, b)
	}
	for _, b := range c {
		if _, err := b.out.ReadString('\n'); err != nil {
			return c, fmt.Errorf("a busy process: %w", err)
		}
	}
	for _, b := range c {
		if _, err := fmt.Fprintln(b.in); err != nil {
			return c, fmt.Errorf("a busy process: %w", err)
		}
	}
	return c, nil
}

// disperse ends the processes and tells how many processors they had, on average, while they computed.
func (c crowd) disperse() (processors float64, err error) {
	for _, b := range c {
		err = errors.Join(err, b.in.Close())
	}
	for _, b := range c {
		var seconds float64
		_, e := fmt.Fscan(b.out, &seconds)
		err = errors.Join(err, e, b.Wait())
		processors += ratio((b.ProcessState.UserTime() + b.ProcessState.SystemTime()).Seconds(), seconds)
	}
	return processors, err
}

// numbers reads an option of numbers from 1 to 1024, none by default.
func numbers(name, text string) (all []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > 1024 {
			return nil, fmt.Errorf("-%s is %q, want numbers from 1 to 1024 with commas between", name, text)
		}
		all = append(all, n)
	}
	return all, nil
}
