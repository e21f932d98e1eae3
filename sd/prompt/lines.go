package prompt

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Line is what a line of a file of prompts asks for: values by the names of [LineOptions], as they are written.
type Line map[string]string

// LineOptions are what lines may have behind "--", by the names of the web UI's API.
var LineOptions = []string{
	"prompt", "negative_prompt", "styles", "seed", "subseed", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w",
	"sampler_name", "sampler_index", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter", "restore_faces", "tiling",
	"sd_model", "outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_samples", "do_not_save_grid",
}

// ReadLines reads a file of prompts. A line is a prompt, or begins with "--" and is read by [ParseLine]; empty ones are none.
// The error names the line.
func ReadLines(r io.Reader) (lines []Line, err error) {
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("prompt: reading prompts: %w", err)
	}
	number := 0
	for text := range strings.Lines(strings.TrimPrefix(string(file), "\ufeff")) {
		number++
		if text = trim(text); text == "" {
			continue
		}
		line := Line{"prompt": text}
		if strings.HasPrefix(text, "--") {
			if line, err = ParseLine(text); err != nil {
				return nil, fmt.Errorf("prompt: line %d: %w", number, err)
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// ParseLine reads options and values, in quotes where they have blanks: --prompt "a cat" --steps 20. Those of a prompt go on up to the
// next option even without.
func ParseLine(text string) (Line, error) {
	words, err := shellWords(text)
	if err != nil {
		return nil, err
	}
	line := Line{}
	for len(words) > 0 {
		name, dashed := strings.CutPrefix(words[0], "--")
		switch {
		case !dashed:
			return nil, fmt.Errorf("%.60q stands where an option begins with --; put text with blanks in quotes", words[0])
		case !slices.Contains(LineOptions, name):
			return nil, fmt.Errorf("unknown option --%.60s, want one of %q", name, LineOptions)
		case len(words) == 1:
			return nil, fmt.Errorf("--%s has no value", name)
		}
		line[name], words = words[1], words[2:]
		for name == "prompt" || name == "negative_prompt" {
			if len(words) == 0 || strings.HasPrefix(words[0], "--") {
				break
			}
			line[name] += " " + words[0]
			words = words[1:]
		}
	}
	return line, nil
}

var (
	errQuote  = errors.New("a quotation mark has no other at its end")
	errEscape = errors.New("the line ends in a backslash")
)

// shellWords are the words of a line as a POSIX shell divides them.
func shellWords(text string) (words []string, err error) {
	var b strings.Builder
	inside, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i++; i == len(text) {
				return nil, errEscape
			}
			if quote == '"' && text[i] != '"' && text[i] != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
			inside = true
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inside = c, true
		case strings.IndexByte(" \t\r\n", c) < 0:
			b.WriteByte(c)
			inside = true
		case inside:
			words, inside = append(words, b.String()), false
			b.Reset()
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inside {
		words = append(words, b.String())
	}
	return words, nil
}
