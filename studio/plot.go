package studio

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// plot is a diagram of lines over a shared axis. It is drawn as SVG here, so that it is there without scripts, is read aloud, and looks as
// the page does; its numbers are a table too.
type plot struct {
	ID     string // of its elements, unique on a page
	Title  string
	X, Y   string // what the axes show, with units
	Series []series
	Marks  []plotMark
	Last   float64 // where the axis ends at least, so that it does not move while a training grows into it
}

// series is a line. Points whose y is no number are gaps.
type series struct {
	Name string
	X, Y []float64
	Kind string // "faint", "first", "second" or "dots": how it is drawn
}

// plotMark is a place on the axis, such as the chosen epoch.
type plotMark struct {
	X    float64
	Text string
}

// The plot's own coordinates.
const (
	plotWide, plotHigh                         = 720.0, 260.0
	plotLeft, plotRight, plotTop, plotBaseline = 56.0, 704.0, 16.0, 216.0
	plotPoints                                 = 360 // of a line at most: more than that no screen shows
	plotRows                                   = 24  // of the table
)

// Empty reports whether there is nothing to draw yet.
func (p plot) Empty() bool {
	for _, s := range p.Series {
		if len(thin(s, plotPoints).X) > 0 {
			return false
		}
	}
	return true
}

// SVG draws it.
func (p plot) SVG() template.HTML {
	a := p.axes()
	var b strings.Builder
	esc := template.HTMLEscapeString
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %g %g" role="img" aria-labelledby="%s-t %s-d" preserveAspectRatio="xMidYMid meet">`, plotWide, plotHigh, esc(p.ID), esc(p.ID))
	fmt.Fprintf(&b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, esc(p.ID), esc(p.Title), esc(p.ID), esc(p.Summary()))
	for _, v := range ticks(a.low, a.high, 4, 0) {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, plotLeft, plotRight, a.y(v), a.y(v), plotLeft-8, a.y(v)+4, figureOf(v))
	}
	for _, v := range ticks(a.first, a.last, 8, 1) {
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, a.x(v), plotBaseline+18, figureOf(v))
	}
	fmt.Fprintf(&b, `<text class="axis" x="%g" y="%g" text-anchor="middle">%s</text>`, (plotLeft+plotRight)/2, plotHigh-8, esc(p.X))
	for _, m := range p.Marks {
		at, anchor := a.x(m.X)+4, "start"
		if at > plotRight-80 {
			at, anchor = at-8, "end"
		}
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="mark" x="%.1f" y="%g" text-anchor="%s">%s</text>`, a.x(m.X), a.x(m.X), plotTop, plotBaseline, at, plotTop+8, anchor, esc(m.Text))
	}
	for _, s := range p.Series {
		a.draw(&b, thin(s, plotPoints))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // every text in it is escaped above, the rest are numbers
}

// axes is where numbers are in the plot.
type axes struct{ first, last, low, high float64 }

func (a axes) x(v float64) float64 {
	return plotLeft + (v-a.first)/(a.last-a.first)*(plotRight-plotLeft)
}

func (a axes) y(v float64) float64 {
	return plotBaseline - (v-a.low)/(a.high-a.low)*(plotBaseline-plotTop)
}

// axes finds the bounds. Those of y are round numbers that leave nothing out.
func (p plot) axes() axes {
	a := axes{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for _, s := range p.Series {
		for i, v := range s.Y {
			if finite(v) && finite(s.X[i]) {
				a.first, a.last = min(a.first, s.X[i]), max(a.last, s.X[i])
				a.low, a.high = min(a.low, v), max(a.high, v)
			}
		}
	}
	if a.low > a.high {
		return axes{0, max(p.Last, 1), 0, 1}
	}
	a.last = max(a.last, p.Last)
	if a.first == a.last {
		a.first, a.last = a.first-1, a.last+1
	}
	if a.low > 0 && a.low < 0.6*a.high {
		a.low = 0
	}
	step := niceStep(max((a.high-a.low)/4, 1e-9*max(math.Abs(a.high), 1)))
	a.low, a.high = math.Floor(a.low/step)*step, math.Ceil(a.high/step)*step
	if a.low == a.high {
		a.high += step
	}
	return a
}

// draw draws a line, with gaps where there is no number.
func (a axes) draw(b *strings.Builder, s series) {
	kind := template.HTMLEscapeString(s.Kind)
	if s.Kind != "dots" {
		open := false
		for i := range s.X {
			if !finite(s.Y[i]) {
				if open {
					b.WriteString(`"/>`)
				}
				open = false
				continue
			}
			if !open {
				fmt.Fprintf(b, `<polyline class="%s" points="`, kind)
			}
			open = true
			fmt.Fprintf(b, "%.1f,%.1f ", a.x(s.X[i]), a.y(s.Y[i]))
		}
		if open {
			b.WriteString(`"/>`)
		}
	}
	if s.Kind == "dots" || len(s.X) <= 40 && s.Kind != "faint" {
		for i := range s.X {
			if finite(s.Y[i]) {
				fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"><title>%s: %s</title></circle>`, kind, a.x(s.X[i]), a.y(s.Y[i]), figureOf(s.X[i]), figureOf(s.Y[i]))
			}
		}
	}
}

// Summary says in words what the plot shows.
func (p plot) Summary() string {
	var parts []string
	for _, s := range p.Series {
		first, last, least := math.NaN(), math.NaN(), math.Inf(1)
		for _, v := range s.Y {
			if finite(v) {
				if !finite(first) {
					first = v
				}
				last, least = v, min(least, v)
			}
		}
		if finite(last) && s.Kind != "faint" {
			parts = append(parts, fmt.Sprintf("%s: from %s to %s", s.Name, figureOf(first), figureOf(last)))
		}
	}
	if len(parts) == 0 {
		return "Nothing was measured yet."
	}
	return p.Y + " by " + p.X + ". " + strings.Join(parts, "; ") + "."
}

// Rows are the numbers as a table: the place on the axis, then each series' value, "" where it has none.
func (p plot) Rows() (rows [][]string) {
	at := make(map[float64]int)
	for column, s := range p.Series {
		s = thin(s, plotRows)
		for i, x := range s.X {
			if !finite(s.Y[i]) {
				continue
			}
			row, ok := at[x]
			if !ok {
				row = len(rows)
				at[x] = row
				rows = append(rows, make([]string, len(p.Series)+1))
				rows[row][0] = figureOf(x)
			}
			rows[row][column+1] = figureOf(s.Y[i])
		}
	}
	return rows
}

// thin leaves of a line as many points as are seen: the means of neighbours.
func thin(s series, most int) series {
	n := min(len(s.X), len(s.Y))
	if n <= most {
		s.X, s.Y = s.X[:n], s.Y[:n]
		return s
	}
	out := series{Name: s.Name, Kind: s.Kind}
	for i := range most {
		from, to := i*n/most, (i+1)*n/most
		var x, y, count float64
		for j := from; j < to; j++ {
			if finite(s.Y[j]) {
				x, y, count = x+s.X[j], y+s.Y[j], count+1
			}
		}
		if count > 0 {
			out.X, out.Y = append(out.X, math.Round(x/count)), append(out.Y, y/count)
		}
	}
	return out
}

// smooth is a line without its noise: each point the mean of those before it, the nearer the more, over about so many.
func smooth(y []float64, over int) []float64 {
	out := make([]float64, len(y))
	keep, mean, weight := 1-1/float64(max(over, 1)), 0.0, 0.0
	for i, v := range y {
		if finite(v) {
			mean, weight = mean*keep+v*(1-keep), weight*keep+(1-keep)
		}
		out[i] = math.NaN()
		if weight > 0 {
			out[i] = mean / weight
		}
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// ticks are about n round numbers between two, at least so far from each other: of steps and epochs there are no halves.
func ticks(low, high float64, n int, least float64) (at []float64) {
	step := max(niceStep((high-low)/float64(n)), least)
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		at = append(at, i*step)
	}
	return at
}

// niceStep is a round number, 1, 2 or 5 with zeros, that is v or little more.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v*(1-1e-9) {
			return n * power
		}
	}
	return 10 * power
}

// figureOf is a number as people read it: 0.123, 45, 1,200.
func figureOf(v float64) string {
	switch a := math.Abs(v); {
	case a < 1e-12:
		return "0"
	case a >= 1e6 || a < 1e-3:
		return fmt.Sprintf("%.3g", v)
	case a >= 1000 && v == math.Trunc(v):
		n := int(v)
		return fmt.Sprintf("%d,%03d", n/1000, max(n, -n)%1000)
	}
	return fmt.Sprintf("%.4g", v)
}
