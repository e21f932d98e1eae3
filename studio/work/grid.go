package work

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

// Grid asks for a picture for every combination of the values of up to three axes, as the web UI's X/Y/Z plot does. Results are those of a
// Draw, a batch of one picture for each cell, X changing first and Z last, and after them grid.png, which shows all.
type Grid struct {
	X Axis `json:"x,omitzero"` // columns
	Y Axis `json:"y,omitzero"` // rows
	Z Axis `json:"z,omitzero"` // sheets below each other

	Bare   bool `json:"no_legend,omitzero"`
	Margin int  `json:"margin,omitzero"` // pixels between pictures, up to 1000
}

// Axis is one of a grid's.
type Axis struct {
	Name   string `json:"name,omitzero"`   // one of grid.Names; "" is none
	Values string `json:"values,omitzero"` // as grid.Parse reads them: "1-5 (+2), 9"
}

// MaxCells is the most pictures of a grid.
const MaxCells = 1000

// SheetFile is the result that shows all pictures of a grid.
const SheetFile = "grid.png"

// Axes reads the axes. What is wrong with them is told of Draw.Grid.X and its like.
func (g Grid) Axes() (axes grid.Grid, err error) {
	var errs []error
	for _, one := range []struct {
		name string
		from Axis
		to   **grid.Axis
	}{{"X", g.X, &axes.X}, {"Y", g.Y, &axes.Y}, {"Z", g.Z, &axes.Z}} {
		if one.from.Name == "" || one.from.Name == grid.Nothing {
			continue
		}
		axis, err := grid.Parse(one.from.Name, one.from.Values)
		if err == nil && len(axis.Values) == 0 {
			err = invalid.Field("Axis.Values", one.from.Values, "values; a range that ends below its start needs a negative step, as in \"5-1 (-1)\"")
		}
		for _, e := range invalid.Fields(err) {
			moved := *e
			moved.Field = "Draw.Grid." + one.name
			errs = append(errs, &moved)
		}
		*one.to = axis
	}
	if size := axes.Size(); len(errs) == 0 && size.X*size.Y > MaxCells/max(1, size.Z) {
		errs = append(errs, invalid.Field("Draw.Grid.X", g.X.Values, "up to %d pictures of all axes; there are %d × %d × %d", MaxCells, size.X, size.Y, size.Z))
	}
	return axes, invalid.Join(errs...)
}

// check reports what is wrong with a grid, if there is one.
func (g *Grid) check() error {
	if g == nil {
		return nil
	}
	_, err := g.Axes()
	if g.Margin < 0 || g.Margin > 1000 {
		err = invalid.Join(err, invalid.Field("Draw.Grid.Margin", g.Margin, "0 to 1000 pixels"))
	}
	return err
}

// Cells reports what is wrong with the pictures of a grid, with the styles that an axis may name: what Check cannot tell.
func (d Draw) Cells(styles prompt.Styles) error {
	if d.Grid == nil {
		return nil
	}
	axes, err := d.Grid.Axes()
	if err != nil {
		return err
	}
	if d.Request.Image == nil && d.Image != "" {
		d.Request.Image = []byte("a picture that is not read yet")
	}
	if d.Request.Inpaint != nil && d.Mask != "" {
		inpaint := *d.Request.Inpaint
		inpaint.Mask, d.Request.Inpaint = []byte("likewise"), &inpaint
	}
	for c := range axes.Cells() {
		p, err := axes.Picture(c, d.Request, styles)
		if err == nil {
			err = p.Request.Check()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", axes.Label(c), err)
		}
	}
	return nil
}

// plot are the axes of a job's grid.
type plot struct {
	grid.Grid
	styles prompt.Styles
}

// plan reads the grid of a job, of which every cell is a batch from then on.
func (r *drawing) plan() (err error) {
	if r.Grid == nil {
		return nil
	}
	r.plot = plot{styles: r.machine.library.Styles()}
	if r.plot.Grid, err = r.Grid.Axes(); err != nil {
		return err
	}
	size := r.plot.Size()
	r.Count, r.Request.BatchSize = size.X*size.Y*size.Z, 1
	if pixels := r.Request.Width * r.Request.Height; pixels > 0 && r.Count > grid.MaxPixels/pixels {
		return invalid.Field("Draw.Grid.X", r.Grid.X.Values, "up to %d megapixels of all pictures", grid.MaxPixels/1_000_000)
	}
	return r.Cells(r.plot.styles)
}

// order are the batches in the order in which they are drawn: of a grid's, that which costs least.
func (r *drawing) order() (all []int) {
	if r.Grid == nil {
		for batch := range r.Count {
			all = append(all, batch)
		}
		return all
	}
	for c := range r.plot.Cells() {
		all = append(all, r.plot.Index(c))
	}
	return all
}

// cell is the request of a grid's batch, with the checkpoint that it wants; "" is that of all. What is random is the same in all cells.
func (r *drawing) cell(batch int) (q sd.Request, checkpoint string, err error) {
	p, err := r.plot.Picture(r.plot.At(batch), r.Request, r.plot.styles)
	q = p.Request
	q.VAE = cmp.Or(p.VAE, q.VAE)
	if q.Seed < 0 {
		q.Seed = r.Request.Seed
	}
	if q.Variation.Seed < 0 {
		q.Variation.Seed = r.Request.Variation.Seed
	}
	return q, p.Checkpoint, err
}

// pngHeader is as many bytes of a PNG as tell its size.
const pngHeader = 33

// sheet puts a grid's pictures together, if all were drawn.
func (r *drawing) sheet(ctx context.Context) error {
	if r.Grid == nil || r.done(r.Count) {
		return nil
	}
	for batch := range r.Count {
		if !r.done(batch) || len(r.info.Skipped) > 0 || r.info.Incomplete {
			return nil
		}
	}
	look := grid.Look{Bare: r.Grid.Bare, Margin: r.Grid.Margin}
	result := func(c grid.Cell, most int64) (io.Reader, error) {
		data, err := readAll(ctx, most, func() (io.ReadCloser, error) { return r.task.Result(ctx, fmt.Sprint(r.plot.Index(c), ".png")) })
		return bytes.NewReader(data), err
	}
	img, err := look.Sheet(r.plot.Grid, func(c grid.Cell) (image.Point, error) {
		file, err := result(c, pngHeader)
		if err != nil {
			return image.Point{}, err
		}
		header, err := png.DecodeConfig(file)
		return image.Pt(header.Width, header.Height), err
	}, func(c grid.Cell) (image.Image, error) {
		file, err := result(c, maxInput)
		if err != nil {
			return nil, err
		}
		return png.Decode(file)
	})
	if err != nil {
		return err
	}
	p := sd.Picture{Image: img}
	for _, one := range r.info.Pictures {
		if one.Batch == 0 {
			p.Infotext = r.plot.Text(infotext.Parse(one.Infotext)).String()
		}
	}
	r.info.Pictures = append(r.info.Pictures, Drawn{File: SheetFile, Batch: r.Count, Infotext: p.Infotext, Width: img.Rect.Dx(), Height: img.Rect.Dy()})
	if err := saveJSON(ctx, r.task, infoFile, r.info); err != nil {
		return err
	}
	return savePicture(ctx, r.task, SheetFile, p)
}
