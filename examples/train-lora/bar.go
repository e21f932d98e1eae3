package main

import (
	"fmt"
	"io"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora/kohya"
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

func (b *bars) show(event train.Event) {
	switch e := event.(type) {
	case train.Started:
		fmt.Fprint(b.w, cli.Printable(inOptions(e.Report.String())))
	case train.LatentsCached:
		b.latents.Set(e.Done, e.Total)
	case train.StepDone:
		b.steps.Note = note(e)
		b.steps.Set(e.Step, e.Steps)
	case train.EpochDone:
		b.say("epoch %d/%d", e.Epoch, e.Epochs)
	case train.Validated:
		b.say("validation loss %.4f, %+.4f from avr_loss", e.Loss, e.Divergence)
	case train.Sampling:
		b.say("drawing %d sample pictures", e.Pictures)
	case train.Sampled:
		b.say("sample picture: %s", e.Path)
	case train.Saved:
		b.say("saving checkpoint: %s", e.Path)
		if e.State != "" {
			b.say("saving state: %s", e.State)
		}
	case train.Warning:
		b.say("warning: %s", inOptions(e.Text))
	}
	b.steps.Skip() // what was between steps does not count
}

// inOptions is a text that names fields of a training, with the options in their place.
func inOptions(text string) string { return cli.Words(cli.Words(text, ofPrompts), kohya.Flags(text)) }

// ofPrompts are the options in a line of sample_prompts that fill the fields of a picture's request.
var ofPrompts = map[string]string{
	"Request.NegativePrompt": "--n", "Request.Width": "--w", "Request.Height": "--h", "Request.Seed": "--d", "Request.Steps": "--s",
	"Request.Guidance": "--l", "Request.Sampler": "--ss",
}

// note is what kohya's trainer writes behind the rate.
func note(e train.StepDone) (s string) {
	if e.MaxKeyNorm > 0 {
		s = fmt.Sprintf("Average key norm=%.3g, Keys Scaled=%d, ", e.AverageKeyNorm, e.KeysScaled)
	}
	return s + fmt.Sprintf("avr_loss=%.3g", e.AverageLoss)
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
