package clip

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalize brings valid UTF-8 to form C, runs of white space to one space, and letters to lower
// case, one code point at a time: U+0130 becomes two code points, a final sigma stays σ.
func normalize(text string) string {
	text = composed(text)
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range text {
		if unicode.Is(unicode.White_Space, r) {
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		}
		space = false
		if r == 'İ' {
			b.WriteString("i\u0307")
			continue
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// nextWord returns the first word of normalized text and what follows it. The word is empty if only
// white space is left. In order of preference a word is an English contraction, a run of letters,
// one number character, or a run of anything else but white space.
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeft(text, " ")
	for _, c := range [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(text, c) {
			return text[:len(c)], text[len(c):]
		}
	}
	first, n := utf8.DecodeRuneInString(text)
	if unicode.IsNumber(first) {
		return text[:n], text[n:]
	}
	letters := unicode.IsLetter(first)
	end := strings.IndexFunc(text, func(r rune) bool {
		return r == ' ' || unicode.IsLetter(r) != letters || unicode.IsNumber(r)
	})
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// composed is text in Unicode normalization form C.
//
// It does not leave the work to norm.NFC.String, because that produces the stream-safe variant, with
// U+034F inserted into runs of more than 30 combining marks, which would change their ids.
func composed(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	chars := decomposed(text)
	var out []rune
	starter, last := -1, -1 // index of the latest starter; class of the latest mark kept after it
	for _, c := range chars {
		if starter >= 0 && last < int(c.class) {
			if r, ok := compose(out[starter], c.r); ok {
				out[starter] = r
				continue
			}
		}
		if c.class == 0 {
			starter, last = len(out), -1
		} else {
			last = int(c.class)
		}
		out = append(out, c.r)
	}
	return string(out)
}

// char is a code point with its canonical combining class: 0 for a starter.
type char struct {
	r     rune
	class uint8
}

// decomposed is text in canonical decomposition and order, except that Hangul syllables stay whole:
// composition would put them together again.
func decomposed(text string) []char {
	chars := make([]char, 0, len(text))
	marks := 0 // length of the run of marks that chars ends with
	for text != "" {
		p := norm.NFD.PropertiesString(text)
		part := text[:p.Size()]
		if d := p.Decomposition(); d != nil {
			part = string(d)
		}
		text = text[p.Size():]
		for _, r := range part {
			class := norm.NFD.PropertiesString(string(r)).CCC()
			if class == 0 {
				order(chars[len(chars)-marks:])
				marks = 0
			} else {
				marks++
			}
			chars = append(chars, char{r, class})
		}
	}
	order(chars[len(chars)-marks:])
	return chars
}

// order sorts a run of combining marks by class, equal ones in the order of the text.
func order(marks []char) {
	slices.SortStableFunc(marks, func(a, b char) int { return int(a.class) - int(b.class) })
}

// compose is the code point that a followed by b is canonically equivalent to, if there is one.
func compose(a, b rune) (r rune, ok bool) {
	second := string(b)
	if norm.NFC.PropertiesString(second).BoundaryBefore() {
		return 0, false
	}
	pair := norm.NFC.String(string(a) + second)
	r, n := utf8.DecodeRuneInString(pair)
	return r, n == len(pair)
}
