// Package prompt is the language of AUTOMATIC1111's web UI for prompts, from the text that somebody types to the token chunks that
// a text encoder reads:
//
//	portrait of a (young:1.2) woman, [oil painting:photo:0.4], <lora:personname:0.6>  # a comment
//	BREAK studio light AND film grain :0.3
//
// The stages are functions of their own, in this order: [StripComments], [Cut] takes the tags of extra networks out, [Split]
// the parts between AND, [NewTimeline] says which text a part has at which step, [Attention] weighs its words, [Reader.Chunks]
// cuts them into chunks of tokens, and [Emphasis.Apply] weighs what the encoder makes of these. What the web UI does with broken
// brackets, blanks and numbers is part of the language and is done here too; where it would fail, the text is taken literally.
//
// The package uses nothing but the standard library. All functions take time in proportion to the text.
package prompt

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options say how prompts are read. The zero value is the web UI's default.
type Options struct {
	Emphasis     Emphasis `json:"emphasis,omitzero"`      // what brackets do; "" is Original
	Backtrack    *int     `json:"backtrack,omitzero"`     // how many tokens after a comma are moved to the next chunk rather than torn apart; nil is 20, 0 moves none
	OldTimelines bool     `json:"old_timelines,omitzero"` // steps in [a:b:WHEN] mean what they did before release 1.6 of the web UI
	KeepComments bool     `json:"keep_comments,omitzero"` // "#" is text
}

// defaultBacktrack is the web UI's comma_padding_backtrack.
const defaultBacktrack = 20

// isSpace is Python's idea of white space: Unicode's and four separators of ASCII.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// isWord is Python's idea of what words are made of.
func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

func trim(s string) string      { return strings.TrimFunc(s, isSpace) }
func trimLeft(s string) string  { return strings.TrimLeftFunc(s, isSpace) }
func trimRight(s string) string { return strings.TrimRightFunc(s, isSpace) }

// indexWord is where a word first stands in text with no letter or digit around it, from an offset on; -1 if nowhere.
func indexWord(text, word string, from int) int {
	for {
		at := strings.Index(text[from:], word)
		if at < 0 {
			return -1
		}
		at += from
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(word):])
		if !isWord(before) && !isWord(after) {
			return at
		}
		from = at + len(word)
	}
}

// splitWord splits text at a word that stands alone.
func splitWord(text, word string) []string {
	var parts []string
	for at := indexWord(text, word, 0); at >= 0; at = indexWord(text, word, 0) {
		parts = append(parts, text[:at])
		text = text[at+len(word):]
	}
	return append(parts, text)
}

// asciiDigits writes the decimal digits of all scripts as 0 to 9, as Python reads numbers.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return r
		}
		for _, run := range unicode.Nd.R16 {
			if uint32(r) >= uint32(run.Lo) && uint32(r) <= uint32(run.Hi) {
				return '0' + (r-rune(run.Lo))%10
			}
		}
		for _, run := range unicode.Nd.R32 {
			if uint32(r) >= run.Lo && uint32(r) <= run.Hi {
				return '0' + (r-rune(run.Lo))%10
			}
		}
		return r
	}, s)
}

// parseNumber reads a number of digits and a point, with no exponent; what is too large is infinite.
func parseNumber(s string) (value float64, ok bool) {
	s = asciiDigits(s)
	if strings.Trim(s, "+-.0123456789") != "" {
		return 0, false
	}
	value, err := strconv.ParseFloat(s, 64)
	if e, isNum := err.(*strconv.NumError); isNum {
		return value, e.Err == strconv.ErrRange
	}
	return value, true
}
