package prompt

import (
	"math"
	"strings"
	"unicode"
)

// breakText is how a BREAK stands among the pieces of a prompt, with the weight -1.
const breakText = "BREAK"

// IsBreak reports whether a piece of [Attention] is no text but the command to begin a new chunk.
func (p Part) IsBreak() bool { return p.Text == breakText && p.Weight == -1 }

// What brackets multiply weights by.
const (
	roundWeight  = 1.1
	squareWeight = 1 / 1.1
)

// Attention reads the weights of a prompt: (more), [less], (much more:1.4), \( for a bracket. Neighbours of equal weight are one
// piece, and there is at least one. The word BREAK is a piece of its own, unless brackets around it change its weight: then
// it is text, as in the web UI.
func Attention(text string) []Part {
	a := attention{}
	for text != "" {
		text = text[a.next(text):]
	}
	return a.pieces()
}

// attention is the state of reading weights. Round and square brackets are two stacks, which do not know of each other: (a [b) c] is fine.
type attention struct {
	texts         []piece
	round, square *bracket // the innermost that are open
	closed        int      // how many have been
}

// piece is a text with the brackets it stands in.
type piece struct {
	Part
	round, square *bracket
}

// bracket multiplies the weights of what stands in it.
type bracket struct {
	outer  *bracket
	weight float64
	order  int     // in which it was closed
	all    float64 // the product of its weight and those of all outside of it, once it is known
	known  bool
}

// next reads the first token of text and returns its length.
func (a *attention) next(text string) int {
	switch c := text[0]; c {
	case '\\':
		if len(text) > 1 && strings.IndexByte(`()[]\`, text[1]) >= 0 {
			a.add(text[1:2])
			return 2
		}
		a.add("")
	case '(':
		a.round = &bracket{outer: a.round, weight: roundWeight, order: math.MaxInt}
	case '[':
		a.square = &bracket{outer: a.square, weight: squareWeight, order: math.MaxInt}
	case ':':
		return a.colon(text)
	case ')':
		if !a.close(&a.round, roundWeight) {
			a.add(")")
		}
	case ']':
		if !a.close(&a.square, squareWeight) {
			a.add("]")
		}
	default:
		length := strings.IndexAny(text, `\()[]:`)
		if length < 0 {
			length = len(text)
		}
		a.run(text[:length])
		return length
	}
	return 1
}

// colon reads a weight and the round bracket that it closes, or a literal colon.
func (a *attention) colon(text string) int {
	value, length := weightAt(text)
	if length == 0 {
		length = 1
	}
	if length == 1 || !a.close(&a.round, value) {
		a.add(text[:length])
	}
	return length
}

// weightAt reads the colon, number and closing bracket that text begins with, and blanks between them; its length is 0 if
// there are none.
func weightAt(text string) (value float64, length int) {
	number := trimLeft(text[1:])
	end := strings.IndexFunc(number, func(r rune) bool { return !unicode.IsDigit(r) && r != '.' && r != '+' && r != '-' })
	if end < 1 {
		return 0, 0
	}
	behind := trimLeft(number[end:])
	value, ok := parseNumber(number[:end])
	if !ok || behind == "" || behind[0] != ')' {
		return 0, 0
	}
	return value, len(text) - len(behind) + 1
}

// add appends a text.
func (a *attention) add(text string) {
	a.texts = append(a.texts, piece{Part{text, 1}, a.round, a.square})
}

// run appends a text without brackets, cut at every BREAK with the blanks around it.
func (a *attention) run(text string) {
	parts := splitWord(text, breakText)
	for i, part := range parts {
		if i > 0 {
			a.add(breakText)
			a.texts[len(a.texts)-1].Weight = -1
			part = trimLeft(part)
		}
		if i < len(parts)-1 {
			part = trimRight(part)
		}
		a.add(part)
	}
}

// close closes the innermost bracket of a kind, if one is open.
func (a *attention) close(innermost **bracket, weight float64) bool {
	if *innermost == nil {
		return false
	}
	b := *innermost
	b.weight, b.order = weight, a.closed
	a.closed++
	*innermost = b.outer
	return true
}

// exactDepth is how many brackets around a piece are multiplied one by one, in the order in which they close, as the web UI
// does it; the rounding of a product depends on the order. Those outside of them, which no prompt has, are multiplied
// at once: else brackets in brackets would take the square of the time.
const exactDepth = 128

// multiply is the weight of a piece with all brackets around it.
func (p piece) multiply() float64 {
	weight, round, square := p.Weight, p.round, p.square
	for range exactDepth {
		switch {
		case round == nil && square == nil:
			return weight
		case square == nil || round != nil && round.order <= square.order:
			weight *= round.weight
			round = round.outer
		default:
			weight *= square.weight
			square = square.outer
		}
	}
	return weight * round.product() * square.product()
}

// product is the product of the weights of a bracket and of those outside.
func (b *bracket) product() float64 {
	var chain []*bracket
	for ; b != nil && !b.known; b = b.outer {
		chain = append(chain, b)
	}
	product := 1.0
	if b != nil {
		product = b.all
	}
	for i := len(chain) - 1; i >= 0; i-- {
		product *= chain[i].weight
		chain[i].all, chain[i].known = product, true
	}
	return product
}

// pieces are the texts with their weights, neighbours of equal weight joined.
func (a *attention) pieces() []Part {
	if len(a.texts) == 0 {
		return []Part{{"", 1}}
	}
	var parts []Part
	var text strings.Builder
	before, weight := a.texts[0], a.texts[0].multiply()
	for _, p := range a.texts {
		w := weight
		if p.Weight != before.Weight || p.round != before.round || p.square != before.square {
			w = p.multiply()
		}
		if w != weight {
			parts = append(parts, Part{text.String(), weight})
			text.Reset()
		}
		before, weight = p, w
		text.WriteString(p.Text)
	}
	return append(parts, Part{text.String(), weight})
}
