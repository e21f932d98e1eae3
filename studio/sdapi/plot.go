package sdapi

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// plotTitle is the script that may be selected: it compares settings.
const plotTitle = "x/y/z plot"

// plot is what the script was asked for.
type plot struct {
	work.Grid
	cells bool // are answered too, behind the sheets
}

// axesOf are the axes of one way to draw, as its clients number them.
func axesOf(kind string) []string {
	other := []string{"Image CFG Scale", "Cond. Image Mask Weight"}
	if kind == library.Img2Img {
		other = []string{"Hires steps", "Hires sampler", "Hires upscaler"}
	}
	return slices.DeleteFunc(grid.Names(), func(name string) bool { return slices.Contains(other, name) })
}

// plotArgs are what the script takes, in the order of the web UI's release 1.10.
func plotArgs(kind string) (args []scriptArg) {
	for _, letter := range []string{"X", "Y", "Z"} {
		preset := grid.Nothing
		if letter == "X" {
			preset = "Seed"
		}
		args = append(args, scriptArg{Label: letter + " type", Value: preset, Choices: axesOf(kind)}, scriptArg{Label: letter + " values", Value: ""}, scriptArg{Label: letter + " values", Value: []string{}})
	}
	for _, label := range []string{"Draw legend", "Include Sub Images", "Include Sub Grids", "Keep -1 for seeds", "Vary seeds for X", "Vary seeds for Y", "Vary seeds for Z"} {
		args = append(args, scriptArg{Label: label, Value: label == "Draw legend"})
	}
	return append(args, slider("Grid margins (px)", 0, 0, 500, 2), scriptArg{Label: "Use text inputs instead of dropdowns", Value: false})
}

// varies is how many args there are at least where seeds may vary, which came with the web UI's release 1.7. Clients that were written for one
// before send the margins in their place.
const varies = 17

// compare reads the script's args.
func (o *order) compare(args []json.RawMessage) []Fault {
	const axes = 9 // args
	if len(args) < axes {
		return []Fault{fault("script_args", "value_error", "X/Y/Z plot takes type, values and list of values of each axis, then Draw legend and what /sdapi/v1/script-info says; there are %d", len(args))}
	}
	p := &plot{}
	rest := args[axes:]
	truth := func(preset bool) (value bool) {
		value = truthOr(argument(rest, 0), preset)
		rest = rest[min(1, len(rest)):]
		return value
	}
	p.Bare, p.cells, p.Apart = !truth(true), truth(false), truth(false)
	fixed := !truth(false)
	if len(args) >= varies {
		p.VaryX, p.VaryY, p.VaryZ = truth(false), truth(false), truth(false)
	}
	p.Margin = int(clamp(intOr(argument(rest, 0), 0)))
	written := truthOr(argument(rest, 1), false)
	for i, axis := range []*work.Axis{&p.X, &p.Y, &p.Z} {
		if !o.axis(axis, args[3*i:3*i+3], written) {
			return []Fault{fault("script_args", "value_error", "the type of %c is none of %q, by name or by number from 0", 'X'+i, axesOf(o.kind))}
		}
	}
	if !fixed && o.r.Seed < 0 { // every picture has another
		p.VaryX, p.VaryY, p.VaryZ = true, true, true
	}
	if o.r.BatchSize > 1 || o.batches > 1 {
		o.note("batch_size and n_iter are left: a cell of X/Y/Z plot has one picture")
	}
	if len(o.images) > 1 {
		return []Fault{fault("init_images", "value_error", "X/Y/Z plot begins with one picture, not with %d", len(o.images))}
	}
	o.plot, o.r.BatchSize = p, 1
	all, err := p.Axes()
	size := all.Size()
	o.batches = size.X * size.Y * size.Z
	if p.Margin < 0 || p.Margin > 1000 {
		err = invalid.Join(err, invalid.Field("Draw.Grid.Margin", p.Margin, "0 to 1000 pixels"))
	}
	return plotFaults(err)
}

// axis reads a type, its values, and their list, which counts for types that have one unless they are said to be written. It reports whether
// there is the type.
func (o *order) axis(a *work.Axis, args []json.RawMessage, written bool) bool {
	names, kind := axesOf(o.kind), argument(args, 0)
	at, numbered := toInt(kind)
	switch name, _ := toText(kind); {
	case kind == nil:
		return true
	case numbered && at >= 0 && at < int64(len(names)):
		a.Name = names[at]
	default:
		i := slices.IndexFunc(names, func(one string) bool { return strings.EqualFold(one, strings.TrimSpace(name)) })
		if i < 0 {
			return false
		}
		a.Name = names[i]
	}
	a.Values = textOr(argument(args, 1), "")
	k, err := grid.FindKind(a.Name)
	if list, ok := argument(args, 2).([]any); ok && err == nil && k.Choices && !written {
		for _, one := range list {
			if text, ok := toText(one); ok {
				a.Choices = append(a.Choices, text)
			}
		}
	} else if a.Values == "" && err == nil && k.Choices {
		a.Values = textOr(argument(args, 2), "")
	}
	return true
}

// plotFaults are complaints about the script's args.
func plotFaults(err error) (faults []Fault) {
	for _, e := range invalid.Fields(err) {
		name := "the axis " + strings.TrimPrefix(e.Field, "Draw.Grid.")
		if e.Field == "Draw.Grid.Margin" {
			name = "the margin"
		}
		faults = append(faults, fault("script_args", "value_error", "%s", e.Say(name)))
	}
	if err != nil && faults == nil {
		faults = []Fault{fault("script_args", "value_error", "%v", err)}
	}
	return faults
}

// cells checks what each picture of a plot is drawn with.
func (s *Server) cells(o *order) error {
	axes, err := o.plot.Axes()
	if err != nil {
		return err
	}
	styles, total := s.options.Library.Styles(), 0.0
	for c := range axes.Cells() {
		p, err := axes.Picture(c, o.r, styles)
		if err == nil {
			err = p.Request.Check()
		}
		if err != nil {
			return faulty([]Fault{fault("script_args", "value_error", "%s: %v", axes.Label(c), err)})
		}
		if p.VAE != "" {
			p.Request.VAE = p.VAE
		}
		if err := s.known(&order{r: p.Request, checkpoint: p.Checkpoint}); err != nil {
			return err
		}
		width, height := largest(&p.Request)
		if total += width * height; total > maxPixels {
			return faulty([]Fault{fault("script_args", "value_error", "the pictures are too large for one request, which may have %d million pixels", maxPixels>>20)})
		}
	}
	return nil
}

// split are the sheets of a plot, as the web UI orders them, and its cells. Of a plot that was interrupted there are cells alone.
func (o *order) split(pictures []drawn) (sheets, cells []drawn) {
	slices.SortStableFunc(pictures, func(a, b drawn) int { return a.Batch - b.Batch })
	at := slices.IndexFunc(pictures, func(p drawn) bool { return p.File == work.SheetFile })
	if at < 0 {
		o.note("there is no grid: not all of its pictures were drawn")
		return nil, pictures
	}
	sheets, cells = pictures[at:], pictures[:at]
	if o.plot.Apart && len(sheets) == 1 { // Z has one value, and its sheet is the whole
		sheets = append(slices.Clone(sheets), sheets[0])
	}
	return sheets, cells
}
