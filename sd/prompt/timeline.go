package prompt

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Timing says how many steps there are, counted in calls of the denoiser: samplers of second order have two a step.
type Timing struct {
	Steps int  // of the first pass
	Hires int  // of the hires pass, if the text is for it; 0 is the first pass
	Old   bool // WHEN is read as before release 1.6 of the web UI
}

// steps is how many steps the pass has.
func (t Timing) steps() int {
	if t.Hires == 0 || t.Old {
		return t.Steps
	}
	return t.Hires
}

// when is the last step before an edit: its number counts steps, or the share of them if it has a point, from the start of the
// first pass on; the hires pass begins at 1. In the old way numbers below 1 are shares, and the hires pass edits like the first.
func (t Timing) when(number string) int {
	if number == "" {
		return 0
	}
	v, _ := strconv.ParseFloat(number, 64)
	steps, hires := t.steps(), t.Hires != 0 && !t.Old
	switch {
	case t.Old && v < 1, !t.Old && strings.Contains(number, "."):
		if hires {
			v--
		}
		v *= float64(steps)
	case hires:
		v -= float64(t.Steps)
	}
	return int(max(min(math.Trunc(v), float64(steps)), math.MinInt32))
}

// Timeline says which text a prompt with edits, [before:after:WHEN], and alternations, [a|b], has at which step.
type Timeline struct {
	text  string
	nodes []node // edits and alternations in the order of their brackets
	Ends  []int  // the step up to which a text holds; the last is the number of steps
}

// node is an edit or an alternation.
type node struct {
	at      int    // offset of its bracket
	end     int    // offset behind its closing bracket
	options []span // what it becomes: of an alternation in turn, of an edit before and after
	when    string // the number of an edit; "" is an alternation
	last    int    // the last step of what is before
}

// span is a stretch of the text, from an offset to another.
type span struct{ from, to int }

// NewTimeline reads a prompt. A prompt that the language does not know, such as one with a "|" outside of brackets, has no
// edits: it is one text.
func NewTimeline(text string, t Timing) *Timeline {
	l := &Timeline{text: text, nodes: parse(text), Ends: []int{t.steps()}}
	alternates := false
	for i := range l.nodes {
		n := &l.nodes[i]
		alternates = alternates || n.when == ""
		if n.last = t.when(n.when); n.last >= 1 && n.last != l.Ends[len(l.Ends)-1] {
			l.Ends = append(l.Ends, n.last)
		}
	}
	if alternates {
		for step := range t.steps() {
			l.Ends = append(l.Ends, step+1)
		}
	}
	slices.Sort(l.Ends)
	l.Ends = slices.Compact(l.Ends)
	return l
}

// choose is what an edit or alternation becomes at a step.
func (n *node) choose(step int) span {
	switch k := len(n.options); {
	case n.when == "":
		return n.options[((step-1)%k+k)%k]
	case step <= n.last:
		return n.options[0]
	}
	return n.options[1]
}

// Text is the prompt at a step, from 1 on.
func (l *Timeline) Text(step int) string {
	if len(l.nodes) == 0 {
		return l.text
	}
	type resume struct{ at, to int } // where the text goes on behind a node, and how far
	var stack []resume
	var b strings.Builder
	nodes := l.nodes // those that are not behind
	for at, to := 0, len(l.text); ; {
		for len(nodes) > 0 && nodes[0].at < at {
			nodes = nodes[1:]
		}
		next := to // where plain text ends
		if len(nodes) > 0 {
			next = min(next, nodes[0].at)
		}
		switch {
		case at < next:
			b.WriteString(l.text[at:next])
			at = next
		case at < to:
			n := &nodes[0]
			stack = append(stack, resume{n.end, to})
			option := n.choose(step)
			at, to = max(option.from, at), max(option.to, at)
		case len(stack) == 0:
			return b.String()
		default:
			top := stack[len(stack)-1]
			at, to, stack = top.at, top.to, stack[:len(stack)-1]
		}
	}
}

// Active is the index in Ends of the text in force at a call of the denoiser, counted from 0: the first whose end is not
// before the call. The first text so lasts one call longer than its end says, as in the web UI. Behind the end it is the first again.
func (l *Timeline) Active(call int) int {
	if i, _ := slices.BinarySearch(l.Ends, call); i < len(l.Ends) {
		return i
	}
	return 0
}
