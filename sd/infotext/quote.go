package infotext

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Quote writes a value as a JSON string if a reader could not tell it from its surroundings, else as it is.
func Quote(value string) string {
	if !strings.ContainsAny(value, ",:\n") {
		return value
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(value) != nil {
		return value
	}
	// Python leaves the two line separators of Unicode as they are, and the control character that ASCII has last.
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\\`, `\\`).Replace(strings.TrimSuffix(b.String(), "\n"))
}

// Unquote is the inverse of Quote. What is no JSON string stays as it is.
func Unquote(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' || !utf8.ValidString(text) {
		return text
	}
	var value string
	if json.Unmarshal([]byte(text), &value) != nil {
		return text
	}
	return value
}
