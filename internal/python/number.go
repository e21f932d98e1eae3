package python

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Float reads what Python's float takes: decimal digits of any script, single underscores between them, an exponent, nan and
// infinity, with white space around; unlike Go's, no hexadecimal.
func Float(text string) (float64, error) {
	digits, ok := plain(text)
	if !ok || strings.ContainsAny(digits, "xX") {
		return 0, &strconv.NumError{Func: "Float", Num: text, Err: strconv.ErrSyntax}
	}
	v, err := strconv.ParseFloat(digits, 64)
	if e, isNumber := err.(*strconv.NumError); isNumber && e.Err == strconv.ErrRange {
		return v, nil // infinity, as in Python
	}
	return v, err
}

// Int reads what Python's int takes of decimal digits, as far as it is an int here.
func Int(text string) (int, error) {
	digits, ok := plain(text)
	if !ok {
		return 0, &strconv.NumError{Func: "Int", Num: text, Err: strconv.ErrSyntax}
	}
	return strconv.Atoi(digits)
}

// plain is a number in ASCII, without white space around and underscores within; ok is false where one stands elsewhere.
func plain(text string) (digits string, ok bool) {
	text = strings.Map(asciiDigit, strings.TrimFunc(text, unicode.IsSpace))
	for i := range len(text) {
		if text[i] == '_' && (i == 0 || i+1 == len(text) || !isDigit(text[i-1]) || !isDigit(text[i+1])) {
			return text, false
		}
	}
	return strings.ReplaceAll(text, "_", ""), true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// asciiDigit is a decimal digit of any script as that of ASCII; other characters stay. Unicode has them in runs of ten.
func asciiDigit(r rune) rune {
	if r < utf8.RuneSelf || !unicode.Is(unicode.Nd, r) {
		return r
	}
	for _, run := range unicode.Nd.R16 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r >= rune(run.Lo) && r <= rune(run.Hi) {
			return '0' + (r-rune(run.Lo))%10
		}
	}
	return r
}
