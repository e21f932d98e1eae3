package dataset

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/atelier-go/atelier/invalid"
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
	// Separator stands between the pieces of a caption; empty means ",". Pieces that were moved or dropped are joined by ", ".
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
			errs = append(errs, invalid.Field(name, value, "0 to 1"))
		}
	}
	count := func(name string, value int) {
		if value < 0 {
			errs = append(errs, invalid.Field(name, value, "0 or more"))
		}
	}
	rate("DropoutRate", o.DropoutRate)
	rate("TagDropoutRate", o.TagDropoutRate)
	count("DropoutEveryNEpochs", o.DropoutEveryNEpochs)
	count("KeepTokens", o.KeepTokens)
	count("TokenWarmupMin", o.TokenWarmupMin)
	if !(o.TokenWarmupStep >= 0 && o.TokenWarmupStep < math.MaxInt32) {
		errs = append(errs, invalid.Field("TokenWarmupStep", o.TokenWarmupStep, "a number of steps or a fraction of all steps"))
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
	caption = o.surround(caption)
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
		caption = strings.Join(append(pieces, suffix...), joint)
	}
	if o.SecondarySeparator != "" {
		caption = strings.ReplaceAll(caption, o.SecondarySeparator, separator)
	}
	return caption
}

// joint is what sd-scripts joins pieces with, whatever separated them.
const joint = ", "

// surround puts prefix and suffix around a caption.
func (o CaptionOptions) surround(caption string) string {
	if o.Prefix != "" {
		caption = o.Prefix + " " + caption
	}
	if o.Suffix != "" {
		caption += " " + o.Suffix
	}
	return caption
}

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

// braces hides doubled braces from wildcards, and unbraces brings them back as single ones. Captions are valid UTF-8, so
// that bytes which are not stand for nothing else.
var (
	braces   = strings.NewReplacer("{{", "\xfe", "}}", "\xff")
	unbraces = strings.NewReplacer("\xfe", "{", "\xff", "}")
	wildcard = regexp.MustCompile(`\{[^}]+\}`)
)

// expandWildcards replaces every {a|b} by one of its alternatives, which may hold anything but a single closing brace: as in
// sd-scripts the first { opens, so that {a{b|c} is a{b or c.
func expandWildcards(text string, r *rand.Rand) string {
	text = wildcard.ReplaceAllStringFunc(braces.Replace(text), func(choice string) string {
		alternatives := strings.Split(choice[1:len(choice)-1], "|")
		return alternatives[r.IntN(len(alternatives))]
	})
	return unbraces.Replace(text)
}
