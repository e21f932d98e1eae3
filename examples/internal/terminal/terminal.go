// Package terminal has what the example programs show while they work: a progress bar and readable numbers.
package terminal

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Bar is a progress bar on one line of a terminal, with rate and time left.
type Bar struct {
	w           io.Writer
	title, unit string
	start, last time.Time
	done, total float64
	closed      bool
}

// NewBar starts a bar; unit is what is counted, in the singular.
func NewBar(w io.Writer, title, unit string) *Bar {
	return &Bar{w: w, title: title, unit: unit, start: time.Now()}
}

// Set shows that done of total is finished. It redraws at most ten times a second, and always at the end.
func (b *Bar) Set(done, total float64) {
	b.done, b.total = done, total
	if now := time.Now(); now.Sub(b.last) > 100*time.Millisecond || done >= total {
		b.last = now
		b.draw()
	}
}

// Done ends the line. It may be called twice.
func (b *Bar) Done() {
	if !b.closed {
		b.closed = true
		fmt.Fprintln(b.w)
	}
}

func (b *Bar) draw() {
	const width = 30
	fraction := 0.0
	if b.total > 0 {
		fraction = min(max(b.done/b.total, 0), 1)
	}
	full := int(fraction * width)
	fmt.Fprintf(b.w, "\r%s %3.0f%% [%s%s] %.4g/%.4g", b.title, 100*fraction,
		strings.Repeat("#", full), strings.Repeat("-", width-full), b.done, b.total)
	elapsed := time.Since(b.start).Seconds()
	if b.done > 0 && elapsed > 0 {
		rate := b.done / elapsed
		if rate >= 1 {
			fmt.Fprintf(b.w, ", %.3g %s/s", rate, b.unit)
		} else {
			fmt.Fprintf(b.w, ", %.3g s/%s", 1/rate, b.unit)
		}
		left := time.Duration((b.total - b.done) / rate * float64(time.Second))
		fmt.Fprintf(b.w, ", %v left ", left.Round(time.Second))
	}
	fmt.Fprint(b.w, "   ")
}

// Bytes writes a size as "2.13 GB".
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}
