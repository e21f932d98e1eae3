package prompt

import "strings"

// StripComments takes comments out: a line that begins with "#" goes with one of the two line breaks around it, and from any other
// "#" the rest of the line goes. Nothing escapes a "#".
func StripComments(text string) string {
	if !strings.Contains(text, "#") {
		return text
	}
	return stripRests(stripLines(text))
}

// stripLines replaces every line that begins with "#", and the line breaks before and after it, by one line break. A line whose
// break before it is gone already waits for stripRests.
func stripLines(text string) string {
	var b strings.Builder
	for start := true; text != ""; start = false {
		at := strings.Index(text, "\n#")
		if start && text[0] == '#' {
			at = 0
		} else if at < 0 {
			break
		}
		b.WriteString(text[:at] + "\n")
		text = afterLine(strings.TrimPrefix(text[at:], "\n"))
	}
	return b.String() + text
}

// stripRests replaces every "#" and what follows on its line, with the line break, by a line break.
func stripRests(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "#")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('\n')
		text = afterLine(rest)
	}
}

// afterLine is what follows the first line.
func afterLine(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// Tag applies an extra network: <lora:NAME:0.8>.
type Tag struct {
	Kind  string   // "lora"
	Items []string // what stands between the colons behind it: "NAME", "0.8"
}

// Positional are the items that are not of the form KEY=VALUE.
func (t Tag) Positional() (items []string) {
	for _, item := range t.Items {
		if strings.Count(item, "=") != 1 {
			items = append(items, item)
		}
	}
	return items
}

// Named are the items of the form KEY=VALUE, by key.
func (t Tag) Named() map[string]string {
	named := make(map[string]string)
	for _, item := range t.Items {
		if key, value, _ := strings.Cut(item, "="); strings.Count(item, "=") == 1 {
			named[key] = value
		}
	}
	return named
}

// String is the tag as it stands in a prompt.
func (t Tag) String() string { return "<" + t.Kind + ":" + strings.Join(t.Items, ":") + ">" }

// Cut takes the tags out of a prompt. The blanks around them stay. Kinds of tags that nobody knows are tags too.
func Cut(text string) (rest string, tags []Tag) {
	var b strings.Builder
	closed := strings.LastIndexByte(text, '>')
	for {
		at := strings.IndexByte(text[:max(closed, 0)], '<')
		if at < 0 {
			return b.String() + text, tags
		}
		b.WriteString(text[:at])
		tag, length := tagAt(text[at:])
		if length == 0 {
			b.WriteByte('<')
			length = 1
		} else {
			tags = append(tags, tag)
		}
		text = text[at+length:]
		closed -= at + length
	}
}

// tagAt reads the tag that text begins with; its length is 0 if there is none.
func tagAt(text string) (tag Tag, length int) {
	end := strings.IndexFunc(text[1:], func(r rune) bool { return !isWord(r) }) + 1
	if end < 2 || text[end] != ':' {
		return tag, 0
	}
	items := text[end+1:]
	closing := strings.IndexByte(items, '>')
	if closing < 1 {
		return tag, 0
	}
	return Tag{text[1:end], strings.Split(items[:closing], ":")}, end + 1 + closing + 1
}

// Part is a text with a weight: of a prompt in the guidance, or of words in a prompt.
type Part struct {
	Text   string
	Weight float64
}

// Split takes a prompt apart at the word AND. A part that ends in ":NUMBER" has that weight, others 1. Blanks at the end
// of a part vanish, those at its start stay. A prompt without AND is one part, and ends with a weight just as well.
func Split(text string) []Part {
	texts := splitWord(text, "AND")
	parts := make([]Part, len(texts))
	for i, text := range texts {
		parts[i] = weighted(trimRight(text))
	}
	return parts
}

// weighted reads the weight at the end of a part.
func weighted(text string) Part {
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 {
		if weight, ok := parseNumber(trimLeft(text[colon+1:])); ok {
			return Part{trimRight(text[:colon]), weight}
		}
	}
	return Part{text, 1}
}
