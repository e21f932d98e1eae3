package esrgan

import (
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// The files of testdata hold small networks of random weights in every form that models come in, and goldens.safetensors their
// inputs and outputs, made in float64 by a PyTorch implementation of its own that shares nothing with this one.

var models = []struct {
	file, golden string
	scale        int
}{
	{"rrdb-x4.pth", "rrdb-x4", 4},
	{"rrdb-x2.pth", "rrdb-x2", 2},
	{"rrdb-x1.safetensors", "rrdb-x1", 1},
	{"rrdb-old-x1.pth", "rrdb-old-x1", 1},
	{"rrdb-old-x2.pth", "rrdb-old-x2", 2},
	{"rrdb-old-x4.pth", "rrdb-old-x4", 4},
	{"rrdb-old-x8.pth", "rrdb-old-x8", 8},
	{"rrdb-trunk-x4.pth", "rrdb-trunk-x4", 4},
	{"compact-x4.pth", "compact-x4", 4},
	{"compact-x2.safetensors", "compact-x2", 2},
	{"general-x4v3.pth", "general-x4v3", 4},
	{"general-wdn-x4v3.pth", "general-wdn-x4v3", 4},
}

func goldens(t testing.TB) *weights.File {
	t.Helper()
	f, err := weights.OpenFile("testdata/goldens.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// picture is a golden of [1,3,H,W] as a grid.
func load(t testing.TB, f *weights.File, name string) grid {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	g, values := newGrid(x.Shape[2], x.Shape[3], 3), x.Float32s()
	for y := range g.height {
		for x := range g.width {
			for c := range 3 {
				g.at(y, x)[c] = values[(c*g.height+y)*g.width+x]
			}
		}
	}
	return g
}

func open(t testing.TB, file string, dev compute.Device, o Options) *Upscaler {
	t.Helper()
	u, err := Open(filepath.Join("testdata", file), dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

// device opens a device until the end of the test.
func device(t testing.TB, d golden.Device) compute.Device {
	t.Helper()
	dev, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// whole runs the network on all of a picture at once, without rounding.
func whole(t testing.TB, u *Upscaler, in grid) grid {
	t.Helper()
	padded := in.mirrored(u.unshuffle())
	if err := u.prepare(padded.height, padded.width); err != nil {
		t.Fatal(err)
	}
	out, err := u.run(t.Context(), padded)
	if err != nil {
		t.Fatal(err)
	}
	return out.crop(0, 0, in.height*u.Scale(), in.width*u.Scale())
}

func TestGoldens(t *testing.T) {
	f := goldens(t)
	for _, d := range golden.Devices {
		dev := device(t, d)
		for _, m := range models {
			t.Run(m.file+"/"+d.Name, func(t *testing.T) {
				u := open(t, m.file, dev, Options{})
				if u.Scale() != m.scale {
					t.Fatalf("scale %d, want %d", u.Scale(), m.scale)
				}
				compare(t, whole(t, u, load(t, f, m.golden+".in")), load(t, f, m.golden+".out"))
			})
		}
		t.Run("denoise/"+d.Name, func(t *testing.T) {
			u := open(t, "general-x4v3.pth", dev, Options{Weak: "testdata/general-wdn-x4v3.pth", Denoise: 0.3})
			compare(t, whole(t, u, load(t, f, "general-x4v3.in")), load(t, f, "denoise.0.3.out"))
		})
	}
}

func compare(t *testing.T, got, want grid) {
	t.Helper()
	if got.height != want.height || got.width != want.width {
		t.Fatalf("%d×%d, want %d×%d", got.width, got.height, want.width, want.height)
	}
	worst, scale := 0.0, 0.0
	for i, v := range want.data {
		worst, scale = max(worst, math.Abs(float64(got.data[i]-v))), max(scale, math.Abs(float64(v)))
	}
	if !(worst <= golden.Tolerance*scale) {
		t.Errorf("the worst difference is %g of %g", worst, scale)
	}
}

// noise is a picture of soft and hard edges.
func noise(width, height int) *image.NRGBA {
	r, img := rand.New(rand.NewPCG(5, 6)), image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = uint8(128 + 90*math.Sin(float64(i/4%width)/7+float64(i/4/width)/5) + 30*r.Float64())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// TestSeamless compares tiles with the whole.
func TestSeamless(t *testing.T) {
	dev := device(t, golden.Devices[1])
	for _, m := range models {
		t.Run(m.file, func(t *testing.T) {
			u := open(t, m.file, dev, Options{Tile: 256})
			img := noise(75*u.unshuffle()-1, 68*u.unshuffle())
			one, err := u.Upscale(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			tiles := 0
			many, err := open(t, m.file, dev, Options{Tile: 48, Overlap: 22, Progress: func(done, total int) { tiles = total }}).Upscale(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			if want := img.Rect.Max.Mul(m.scale); one.Rect.Max != want || many.Rect.Max != want || tiles < 4 {
				t.Fatalf("%v, %v in %d tiles, want %v", one.Rect, many.Rect, tiles, want)
			}
			worst := 0
			for i := range one.Pix {
				worst = max(worst, int(max(one.Pix[i], many.Pix[i])-min(one.Pix[i], many.Pix[i])))
			}
			if worst > 2 {
				t.Errorf("a tile differs from the whole by %d of 255", worst)
			}
		})
	}
}

func TestResize(t *testing.T) {
	dev := device(t, golden.Devices[1])
	for _, c := range []struct {
		file          string
		width, height int
	}{{"compact-x2.safetensors", 37, 23}, {"compact-x4.pth", 30, 10}, {"compact-x4.pth", 10, 7}, {"rrdb-x1.safetensors", 25, 16}} {
		got, err := open(t, c.file, dev, Options{}).Resize(t.Context(), noise(12, 8), c.width, c.height)
		if err != nil || got.Rect.Max != image.Pt(c.width, c.height) {
			t.Errorf("%s: %v, %v, want %d×%d", c.file, got.Rect, err, c.width, c.height)
		}
	}
}

// TestTransparency keeps what is transparent.
func TestTransparency(t *testing.T) {
	img := noise(16, 16)
	for i := 3; i < len(img.Pix)/2; i += 4 {
		img.Pix[i] = 0
	}
	got, err := open(t, "compact-x2.safetensors", device(t, golden.Devices[1]), Options{}).Upscale(t.Context(), img)
	if err != nil || got.NRGBAAt(16, 2).A != 0 || got.NRGBAAt(16, 30).A != 255 {
		t.Errorf("alpha %d above and %d below, %v", got.NRGBAAt(16, 2).A, got.NRGBAAt(16, 30).A, err)
	}
}

func TestRefusals(t *testing.T) {
	dev := device(t, golden.Devices[1])
	dir := t.TempDir()
	write := func(name string, keys ...string) string {
		var tensors []weights.Tensor
		for _, key := range keys {
			tensors = append(tensors, weights.Tensor{Name: key, DType: weights.F32, Shape: compute.Shape{1}, Data: make([]byte, 4)})
		}
		path := filepath.Join(dir, name)
		if err := weights.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, say string }{
		{write("swin.safetensors", "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"), "SwinIR"},
		{write("plus.safetensors", "model.1.sub.0.RDB1.conv1.0.weight", "model.1.sub.0.RDB1.conv1x1.weight"), "ESRGAN+"},
		{write("sd.safetensors", "model.diffusion_model.input_blocks.0.0.weight"), "Stable Diffusion checkpoint"},
		{write("what.safetensors", "first.weight"), `"first.weight"`},
	} {
		_, err := Open(c.path, dev, Options{})
		if e, ok := errors.AsType[*FamilyError](err); !ok || e.Path != c.path || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), "use a model") {
			t.Errorf("%s: %v, want %q", c.path, err, c.say)
		}
	}
	half := write("half.safetensors", "conv_first.weight", "body.0.rdb1.conv1.weight")
	if _, err := Open(half, dev, Options{}); err == nil || !strings.Contains(err.Error(), half) {
		t.Errorf("half a model: %v", err)
	}
	hostile := filepath.Join(dir, "x4.pth")
	if err := os.WriteFile(hostile, []byte("\x80\x02cos\nsystem\n."), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(hostile, dev, Options{}); err == nil || !strings.Contains(err.Error(), "os.system") || !strings.Contains(err.Error(), hostile) {
		t.Errorf("hostile: %v", err)
	}
	for field, o := range map[string]Options{
		"Options.Tile": {Tile: 30}, "Options.Overlap": {Tile: 64, Overlap: 40}, "Options.Weak": {Denoise: 0.5}, "Options.Denoise": {Denoise: math.NaN(), Weak: "x"},
	} {
		_, err := Open("testdata/compact-x4.pth", dev, o)
		if e, ok := errors.AsType[*invalid.FieldError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	o := Options{Weak: "testdata/compact-x4.pth", Denoise: 0.5}
	if _, err := Open("testdata/general-x4v3.pth", dev, o); err == nil || !strings.Contains(err.Error(), "Options.Weak") {
		t.Errorf("another form: %v", err)
	}
	u := open(t, "rrdb-old-x8.pth", dev, Options{})
	if _, err := u.Upscale(t.Context(), &image.NRGBA{Rect: image.Rect(0, 0, 20000, 20000)}); err == nil || !strings.Contains(err.Error(), "Picture") {
		t.Errorf("a large picture: %v", err)
	}
	if _, err := u.Upscale(t.Context(), new(image.NRGBA)); err == nil || !strings.Contains(err.Error(), "Picture") {
		t.Errorf("an empty picture: %v", err)
	}
}
