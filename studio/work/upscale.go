package work

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/draw"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/esrgan"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/jobs"
)

// Upscale asks for pictures to be made larger, as the web UI's Extras do. Results are 0.png, 1.png and so on, in the order of Pictures,
// with the infotexts that these have and what was done to them, and info.json, an [Info] without a request.
type Upscale struct {
	Pictures []string `json:"pictures"` // names of files in the queue's store, as PutInput gives them

	Scale  float64 `json:"upscaling_resize,omitzero"`   // how much longer both sides become, above 0 to 8; 0 is 2. Without meaning where a size is given
	Width  int     `json:"upscaling_resize_w,omitzero"` // of the finished picture, in pixels: with Height a box that it covers
	Height int     `json:"upscaling_resize_h,omitzero"`
	Crop   bool    `json:"upscaling_crop,omitzero"` // what reaches beyond the box is cut off, half on each side

	Upscaler   string  `json:"upscaler_1,omitzero"`                   // sd.Lanczos, sd.Nearest or a model of the library; "" and sd.NoUpscaler leave pictures as they are
	Second     string  `json:"upscaler_2,omitzero"`                   // another one, which is blended in
	Visibility float64 `json:"extras_upscaler_2_visibility,omitzero"` // how much, 0 to 1

	Tile    int `json:"tile,omitzero"`    // side of the tiles that models work in, MinTile to MaxTile pixels; 0 is 192
	Overlap int `json:"overlap,omitzero"` // what two tiles share, less than half a tile; 0 is as esrgan.Options has it

	Save bool `json:"save,omitzero"` // Collect saves the pictures among the outputs, library.Extras
}

// The bounds of Upscale.Tile. A pixel of a tile takes some 8 kB.
const (
	MinTile = 32
	MaxTile = 1024
)

// MaxUpscale is the most pictures of a job.
const MaxUpscale = 1000

// Kind implements Request.
func (Upscale) Kind() string { return UpscaleKind }

// Check implements Request.
func (u Upscale) Check() error {
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Upscale."+field, value, want, args...))
		}
	}
	check(len(u.Pictures) > 0 && len(u.Pictures) <= MaxUpscale, "Pictures", len(u.Pictures), "1 to %d pictures", MaxUpscale)
	check(u.Scale >= 0 && u.Scale <= 8, "Scale", u.Scale, "a number above 0, up to 8")
	check(u.Width >= 0 && u.Width <= maxSide, "Width", u.Width, "0 to %d pixels", maxSide)
	check(u.Height >= 0 && u.Height <= maxSide, "Height", u.Height, "0 to %d pixels", maxSide)
	check((u.Width > 0) == (u.Height > 0), "Height", u.Height, "a width and a height, or neither")
	check(u.Visibility >= 0 && u.Visibility <= 1, "Visibility", u.Visibility, "0 to 1")
	check(u.Tile == 0 || u.Tile >= MinTile && u.Tile <= MaxTile, "Tile", u.Tile, "0, or %d to %d pixels", MinTile, MaxTile)
	check(u.Overlap >= 0 && u.Overlap < cmp.Or(u.Tile, 192)/2, "Overlap", u.Overlap, "0 or more pixels, less than half a tile")
	return invalid.Join(append(errs, checkInputs("Upscale.Pictures", u.Pictures...))...)
}

// inputs implements Request.
func (u Upscale) inputs() []string { return u.Pictures }

// maxSide is the most pixels of a side of what is enlarged.
const maxSide = 16384

// upscale does a job that enlarges.
func (m *Machine) upscale(ctx context.Context, t *jobs.Task) error {
	u, err := readRequest[Upscale](t)
	if err != nil {
		return err
	}
	return m.use(ctx, func() error {
		r := &enlarging{Upscale: u, machine: m, task: t, pace: newPace(0)}
		defer r.close()
		return r.all(ctx)
	})
}

// enlarging is a job that enlarges.
type enlarging struct {
	Upscale
	machine *Machine
	task    *jobs.Task
	models  map[string]*esrgan.Upscaler // that are open, by their names
	was     *Info                       // what a worker before has said; nil until it is read
	info    Info
	pace    pace
}

func (r *enlarging) close() {
	for _, up := range r.models {
		if err := up.Close(); err != nil {
			r.machine.options.Logger.Warn("an upscaler cannot be closed", "error", err)
		}
	}
}

// all enlarges the pictures that are not there yet, one after the other.
func (r *enlarging) all(ctx context.Context) error {
	begun := false
	for i, name := range r.Pictures {
		done, file := i+1, fmt.Sprintf("%d.png", i)
		if before := r.before(ctx, file); before != nil {
			r.info.Pictures = append(r.info.Pictures, *before)
			continue
		}
		if begun && r.task.Wish() == jobs.Finish {
			break
		}
		begun = true
		p, err := r.one(ctx, name)
		if err == nil {
			err = r.save(ctx, file, p)
		}
		if err != nil {
			return fmt.Errorf("work: picture %d of %d: %w", done, len(r.Pictures), err)
		}
		r.task.Report(jobs.Progress{Stage: "enlarging", Done: done, Total: len(r.Pictures), Left: r.pace.left(done, len(r.Pictures))})
	}
	return nil
}

// before is what a worker before has said of a picture that it stored; nil if it did not.
func (r *enlarging) before(ctx context.Context, file string) *Drawn {
	if !slices.ContainsFunc(r.task.Job.Files, func(f jobs.File) bool { return f.Name == file }) {
		return nil
	}
	if r.was == nil {
		r.was = new(Info)
		if err := readResult(ctx, r.task, infoFile, r.was); err != nil {
			r.machine.options.Logger.Warn("what was enlarged before cannot be read", "id", r.task.Job.ID, "error", err)
		}
	}
	if at := slices.IndexFunc(r.was.Pictures, func(d Drawn) bool { return d.File == file }); at >= 0 {
		return &r.was.Pictures[at]
	}
	return nil
}

// save stores a picture: first what is to be said of it.
func (r *enlarging) save(ctx context.Context, file string, p sd.Picture) error {
	r.info.Pictures = append(r.info.Pictures, Drawn{File: file, Infotext: p.Infotext, Width: p.Image.Rect.Dx(), Height: p.Image.Rect.Dy()})
	if err := saveJSON(ctx, r.task, infoFile, r.info); err != nil {
		return err
	}
	return savePicture(ctx, r.task, file, p)
}

// one is a picture of the queue's store, enlarged.
func (r *enlarging) one(ctx context.Context, name string) (p sd.Picture, err error) {
	data, err := input(ctx, r.task, name)
	if err != nil {
		return p, err
	}
	img, err := picture.Decode(ctx, data, picture.Limits{})
	if err != nil {
		return p, err
	}
	if m, err := infotext.Extract(bytes.NewReader(data)); err == nil {
		p.Infotext = m.Infotext()
	}
	if p.Image, err = r.enlarge(ctx, img); err != nil {
		return p, err
	}
	p.Infotext = r.text(p.Infotext)
	return p, nil
}

// named reports whether a name is that of an upscaler.
func named(upscaler string) bool { return upscaler != "" && upscaler != sd.NoUpscaler }

// factor is how much longer the sides of a picture become.
func (r *enlarging) factor(size image.Point) float64 {
	switch {
	case r.Width > 0:
		return max(float64(r.Width)/float64(size.X), float64(r.Height)/float64(size.Y))
	case r.Scale > 0:
		return r.Scale
	}
	return 2
}

// enlarge brings a picture to the size that is asked for, by one upscaler or two.
func (r *enlarging) enlarge(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	if !named(r.Upscaler) {
		return img, nil
	}
	by := r.factor(img.Rect.Size())
	side := func(n int) int { return max(8, int(math.Floor(float64(n)*by/8))*8) } // as the web UI rounds
	size := image.Pt(side(img.Rect.Dx()), side(img.Rect.Dy()))
	if max(size.X, size.Y) > maxSide {
		return nil, invalid.Field("Upscale.Scale", by, "one by which a picture of %v has up to %d pixels a side", img.Rect.Size(), maxSide)
	}
	large, err := r.by(ctx, r.Upscaler, img, size)
	if err != nil {
		return nil, err
	}
	if named(r.Second) && r.Visibility > 0 {
		second, err := r.by(ctx, r.Second, img, size)
		if err != nil {
			return nil, err
		}
		blend(large, second, r.Visibility)
	}
	if r.Width > 0 && r.Crop {
		large = crop(large, image.Pt(r.Width, r.Height))
	}
	return large, nil
}

// by enlarges by one upscaler.
func (r *enlarging) by(ctx context.Context, name string, img *image.NRGBA, size image.Point) (*image.NRGBA, error) {
	switch name {
	case sd.Lanczos:
		return canvas.Lanczos(img, size), nil
	case sd.Nearest:
		return picture.Resample(img, size, image.Rectangle{Max: size}, picture.Nearest, 4), nil
	}
	up, err := r.model(name)
	if err != nil {
		return nil, err
	}
	return up.Resize(ctx, img, size.X, size.Y)
}

// model opens a model of the library.
func (r *enlarging) model(name string) (*esrgan.Upscaler, error) {
	if up := r.models[name]; up != nil {
		return up, nil
	}
	file, err := r.machine.library.Upscaler(name)
	if err != nil {
		return nil, err
	}
	up, err := esrgan.Open(file.Path, r.machine.device, esrgan.Options{Tile: r.Tile, Overlap: r.Overlap})
	if err != nil {
		return nil, err
	}
	if r.models == nil {
		r.models = make(map[string]*esrgan.Upscaler)
	}
	r.models[name] = up
	return up, nil
}

// blend mixes so much of another picture of the same size into one.
func blend(img, other *image.NRGBA, share float64) {
	for i, v := range other.Pix {
		img.Pix[i] = uint8(math.Round(float64(img.Pix[i])*(1-share) + float64(v)*share))
	}
}

// crop cuts the middle of a size out of a picture.
func crop(img *image.NRGBA, size image.Point) *image.NRGBA {
	cut := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(cut, cut.Rect, img, image.Pt(img.Rect.Dx()/2-size.X/2, img.Rect.Dy()/2-size.Y/2), draw.Src)
	return cut
}

// text is a picture's infotext with what was done to it, as the web UI has it.
func (r *enlarging) text(text string) string {
	if !named(r.Upscaler) {
		return text
	}
	t := infotext.Parse(text)
	if r.Width > 0 {
		t.Add("Postprocess upscale to", fmt.Sprintf("%dx%d", r.Width, r.Height))
	} else {
		t.Add("Postprocess upscale by", strings.TrimSuffix(fmt.Sprintf("%g", r.factor(image.Pt(1, 1))), ".0"))
	}
	t.Add("Postprocess upscaler", r.Upscaler)
	if named(r.Second) && r.Visibility > 0 {
		t.Add("Postprocess upscaler 2", r.Second)
	}
	return t.String()
}
