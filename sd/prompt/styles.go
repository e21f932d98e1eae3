package prompt

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Style is text that goes with a prompt under a name. Where it has "{prompt}", the prompt goes there; else it follows the prompt.
type Style struct{ Name, Prompt, Negative string }

// Styles are the styles of a file, in its order.
type Styles []Style

// placeholder is where a style has the prompt.
const placeholder = "{prompt}"

// ReadStyles reads a styles.csv: columns name, prompt and negative_prompt, or name and text, in any order. A name that begins with "#"
// is a comment; of styles of the same name the last counts.
func ReadStyles(r io.Reader) (Styles, error) {
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("prompt: reading styles: %w", err)
	}
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(file), "\ufeff")))
	rows.TrimLeadingSpace, rows.LazyQuotes, rows.FieldsPerRecord = true, true, -1
	head, err := rows.Read()
	if err == io.EOF {
		return nil, nil
	}
	name, text, negative := slices.Index(head, "name"), slices.Index(head, "prompt"), slices.Index(head, "negative_prompt")
	if text < 0 {
		text = slices.Index(head, "text")
	}
	if err == nil && (name < 0 || text < 0) {
		err = fmt.Errorf("the first line names no columns name and prompt, but %.100q", head)
	}
	var all Styles
	for err == nil {
		var row []string
		if row, err = rows.Read(); err == nil {
			all.add(Style{cell(row, name), cell(row, text), cell(row, negative)})
		}
	}
	if err != io.EOF {
		return nil, fmt.Errorf("prompt: reading styles: %w", err)
	}
	return all, nil
}

// cell is a column of a row, "" if the row is too short.
func cell(row []string, column int) string {
	if column < 0 || column >= len(row) {
		return ""
	}
	return row[column]
}

// add appends a style, or replaces the one of its name.
func (all *Styles) add(s Style) {
	if strings.HasPrefix(s.Name, "#") {
		return
	}
	if at := all.index(s.Name); at >= 0 {
		(*all)[at] = s
		return
	}
	*all = append(*all, s)
}

func (all Styles) index(name string) int {
	return slices.IndexFunc(all, func(s Style) bool { return s.Name == name })
}

// Find is the style of a name.
func (all Styles) Find(name string) (Style, bool) {
	if at := all.index(name); at >= 0 {
		return all[at], true
	}
	return Style{}, false
}

// Write writes a file that ReadStyles and the web UI read.
func (all Styles) Write(w io.Writer) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return fmt.Errorf("prompt: writing styles: %w", err)
	}
	rows := csv.NewWriter(w)
	if err := rows.Write([]string{"name", "prompt", "negative_prompt"}); err != nil {
		return fmt.Errorf("prompt: writing styles: %w", err)
	}
	for _, s := range all {
		if err := rows.Write([]string{s.Name, s.Prompt, s.Negative}); err != nil {
			return fmt.Errorf("prompt: writing styles: %w", err)
		}
	}
	rows.Flush()
	return rows.Error()
}

// Apply adds styles to a prompt and its negative prompt, one after the other. A name that no style has adds nothing.
func (all Styles) Apply(prompt, negative string, names ...string) (string, string) {
	for _, name := range names {
		s, _ := all.Find(name)
		prompt, negative = apply(s.Prompt, prompt), apply(s.Negative, negative)
	}
	return prompt, negative
}

func apply(style, prompt string) string {
	if strings.Contains(style, placeholder) {
		return strings.ReplaceAll(style, placeholder, prompt)
	}
	style, prompt = trim(style), trim(prompt)
	if style != "" && prompt != "" {
		return prompt + ", " + style
	}
	return prompt + style
}

// Extract takes out of a prompt and its negative prompt the styles that they have, and names them in the order in which
// Apply adds them.
func (all Styles) Extract(prompt, negative string) (rest, restNegative string, names []string) {
	left := slices.Clone(all)
	for {
		at := slices.IndexFunc(left, func(s Style) bool {
			p, inPrompt := without(s.Prompt, prompt)
			n, inNegative := without(s.Negative, negative)
			if s.Prompt == "" && s.Negative == "" || !inPrompt || !inNegative {
				return false
			}
			prompt, negative = p, n
			return true
		})
		if at < 0 {
			slices.Reverse(names)
			return prompt, negative, names
		}
		names = append(names, left[at].Name)
		left = slices.Delete(left, at, at+1)
	}
}

// without is a prompt without the text of a style, if it has that.
func without(style, prompt string) (rest string, has bool) {
	trimmed := trim(prompt)
	before, after, inside := strings.Cut(trim(style), placeholder)
	if !inside {
		before, after = "", before
	}
	rest, starts := strings.CutPrefix(trimmed, before)
	if !starts || !strings.HasSuffix(trimmed, after) {
		return prompt, false
	}
	rest = rest[:max(0, len(rest)-len(after))]
	if !inside {
		rest = strings.TrimSuffix(rest, ", ")
	}
	return rest, true
}
