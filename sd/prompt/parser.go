package prompt

import (
	"slices"
	"strings"
)

// parse finds the edits and alternations of a prompt, by the offset of their bracket. A bracket or colon that is part of no whole
// construct is text; a text that no construct can hold, a "|" outside of brackets or a "\\" that escapes nothing, makes all of it text.
//
//	prompt    = { construct | "(" | ")" | "[" | "]" | ":" | plain }
//	construct = "(" inner [ ":" inner ] ")" | "[" inner "]" | "[" inner { "|" inner } "]" | "[" [ inner ":" ] inner ":" number "]"
//	inner     = { construct | plain }
//	plain     = any character but \ ( ) [ ] : | , or \ and any character but a line break
//
// Constructs are looked for from the end to the start, so that those inside are known and each takes the time of what is
// directly in it: no depth of brackets needs a stack, and no broken bracket is read twice.
func parse(text string) []node {
	if !strings.Contains(text, "[") {
		return nil
	}
	p := &parser{text: text, ends: make([]int32, len(text)), nodes: make([]node, 0, strings.Count(text, "["))}
	for at := len(text) - 1; at >= 0; at-- {
		if c := text[at]; c == '(' || c == '[' {
			p.ends[at] = int32(p.construct(at))
		}
	}
	return p.reached()
}

// parser keeps what it finds in few arrays: a flood of brackets is no flood of memory.
type parser struct {
	text    string
	ends    []int32 // where constructs end, by their start; 0 where there is none
	nodes   []node  // the last one first
	options []span  // of all nodes
}

// reached are the nodes that reading from the start comes to, in its order, none if the prompt cannot be read.
func (p *parser) reached() []node {
	slices.Reverse(p.nodes)
	left, reached := p.nodes, p.nodes[:0]
	inside := 0 // the end of the construct that is being read
	for at := 0; at < len(p.text); {
		length := escaped(p.text[at:])
		if length == 0 || p.text[at] == '|' && at >= inside {
			return nil
		}
		for len(left) > 0 && left[0].at < at {
			left = left[1:]
		}
		if len(left) > 0 && left[0].at == at {
			reached = append(reached, left[0])
		}
		inside = max(inside, int(p.ends[at]))
		at += length
	}
	return reached
}

// escaped is the length of the character that text begins with, with the backslash before it; 0 if a backslash escapes nothing.
func escaped(text string) int {
	if text[0] != '\\' {
		return 1
	}
	if len(text) < 2 || text[1] == '\n' {
		return 0
	}
	return 2
}

// is reports whether a character stands at an offset.
func (p *parser) is(at int, c byte) bool { return at < len(p.text) && p.text[at] == c }

// inner is the stretch of plain text and whole constructs from an offset on.
func (p *parser) inner(from int) span {
	at := from
	for at < len(p.text) {
		switch p.text[at] {
		case ')', ']', ':', '|':
			return span{from, at}
		case '(', '[':
			end := int(p.ends[at])
			if end == 0 {
				return span{from, at}
			}
			at = end
		default:
			length := escaped(p.text[at:])
			if length == 0 {
				return span{from, at}
			}
			at += length
		}
	}
	return span{from, at}
}

// construct is the end of the construct that begins with the bracket at an offset, 0 if there is none.
func (p *parser) construct(at int) int {
	first := p.inner(at + 1)
	if p.text[at] == '(' {
		return p.round(first)
	}
	n, before := node{at: at}, len(p.options)
	switch {
	case p.is(first.to, ']'):
		return first.to + 1
	case p.is(first.to, '|'):
		n.end = p.alternation(first)
	case p.is(first.to, ':'):
		n.when, n.end = p.edit(first)
	}
	if n.end > 0 {
		n.options = p.options[before:len(p.options):len(p.options)]
		p.nodes = append(p.nodes, n)
	} else {
		p.options = p.options[:before]
	}
	return n.end
}

// round is the end of round brackets.
func (p *parser) round(inner span) int {
	if p.is(inner.to, ':') {
		inner = p.inner(inner.to + 1)
	}
	if p.is(inner.to, ')') {
		return inner.to + 1
	}
	return 0
}

// alternation reads the options behind the first.
func (p *parser) alternation(last span) (end int) {
	p.options = append(p.options, last)
	for p.is(last.to, '|') {
		last = p.inner(last.to + 1)
		p.options = append(p.options, last)
	}
	if p.is(last.to, ']') {
		return last.to + 1
	}
	return 0
}

// edit reads what is behind the colon after the first text, which is what comes after the edit if there is no other.
func (p *parser) edit(first span) (when string, end int) {
	if when, end = p.number(first.to + 1); end > 0 {
		p.options = append(p.options, span{}, first)
		return when, end
	}
	second := p.inner(first.to + 1)
	if !p.is(second.to, ':') {
		return "", 0
	}
	p.options = append(p.options, first, second)
	return p.number(second.to + 1)
}

// number reads the number that ends an edit, with blanks around it, and the closing bracket.
func (p *parser) number(at int) (number string, end int) {
	rest := trimLeft(p.text[at:])
	length := numberLength(rest)
	if length == 0 {
		return "", 0
	}
	behind := trimLeft(rest[length:])
	if behind == "" || behind[0] != ']' {
		return "", 0
	}
	return rest[:length], len(p.text) - len(behind) + 1
}

// numberLength is the length of the number that s begins with: a sign, digits with or without a point, an exponent.
func numberLength(s string) int {
	at := sign(s)
	whole := digits(s[at:])
	at += whole
	fraction := 0
	if at < len(s) && s[at] == '.' {
		fraction = digits(s[at+1:])
		at += 1 + fraction
	}
	if whole+fraction == 0 {
		return 0
	}
	if at < len(s) && (s[at] == 'e' || s[at] == 'E') {
		exponent := 1 + sign(s[at+1:])
		if n := digits(s[at+exponent:]); n > 0 {
			at += exponent + n
		}
	}
	return at
}

func sign(s string) int {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return 1
	}
	return 0
}

func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}
