package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"syscall"
	"testing"
)

func TestPrintable(t *testing.T) {
	for have, want := range map[string]string{
		"ä b\n\tc":             "ä b\n\tc",
		"a\x1b[2Jb":            `a\x1b[2Jb`,
		"a\rb\x00":             `a\rb\x00`,
		"photo\u202egpj.exe":   `photo\u202egpj.exe`,
		"not UTF-8: \xff then": "not UTF-8: � then",
	} {
		if got := Printable(have); got != want {
			t.Errorf("%q is %q, want %q", have, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	stop(stopped{syscall.SIGTERM})
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{flag.ErrHelp, 0},
		{errors.New("disk full"), 1},
		{fmt.Errorf("sampling: %w", context.Cause(ctx)), Interrupted},
		{fmt.Errorf("sampling: %w", context.Canceled), Interrupted},
	} {
		if got := Status(c.err); got != c.want {
			t.Errorf("%v: status %d, want %d", c.err, got, c.want)
		}
	}
}
