package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
)

// bars show a training: one for the pictures that are encoded, then one for its steps in the form that users of kohya's
// trainer read: "steps:  12%|███       | 150/1296 [05:00<38:12,  2.00s/it, avr_loss=0.0953]".
type bars struct {
	w       io.Writer
	latents *terminal.Bar

	last    time.Time
	seconds float64 // a step takes, lately
	start   time.Time
	drawn   time.Time
	open    bool // the line has no end yet
}

func (b *bars) show(p lora.Progress) {
	if p.Phase != "steps" {
		if b.latents == nil {
			b.latents = terminal.NewBar(b.w, p.Phase, "picture")
		}
		b.latents.Set(float64(p.Done), float64(p.Total))
		if p.Done == p.Total {
			b.done()
		}
		b.start, b.last = time.Now(), time.Now()
		return
	}
	now := time.Now()
	if b.start.IsZero() {
		b.start, b.last = now, now
	}
	b.rate(now.Sub(b.last).Seconds())
	b.last = now
	if now.Sub(b.drawn) > 100*time.Millisecond || p.Done == p.Total || p.Saved != "" {
		b.drawn, b.open = now, true
		fmt.Fprintf(b.w, "\r%s", b.line(p, now))
	}
	if p.Saved != "" {
		b.done()
		fmt.Fprintln(b.w, "saving checkpoint:", p.Saved)
	}
}

// rate takes the time of a step into the mean, lately more than long ago.
func (b *bars) rate(seconds float64) {
	const lately = 0.3
	switch {
	case seconds <= 0:
	case b.seconds == 0:
		b.seconds = seconds
	default:
		b.seconds += lately * (seconds - b.seconds)
	}
}

// line is the bar of steps.
func (b *bars) line(p lora.Progress, now time.Time) string {
	const width = 10
	part := float64(p.Done) / float64(max(1, p.Total))
	full := int(part * width)
	left, rate := "?", "?it/s"
	if b.seconds > 0 {
		left = clock(time.Duration(float64(p.Total-p.Done) * b.seconds * float64(time.Second)))
		if rate = fmt.Sprintf("%5.2fs/it", b.seconds); b.seconds < 1 {
			rate = fmt.Sprintf("%5.2fit/s", 1/b.seconds)
		}
	}
	return fmt.Sprintf("steps: %3.0f%%|%s%s| %d/%d [%s<%s, %s, avr_loss=%.4f] ", 100*part, strings.Repeat("█", full),
		strings.Repeat(" ", width-full), p.Done, p.Total, clock(now.Sub(b.start)), left, rate, p.AverageLoss)
}

// clock writes a time as 05:00 or 1:05:00.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// done ends the line.
func (b *bars) done() {
	if b.latents != nil {
		b.latents.Done()
	}
	if b.open {
		b.open = false
		fmt.Fprintln(b.w)
	}
}
