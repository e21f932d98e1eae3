// Package python reads and writes values as Python does, in which people write arguments for sd-scripts and it keeps metadata.
package python

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// String formats a value as Python's str does.
func String(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return float(v)
	}
	return fmt.Sprint(value)
}

// float is the shortest form of a float64 that reads back the same, as Python writes it: 1.0, 0.0001, 1e-05, inf, nan.
func float(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64)), "+")
	}
	if a := math.Abs(v); v != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// JSON formats a value as Python's json.dumps does: with spaces behind separators, and ASCII only.
func JSON(value any) string {
	var compact bytes.Buffer
	e := json.NewEncoder(&compact)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "null" // no value here can be the reason
	}
	var out strings.Builder
	quoted, escaped := false, false
	for _, c := range strings.TrimSpace(compact.String()) {
		switch {
		case c >= 0x10000:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		case c >= 0x7f:
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			out.WriteRune(c)
		}
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			out.WriteByte(' ')
		}
	}
	return out.String()
}
