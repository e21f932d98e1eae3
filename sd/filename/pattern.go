// Package filename names the files of pictures as the web UI does: by patterns such as "[seed]-[prompt_spaces]", in folders such
// as "[date]", with running numbers.
package filename

import (
	"crypto/sha256"
	"encoding/hex"
	"image"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/sampler"
)

// Values are what names are made of.
type Values struct {
	Base string // what a name begins with, such as "grid"; "" is "img" where a pattern asks for it
	User string // who drew it; "" leaves [user] as it is

	Prompt, Negative string
	Styles           []string // names of those chosen
	StyleTexts       []string // their prompts, which [prompt_no_styles] leaves out

	Seed  *int64  // of this picture; nil has no pattern at all
	Seeds []int64 // of all pictures of the job

	Steps             int
	Guidance          float64
	Denoising         float64 // 0 is none
	ClipSkip          int
	Sampler, Schedule string

	Model, ModelHash string
	VAE              string // a file; "" is the checkpoint's own

	BatchSize, Batches int  // pictures of a batch, and how many batches
	BatchIndex, Batch  int  // of this picture in its batch, and of the batch, from 0
	Archived           bool // in an archive, whose entries have no numbers of batches
	Image              image.Image
	Time, Started      time.Time // now, and when the job began
}

// outcome is what becomes of a placeholder.
type outcome int

const (
	filled  outcome = iota
	literal         // it stays as it is, without arguments
	dropped         // it goes, and with it the text between it and the one before
)

// filler fills a placeholder, with the arguments behind its name.
type filler func(v *Values, args []string) (string, outcome)

// fillers are the placeholders.
var fillers = map[string]filler{
	"basename":   text(func(v *Values) string { return withDefault(v.Base, "img") }),
	"seed":       text(func(v *Values) string { return v.seed() }),
	"seed_first": text(func(v *Values) string { return v.firstSeed() }),
	"seed_last": unless(func(v *Values) bool { return v.BatchSize == 1 || len(v.Seeds) == 0 }, func(v *Values) string {
		return strconv.FormatInt(v.Seeds[len(v.Seeds)-1], 10)
	}),
	"steps":     text(func(v *Values) string { return strconv.Itoa(v.Steps) }),
	"cfg":       text(func(v *Values) string { return python.String(v.Guidance) }),
	"clip_skip": text(func(v *Values) string { return strconv.Itoa(v.ClipSkip) }),
	"denoising": unless(func(v *Values) bool { return v.Denoising == 0 }, func(v *Values) string { return python.String(v.Denoising) }),
	"width":     side(func(p image.Point) int { return p.X }),
	"height":    side(func(p image.Point) int { return p.Y }),

	"sampler":           text(func(v *Values) string { return Part(v.Sampler, false) }),
	"scheduler":         text(func(v *Values) string { return v.schedule() }),
	"sampler_scheduler": text(func(v *Values) string { return Part(v.Sampler+" "+v.schedule(), false) }),
	"model_name":        text(func(v *Values) string { return Part(v.Model, false) }),
	"model_hash":        text(func(v *Values) string { return Part(v.ModelHash, false) }),
	"vae_filename":      text(func(v *Values) string { return v.vae() }),
	"styles":            text(func(v *Values) string { return Part(v.styles(), false) }),

	"date":          text(func(v *Values) string { return v.Time.Format(time.DateOnly) }),
	"datetime":      func(v *Values, args []string) (string, outcome) { return Part(v.datetime(args), false), filled },
	"job_timestamp": text(func(v *Values) string { return strftime(v.Started, timestamp) }),

	"prompt":               text(func(v *Values) string { return Part(v.Prompt, true) }),
	"prompt_spaces":        text(func(v *Values) string { return Part(v.Prompt, false) }),
	"prompt_no_styles":     text(func(v *Values) string { return Part(v.withoutStyles(), false) }),
	"prompt_words":         text(func(v *Values) string { return Part(words(v.Prompt), false) }),
	"hasprompt":            func(v *Values, args []string) (string, outcome) { return Part(has(v.Prompt, args), true), filled },
	"prompt_hash":          hash(func(v *Values) []byte { return []byte(v.Prompt) }, shortHash),
	"negative_prompt_hash": hash(func(v *Values) []byte { return []byte(v.Negative) }, shortHash),
	"full_prompt_hash":     hash(func(v *Values) []byte { return []byte(v.Prompt + " " + v.Negative) }, shortHash),
	"image_hash":           hash(func(v *Values) []byte { return pixels(v.Image) }, 2*sha256.Size),

	"batch_size":   text(func(v *Values) string { return strconv.Itoa(v.BatchSize) }),
	"batch_number": unless(func(v *Values) bool { return v.BatchSize == 1 || v.Archived }, func(v *Values) string { return strconv.Itoa(v.BatchIndex + 1) }),
	"generation_number": unless(func(v *Values) bool { return v.BatchSize == 1 && v.Batches == 1 || v.Archived }, func(v *Values) string {
		return strconv.Itoa(v.Batch*v.BatchSize + v.BatchIndex + 1)
	}),
	"none": text(func(*Values) string { return "" }),
	"user": func(v *Values, args []string) (string, outcome) {
		if v.User == "" || len(args) > 0 {
			return "", literal
		}
		return Part(v.User, false), filled
	},
}

// Placeholders are the names that patterns may have in square brackets.
func Placeholders() (names []string) {
	for name := range fillers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// text fills a placeholder that has no arguments.
func text(of func(v *Values) string) filler {
	return unless(func(*Values) bool { return false }, of)
}

// unless is text but where there is nothing to say.
func unless(nothing func(v *Values) bool, of func(v *Values) string) filler {
	return func(v *Values, args []string) (string, outcome) {
		switch {
		case len(args) > 0:
			return "", literal
		case nothing(v):
			return "", dropped
		}
		return of(v), filled
	}
}

// side fills in one of the picture's, if there is a picture.
func side(of func(p image.Point) int) filler {
	return func(v *Values, args []string) (string, outcome) {
		if v.Image == nil || len(args) > 0 {
			return "", literal
		}
		return strconv.Itoa(of(v.Image.Bounds().Size())), filled
	}
}

// tokens are what a pattern consists of: text, and a placeholder behind it or the end.
var tokens = regexp.MustCompile(`(.*?)(?:\[([^\[\]]+)\]|$)`)

// Fill fills a pattern. What is not among [Placeholders] stays as it is; their case does not matter. Slashes in a pattern make
// folders; values have none.
func (v *Values) Fill(pattern string) string {
	var b strings.Builder
	for _, token := range tokens.FindAllStringSubmatchIndex(pattern, -1) {
		before := pattern[token[2]:token[3]]
		if token[4] < 0 {
			b.WriteString(before)
			continue
		}
		name, args := cutArguments(pattern[token[4]:token[5]])
		value, out := "", literal
		if fill := fillers[strings.ToLower(name)]; fill != nil {
			value, out = fill(v, args)
		}
		switch out {
		case filled:
			b.WriteString(before + value)
		case literal:
			b.WriteString(before + "[" + name + "]")
		}
	}
	return b.String()
}

// cutArguments takes <arguments> from behind a placeholder's name.
func cutArguments(placeholder string) (name string, args []string) {
	name = placeholder
	for strings.HasSuffix(name, ">") {
		at := strings.LastIndexByte(name, '<')
		if at < 0 || strings.Contains(name[at:len(name)-1], ">") {
			break
		}
		args = append(args, name[at+1:len(name)-1])
		name = name[:at]
	}
	slices.Reverse(args)
	return name, args
}

// maxPart is how many characters a part of a name has at most.
const maxPart = 128

// unfit are characters that names of files cannot have, on one system or another.
const unfit = "#<>:\"/\\|?*\n\r\t"

// Part makes text a part of a name: what file systems do not take becomes "_", on request blanks too; it does not begin with a
// blank, nor end with one or a dot, and has 128 characters at most.
func Part(text string, blanks bool) string {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(unfit, r) || blanks && r == ' ' {
			return '_'
		}
		return r
	}, text)
	text = strings.TrimLeft(text, " ")
	if utf8.RuneCountInString(text) > maxPart {
		text = string([]rune(text)[:maxPart])
	}
	return strings.TrimRight(text, " .")
}

func withDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (v *Values) seed() string {
	if v.Seed == nil {
		return ""
	}
	return strconv.FormatInt(*v.Seed, 10)
}

func (v *Values) firstSeed() string {
	if v.BatchSize == 1 || len(v.Seeds) == 0 {
		return v.seed()
	}
	return strconv.FormatInt(v.Seeds[0], 10)
}

// schedule begins with a capital letter and goes on without. Automatic is the sampler's own, if it has one.
func (v *Values) schedule() string {
	name := v.Schedule
	if own := sampler.Sampler(v.Sampler).Spacing(); name == "Automatic" && own != sampler.Automatic {
		name = string(own)
	}
	first, n := utf8.DecodeRuneInString(name)
	if n == 0 {
		return ""
	}
	return Part(string(unicode.ToUpper(first))+strings.ToLower(name[n:]), false)
}

// vae is the VAE's file up to its first dot.
func (v *Values) vae() string {
	if v.VAE == "" {
		return "NoneType"
	}
	parts := strings.Split(path.Base(strings.ReplaceAll(v.VAE, `\`, "/")), ".")
	if len(parts) > 1 && parts[0] == "" {
		return parts[1]
	}
	return parts[0]
}

func (v *Values) styles() string {
	chosen := slices.DeleteFunc(slices.Clone(v.Styles), func(name string) bool { return name == "None" })
	return withDefault(strings.Join(chosen, ", "), "None")
}

// withoutStyles is the prompt without the texts that styles have put into it.
func (v *Values) withoutStyles() string {
	prompt := v.Prompt
	for _, style := range v.StyleTexts {
		for part := range strings.SplitSeq(style, "{prompt}") {
			if part != "" {
				prompt = strings.ReplaceAll(prompt, part, "")
			}
			prompt = strings.Trim(strings.TrimSpace(strings.ReplaceAll(prompt, ", ,", ",")), ",")
		}
		prompt = strings.TrimSpace(strings.Trim(strings.TrimSpace(prompt), ","))
	}
	return prompt
}

// maxWords is how many words of a prompt a folder is named by.
const maxWords = 8

// words are the first words of a prompt. Punctuation divides them, but for the backslash.
func words(prompt string) string {
	all := strings.FieldsFunc(prompt, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f || strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", r)
	})
	return withDefault(strings.Join(all[:min(len(all), maxWords)], " "), "empty")
}

// has joins, of arguments "text|otherwise", the texts that a prompt contains in any case, and what stands for the others.
func has(prompt string, args []string) (found string) {
	prompt = strings.ToLower(prompt)
	for _, arg := range args {
		want, rest, _ := strings.Cut(arg, "|")
		otherwise, _, _ := strings.Cut(rest, "|")
		if want = strings.ToLower(want); arg != "" && strings.Contains(prompt, want) {
			found += want
		} else {
			found += otherwise
		}
	}
	return found
}

// shortHash is how many digits of a prompt's hash a name has.
const shortHash = 8

// hash fills in the first digits of a SHA-256, by an argument more or fewer: less than 0, up to so many from the end.
func hash(of func(v *Values) []byte, digits int) filler {
	return func(v *Values, args []string) (string, outcome) {
		n, err := digits, error(nil)
		if len(args) > 0 && args[0] != "" {
			n, err = python.Int(args[0])
		}
		data := of(v)
		if err != nil || data == nil {
			return "", literal
		}
		sum := sha256.Sum256(data)
		all := hex.EncodeToString(sum[:])
		if n < 0 {
			n = max(0, len(all)+n)
		}
		return all[:min(n, len(all))], filled
	}
}

// pixels are the colours of a picture, three bytes each; nil if there is none.
func pixels(img image.Image) []byte {
	if img == nil {
		return nil
	}
	b := img.Bounds()
	all := make([]byte, 0, 3*b.Dx()*b.Dy())
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			all = append(all, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return all
}
