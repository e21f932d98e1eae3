package main

import (
	"fmt"
	"io"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora/train"
)

// bars show a training: one for the pictures that are encoded, then one for its steps, and a line for all else.
type bars struct {
	w              io.Writer
	latents, steps *terminal.Bar
}

func newBars(w io.Writer) *bars {
	return &bars{w: w, latents: terminal.NewBar(w, "latents", "picture"), steps: terminal.NewBar(w, "steps", "it")}
}

func (b *bars) show(p train.Progress) {
	switch p.Phase {
	case "latents":
		b.latents.Set(p.Done, p.Total)
	case "steps":
		b.steps.Note = note(p)
		b.steps.Set(p.Done, p.Total)
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
	b.steps.Skip() // what was between steps does not count
}

// note is what kohya's trainer writes behind the rate.
func note(p train.Progress) (s string) {
	if p.MaxKeyNorm > 0 {
		s = fmt.Sprintf("Average key norm=%.3g, Keys Scaled=%d, ", p.AverageKeyNorm, p.KeysScaled)
	}
	return s + fmt.Sprintf("avr_loss=%.3g", p.AverageLoss)
}

// say writes a line of its own.
func (b *bars) say(format string, args ...any) {
	b.done()
	fmt.Fprintln(b.w, cli.Printable(fmt.Sprintf(format, args...)))
}

// done ends the lines of the bars.
func (b *bars) done() {
	b.latents.Done()
	b.steps.Done()
}
