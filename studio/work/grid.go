package work

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

// Grid asks for a picture for every combination of the values of up to three axes, as the web UI's X/Y/Z plot does. Results are those of a
// Draw, a batch of one picture for each cell, X changing first and Z last, and after them grid.png, which shows all.
//
// Pictures have the same seeds, but for axes of seeds. There a negative value is drawn at random, once for the whole row or column.
type Grid struct {
	X Axis `json:"x,omitzero"` // columns
	Y Axis `json:"y,omitzero"` // rows
	Z Axis `json:"z,omitzero"` // sheets below each other

	VaryX bool `json:"vary_x,omitzero"` // pictures along X have seeds that follow on each other
	VaryY bool `json:"vary_y,omitzero"`
	VaryZ bool `json:"vary_z,omitzero"`

	Apart  bool `json:"apart,omitzero"` // where Z has several values each has a sheet of its own too: grid-0.png and so on
	Bare   bool `json:"no_legend,omitzero"`
	Margin int  `json:"margin,omitzero"` // pixels between pictures, up to 1000
}

// Axis is one of a grid's.
type Axis struct {
	Name    string   `json:"name,omitzero"`     // one of grid.Names; "" is none
	Values  string   `json:"values,omitzero"`   // as grid.Parse reads them: "1-5 (+2), 9"
	Choices []string `json:"choices,omitempty"` // in place of Values: each as it is
}

// MaxCells is the most pictures of a grid.
const MaxCells = 1000

// SheetFile is the result that shows all pictures of a grid, and apartFile that of a value of Z.
const (
	SheetFile = "grid.png"
	apartFile = "grid-%d.png"
)

// read reads an axis.
func (a Axis) read() (*grid.Axis, error) {
	if len(a.Choices) > 0 {
		return grid.Choose(a.Name, a.Choices)
	}
	return grid.Parse(a.Name, a.Values)
}

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
		axis, err := one.from.read()
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
	r.plot.chance(rand.New(rand.NewPCG(r.drawn.Axes, 0)))
	size := r.plot.Size()
	r.Count, r.Request.BatchSize = size.X*size.Y*size.Z, 1
	if pixels := r.Request.Width * r.Request.Height; pixels > 0 && r.Count > grid.MaxPixels/pixels {
		return invalid.Field("Draw.Grid.X", r.Grid.X.Values, "up to %d megapixels of all pictures", grid.MaxPixels/1_000_000)
	}
	return r.Cells(r.plot.styles)
}

// chance draws the seeds that axes leave to it.
func (p *plot) chance(random *rand.Rand) {
	for _, axis := range []*grid.Axis{p.X, p.Y, p.Z} {
		if axis == nil || axis.Name != "Seed" && axis.Name != "Var. seed" {
			continue
		}
		for i, seed := range axis.Values {
			if seed.(int) < 0 {
				axis.Values[i] = int(random.Uint32())
			}
		}
	}
}

// varied is how much larger a cell's seed is than the first one's.
func (g *Grid) varied(c, size grid.Cell) (more int) {
	step := 1
	for _, axis := range []struct {
		varies   bool
		at, size int
	}{{g.VaryX, c.X, size.X}, {g.VaryY, c.Y, size.Y}, {g.VaryZ, c.Z, size.Z}} {
		if axis.varies {
			more, step = more+axis.at*step, step*axis.size
		}
	}
	return more
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

// cell is the request of a grid's batch, with the checkpoint that it wants; "" is that of all.
func (r *drawing) cell(batch int) (q sd.Request, checkpoint string, err error) {
	at := r.plot.At(batch)
	p, err := r.plot.Picture(at, r.Request, r.plot.styles)
	q = p.Request
	q.VAE = cmp.Or(p.VAE, q.VAE)
	q.Seed += int64(r.Grid.varied(at, r.plot.Size()))
	return q, p.Checkpoint, err
}

// pngHeader is as many bytes of a PNG as tell its size.
const pngHeader = 33

// sheets puts a grid's pictures together, if all were drawn.
func (r *drawing) sheets(ctx context.Context) error {
	if r.Grid == nil || len(r.info.Skipped) > 0 || r.info.Incomplete {
		return nil
	}
	for batch := range r.Count {
		if !r.done(batch) {
			return nil
		}
	}
	if err := r.sheet(ctx, SheetFile, r.Count, r.plot.Grid, 0); err != nil {
		return err
	}
	depth := r.plot.Size().Z
	if !r.Grid.Apart || depth == 1 {
		return nil
	}
	for z := range depth {
		if err := r.sheet(ctx, fmt.Sprintf(apartFile, z), r.Count+1+z, grid.Grid{X: r.plot.X, Y: r.plot.Y}, z); err != nil {
			return err
		}
	}
	return nil
}

// sheet is that of the axes, or of two at a value of Z, as a batch of its own unless it is there.
func (r *drawing) sheet(ctx context.Context, name string, batch int, axes grid.Grid, z int) error {
	if r.done(batch) {
		return nil
	}
	place := func(c grid.Cell) int { return r.plot.Index(grid.Cell{X: c.X, Y: c.Y, Z: c.Z + z}) }
	result := func(c grid.Cell, most int64) (io.Reader, error) {
		data, err := readAll(ctx, most, func() (io.ReadCloser, error) { return r.task.Result(ctx, fmt.Sprint(place(c), ".png")) })
		return bytes.NewReader(data), err
	}
	look := grid.Look{Bare: r.Grid.Bare, Margin: r.Grid.Margin}
	img, err := look.Sheet(axes, func(c grid.Cell) (image.Point, error) {
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
	first := slices.IndexFunc(r.info.Pictures, func(one Drawn) bool { return one.Batch == place(grid.Cell{}) })
	p := sd.Picture{Image: img, Infotext: axes.Text(infotext.Parse(r.info.Pictures[first].Infotext)).String()}
	one := Drawn{File: name, Batch: batch, Infotext: p.Infotext, Width: img.Rect.Dx(), Height: img.Rect.Dy()}
	if name != SheetFile {
		one.Cell = r.plot.Z.Labels()[z]
	}
	r.info.Pictures = append(r.info.Pictures, one)
	if err := saveJSON(ctx, r.task, infoFile, r.info); err != nil {
		return err
	}
	return savePicture(ctx, r.task, name, p)
}
