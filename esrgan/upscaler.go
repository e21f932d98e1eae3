package esrgan

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"sync"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// Options say how an upscaler is opened. The zero value is good.
type Options struct {
	// Tile is the side of the tiles that a picture is cut into, in pixels, of at least 32; 0 is 192. Models of scale 2 and 1 that
	// see 2×2 or 4×4 pixels as one have tiles as many times larger. Larger tiles take more memory, some 8 kB for each pixel
	// with an RRDBNet of scale 4.
	Tile int
	// Overlap is what two tiles share, less than half a tile, in the same unit; 0 is 32, or a quarter of a small tile.
	Overlap int
	// Weak names the weaker of two models of one form, and Denoise the share of the other in their mixture, from 0 to 1: with
	// Real-ESRGAN's general-x4v3 and, as Weak, general-wdn-x4v3, how strongly noise is removed.
	Weak    string
	Denoise float64
	// Progress, if set, is called after each tile with the tiles done and those of all.
	Progress func(done, total int)
}

// maxPixels bounds a result, which is in memory.
const maxPixels = 1 << 28

// Upscaler is a network on a device. It is safe for concurrent use; pictures are made one after the other.
type Upscaler struct {
	options Options
	files   []*weights.File
	dev     compute.Device
	source  compute.ParamSource
	params  compute.Params
	rrdb    *RRDBNet // or compact
	compact *Compact
	slopes  []float32 // of the compact network's PReLUs

	mu      sync.Mutex
	program *program // of the last size
}

// Open opens an upscaler's file for a device, which the caller closes afterwards. A file of another design is a *FamilyError,
// an option out of range an *invalid.FieldError; tensors that are missing or of other shapes are a *weights.LoadError.
func Open(path string, dev compute.Device, o Options) (*Upscaler, error) {
	u, err := describe(path, dev, o)
	if err != nil {
		return nil, err
	}
	if err = u.readSlopes(); err == nil {
		u.params, err = dev.Load(u.source)
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

// Estimate is what [Upscaler.Memory] says of the model that Open would open, of whose file only the header is read.
func Estimate(path string, dev compute.Device, o Options, size image.Point) (m compute.MemoryReport, err error) {
	u, err := describe(path, dev, o)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	return u.Memory(size)
}

// describe opens an upscaler without its weights.
func describe(path string, dev compute.Device, o Options) (_ *Upscaler, err error) {
	if o, err = o.complete(); err != nil {
		return nil, err
	}
	u := &Upscaler{options: o, dev: dev}
	defer func() {
		if err != nil {
			u.Close()
		}
	}()
	source, err := u.open(path)
	if err != nil {
		return nil, err
	}
	u.source = source
	if o.Weak != "" {
		weak, err := new(Upscaler).sameAs(u, o.Weak)
		if err != nil {
			return nil, err
		}
		u.source = mixture{source, weak, o.Denoise}
	}
	return u, nil
}

// complete fills in defaults and checks ranges.
func (o Options) complete() (Options, error) {
	if o.Tile == 0 {
		o.Tile = 192
	}
	if o.Overlap == 0 {
		o.Overlap = min(32, o.Tile/4)
	}
	var errs []error
	if o.Tile < 32 || o.Tile > 1<<12 {
		errs = append(errs, invalid.Field("Options.Tile", o.Tile, "from 32 to 4096 pixels, or 0 for 192"))
	}
	if o.Overlap < 1 || o.Overlap >= o.Tile/2 {
		errs = append(errs, invalid.Field("Options.Overlap", o.Overlap, "from 1 to less than half a tile, or 0 for 32"))
	}
	if !(o.Denoise >= 0 && o.Denoise <= 1) {
		errs = append(errs, invalid.Field("Options.Denoise", o.Denoise, "from 0 to 1"))
	}
	if o.Denoise != 0 && o.Weak == "" {
		errs = append(errs, invalid.Field("Options.Weak", o.Weak, "the model that removes less noise, such as realesr-general-wdn-x4v3.pth, for Denoise to mix with"))
	}
	return o, errors.Join(errs...)
}

// open builds the network of a file, which claims its parameters.
func (u *Upscaler) open(path string) (*weights.Component, error) {
	f, err := weights.OpenFile(path)
	if err != nil {
		return nil, err
	}
	u.files = append(u.files, f)
	net, err := recognise(f)
	if err != nil {
		return nil, err
	}
	source, err := f.Component("upscaler", net.name)
	if err != nil {
		return nil, err
	}
	if net.rrdb != nil {
		u.rrdb = NewRRDBNet(*net.rrdb, source)
	} else {
		u.compact = NewCompact(*net.compact, source)
	}
	return source, source.Err()
}

// sameAs opens a second file for u, which must be of the same form.
func (weak *Upscaler) sameAs(u *Upscaler, path string) (*weights.Component, error) {
	source, err := weak.open(path)
	u.files = append(u.files, weak.files...)
	if err != nil {
		return nil, err
	}
	if weak.describe() != u.describe() {
		return nil, invalid.Field("Options.Weak", path, "a model of the form of the other one (%s), not %s", u.describe(), weak.describe())
	}
	return source, nil
}

// describe is the form of the network in words.
func (u *Upscaler) describe() string {
	if u.rrdb != nil {
		return fmt.Sprintf("RRDBNet %+v", u.rrdb.config)
	}
	return fmt.Sprintf("SRVGGNetCompact %+v", u.compact.config)
}

// mixture is share of one model and the rest of another.
type mixture struct {
	strong, weak *weights.Component
	share        float64
}

// ParamType implements compute.ParamSource.
func (m mixture) ParamType(name string) (compute.Type, error) {
	t, err := m.strong.ParamType(name)
	t.DType = compute.F32
	return t, err
}

// ParamData implements compute.ParamSource.
func (m mixture) ParamData(name string) ([]byte, error) {
	strong, err := floats(m.strong, name)
	if err != nil {
		return nil, err
	}
	weak, err := floats(m.weak, name)
	if err != nil {
		return nil, err
	}
	for i := range strong {
		strong[i] = float32(m.share*float64(strong[i]) + (1-m.share)*float64(weak[i]))
	}
	data := make([]byte, 4*len(strong))
	weights.Narrow(data, strong, compute.F32)
	return data, nil
}

// floats reads a parameter.
func floats(source compute.ParamSource, name string) ([]float32, error) {
	t, err := source.ParamType(name)
	if err != nil {
		return nil, err
	}
	data, err := source.ParamData(name)
	if err != nil {
		return nil, err
	}
	values := make([]float32, t.Shape.Elements())
	weights.Widen(values, data, t.DType)
	return values, nil
}

// readSlopes reads what the compact network is given beside the picture.
func (u *Upscaler) readSlopes() error {
	if u.compact == nil {
		return nil
	}
	for _, p := range u.compact.Slopes {
		values, err := floats(u.source, p.Name)
		if err != nil {
			return err
		}
		u.slopes = append(u.slopes, values...)
	}
	for _, v := range u.slopes {
		u.slopes = append(u.slopes, 1-v)
	}
	return nil
}

// Scale is how many times larger the network makes a picture along a side.
func (u *Upscaler) Scale() int {
	if u.rrdb != nil {
		return u.rrdb.config.Scale()
	}
	return u.compact.config.Scale
}

// unshuffle is how many pixels along a side the network sees as channels.
func (u *Upscaler) unshuffle() int {
	if u.rrdb != nil {
		return u.rrdb.config.Unshuffle
	}
	return 1
}

// Memory is what enlarging a picture of a size needs on the device; compute.ErrUnsupported where that cannot be told.
func (u *Upscaler) Memory(size image.Point) (compute.MemoryReport, error) {
	estimator, ok := u.dev.(compute.Estimator)
	if !ok {
		return compute.MemoryReport{}, fmt.Errorf("esrgan: memory on %s: %w", u.dev.Name(), compute.ErrUnsupported)
	}
	t := u.tiling()
	_, height := t.places((size.Y + t.step - 1) / t.step * t.step)
	_, width := t.places((size.X + t.step - 1) / t.step * t.step)
	p, err := u.record(height, width)
	if err != nil {
		return compute.MemoryReport{}, err
	}
	return estimator.Estimate(u.source, p)
}

// tiling is how pictures are cut.
func (u *Upscaler) tiling() tiling {
	r := u.unshuffle()
	return tiling{u.options.Tile * r, u.options.Overlap * r, r}
}

// Upscale makes a picture Scale times larger. What is transparent is enlarged by Lanczos' filter. A result of more than 2²⁸ pixels
// is an *invalid.FieldError.
func (u *Upscaler) Upscale(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	size := img.Rect.Size()
	if size.X < 1 || size.Y < 1 || size.X*size.Y > maxPixels/u.Scale()/u.Scale() {
		return nil, invalid.Field("Picture", size, "from 1 to %d pixels, the result being %d times larger along a side", maxPixels/u.Scale()/u.Scale(), u.Scale())
	}
	out, err := u.enlarge(ctx, fromImage(img), size.Mul(u.Scale()))
	if err != nil {
		return nil, err
	}
	if !img.Opaque() {
		alpha := picture.Resample(img, out.Rect.Size(), out.Rect, picture.Lanczos, 4)
		for i := 3; i < len(out.Pix); i += 4 {
			out.Pix[i] = alpha.Pix[i]
		}
	}
	return out, nil
}

// Resize makes a picture of the given size: the network is applied until both sides are as long, but three times at most, and
// Lanczos' filter does the rest. It is how the web UI scales by any factor.
func (u *Upscaler) Resize(ctx context.Context, img *image.NRGBA, width, height int) (*image.NRGBA, error) {
	if width < 1 || height < 1 || width > maxPixels/height {
		return nil, invalid.Field("Size", image.Pt(width, height), "from 1 to %d pixels", maxPixels)
	}
	for i := range 3 {
		size := img.Rect.Size()
		if size.X >= width && size.Y >= height && (i > 0 || u.Scale() > 1) {
			break
		}
		var err error
		if img, err = u.Upscale(ctx, img); err != nil {
			return nil, err
		}
		if u.Scale() == 1 {
			break
		}
	}
	target := image.Rect(0, 0, width, height)
	return picture.Resample(img, target.Max, target, picture.Lanczos, 4), nil
}

// enlarge runs the network over tiles, strip by strip.
func (u *Upscaler) enlarge(ctx context.Context, in grid, size image.Point) (*image.NRGBA, error) {
	in = in.mirrored(u.unshuffle())
	t := u.tiling()
	rows, height := t.places(in.height)
	columns, width := t.places(in.width)
	if err := u.prepare(height, width); err != nil {
		return nil, err
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	scale, done := u.Scale(), 0
	var above grid
	for i, y := range rows {
		strip := newGrid(height*scale, in.width*scale, 3)
		for j, x := range columns {
			tile, err := u.run(ctx, in.crop(y, x, height, width))
			if err != nil {
				return nil, err
			}
			end := x
			if j > 0 {
				end = columns[j-1] + width
			}
			strip.beside(tile, x*scale, end*scale)
			if done++; u.options.Progress != nil {
				u.options.Progress(done, len(rows)*len(columns))
			}
		}
		if i > 0 {
			strip.below(above, (rows[i-1]+height-y)*scale)
		}
		strip.draw(out, y*scale)
		above = strip
	}
	return out, nil
}

// fromImage takes the colours, in [0,1].
func fromImage(img *image.NRGBA) grid {
	size := img.Rect.Size()
	g := newGrid(size.Y, size.X, 3)
	for y := range size.Y {
		row := img.Pix[y*img.Stride:]
		for x := range size.X {
			to := g.at(y, x)
			for c := range to {
				to[c] = float32(row[4*x+c]) / 255
			}
		}
	}
	return g
}

// draw rounds g to the rows of an opaque picture from y on, as far as it reaches.
func (g grid) draw(img *image.NRGBA, y int) {
	size := img.Rect.Size()
	for row := range min(g.height, size.Y-y) {
		to := img.Pix[(y+row)*img.Stride:]
		for x := range min(g.width, size.X) {
			for c, v := range g.at(row, x) {
				to[4*x+c] = uint8(min(max(v, 0), 1)*255 + 0.5)
			}
			to[4*x+3] = 255
		}
	}
}

// program is the network compiled for tiles of one size.
type program struct {
	height, width int // of tiles, in pixels
	exe           compute.Executable
	in, out       []compute.Tensor
	result        grid
}

// prepare compiles the network for tiles of a size, unless it was the last one.
func (u *Upscaler) prepare(height, width int) error {
	if p := u.program; p != nil && p.height == height && p.width == width {
		return nil
	}
	if err := u.program.close(); err != nil {
		return err
	}
	p := &program{height: height, width: width}
	u.program = p
	recorded, err := u.record(height, width)
	if err != nil {
		return err
	}
	if p.exe, err = u.dev.Compile(recorded, u.params); err != nil {
		u.program = nil
		return err
	}
	if err := p.allocate(u.dev, recorded); err != nil {
		return err
	}
	if u.compact != nil {
		return p.in[1].Upload(compute.Floats(u.slopes))
	}
	return nil
}

// record records the network for tiles of a size.
func (u *Upscaler) record(height, width int) (*compute.Program, error) {
	b := new(compute.Builder)
	r := u.unshuffle()
	x := b.Input("picture", compute.F32, 1, height/r, width/r, 3*r*r)
	if u.rrdb != nil {
		b.Output(u.rrdb.Forward(b, x))
	} else {
		c := u.compact.config
		b.Output(u.compact.Forward(b, x, b.Input("slopes", compute.F32, 2*(c.Layers+1), c.Channels)))
	}
	return b.Build()
}

// allocate makes the tensors of a program.
func (p *program) allocate(dev compute.Device, recorded *compute.Program) error {
	for _, v := range recorded.Inputs {
		x, err := dev.NewTensor(recorded.Type(v).DType, recorded.Shape(v)...)
		if err != nil {
			return err
		}
		p.in = append(p.in, x)
	}
	shape := recorded.Shape(recorded.Outputs[0])
	y, err := dev.NewTensor(compute.F32, shape...)
	if err != nil {
		return err
	}
	p.out, p.result = []compute.Tensor{y}, newGrid(shape[1], shape[2], shape[3])
	return nil
}

// close gives everything back. There may be nothing.
func (p *program) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	for _, x := range append(p.in, p.out...) {
		errs = append(errs, x.Close())
	}
	if p.exe != nil {
		errs = append(errs, p.exe.Close())
	}
	return errors.Join(errs...)
}

// run enlarges a tile of the prepared size.
func (u *Upscaler) run(ctx context.Context, tile grid) (grid, error) {
	p := u.program
	if err := p.in[0].Upload(compute.Floats(tile.unshuffle(u.unshuffle()).data)); err != nil {
		return grid{}, err
	}
	if err := p.exe.Run(ctx, p.out, p.in); err != nil {
		return grid{}, err
	}
	if err := p.out[0].Download(compute.Floats(p.result.data)); err != nil {
		return grid{}, err
	}
	result := p.result
	if u.compact != nil {
		result = result.shuffle(u.Scale())
		result.addNearest(tile)
	}
	for _, v := range result.data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return grid{}, fmt.Errorf("esrgan: %s: the network made a value that is no number; its file is damaged, get another copy", u.files[0].Path())
		}
	}
	return result, nil
}

// Close gives the memory back and closes the files.
func (u *Upscaler) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	errs := []error{u.program.close()}
	u.program = nil
	if u.params != nil {
		errs = append(errs, u.params.Close())
	}
	for _, f := range u.files {
		errs = append(errs, f.Close())
	}
	u.params, u.files = nil, nil
	return errors.Join(errs...)
}
