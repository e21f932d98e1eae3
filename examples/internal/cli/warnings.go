package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Warnings is a logger that shows what a pipeline warns of, such as embeddings that are skipped, as lines for people.
func Warnings(log io.Writer) *slog.Logger { return slog.New(warnings{log}) }

// warnings writes each record as a line. Attributes and groups of a logger's own, which no pipeline has, are left out.
type warnings struct{ log io.Writer }

// Enabled implements slog.Handler.
func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	var values []string
	r.Attrs(func(a slog.Attr) bool {
		values = append(values, a.Value.String())
		return true
	})
	_, err := fmt.Fprintf(w.log, "warning: %s: %s\n", r.Message, Printable(strings.Join(values, ": ")))
	return err
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(string) slog.Handler { return w }
