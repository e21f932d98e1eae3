package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora/train"
)

// bars show a training: one for the pictures that are encoded, then one for its steps in the form that users of kohya's
// trainer read: "steps:  12%|███       | 150/1296 [05:00<38:12,  2.00s/it, avr_loss=0.0953]".
type bars struct {
	w       io.Writer
	latents *terminal.Bar
	encodes bool // and that bar is there to be seen

	start   time.Time // of the steps
	last    time.Time // that anything was told
	seconds float64   // a step takes, lately
	drawn   time.Time
	open    bool // the line has no end yet
}

func newBars(w io.Writer) *bars {
	return &bars{w: w, latents: terminal.NewBar(w, "latents", "picture")}
}

func (b *bars) show(p train.Progress) {
	switch p.Phase {
	case "latents":
		b.encodes = true
		b.latents.Set(float64(p.Done), float64(p.Total))
		if p.Done == p.Total {
			b.done()
		}
	case "steps":
		b.step(p)
	case "epoch":
		b.say("epoch %d/%d", p.Done, p.Total)
	case "validation":
		if p.Done == p.Total {
			b.say("validation loss %.4f, %+.4f from avr_loss", p.ValidationLoss, p.ValidationDivergence)
		}
	case "samples":
		if p.Done < p.Total {
			b.say("drawing %d sample pictures", p.Total)
		} else {
			b.say("sample pictures are in %s", p.Saved)
		}
	case "warning":
		b.say("warning: %s", p.Warning)
	}
	if p.Saved != "" && p.Phase != "samples" {
		b.say("saving checkpoint: %s", p.Saved)
	}
	if p.State != "" {
		b.say("saving state: %s", p.State)
	}
	b.last = time.Now() // what was between steps does not count
}

// say writes a line of its own.
func (b *bars) say(format string, args ...any) {
	b.done()
	fmt.Fprintf(b.w, format+"\n", args...)
}

// step draws the bar of steps, at most ten times a second.
func (b *bars) step(p train.Progress) {
	now := time.Now()
	if b.start.IsZero() {
		b.start = cmp.Or(b.last, now)
	}
	if !b.last.IsZero() {
		b.rate(now.Sub(b.last).Seconds())
	}
	if now.Sub(b.drawn) > 100*time.Millisecond || p.Done == p.Total || p.Saved != "" {
		b.drawn, b.open = now, true
		fmt.Fprintf(b.w, "\r%s", b.line(p, now))
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
func (b *bars) line(p train.Progress, now time.Time) string {
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
	norms := ""
	if p.MaxKeyNorm > 0 {
		norms = fmt.Sprintf("Average key norm=%.3g, Keys Scaled=%d, ", p.AverageKeyNorm, p.KeysScaled)
	}
	return fmt.Sprintf("steps: %3.0f%%|%s%s| %d/%d [%s<%s, %s, %savr_loss=%.3g] ", 100*part, strings.Repeat("█", full),
		strings.Repeat(" ", width-full), p.Done, p.Total, clock(now.Sub(b.start)), left, rate, norms, p.AverageLoss)
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
	if b.encodes {
		b.latents.Done()
	}
	if b.open {
		b.open = false
		fmt.Fprintln(b.w)
	}
}
