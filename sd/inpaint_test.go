package sd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/f16"
	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/weights"
)

// pngOf is a picture as a file.
func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// photo is a picture of a size without two equal neighbours.
func photo(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(5*x + 3*y), uint8(7*y + x), uint8(40 + 2*x), 255})
		}
	}
	return img
}

// maskOf is black but for a white part.
func maskOf(width, height int, white image.Rectangle) *image.Gray {
	mask := image.NewGray(image.Rect(0, 0, width, height))
	draw.Draw(mask, white, image.White, image.Point{}, draw.Src)
	return mask
}

// inpaint draws a part of a photo of 40×24 pixels anew.
func inpaint(t testing.TB, white image.Rectangle, change func(r *Request)) Request {
	return small(func(r *Request) {
		r.Image, r.Strength, r.Sampler, r.Steps = pngOf(t, photo(40, 24)), new(0.8), sampler.Euler, 4
		r.Inpaint = &Inpaint{Mask: pngOf(t, maskOf(40, 24, white)), Blur: new(0.0)}
		if change != nil {
			change(r)
		}
	})
}

// TestInpaintKeeps compares what a mask does not cover with what was there, byte by byte, and wants something new in the rest.
func TestInpaintKeeps(t *testing.T) {
	p, white := openTiny(t, openCPU(t)), image.Rect(0, 0, 16, 24)
	for name, change := range map[string]func(r *Request){
		"Euler":          nil,
		"DDIM":           func(r *Request) { r.Sampler = sampler.DDIM },
		"Heun":           func(r *Request) { r.Sampler = sampler.Heun },
		"LCM":            func(r *Request) { r.Sampler = sampler.LCM },
		"CFG++":          func(r *Request) { r.Sampler = sampler.DDIMCFGPP },
		"only masked":    func(r *Request) { r.Inpaint.Only, r.Inpaint.Padding = true, new(8) },
		"fill":           func(r *Request) { r.Inpaint.Content = FillContent },
		"noise":          func(r *Request) { r.Inpaint.Content = LatentNoise },
		"nothing":        func(r *Request) { r.Inpaint.Content = LatentNothing },
		"colours":        func(r *Request) { r.ColorCorrection = true },
		"batch":          func(r *Request) { r.BatchSize = 2 },
		"unguided steps": func(r *Request) { r.Speed.MinUncond = 100 },
		"mask, inverted": func(r *Request) {
			r.Inpaint.Mask, r.Inpaint.Invert = pngOf(t, maskOf(40, 24, image.Rect(16, 0, 40, 24))), true
		},
		"mask, half size": func(r *Request) { r.Inpaint.Mask = pngOf(t, maskOf(20, 12, image.Rect(0, 0, 4, 12))) },
	} {
		for i, picture := range generate(t, p, inpaint(t, white, change)).Pictures {
			old, fresh := photo(40, 24), 0
			for y := range 24 {
				for x := range 40 {
					same := picture.Image.NRGBAAt(x, y) == old.NRGBAAt(x, y)
					if x >= 16 && !same {
						t.Fatalf("%s: pixel %d,%d of picture %d is %v, was %v", name, x, y, i, picture.Image.NRGBAAt(x, y), old.NRGBAAt(x, y))
					}
					if !same {
						fresh++
					}
				}
			}
			if fresh == 0 {
				t.Errorf("%s: nothing of picture %d is new", name, i)
			}
		}
	}
}

// TestInpaintBare wants what was drawn as it is: as it is seen under the mask otherwise, with something else than the picture around it, and of the
// masked part alone where only that is drawn.
func TestInpaintBare(t *testing.T) {
	p, white := openTiny(t, ref.New()), image.Rect(0, 0, 16, 24)
	bare := func(r *Request) { r.Inpaint.Bare = true }
	laid, got, old, fresh := generate(t, p, inpaint(t, white, nil)).Pictures[0].Image, generate(t, p, inpaint(t, white, bare)).Pictures[0].Image, photo(40, 24), 0
	for y := range 24 {
		for x := range 40 {
			if x < 16 && got.NRGBAAt(x, y) != laid.NRGBAAt(x, y) {
				t.Fatalf("pixel %d,%d under the mask is %v, otherwise %v", x, y, got.NRGBAAt(x, y), laid.NRGBAAt(x, y))
			}
			if x >= 16 && got.NRGBAAt(x, y) != old.NRGBAAt(x, y) {
				fresh++
			}
		}
	}
	if fresh == 0 {
		t.Error("the picture is laid over what was drawn")
	}
	part := generate(t, p, inpaint(t, white, func(r *Request) {
		r.Inpaint.Bare, r.Inpaint.Only, r.Inpaint.Padding, r.Width, r.Height = true, true, new(0), 48, 32
	})).Pictures[0].Image
	if size := part.Rect.Size(); size != image.Pt(48, 32) {
		t.Errorf("the part alone has %v", size)
	}
}

// TestInpaintAll draws under masks of one colour: black keeps all, and white is no mask.
func TestInpaintAll(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for _, s := range []sampler.Sampler{sampler.Euler, sampler.DPMPP2M, sampler.DDIM} {
		at := func(r *Request) { r.Sampler = s }
		if got := generate(t, p, inpaint(t, image.Rectangle{}, at)).Pictures[0].Image; difference(got, photo(40, 24)) != 0 {
			t.Errorf("%s: a black mask changes the picture", s)
		}
		plain := generate(t, p, inpaint(t, image.Rectangle{}, func(r *Request) { r.Sampler, r.Inpaint = s, nil })).Pictures[0].Image
		if got := generate(t, p, inpaint(t, image.Rect(0, 0, 40, 24), at)).Pictures[0].Image; difference(got, plain) != 0 {
			t.Errorf("%s: a white mask differs from none by %d", s, difference(got, plain))
		}
		empty := func(r *Request) { r.Sampler, r.Inpaint.Only = s, true }
		if got := generate(t, p, inpaint(t, image.Rectangle{}, empty)).Pictures[0].Image; difference(got, plain) != 0 {
			t.Errorf("%s: only the masked part of nothing is not all of it", s)
		}
	}
}

// TestInpaintEstimate looks into runs: under a mask every estimate of the picture is what stays, for soft masks too.
func TestInpaintEstimate(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for name, change := range map[string]func(r *Request){
		"hard": nil,
		"soft": func(r *Request) { r.Inpaint.Soft = &Soft{} },
	} {
		ends := map[sampler.Sampler]float64{sampler.Euler: 1e-3, sampler.DPMPP2M: 1e-3, sampler.Heun: 1e-3}
		if name == "soft" {
			// These end at the lowest level of training, 0.04, and leave as much noise.
			ends[sampler.DDIM], ends[sampler.DDIMCFGPP], ends[sampler.PLMS], ends[sampler.UniPC] = 0.25, 0.25, 0.25, 0.25
		}
		for s, within := range ends {
			r := inpaint(t, image.Rectangle{}, func(r *Request) {
				if r.Sampler = s; change != nil {
					change(r)
				}
			})
			for step, err := range p.Steps(t.Context(), r) {
				if err != nil {
					t.Fatal(err)
				}
				estimate, err := step.run.estimate()
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range step.run.paint.clean {
					if math.Abs(float64(estimate[i]-v)) > 1e-4*max(1, math.Abs(float64(v))) {
						t.Fatalf("%s, %s, step %d: element %d is estimated as %v, want %v", name, s, step.Index, i, estimate[i], v)
					}
				}
				if !step.Last() {
					continue
				}
				latents, err := step.run.latents()
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range step.run.paint.clean {
					if math.Abs(float64(latents[i]-v)) > within*max(1, math.Abs(float64(v))) {
						t.Fatalf("%s, %s: element %d ends as %v, want %v", name, s, i, latents[i], v)
					}
				}
			}
		}
	}
}

// TestSoftInpaint draws softly: what is far from the mask is hardly changed, and what it covers is.
func TestSoftInpaint(t *testing.T) {
	p := openTiny(t, openCPU(t))
	covered := image.Rect(0, 0, 8, 24)
	old := photo(40, 24).SubImage(covered).(*image.NRGBA)
	for _, s := range []sampler.Sampler{sampler.Euler, sampler.DDIM, sampler.DDIMCFGPP, sampler.PLMS, sampler.UniPC} {
		r := inpaint(t, image.Rect(0, 0, 16, 24), func(r *Request) {
			r.Inpaint.Soft, r.Inpaint.Blur, r.Sampler, r.Steps = &Soft{}, new(2.0), s, 8
		})
		for step, err := range p.Steps(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			if !step.Last() {
				continue
			}
			result, err := step.Result(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if unlike(result.Pictures[0].Image.SubImage(covered).(*image.NRGBA), old).Empty() {
				t.Errorf("%s: what the mask covers is as it was", s)
			}
			latents, err := step.run.latents()
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range step.run.paint.clean {
				if step.run.paint.mask[i/4] == 0 && math.Abs(float64(latents[i]-v)) > 0.25*max(1, math.Abs(float64(v))) {
					t.Fatalf("%s: element %d, which stays, ends as %v, want %v", s, i, latents[i], v)
				}
			}
		}
	}
}

// inpaintingModel is the tiny model with five further input channels, whose weights are random ones of a size.
func inpaintingModel(t *testing.T, scale float32) *Pipeline {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	return nineChannels(t, func() float32 { return scale * float32(random.NormFloat64()) })
}

// nineChannels is the tiny model with a first convolution of nine channels, of which next gives the weights of the last five.
func nineChannels(t *testing.T, next func() float32) *Pipeline {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tinyRandom(t))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "unet", "config.json")
	text, err := os.ReadFile(config)
	all := make(map[string]any)
	if err := errors.Join(err, json.Unmarshal(text, &all)); err != nil {
		t.Fatal(err)
	}
	all["in_channels"] = 9
	if text, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o666); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")
	tensors := readTensors(t, path)
	for i, x := range tensors {
		if x.Name == "conv_in.weight" {
			tensors[i] = widened(t, x, next)
		}
	}
	if err := weights.Write(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), dir, ref.New(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func readTensors(t *testing.T, path string) (all []weights.Tensor) {
	t.Helper()
	f, err := weights.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		x.Data = slices.Clone(x.Data)
		all = append(all, x)
	}
	return all
}

// widened is a convolution of four channels with five more.
func widened(t *testing.T, x weights.Tensor, next func() float32) weights.Tensor {
	t.Helper()
	if x.DType != weights.F16 {
		t.Fatalf("%s is %v", x.Name, x.DType)
	}
	out, taps := x.Shape[0], 9
	more := make([]byte, 0, out*9*taps*4)
	for o := range out {
		for i := range 4 * taps {
			more = binary.LittleEndian.AppendUint32(more, math.Float32bits(f16.ToF32(binary.LittleEndian.Uint16(x.Data[(o*4*taps+i)*2:]))))
		}
		for range 5 * taps {
			more = binary.LittleEndian.AppendUint32(more, math.Float32bits(next()))
		}
	}
	return weights.Tensor{Name: x.Name, DType: weights.F32, Shape: []int{out, 9, 3, 3}, Data: more}
}

// TestInpaintingCheckpoint draws with nine channels: as with four if the others have no weight, else by mask and picture.
func TestInpaintingCheckpoint(t *testing.T) {
	four, nine, other := openTiny(t, openCPU(t)), inpaintingModel(t, 0), inpaintingModel(t, 0.3)
	left := image.Rect(0, 0, 16, 24)
	for name, r := range map[string]Request{
		"text":    small(nil),
		"picture": inpaint(t, left, func(r *Request) { r.Inpaint = nil }),
		"mask":    inpaint(t, left, nil),
		"DDIM":    inpaint(t, left, func(r *Request) { r.Sampler = sampler.DDIM }),
	} {
		plain := generate(t, four, r).Pictures[0].Image
		if d := difference(plain, generate(t, nine, r).Pictures[0].Image); d > 1 {
			t.Errorf("%s: channels without weight change the picture by %d", name, d)
		}
		if difference(plain, generate(t, other, r).Pictures[0].Image) < 2 {
			t.Errorf("%s: the channels have no say", name)
		}
	}
	hidden := inpaint(t, image.Rect(0, 0, 40, 24), func(r *Request) { r.Strength = new(1.0) })
	seen := inpaint(t, image.Rect(0, 0, 40, 24), func(r *Request) { r.Strength, r.Inpaint.Weight = new(1.0), new(0.0) })
	if difference(generate(t, other, hidden).Pictures[0].Image, generate(t, other, seen).Pictures[0].Image) < 2 {
		t.Error("the conditional mask weight has no say")
	}
}

// TestInpaintFields looks at which fields errors are of.
func TestInpaintFields(t *testing.T) {
	p := openTiny(t, openCPU(t))
	left := image.Rect(0, 0, 16, 24)
	for _, c := range []struct {
		change func(r *Request)
		want   []string
	}{
		{func(r *Request) { r.Image = nil }, []string{"Request.Inpaint.Mask"}},
		{func(r *Request) { r.Hires = &Hires{} }, []string{"Request.Inpaint.Mask"}},
		{func(r *Request) { r.Inpaint.Mask = []byte("no picture") }, []string{"Request.Inpaint.Mask"}},
		{func(r *Request) { r.Inpaint.BlurX, r.Inpaint.BlurY = new(-1.0), new(65.0) }, []string{"Request.Inpaint.BlurX", "Request.Inpaint.BlurY"}},
		{func(r *Request) { r.Inpaint.Blur, r.Inpaint.Padding = new(math.NaN()), new(-1) }, []string{"Request.Inpaint.Blur", "Request.Inpaint.Padding"}},
		{func(r *Request) { r.Inpaint.Content, r.Inpaint.Weight = "x", new(2.0) }, []string{"Request.Inpaint.Content", "Request.Inpaint.Weight"}},
		{func(r *Request) { r.Inpaint.Soft = &Soft{Contrast: -1, ScheduleBias: new(math.Inf(1))} },
			[]string{"Request.Inpaint.Soft.ScheduleBias", "Request.Inpaint.Soft.Contrast"}},
	} {
		_, err := p.Generate(t.Context(), inpaint(t, left, c.change))
		var got []string
		for _, e := range invalid.Fields(err) {
			got = append(got, e.Field)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("fields %q, want %q: %v", got, c.want, err)
		}
	}
}

// TestInpaintInfotext writes what is said of masks and reads it again.
func TestInpaintInfotext(t *testing.T) {
	for _, in := range []Inpaint{
		{}, {BlurX: new(0.0), BlurY: new(2.5)}, {Invert: true, Blur: new(7.0), Content: LatentNoise, Only: true, Padding: new(8), Weight: new(0.5)},
		{Soft: &Soft{ScheduleBias: new(2.0), Preservation: new(0.0), Contrast: 8, MaskInfluence: 0.5, DifferenceThreshold: new(1.0), DifferenceContrast: new(3.0)}},
	} {
		in.Mask = []byte("mask")
		want, err := Request{Prompt: "a", Image: []byte("image"), Inpaint: &in, ColorCorrection: true}.resolve(512)
		if err != nil {
			t.Fatal(err)
		}
		text := describe(want, nil, model{}, 0).String()
		got, left, err := FromInfotext(infotext.Parse(text))
		if err != nil || len(left) > 0 || got.Inpaint == nil {
			t.Fatalf("left %v, %v, of %s", left, err, text)
		}
		got.Image, got.Inpaint.Mask = want.Image, in.Mask
		if got, err = got.resolve(512); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got.Inpaint)
		if b, _ := json.Marshal(want.Inpaint); !bytes.Equal(a, b) || !got.ColorCorrection {
			t.Errorf("have %s\nwant %s", a, b)
		}
	}
}

// TestWebUIInpaint compares the settings that the web UI writes of masks.
func TestWebUIInpaint(t *testing.T) {
	webui.Test(t, "img2img_init", func(t *testing.T, r struct {
		ID, Mask string
		Params   struct {
			Strength *float64 `json:"denoising_strength"`
			Blur     *float64 `json:"mask_blur"`
			BlurX    *float64 `json:"mask_blur_x"`
			BlurY    *float64 `json:"mask_blur_y"`
			Content  int      `json:"inpainting_fill"`
			Only     bool     `json:"inpaint_full_res"`
			Padding  int      `json:"inpaint_full_res_padding"`
			Invert   int      `json:"inpainting_mask_invert"`
		}
		Infotext map[string]any
	}) {
		request := Request{Prompt: "a", Image: []byte("image"), Strength: r.Params.Strength}
		if r.Mask != "" {
			request.Inpaint = &Inpaint{
				Mask: []byte("mask"), Invert: r.Params.Invert == 1, Blur: r.Params.Blur, BlurX: r.Params.BlurX, BlurY: r.Params.BlurY,
				Content: MaskedContents[r.Params.Content],
				Only:    r.Params.Only, Padding: &r.Params.Padding,
			}
		}
		request, err := request.resolve(512)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, f := range describe(request, nil, model{}, 0).Fields {
			if f.Key == "Denoising strength" || strings.HasPrefix(f.Key, "Mask") || strings.HasPrefix(f.Key, "Inpaint") {
				got[f.Key] = f.Value
			}
		}
		if _, ok := r.Infotext["Mask blur"]; ok && r.Infotext["Mask blur"] == nil { // two that differ, which it writes as nothing
			delete(r.Infotext, "Mask blur")
			delete(got, "Mask blur x")
			delete(got, "Mask blur y")
		}
		want := make(map[string]string)
		for key, value := range r.Infotext {
			want[key] = fmt.Sprint(value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: have %v, want %v", r.ID, got, want)
		}
	})
}
