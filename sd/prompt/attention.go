package prompt

import (
	"math"
	"slices"
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
	a := attention{text: text, brackets: make([]bracket, 1, 1+strings.Count(text, "(")+strings.Count(text, "["))}
	for at := 0; at < len(text); {
		at = a.next(at)
	}
	return a.parts()
}

// attention is the state of reading weights. Round and square brackets are two stacks, which do not know of each other: (a [b) c] is fine.
// Everything is in two arrays without pointers: a flood of brackets is no flood of memory.
type attention struct {
	text          string
	pieces        []piece
	brackets      []bracket // the first is none
	round, square int32     // the innermost that are open
	closed        int32     // how many have been
}

// piece is a stretch of the text with the brackets it stands in.
type piece struct {
	from, to      int32
	round, square int32
	isBreak       bool
}

// bracket multiplies the weights of what stands in it.
type bracket struct {
	outer  int32
	depth  int32 // how many there are with those outside
	order  int32 // in which it was closed
	weight float64
	all    float64 // the product of its weight and those of all outside of it, once it is known
	known  bool
}

// next reads the first token from an offset on and returns where the next one begins.
func (a *attention) next(at int) int {
	switch a.text[at] {
	case '\\':
		if at+1 < len(a.text) && strings.IndexByte(`()[]\`, a.text[at+1]) >= 0 {
			a.add(at+1, at+2)
			return at + 2
		}
		a.add(at+1, at+1)
	case '(':
		a.open(&a.round, roundWeight)
	case '[':
		a.open(&a.square, squareWeight)
	case ':':
		return a.colon(at)
	case ')':
		if !a.close(&a.round, roundWeight) {
			a.add(at, at+1)
		}
	case ']':
		if !a.close(&a.square, squareWeight) {
			a.add(at, at+1)
		}
	default:
		end := at + 1
		for end < len(a.text) && !marks(a.text[end]) {
			end++
		}
		a.run(at, end)
		return end
	}
	return at + 1
}

// marks tells whether a character is more than text.
func marks(c byte) bool {
	return c == '\\' || c == '(' || c == ')' || c == '[' || c == ']' || c == ':'
}

// colon reads a weight and the round bracket that it closes, or a literal colon.
func (a *attention) colon(at int) int {
	value, length := weightAt(a.text[at:])
	if length == 0 {
		length = 1
	}
	if length == 1 || !a.close(&a.round, value) {
		a.add(at, at+length)
	}
	return at + length
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
	if behind == "" || behind[0] != ')' {
		return 0, 0
	}
	value, ok := parseNumber(number[:end])
	if !ok {
		return 0, 0
	}
	return value, len(text) - len(behind) + 1
}

// add appends a stretch of text, to the last piece if that ends there.
func (a *attention) add(from, to int) {
	p := piece{from: int32(from), to: int32(to), round: a.round, square: a.square}
	if n := len(a.pieces); n > 0 && a.pieces[n-1].to == p.from && a.pieces[n-1].beside(p) {
		a.pieces[n-1].to = p.to
		return
	}
	a.pieces = append(a.pieces, p)
}

// beside tells whether two pieces stand in the same brackets, and both are text.
func (p piece) beside(other piece) bool {
	return p.round == other.round && p.square == other.square && p.isBreak == other.isBreak
}

// run appends a text without brackets, cut at every BREAK with the blanks around it.
func (a *attention) run(from, to int) {
	for text := a.text[from:to]; ; text = a.text[from:to] {
		at := indexWord(text, breakText, 0)
		if at < 0 {
			a.add(from, to)
			return
		}
		a.add(from, from+len(trimRight(text[:at])))
		a.pieces = append(a.pieces, piece{from: int32(from + at), to: int32(from + at + len(breakText)), round: a.round, square: a.square, isBreak: true})
		from = to - len(trimLeft(text[at+len(breakText):]))
	}
}

// open opens a bracket of a kind.
func (a *attention) open(innermost *int32, weight float64) {
	a.brackets = append(a.brackets, bracket{outer: *innermost, depth: a.brackets[*innermost].depth + 1, weight: weight, order: math.MaxInt32})
	*innermost = int32(len(a.brackets) - 1)
}

// close closes the innermost bracket of a kind, if one is open.
func (a *attention) close(innermost *int32, weight float64) bool {
	if *innermost == 0 {
		return false
	}
	b := &a.brackets[*innermost]
	b.weight, b.order = weight, a.closed
	a.closed++
	*innermost = b.outer
	return true
}

// exactDepth is how many brackets there may be around a piece for their weights to be multiplied one by one, in the order in which they
// close, as the web UI does it; the rounding of a product depends on the order. Of more, which no prompt has, the products are shared: else
// brackets in brackets would take the square of the time.
const exactDepth = 128

// weight is that of a piece with all brackets around it.
func (a *attention) weight(p piece) float64 {
	weight, round, square := 1.0, p.round, p.square
	if p.isBreak {
		weight = -1
	}
	if a.brackets[round].depth+a.brackets[square].depth > exactDepth {
		return weight * a.product(round) * a.product(square)
	}
	for round != 0 || square != 0 {
		switch {
		case square == 0 || round != 0 && a.brackets[round].order <= a.brackets[square].order:
			weight *= a.brackets[round].weight
			round = a.brackets[round].outer
		default:
			weight *= a.brackets[square].weight
			square = a.brackets[square].outer
		}
	}
	return weight
}

// product is the product of the weights of a bracket and of those outside.
func (a *attention) product(innermost int32) float64 {
	var chain []int32
	at := innermost
	for ; at != 0 && !a.brackets[at].known; at = a.brackets[at].outer {
		chain = append(chain, at)
	}
	product := 1.0
	if at != 0 {
		product = a.brackets[at].all
	}
	for _, at := range slices.Backward(chain) {
		product *= a.brackets[at].weight
		a.brackets[at].all, a.brackets[at].known = product, true
	}
	return product
}

// parts are the pieces with their weights, neighbours of equal weight joined.
func (a *attention) parts() (parts []Part) {
	if len(a.pieces) == 0 {
		return []Part{{"", 1}}
	}
	first, weight := 0, a.weight(a.pieces[0])
	for i, p := range a.pieces {
		w := weight
		if i > 0 && !p.beside(a.pieces[i-1]) {
			w = a.weight(p)
		}
		if w != weight {
			parts = append(parts, Part{a.join(a.pieces[first:i]), weight})
			first, weight = i, w
		}
	}
	return append(parts, Part{a.join(a.pieces[first:]), weight})
}

// join is the text of pieces.
func (a *attention) join(pieces []piece) string {
	if len(pieces) == 1 {
		return a.text[pieces[0].from:pieces[0].to]
	}
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(a.text[p.from:p.to])
	}
	return b.String()
}
