package train

import (
	"fmt"
	"slices"
)

const (
	usualRate    = 1e-3 // the highest learning rate that makes sense with AdamW
	longTraining = 1000 // steps
)

// pitfalls are options that are seldom meant, those that are ignored, and captions of which the end is not learned.
func (r *run) pitfalls() []string {
	warnings := append(slices.Clone(r.warnings), r.config.Trainer.Notes(r.rates)...)
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	for i := range r.trainer.modules {
		if m := &r.trainer.modules[i]; m.Scale() > 1 {
			warn("alpha %v is above the rank, %d: changes are scaled up by %.3g, which has ended in NaN for many; lower alpha", m.Alpha, m.Rank(), m.Scale())
			break
		}
	}
	if rate := max(r.rates.TextEncoder, r.rates.UNet); rate > usualRate && r.trainer.optimizer.AdamW != nil {
		warn("a learning rate of %v is far above the usual 1e-4 and gives noise with most models", rate)
	}
	if o := r.config.Trainer.Objective; o.ZeroTerminalSNR && !o.VParameterization {
		warn("Config.Trainer.ZeroTerminalSNR without Config.Trainer.VParameterization: at the last timestep nothing can be learned of a picture that is all noise, and what is learned fits no usual model; set both for a model that predicts v, or none")
	}
	if steps := r.dataset.Steps().Total; steps >= longTraining && r.saver.epochs.every == 0 && r.saver.steps.every == 0 {
		warn("%d steps without a file in between; Config.SaveEveryNEpochs 1 keeps one of each epoch to choose from", steps)
	}
	return append(warnings, r.longCaptions()...)
}

// longCaptions warns of captions that are longer than what is learned of them.
func (r *run) longCaptions() []string {
	learned, count, longest, path := r.batcher.captionTokens(), 0, 0, ""
	for _, p := range append(r.dataset.Pictures(), r.dataset.ValidationPictures()...) {
		n := len(r.networks.Tokenizer.Encode(p.Text()))
		if n > learned {
			count++
		}
		if n > longest {
			longest, path = n, p.Path
		}
	}
	if count == 0 {
		return nil
	}
	mend := "shorten them"
	if r.config.MaxTokenLength < maxChunks*chunkTokens {
		mend += ", or raise Config.MaxTokenLength, 225 at most"
	}
	return []string{fmt.Sprintf("captions of %d pictures are longer than the %d tokens that are learned, the longest, of %s, has %d: what is beyond is not learned; %s", count, learned, path, longest, mend)}
}
