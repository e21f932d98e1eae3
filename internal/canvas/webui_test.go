package canvas

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
)

func nrgba(t *testing.T, name string) *image.NRGBA {
	t.Helper()
	img := webui.Picture(t, name)
	out := image.NewNRGBA(image.Rectangle{Max: img.Bounds().Size()})
	if n, ok := img.(*image.NRGBA); ok {
		copy(out.Pix, n.Pix)
		return out
	}
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out
}

func gray(t *testing.T, name string) *image.Gray {
	t.Helper()
	img, ok := webui.Picture(t, name).(*image.Gray)
	if !ok {
		t.Fatalf("%s is a %T", name, webui.Picture(t, name))
	}
	return img
}

// same compares the colours of two pictures.
func same(t *testing.T, id string, got, want *image.NRGBA) {
	t.Helper()
	if got.Rect.Size() != want.Rect.Size() {
		t.Errorf("%s: %v, want %v", id, got.Rect, want.Rect)
		return
	}
	worst, count := 0, 0
	for i := range want.Pix {
		if d := int(max(got.Pix[i], want.Pix[i]) - min(got.Pix[i], want.Pix[i])); d > 0 {
			worst, count = max(worst, d), count+1
		}
	}
	if count > 0 {
		t.Errorf("%s: %d of %d bytes differ, by %d at most", id, count, len(want.Pix), worst)
	}
}

func sameGray(t *testing.T, id string, got, want *image.Gray) {
	t.Helper()
	if got.Rect.Size() != want.Rect.Size() || !slices.Equal(got.Pix, want.Pix) {
		t.Errorf("%s: the masks differ", id)
	}
}

func rectangle(v []int) image.Rectangle {
	return image.Rectangle{Min: image.Pt(v[0], v[1]), Max: image.Pt(v[2], v[3])}
}

func TestWebUI(t *testing.T) {
	webui.Test(t, "crop_region", testCropRegion)
	webui.Test(t, "hires_target", testHiresTarget)
	webui.Test(t, "resize", func(t *testing.T, r struct {
		ID, Image, Out string
		Mode           Mode
		Size           [2]int
	}) {
		same(t, r.ID, Resize(nrgba(t, r.Image), image.Pt(r.Size[0], r.Size[1]), r.Mode, Lanczos), nrgba(t, r.Out))
	})
	webui.Test(t, "mask_blur", func(t *testing.T, r struct {
		ID, Axis string
		Blur     float64
		Kernel   int
		In, Out  []int
	}) {
		mask, blur := image.NewGray(image.Rect(0, 0, len(r.In), 1)), [2]float64{r.Blur, 0}
		if r.Axis == "y" {
			mask, blur = image.NewGray(image.Rect(0, 0, 1, len(r.In))), [2]float64{0, r.Blur}
		}
		for i, v := range r.In {
			mask.Pix[i] = uint8(v)
		}
		if n := len(gaussian(r.Blur)); n != r.Kernel {
			t.Errorf("%s: a kernel of %d, want %d", r.ID, n, r.Kernel)
		}
		for i, v := range Blur(mask, blur[0], blur[1]).Pix {
			if int(v) != r.Out[i] {
				t.Errorf("%s: place %d is %d, want %d", r.ID, i, v, r.Out[i])
			}
		}
	})
	webui.Test(t, "mask_ops", testMaskOps)
	webui.Test(t, "latent_upscale", func(t *testing.T, r struct {
		ID, Mode string
		InShape  []int `json:"in_shape"`
		Size     [2]int
		In, Out  []float32
	}) {
		got, err := UpscaleLatents(r.Mode, r.In, r.InShape[1], r.InShape[2], r.InShape[3], r.Size[0], r.Size[1])
		near(t, r.ID, got, r.Out, err)
	})
	webui.Test(t, "fill", func(t *testing.T, r struct{ ID, Image, Mask, Out string }) {
		same(t, r.ID, Fill(nrgba(t, r.Image), gray(t, r.Mask)), nrgba(t, r.Out))
	})
	webui.Test(t, "grids", testGrids)
	webui.Test(t, "combine_grid", testCombineGrid)
	webui.Test(t, "soft_inpainting", testSoft)
	webui.Test(t, "color_correction", func(t *testing.T, r struct{ ID, Target, Image, Out string }) {
		same(t, r.ID, Recolour(nrgba(t, r.Image), nrgba(t, r.Target)), nrgba(t, r.Out))
	})
	webui.Test(t, "img2img_init", testPrepare)
}

// near compares float32 results.
func near(t *testing.T, id string, got, want []float32, err error) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Errorf("%s: %d values, want %d; %v", id, len(got), len(want), err)
		return
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i] - v)); !(d <= 2e-6*max(1, math.Abs(float64(v)))) {
			t.Errorf("%s: value %d is %v, want %v", id, i, got[i], v)
			return
		}
	}
}

type cropRecord struct {
	ID       string
	Image    [2]int
	MaskBBox []int `json:"mask_bbox"`
	Pad      int
	V2       []int `json:"crop_region_v2"`
	Box      []int
	Target   []int
	Expanded []int
}

func testCropRegion(t *testing.T, r cropRecord) {
	size := image.Pt(r.Image[0], r.Image[1])
	var box image.Rectangle
	if r.Box != nil {
		box = rectangle(r.Box)
	} else {
		if r.MaskBBox != nil {
			box = Pad(rectangle(r.MaskBBox), r.Pad, size)
		}
		if r.V2 == nil != box.Empty() || r.V2 != nil && box != rectangle(r.V2) {
			t.Errorf("%s: %v, want %v", r.ID, box, r.V2)
		}
	}
	if r.Expanded != nil {
		if got := Expand(box, image.Pt(r.Target[0], r.Target[1]), size); got != rectangle(r.Expanded) {
			t.Errorf("%s: %v expanded is %v, want %v", r.ID, box, got, r.Expanded)
		}
	}
}

type hiresRecord struct {
	ID            string
	Width, Height int
	Scale         float64 `json:"hr_scale"`
	X             int     `json:"hr_resize_x"`
	Y             int     `json:"hr_resize_y"`
	Firstphase    [2]int
	Options       map[string]any
	FirstPass     [2]int `json:"first_pass"`
	UpscaleTo     [2]int `json:"upscale_to"`
	Truncate      [2]int
	Old           []int `json:"old_first_pass_of"`
}

func testHiresTarget(t *testing.T, r hiresRecord) {
	first := image.Pt(r.FirstPass[0], r.FirstPass[1])
	if r.Old != nil {
		if got := OldFirstPass(r.Old[0], r.Old[1]); got != first {
			t.Errorf("%s: %v, want %v", r.ID, got, first)
		}
		return
	}
	got := Hires{
		Width: r.Width, Height: r.Height, Scale: r.Scale, ResizeX: r.X, ResizeY: r.Y, FirstWidth: r.Firstphase[0], FirstHeight: r.Firstphase[1],
		Old: r.Options["use_old_hires_fix_width_height"] == true,
	}.Target()
	want := HiresTarget{first, image.Pt(r.UpscaleTo[0], r.UpscaleTo[1]), image.Pt(r.Truncate[0], r.Truncate[1])}
	if got != want {
		t.Errorf("%s: %+v, want %+v of %+v", r.ID, got, want, r)
	}
}

func testMaskOps(t *testing.T, r struct {
	ID, Op, Image, Out, Background, Overlay string
	Before                                  string `json:"before_overlay"`
	Round                                   bool
	PasteTo                                 []int `json:"paste_to"`
}) {
	switch r.Op {
	case "create_binary_mask":
		sameGray(t, r.ID, Mask(nrgba(t, r.Image), r.Round), gray(t, r.Out))
	case "flatten":
		c := color.NRGBA{A: 255}
		if _, err := fmt.Sscanf(r.Background, "#%02x%02x%02x", &c.R, &c.G, &c.B); err != nil {
			t.Fatal(err)
		}
		same(t, r.ID, Flatten(nrgba(t, r.Image), c), nrgba(t, r.Out))
	case "apply_overlay":
		img, overlay := nrgba(t, r.Image), nrgba(t, r.Overlay)
		if r.PasteTo != nil {
			img = Uncrop(img, image.Rect(0, 0, r.PasteTo[2], r.PasteTo[3]).Add(image.Pt(r.PasteTo[0], r.PasteTo[1])), overlay.Rect.Size())
		}
		same(t, r.ID+" before", img, nrgba(t, r.Before))
		same(t, r.ID, Overlay(img, overlay), nrgba(t, r.Out))
	default:
		t.Errorf("%s: op %q", r.ID, r.Op)
	}
}

func testGrids(t *testing.T, r struct {
	ID, Op     string
	Count      int
	BatchSize  int `json:"batch_size"`
	Cols, Rows int
	Options    struct {
		NRows int  `json:"n_rows"`
		Whole bool `json:"grid_prevent_empty_spots"`
	}
	Image, Tile []int
	Overlap     int
	Tiles       [][]any
}) {
	if r.Op == "image_grid" {
		if columns, rows := GridSize(r.Count, r.BatchSize, r.Options.NRows, r.Options.Whole); columns != r.Cols || rows != r.Rows {
			t.Errorf("%s: %d×%d, want %d×%d", r.ID, columns, rows, r.Cols, r.Rows)
		}
		return
	}
	var want []image.Rectangle
	for _, row := range r.Tiles {
		y, height := int(row[0].(float64)), int(row[1].(float64))
		for _, tile := range row[2].([]any) {
			x, width := int(tile.([]any)[0].(float64)), int(tile.([]any)[1].(float64))
			want = append(want, image.Rect(x, y, x+width, y+height))
		}
	}
	if got := (Tiles{r.Tile[0], r.Tile[1], r.Overlap}).Places(r.Image[0], r.Image[1]); !slices.Equal(got, want) {
		t.Errorf("%s: tiles at %v, want %v", r.ID, got, want)
	}
}

func testCombineGrid(t *testing.T, r struct {
	ID, Image, Out string
	Tile           []int
	Overlap        int
}) {
	img, tiles := nrgba(t, r.Image), Tiles{r.Tile[0], r.Tile[1], r.Overlap}
	var parts []*image.NRGBA
	for k, place := range tiles.Places(img.Rect.Dx(), img.Rect.Dy()) {
		one := image.NewNRGBA(image.Rectangle{Max: place.Size()})
		draw.Draw(one, one.Rect, img, place.Min, draw.Src)
		for i := range one.Pix { // so that the tiles can be told apart
			if i%4 != 3 {
				one.Pix[i] = uint8(min(max(int(one.Pix[i])+k*23%60-30, 0), 255))
			}
		}
		parts = append(parts, one)
	}
	same(t, r.ID, tiles.Join(img.Rect.Dx(), img.Rect.Dy(), parts), nrgba(t, r.Out))
}

type softRecord struct {
	ID, Op   string
	Settings struct {
		ScheduleBias            float64 `json:"schedule_bias"`
		PreservationStrength    float64 `json:"preservation_strength"`
		TransitionContrastBoost float64 `json:"transition_contrast_boost"`
		MaskInfluence           float64 `json:"mask_influence"`
		DifferenceThreshold     float64 `json:"difference_threshold"`
		DifferenceContrast      float64 `json:"difference_contrast"`
	}
	Sigma                             float64
	Init, Current, NMask, Weight, Out []float32

	LatentInit []float32 `json:"latent_init"`
	LatentOut  []float32 `json:"latent_out"`
	LatentSize [2]int    `json:"latent_size"`
	Size       [2]int
	PasteTo    []int `json:"paste_to"`
	Overlay    string
	Mask       string
	OverlayOut string `json:"overlay_out"`
}

func testSoft(t *testing.T, r softRecord) {
	if r.Op == "adaptive_mask" {
		testComposite(t, r)
		return
	}
	s := Soft{r.Settings.ScheduleBias, r.Settings.PreservationStrength, r.Settings.TransitionContrastBoost}
	weights := make([]float32, len(r.NMask))
	for i, m := range r.NMask {
		weights[i] = float32(s.Weight(float64(m), r.Sigma))
	}
	near(t, r.ID+" weight", weights, r.Weight, nil)
	out := make([]float32, len(r.Init))
	s.Blend(out, r.Init, r.Current, weights)
	near(t, r.ID, out, r.Out, nil)
}

func testComposite(t *testing.T, r softRecord) {
	c := Composite{r.Settings.MaskInfluence, r.Settings.DifferenceThreshold, r.Settings.DifferenceContrast}
	latents := c.Mask(r.LatentInit, r.LatentOut, r.NMask, r.LatentSize[1], r.Settings.PreservationStrength)
	p := Prepared{Overlay: nrgba(t, r.Overlay), PasteTo: pasteTo(r.PasteTo)}
	mask, overlay := p.Overlaid(latents, image.Pt(r.Size[0], r.Size[1]))
	sameGray(t, r.ID, mask, fromColour(nrgba(t, r.Mask)))
	same(t, r.ID, overlay, nrgba(t, r.OverlayOut))
}

// pasteTo is a rectangle from its corner and size.
func pasteTo(v []int) image.Rectangle {
	if v == nil {
		return image.Rectangle{}
	}
	return image.Rect(v[0], v[1], v[0]+v[2], v[1]+v[3])
}

type prepareRecord struct {
	ID, Image, Mask string
	Params          struct {
		Width, Height int
		Mode          Mode     `json:"resize_mode"`
		Blur          *float64 `json:"mask_blur"`
		BlurX         *float64 `json:"mask_blur_x"`
		BlurY         *float64 `json:"mask_blur_y"`
		Content       Content  `json:"inpainting_fill"`
		OnlyMasked    bool     `json:"inpaint_full_res"`
		Padding       int      `json:"inpaint_full_res_padding"`
		Invert        int      `json:"inpainting_mask_invert"`
		Round         *bool    `json:"mask_round"`
	}
	Options struct {
		Weight     *float64 `json:"inpainting_mask_weight"`
		Background string   `json:"img2img_background_color"`
	}
	ToVAE       string      `json:"to_vae"`
	Overlay     string      `json:"overlay"`
	OverlayMask string      `json:"mask_for_overlay"`
	PasteTo     []int       `json:"paste_to"`
	LatentMask  [][]float32 `json:"latent_mask"`
	LatentShape []int       `json:"latent_shape"`
	Model       string
	CondMask    [][]float32 `json:"cond_mask"`
	CondImage   string      `json:"cond_image"`
}

// setup is what a record asks for.
func (r prepareRecord) setup(t *testing.T) (s Setup, round bool) {
	s = Setup{
		Size: image.Pt(r.Params.Width, r.Params.Height), Mode: r.Params.Mode, Invert: r.Params.Invert == 1, BlurX: 4, BlurY: 4,
		Content: r.Params.Content, OnlyMasked: r.Params.OnlyMasked, Padding: r.Params.Padding,
	}
	for _, blur := range []struct{ x, y *float64 }{{r.Params.Blur, r.Params.Blur}, {r.Params.BlurX, r.Params.BlurY}} {
		if blur.x != nil {
			s.BlurX = *blur.x
		}
		if blur.y != nil {
			s.BlurY = *blur.y
		}
	}
	if round = r.Params.Round == nil || *r.Params.Round; r.Mask != "" {
		s.Mask = Mask(nrgba(t, r.Mask), round)
	}
	return s, round
}

func testPrepare(t *testing.T, r prepareRecord) {
	background := color.NRGBA{R: 255, G: 255, B: 255, A: 255}
	if r.Options.Background != "" {
		if _, err := fmt.Sscanf(r.Options.Background, "#%02x%02x%02x", &background.R, &background.G, &background.B); err != nil {
			t.Fatal(err)
		}
	}
	s, round := r.setup(t)
	p := Prepare(Flatten(nrgba(t, r.Image), background), s)
	same(t, r.ID+" to the VAE", p.Picture, nrgba(t, r.ToVAE))
	size := image.Pt(r.LatentShape[3], r.LatentShape[2])
	if r.CondImage != "" {
		weight := 1.0
		if r.Options.Weight != nil {
			weight = *r.Options.Weight
		}
		mask, colours := p.Shown(size, round, weight)
		near(t, r.ID+" mask shown", mask, slices.Concat(r.CondMask...), nil)
		shown := image.NewNRGBA(p.Picture.Rect)
		for i, v := range colours {
			shown.Pix[i/3*4+i%3], shown.Pix[i/3*4+3] = uint8(math.RoundToEven(float64((v+1)/2*255))), 255
		}
		same(t, r.ID+" picture shown", shown, nrgba(t, r.CondImage))
	}
	if (p.Overlay != nil) != (r.Overlay != "") || p.PasteTo != pasteTo(r.PasteTo) {
		t.Errorf("%s: pasted to %v, want %v", r.ID, p.PasteTo, r.PasteTo)
		return
	}
	if p.Overlay != nil {
		same(t, r.ID+" overlay", p.Overlay, nrgba(t, r.Overlay))
		sameGray(t, r.ID, p.OverlayMask, Mask(nrgba(t, r.OverlayMask), false))
		near(t, r.ID+" latent mask", p.LatentMask(size, round), slices.Concat(r.LatentMask...), nil)
	}
}
