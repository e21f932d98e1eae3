package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// CaptionOptions say what happens to a caption each time it is used. The zero value uses it as it is. The names are those of
// sd-scripts.
type CaptionOptions struct {
	// Prefix and Suffix are put before and after the caption with one blank between.
	Prefix string `json:"caption_prefix,omitempty"`
	Suffix string `json:"caption_suffix,omitempty"`
	// DropoutRate is the probability, 0 to 1, that the whole caption is empty.
	DropoutRate float64 `json:"caption_dropout_rate,omitempty"`
	// DropoutEveryNEpochs empties all captions in epochs that are multiples of it; 0 never.
	DropoutEveryNEpochs int `json:"caption_dropout_every_n_epochs,omitempty"`
	// TagDropoutRate is the probability, 0 to 1, that a flexible piece is left out.
	TagDropoutRate float64 `json:"caption_tag_dropout_rate,omitempty"`
	// Wildcard chooses one line of several and one alternative of each {a|b|c}; {{ and }} stand for braces.
	Wildcard bool `json:"enable_wildcard,omitempty"`
	// Shuffle puts the flexible pieces into random order.
	Shuffle bool `json:"shuffle_caption,omitempty"`
	// Separator stands between pieces; empty means ",".
	Separator string `json:"caption_separator,omitempty"`
	// SecondarySeparator becomes Separator at the very end, so that pieces joined by it stay together.
	SecondarySeparator string `json:"secondary_separator,omitempty"`
	// KeepTokens is how many pieces at the start are fixed: never moved, never dropped.
	KeepTokens int `json:"keep_tokens,omitempty"`
	// KeepTokensSeparator, where it occurs in a caption, ends the fixed pieces instead; after a second one they are fixed again.
	KeepTokensSeparator string `json:"keep_tokens_separator,omitempty"`
	// TokenWarmupStep is the optimizer step from which on all flexible pieces are used, or if below 1 that fraction of all
	// steps. Before, their number grows evenly from TokenWarmupMin, where 0 means 1.
	TokenWarmupStep float64 `json:"token_warmup_step,omitempty"`
	TokenWarmupMin  int     `json:"token_warmup_min,omitempty"`
}

func (o CaptionOptions) validate() error {
	var errs []error
	rate := func(name string, value float64) {
		if !(value >= 0 && value <= 1) {
			errs = append(errs, fmt.Errorf("%s is %v, want 0 to 1", name, value))
		}
	}
	count := func(name string, value int) {
		if value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, want 0 or more", name, value))
		}
	}
	rate("caption_dropout_rate", o.DropoutRate)
	rate("caption_tag_dropout_rate", o.TagDropoutRate)
	count("caption_dropout_every_n_epochs", o.DropoutEveryNEpochs)
	count("keep_tokens", o.KeepTokens)
	count("token_warmup_min", o.TokenWarmupMin)
	if !(o.TokenWarmupStep >= 0 && o.TokenWarmupStep < math.MaxInt32) {
		errs = append(errs, fmt.Errorf("token_warmup_step is %v, want a number of steps or a fraction of all steps", o.TokenWarmupStep))
	}
	return errors.Join(errs...)
}

// CaptionUse is the moment a caption is used at.
type CaptionUse struct {
	Epoch    int // from 1
	Step     int // optimizer steps done
	MaxSteps int // optimizer steps in all, for a fractional TokenWarmupStep
}

// Apply makes the text a tokenizer gets from the caption of a file, drawing from r where the options leave a choice.
func (o CaptionOptions) Apply(caption string, use CaptionUse, r *rand.Rand) string {
	if o.Prefix != "" {
		caption = o.Prefix + " " + caption
	}
	if o.Suffix != "" {
		caption += " " + o.Suffix
	}
	// The draws come first and always, so that one option does not shift the random numbers of another.
	drop := r.Float64() < o.DropoutRate
	if drop || o.DropoutEveryNEpochs > 0 && use.Epoch%o.DropoutEveryNEpochs == 0 {
		return ""
	}
	if o.Wildcard {
		lines := strings.Split(caption, "\n")
		caption = expandWildcards(lines[r.IntN(len(lines))], r)
	} else {
		caption, _, _ = strings.Cut(caption, "\n")
	}
	separator := cmp.Or(o.Separator, ",")
	if o.Shuffle || o.TokenWarmupStep > 0 || o.TagDropoutRate > 0 {
		fixed, flexible, suffix := o.split(caption, separator)
		flexible = o.warmUp(flexible, use)
		if o.Shuffle {
			r.Shuffle(len(flexible), func(i, j int) { flexible[i], flexible[j] = flexible[j], flexible[i] })
		}
		pieces := fixed
		for _, piece := range flexible {
			if r.Float64() >= o.TagDropoutRate {
				pieces = append(pieces, piece)
			}
		}
		caption = strings.Join(append(pieces, suffix...), joinSeparator(separator))
	}
	if o.SecondarySeparator != "" {
		caption = strings.ReplaceAll(caption, o.SecondarySeparator, separator)
	}
	return caption
}

// joinSeparator is what newer sd-scripts joins pieces with: the separator and a blank.
func joinSeparator(separator string) string { return strings.TrimRight(separator, " ") + " " }

// split divides a caption into fixed pieces, flexible pieces and fixed pieces at the end.
func (o CaptionOptions) split(caption, separator string) (fixed, flexible, suffix []string) {
	if o.KeepTokensSeparator != "" && strings.Contains(caption, o.KeepTokensSeparator) {
		parts := strings.SplitN(caption, o.KeepTokensSeparator, 3)
		var pieces [3][]string
		for i, part := range parts {
			for piece := range strings.SplitSeq(part, separator) {
				if piece = strings.TrimSpace(piece); piece != "" {
					pieces[i] = append(pieces[i], piece)
				}
			}
		}
		return pieces[0], pieces[1], pieces[2]
	}
	pieces := strings.Split(caption, separator)
	for i := range pieces {
		pieces[i] = strings.TrimSpace(pieces[i])
	}
	keep := min(o.KeepTokens, len(pieces))
	return pieces[:keep:keep], pieces[keep:], nil
}

// warmUp keeps the first of the flexible pieces while the warm-up lasts.
func (o CaptionOptions) warmUp(flexible []string, use CaptionUse) []string {
	warmup := o.TokenWarmupStep
	if warmup < 1 {
		warmup = math.Floor(warmup * float64(use.MaxSteps))
	}
	if float64(use.Step) >= warmup {
		return flexible
	}
	least := max(1, o.TokenWarmupMin)
	n := int(math.Floor(float64(use.Step)*float64(len(flexible)-least)/warmup)) + least
	return flexible[:min(max(n, 0), len(flexible))]
}

// expandWildcards replaces every {a|b} by one of its alternatives. Braces do not nest; one without a partner stays.
func expandWildcards(text string, r *rand.Rand) string {
	var out strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, "{{"):
			out.WriteByte('{')
			text = text[2:]
		case strings.HasPrefix(text, "}}"):
			out.WriteByte('}')
			text = text[2:]
		case text[0] == '{':
			if end := strings.IndexAny(text[1:], "{}"); end >= 0 && text[1+end] == '}' {
				alternatives := strings.Split(text[1:1+end], "|")
				out.WriteString(alternatives[r.IntN(len(alternatives))])
				text = text[end+2:]
				continue
			}
			fallthrough
		default:
			out.WriteByte(text[0])
			text = text[1:]
		}
	}
	return out.String()
}
