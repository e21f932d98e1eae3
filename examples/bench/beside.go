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

// keepBusy says that it has begun, and computes until in ends, which it does with the process that holds the other end.
func keepBusy(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, "busy")
	end := make(chan struct{})
	go func() {
		defer close(end)
		io.Copy(io.Discard, in)
	}()
	for x := 1.0; ; {
		for range 1 << 20 {
			x = x*0.999 + 0.001
		}
		select {
		case <-end:
			return
		default:
		}
	}
}

// crowd is busy processes.
type crowd struct {
	all    []*exec.Cmd
	inputs []io.Closer
	began  float64
}

// gather starts n busy processes and waits until all of them compute.
func gather(n int) (c *crowd, err error) {
	c = new(crowd)
	defer func() {
		if err != nil {
			c.disperse()
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return c, err
	}
	var outputs []io.Reader
	for range n {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), busyVariable+"=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			return c, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return c, err
		}
		if err := cmd.Start(); err != nil {
			return c, err
		}
		c.all, c.inputs, outputs = append(c.all, cmd), append(c.inputs, in), append(outputs, out)
	}
	for _, out := range outputs {
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return c, fmt.Errorf("a busy process: %w", err)
		}
	}
	c.began = clock()
	return c, nil
}

// disperse ends the processes and tells how many processors they had, on average, since they computed.
func (c *crowd) disperse() (processors float64, err error) {
	elapsed := clock() - c.began
	for i, cmd := range c.all {
		err = errors.Join(err, c.inputs[i].Close(), cmd.Wait())
		processors += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	return ratio(processors, elapsed), err
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
