// Package terminal has what the example programs show while they work: a progress bar and readable numbers.
package terminal

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Bar shows how far a work has come, in the form that users of kohya's trainer read:
// "steps:  12%|█         | 150/1296 [05:00<38:12,  2.00s/it, avr_loss=0.0953]".
type Bar struct {
	// Live draws over and over on one line, as NewBar chooses for a terminal. Anything else gets a line at the beginning and
	// at the end, and one every ten seconds between.
	Live bool
	// Note stands behind the rate.
	Note string

	w           io.Writer
	title, unit string
	columns     func() int // of the terminal; 0 if unknown

	start, last time.Time // of the work, and when Set was called
	begun       bool
	done, total int

	seconds float64 // that work took since it was drawn,
	units   int     // and how much that was
	each    float64 // seconds for one, lately

	drawn time.Time
	shown int // what was done then
	width int // of what is drawn on the line that has no end yet
}

// NewBar starts a bar. Unit is what is counted: "step" makes the rate "2.00step/s".
func NewBar(w io.Writer, title, unit string) *Bar {
	now := time.Now()
	b := &Bar{w: w, title: title, unit: unit, start: now, last: now, columns: func() int { return 0 }}
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		b.Live = true
		b.columns = func() int {
			columns, _, _ := term.GetSize(int(f.Fd())) // 0 if it does not tell
			return columns
		}
	}
	return b
}

// Set shows that done of total is finished, as soon as it is time to draw again. Work may begin with more than nothing.
func (b *Bar) Set(done, total int) {
	now := time.Now()
	if !b.begun {
		b.done = max(0, done-1)
	}
	if b.begun || done > 0 {
		b.seconds += now.Sub(b.last).Seconds()
		b.units += max(0, done-b.done)
	}
	b.begun, b.last, b.done, b.total = true, now, done, total
	if b.due(now) {
		b.draw(now)
	}
}

// Skip leaves the time since the last Set, or since NewBar, out of the rate: it went into something else.
func (b *Bar) Skip() {
	if b.last = time.Now(); !b.begun {
		b.start = b.last
	}
}

// Done shows the last state and ends the line, so that something else can be printed. The work may go on after it.
func (b *Bar) Done() {
	if b.begun && b.shown != b.done {
		b.draw(time.Now())
	}
	if b.width > 0 {
		b.width = 0
		fmt.Fprintln(b.w)
	}
}

// due reports whether it is time to draw.
func (b *Bar) due(now time.Time) bool {
	every := 10 * time.Second
	if b.Live {
		every = 100 * time.Millisecond
	}
	ended := b.total > 0 && b.done >= b.total && b.done != b.shown
	return ended || b.drawn.IsZero() || now.Sub(b.drawn) >= every
}

func (b *Bar) draw(now time.Time) {
	b.measure()
	b.drawn, b.shown = now, b.done
	line := b.line(now)
	if !b.Live {
		fmt.Fprintln(b.w, line)
		return
	}
	if columns := b.columns(); columns > 0 {
		line = fmt.Sprintf("%.*s", columns-1, line)
	}
	fmt.Fprintf(b.w, "\r%-*s", b.width, line)
	b.width = utf8.RuneCountInString(line)
}

// measure takes the work since the last drawing into the mean time of a unit, lately more than long ago.
func (b *Bar) measure() {
	const lately = 0.3
	if b.units == 0 || b.seconds <= 0 {
		return
	}
	each := b.seconds / float64(b.units)
	if b.each == 0 {
		b.each = each
	}
	b.each += lately * (each - b.each)
	b.seconds, b.units = 0, 0
}

func (b *Bar) line(now time.Time) string {
	const width = 10
	part := min(max(float64(b.done)/float64(max(1, b.total)), 0), 1)
	full := int(part * width)
	left, rate := "?", "?"+b.unit+"/s"
	if b.each > 0 {
		left = clock(time.Duration(float64(max(0, b.total-b.done)) * b.each * float64(time.Second)))
		if rate = fmt.Sprintf("%5.2fs/%s", b.each, b.unit); b.each < 1 {
			rate = fmt.Sprintf("%5.2f%s/s", 1/b.each, b.unit)
		}
	}
	if b.Note != "" {
		rate += ", " + b.Note
	}
	return fmt.Sprintf("%s: %3.0f%%|%s%s| %d/%d [%s<%s, %s]", b.title, 100*part, strings.Repeat("█", full),
		strings.Repeat(" ", width-full), b.done, b.total, clock(now.Sub(b.start)), left, rate)
}

// clock writes a time as 05:00 or 1:05:00.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
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
