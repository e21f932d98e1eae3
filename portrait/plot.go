package portrait

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot is a diagram of lines with error bars, in the coordinates of its SVG.
type plot struct {
	Wide, High               float64
	Left, Right, Top, Bottom float64 // of the area of the lines
	XLabel, YLabel           string
	XTicks, YTicks           []tick
	Lines                    []line
	Summary                  string // for who cannot see it
}

type tick struct {
	At   float64
	Text string
}

// line is a line of a plot. Class names its colour in the style sheet.
type line struct {
	Name, Class string
	Points      string // of an SVG polyline
	Marks       []mark
}

type mark struct {
	X, Y, Low, High float64
	Chosen          bool
	Text            string
}

// measured is a value with its standard error, at a place on the x axis.
type measured struct {
	x, value, err float64
	chosen        bool
}

// series is what becomes a line.
type series struct {
	name, class string
	points      []measured
}

// newPlot lays out series. Values are written by a format such as "%.0f %%", and places on the x axis by another.
func newPlot(xLabel, yLabel, xFormat, yFormat string, all ...series) *plot {
	p := &plot{Wide: 640, High: 300, Left: 56, Right: 624, Top: 16, Bottom: 252, XLabel: xLabel, YLabel: yLabel}
	low, high, first, last := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	var places []float64
	for _, s := range all {
		for _, m := range s.points {
			low, high = min(low, m.value-m.err), max(high, m.value+m.err)
			first, last = min(first, m.x), max(last, m.x)
			places = append(places, m.x)
		}
	}
	if len(places) == 0 {
		return nil
	}
	low, high = min(low, 0), max(high, low+1e-6)
	step := niceStep((high - low) / 4)
	low, high = math.Floor(low/step)*step, math.Ceil(high/step)*step
	x := func(v float64) float64 {
		if last == first {
			return (p.Left + p.Right) / 2
		}
		return p.Left + 12 + (v-first)/(last-first)*(p.Right-p.Left-24)
	}
	y := func(v float64) float64 { return p.Bottom - (v-low)/(high-low)*(p.Bottom-p.Top) }
	for v := low; v <= high+step/2; v += step {
		p.YTicks = append(p.YTicks, tick{y(v), fmt.Sprintf(yFormat, v+0)})
	}
	slices.Sort(places)
	places = slices.Compact(places)
	every := (len(places) + 14) / 15
	for i := 0; i < len(places); i += every {
		p.XTicks = append(p.XTicks, tick{x(places[i]), fmt.Sprintf(xFormat, places[i])})
	}
	var summary []string
	for _, s := range all {
		l := line{Name: s.name, Class: s.class}
		slices.SortFunc(s.points, func(a, b measured) int { return cmp.Compare(a.x, b.x) })
		var points, told []string
		for _, m := range s.points {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(m.x), y(m.value)))
			text := fmt.Sprintf(xFormat+": "+yFormat, m.x, m.value)
			told = append(told, text)
			l.Marks = append(l.Marks, mark{x(m.x), y(m.value), y(m.value - m.err), y(m.value + m.err), m.chosen, text})
		}
		l.Points = strings.Join(points, " ")
		summary = append(summary, s.name+", by "+xLabel+": "+strings.Join(told, "; "))
		p.Lines = append(p.Lines, l)
	}
	p.Summary = strings.Join(summary, ". ")
	return p
}

// niceStep is a round number near another: 1, 2 or 5 with zeros.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

// percent is a gain as how much less wrong the model is, with its error.
func percent(s Score) (value, err float64) {
	of := func(gain float64) float64 { return 100 * (1 - math.Exp(-gain)) }
	return of(s.Mean), (of(s.Mean+s.Error) - of(s.Mean-s.Error)) / 2
}

// byEpoch shows how the likeness grew, at the weight at which most epochs were tried.
func byEpoch(trials []Trial, chosen Trial, heldOut bool) *plot {
	weight := mostTried(trials)
	unseen, learned := series{name: "photos that were held out", class: "first"}, series{name: "photos that were learned", class: "second"}
	for _, t := range trials {
		if t.Weight != weight {
			continue
		}
		at := measured{x: float64(t.Epoch.Number), chosen: t.Epoch.Number == chosen.Epoch.Number}
		at.value, at.err = percent(t.HeldOut)
		unseen.points = append(unseen.points, at)
		at.value, at.err = percent(t.Trained)
		learned.points = append(learned.points, at)
	}
	if !heldOut {
		learned.class = "first"
		return newPlot("epoch", "less wrong than without", "%.0f", "%.0f %%", learned)
	}
	return newPlot("epoch", "less wrong than without", "%.0f", "%.0f %%", unseen, learned)
}

// byWeight shows what the weight of the chosen epoch changes; nil if only one was tried.
func byWeight(trials []Trial, chosen Trial) *plot {
	like, obeys := series{name: "likeness", class: "first"}, series{name: "what is left of the prompt", class: "second"}
	for _, t := range trials {
		if t.Epoch.Number != chosen.Epoch.Number {
			continue
		}
		at := measured{x: t.Weight, chosen: t.Weight == chosen.Weight}
		at.value, at.err = percent(t.HeldOut)
		like.points = append(like.points, at)
		at.value, at.err = 100*t.Obedience.Mean, 100*t.Obedience.Error
		obeys.points = append(obeys.points, at)
	}
	if len(like.points) < 2 {
		return nil
	}
	return newPlot("weight", "", "%.1f", "%.0f %%", like, obeys)
}

// mostTried is the weight of most trials.
func mostTried(trials []Trial) (weight float64) {
	count := make(map[float64]int)
	for _, t := range trials {
		if count[t.Weight]++; count[t.Weight] > count[weight] {
			weight = t.Weight
		}
	}
	return weight
}

// Add is for places in the template beside others.
func (p *plot) Add(a, b float64) float64 { return a + b }

// Middle is that of two places.
func (p *plot) Middle(a, b float64) float64 { return (a + b) / 2 }
