// Package infotext is the text in which AUTOMATIC1111's web UI says how a picture was made, and where picture files keep it:
// the prompt, the negative prompt, then settings as "Key: value" pairs.
//
//	a lighthouse, <lora:dawn:0.6>
//	Negative prompt: people
//	Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, Version: v1.10.1
//
// [Read] reads it from a picture or a text file. [Parse] and [Text.String] turn it into fields and back, [Insert] and [Extract] put it
// into PNG, JPEG and WebP files and get it out again. The package uses nothing but the standard library and the prompt language, so that any
// tool can read pictures with it.
package infotext

import (
	"regexp"
	"strings"
	"unicode"
)

// Text is what an infotext says.
type Text struct {
	Prompt   string
	Negative string
	Fields   []Field // in the order in which they are written
}

// Field is a setting: "Steps" and "20".
type Field struct{ Key, Value string }

// Add appends a field.
func (t *Text) Add(key, value string) { t.Fields = append(t.Fields, Field{key, value}) }

// Get is the value of the last field that has the key, as the web UI reads it.
func (t Text) Get(key string) (value string, ok bool) {
	for _, f := range t.Fields {
		if f.Key == key {
			value, ok = f.Value, true
		}
	}
	return value, ok
}

const negativePrefix = "Negative prompt:"

// String writes the text as the web UI does. A field whose value is its key is written as the bare key, which [Parse] does not read.
func (t Text) String() string {
	var b strings.Builder
	b.WriteString(t.Prompt)
	if t.Negative != "" {
		b.WriteString("\n" + negativePrefix + " " + t.Negative)
	}
	b.WriteString("\n")
	for i, f := range t.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.Key)
		if f.Value != f.Key {
			b.WriteString(": " + Quote(f.Value))
		}
	}
	return trim(b.String())
}

// The classes of letters and of white space are Python's, which know all of Unicode.
const (
	word  = `\p{L}\p{N}_`
	space = `\s\v\x1c-\x1f\x{85}\p{Z}`
)

// pair is one "Key: value" of the settings line, with the comma behind it.
var pair = regexp.MustCompile(`[` + space + `]*([` + word + `][` + word + ` \-/]+):[` + space + `]*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`)

// minPairs is how many settings make a line of them, rather than the end of a prompt that has colons.
const minPairs = 3

// Parse reads a text as the web UI does: its last line has the settings if it has three of them. What does not look like
// a setting is passed over, and so is one without a value.
func Parse(s string) Text {
	lines := strings.Split(trim(s), "\n")
	last := len(lines) - 1
	pairs := pair.FindAllStringSubmatch(lines[last], -1)
	if len(pairs) < minPairs {
		pairs, last = nil, len(lines)
	}
	var t Text
	var prompt, negative strings.Builder
	part := &prompt
	for _, line := range lines[:last] {
		line = trim(line)
		if rest, ok := strings.CutPrefix(line, negativePrefix); ok {
			part, line = &negative, trim(rest)
		}
		if part.Len() > 0 {
			part.WriteByte('\n')
		}
		part.WriteString(line)
	}
	t.Prompt, t.Negative = prompt.String(), negative.String()
	for _, p := range pairs {
		if value := Unquote(p[2]); p[2] != "" {
			t.Add(p[1], value)
		}
	}
	return t
}

func trim(s string) string { return strings.TrimFunc(s, isSpace) }

// isSpace is Python's idea of white space: Unicode's and four separators of ASCII.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
