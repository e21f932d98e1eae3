// Package cli is what all example programs have in common: they end alike when they are told to, and say alike what went wrong.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// Interrupted is the exit status of a program that was told to end, as shells have it after Ctrl-C.
const Interrupted = 130

// Main runs a program, prints its error if there is one, and exits with its [Status]. What the program makes goes to out, the standard
// output, and what it says meanwhile to log. That something could not be written to out, as on a full disk, is an error of the program's.
//
// Ctrl-C, a closed terminal and a shutdown (SIGINT, SIGHUP, SIGTERM) alike end ctx, so that what was done can be saved; the second
// time the program ends at once, whatever it waits for. That nobody reads its output any more is no reason to end.
func Main(name string, run func(ctx context.Context, args []string, out, log io.Writer) error) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		stop(stopped{<-signals})
		<-signals
		os.Exit(Interrupted)
	}()
	out := &output{file: os.Stdout}
	err := run(ctx, os.Args[1:], out, os.Stderr)
	if Status(err) == 0 && out.err != nil {
		err = out.err
	}
	if status := Status(err); status != 0 {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, Printable(strings.TrimPrefix(err.Error(), name+": ")))
		os.Exit(status)
	}
}

// Status is what a program exits with after an error: 0 if there is none and after its help, Interrupted if it was told to end.
func Status(err error) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	return 1
}

// stopped is why a program that was told to end does so.
type stopped struct{ signal os.Signal }

// Error implements error.
func (s stopped) Error() string { return "told to stop (" + s.signal.String() + ")" }

// Is makes it a context.Canceled.
func (s stopped) Is(err error) bool { return err == context.Canceled }

// Printable is text that may hold names of files and the like, made safe for a terminal: what does not print, such as an escape
// sequence, is written as in a Go string.
func Printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
