package python

import "bytes"

// PlainJSON makes JSON of what Python's json module writes: it replaces the words NaN, Infinity and -Infinity, which JSON does
// not have, by null where they stand outside strings.
func PlainJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	quoted := false
scan:
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case quoted && text[i] == '\\' && i+1 < len(text):
			out = append(out, '\\')
			i++
		case !quoted:
			for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
				if bytes.HasPrefix(text[i:], []byte(word)) {
					out = append(out, "null"...)
					i += len(word) - 1
					continue scan
				}
			}
		}
		out = append(out, text[i])
	}
	return out
}
