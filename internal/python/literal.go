package python

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth bounds how deep lists and tuples are in one another.
const maxDepth = 16

// Parse reads a literal as Python's ast.literal_eval does: None is nil, True and False are bool, numbers float64, texts in
// quotes string, lists and tuples []any. Values with commas between are a tuple without its parentheses: 0.9,0.99.
func Parse(text string) (any, error) {
	p := parser{rest: text}
	value, err := p.tuple("")
	if err != nil {
		return nil, fmt.Errorf("%.60q is not as Python writes a value: %w", text, err)
	}
	return value, nil
}

// parser reads what is left of a text.
type parser struct {
	rest  string
	depth int
}

// next skips a token, and blanks before it, if it is what follows.
func (p *parser) next(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

// tuple reads values up to a closing parenthesis, or to the end if that is "". One value without a comma is no tuple.
func (p *parser) tuple(end string) (any, error) {
	values, commas, err := p.values(end)
	if err != nil {
		return nil, err
	}
	if commas == 0 && len(values) == 1 {
		return values[0], nil
	}
	if end == "" && len(values) == 0 {
		return nil, errors.New("there is none")
	}
	return values, nil
}

// values reads those before a closing bracket, and counts the commas, of which one may be behind the last value.
func (p *parser) values(end string) (values []any, commas int, err error) {
	values = []any{}
	for !p.closes(end) {
		if len(values) > commas {
			return nil, 0, fmt.Errorf("want a comma before %.20q", p.rest)
		}
		value, err := p.value()
		if err != nil {
			return nil, 0, err
		}
		values = append(values, value)
		if p.next(",") {
			commas++
		}
	}
	return values, commas, nil
}

// closes skips a closing bracket, or says whether the text ends if that is "".
func (p *parser) closes(end string) bool {
	found := p.next(end)
	if end == "" {
		return p.rest == ""
	}
	return found
}

func (p *parser) value() (any, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("lists more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.next("["):
		values, _, err := p.values("]")
		return values, err
	case p.next("("):
		return p.tuple(")")
	case p.next("'"):
		return p.quoted("'")
	case p.next(`"`):
		return p.quoted(`"`)
	}
	return p.word()
}

// quoted reads a text up to its closing quote.
func (p *parser) quoted(quote string) (any, error) {
	text, rest, ok := strings.Cut(p.rest, quote)
	if !ok || strings.Contains(text, `\`) {
		return nil, fmt.Errorf("want a text in quotes, without backslashes, before %.20q", p.rest)
	}
	p.rest = rest
	return text, nil
}

// word reads a name or a number.
func (p *parser) word() (any, error) {
	word := p.rest
	if end := strings.IndexAny(word, ",[]() \t\r\n"); end >= 0 {
		word = word[:end]
	}
	p.rest = p.rest[len(word):]
	switch word {
	case "None":
		return nil, nil
	case "True", "False":
		return word == "True", nil
	}
	number, err := strconv.ParseFloat(word, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // infinity, as in Python
	}
	if err != nil || strings.Trim(word, "+-0123456789.eE") != "" {
		return nil, fmt.Errorf("want a number, True, False, None, a list or a text in quotes in place of %.20q", word)
	}
	return number, nil
}
