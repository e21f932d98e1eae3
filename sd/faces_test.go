package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// eyes finds what a function says.
type eyes func(img *image.NRGBA) []image.Rectangle

func (e eyes) Boxes(ctx context.Context, img *image.NRGBA, _ float64) ([]image.Rectangle, error) {
	return e(img), ctx.Err()
}

// seeing is a pipeline with a detector.
func seeing(t testing.TB, e eyes) *Pipeline {
	t.Helper()
	return openTinyWith(t, openCPU(t.(*testing.T)), Options{Faces: e})
}

var left, right = image.Rect(4, 6, 14, 16), image.Rect(24, 8, 34, 18)

// faced is a small request that draws boxes anew, with masks that do not reach beyond them.
func faced(change func(r *Request), boxes ...image.Rectangle) Request {
	return small(func(r *Request) {
		r.Faces = &FacePass{Boxes: boxes, Blur: new(0.0), Dilate: new(0), Padding: new(4), Strength: new(0.8), Prompt: "a woman"}
		if change != nil {
			change(r)
		}
	})
}

// unlike is the smallest rectangle with all pixels that differ.
func unlike(a, b *image.NRGBA) (r image.Rectangle) {
	for y := a.Rect.Min.Y; y < a.Rect.Max.Y; y++ {
		for x := a.Rect.Min.X; x < a.Rect.Max.X; x++ {
			if a.NRGBAAt(x, y) != b.NRGBAAt(x, y) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

// TestFacesKeep compares pictures with what they are without a face pass, byte by byte: the masks are all that differs.
func TestFacesKeep(t *testing.T) {
	found := []image.Rectangle{left}
	p := seeing(t, func(*image.NRGBA) []image.Rectangle { return found })
	for name, c := range map[string]struct {
		change func(r *Request)
		within image.Rectangle
	}{
		"text":    {nil, left},
		"dilated": {func(r *Request) { r.Faces.Dilate = new(4) }, image.Rect(3, 5, 16, 18)},
		"eroded":  {func(r *Request) { r.Faces.Dilate = new(-4) }, image.Rect(6, 8, 13, 15)},
		"blurred": {func(r *Request) { r.Faces.Blur = new(1.0) }, left.Inset(-3)},
		"DDIM":    {func(r *Request) { r.Sampler, r.Steps = sampler.DDIM, 4 }, left},
		"own":     {func(r *Request) { r.Faces.Sampler, r.Faces.Steps, r.Faces.Guidance = sampler.Heun, 4, new(2.0) }, left},
		"oblong":  {func(r *Request) { r.Faces.Width, r.Faces.Height = 40, 16 }, left},
		"hires":   {func(r *Request) { r.Hires = new(Hires{}) }, left},
		"larger":  {func(r *Request) { r.Hires = &Hires{Upscaler: Nearest, Strength: new(0.0)} }, left},
		"moved":   {func(r *Request) { r.Faces.OffsetX, r.Faces.OffsetY = 3, -2 }, left.Add(image.Pt(3, 2))},
		"merged":  {func(r *Request) { r.Faces.Merge = MergeFaces }, left},
		"colours": {func(r *Request) { r.ColorCorrection = true }, left},
		"batch":   {func(r *Request) { r.BatchSize = 2 }, left},
		"picture": {func(r *Request) { r.Image = snapshot(t) }, left},
		"cut picture": {func(r *Request) { // the finished picture is larger than the request says
			r.Image, r.Width, r.Height = pngOf(t, photo(80, 48)), 24, 24
			r.Inpaint = &Inpaint{Only: true, Mask: pngOf(t, maskOf(80, 48, image.Rect(0, 0, 20, 20)))}
		}, left},
	} {
		r := faced(c.change, found...)
		plain := r
		plain.Faces, plain.ColorCorrection = nil, false
		want, given := generate(t, p, plain).Pictures, generate(t, p, r).Pictures
		r.Faces.Boxes = nil
		for i, got := range generate(t, p, r).Pictures {
			if at := unlike(want[i].Image, got.Image); at.Empty() || !at.In(c.within) {
				t.Errorf("%s: picture %d differs in %v, want within %v", name, i, at, c.within)
			}
			if at := unlike(given[i].Image, got.Image); !at.Empty() {
				t.Errorf("%s: picture %d differs in %v from where boxes are given", name, i, at)
			}
		}
	}
}

// TestFacesAlike has requests whose pictures are to the byte those of others.
func TestFacesAlike(t *testing.T) {
	p := seeing(t, func(*image.NRGBA) []image.Rectangle { return []image.Rectangle{{}, image.Rect(90, 0, 95, 9)} })
	draw := func(change func(f *FacePass), boxes ...image.Rectangle) *image.NRGBA {
		return generate(t, p, faced(func(r *Request) { change(r.Faces) }, boxes...)).Pictures[0].Image
	}
	plain := generate(t, p, small(nil)).Pictures[0].Image
	prompt := func(text string) func(f *FacePass) { return func(f *FacePass) { f.Prompt = text } }
	both := draw(prompt("a dog [SEP] glasses"), left, right)
	for name, pictures := range map[string][2]*image.NRGBA{
		"strength 0":         {draw(func(f *FacePass) { f.Strength = new(0.0) }, left), plain},
		"blurred away":       {draw(func(f *FacePass) { f.Blur = new(64.0) }, image.Rect(4, 6, 5, 7)), plain},
		"not moved":          {draw(func(f *FacePass) { f.OffsetX, f.OffsetY = 40, -48 }, left), draw(func(*FacePass) {}, left)},
		"all of it inverted": {draw(func(f *FacePass) { f.Merge = MergeAndInvert }, image.Rect(0, 0, 40, 24)), plain},
		"merged":             {draw(func(f *FacePass) { f.Merge = MergeFaces }, left, right), draw(func(f *FacePass) { f.Merge, f.Prompt = MergeFaces, "a woman [SEP] a dog" }, left, right)},
		"clip skip as it is": {draw(func(f *FacePass) { f.ClipSkip = 1 }, left), draw(func(*FacePass) {}, left)},
		"no faces":           {draw(func(*FacePass) {}), plain},
		"all are skipped":    {draw(prompt("[SKIP]"), left, right), plain},
		"all is eroded":      {draw(func(f *FacePass) { f.Dilate = new(-64) }, left), plain},
		"the second skipped": {draw(prompt("a dog [SEP] [SKIP]"), left, right), draw(prompt("a dog"), left)},
		"the last repeated":  {draw(prompt("a dog"), left, right), draw(prompt("a dog[SEP]a dog"), left, right)},
		"the request's own":  {draw(prompt(""), left), draw(prompt("[PROMPT]"), left)},
		"said as it is":      {draw(prompt(""), left), draw(prompt(small(nil).Prompt), left)},
		"negatives":          {draw(func(f *FacePass) { f.NegativePrompt = "a [SEP] " }, left, right), draw(func(f *FacePass) { f.NegativePrompt = "a [SEP] glasses" }, left, right)},
		"what is behind":     {draw(prompt("a dog [SEP] glasses [SEP] a cat"), left, right), both},
	} {
		if at := unlike(pictures[0], pictures[1]); !at.Empty() {
			t.Errorf("%s: the pictures differ in %v", name, at)
		}
	}
	if at := unlike(both, draw(prompt("a dog [SEP] a cat"), left, right)); at.Empty() || !at.In(right) {
		t.Errorf("another prompt for the second face changes %v, want %v", at, right)
	}
	if at := unlike(plain, draw(prompt("[SKIP] [SEP] glasses"), left, right)); at.Empty() || !at.In(right) {
		t.Errorf("all but the first face is %v, want %v", at, right)
	}
	if at := unlike(draw(prompt("a"), left), draw(prompt("a [PROMPT]"), left)); at.Empty() {
		t.Error("[PROMPT] beside other words says nothing")
	}
	for name, change := range map[string]func(f *FacePass){
		"clip skip": func(f *FacePass) { f.ClipSkip = 2 }, "noise multiplier": func(f *FacePass) { f.NoiseMultiplier = new(0.5) },
	} {
		if unlike(draw(change, left), draw(func(*FacePass) {}, left)).Empty() {
			t.Errorf("the faces' own %s says nothing", name)
		}
	}
	rest := draw(func(f *FacePass) { f.Merge = MergeAndInvert }, left, right)
	if at := unlike(plain, rest); at != plain.Rect {
		t.Errorf("all but the faces is %v", at)
	}
	for _, box := range []image.Rectangle{left, right} {
		if at := unlike(plain.SubImage(box).(*image.NRGBA), rest.SubImage(box).(*image.NRGBA)); !at.Empty() {
			t.Errorf("of the face in %v, %v is drawn anew where everything else should be", box, at)
		}
	}
}

// TestFacesOfBatch makes four pictures, each with other faces, together and alone.
func TestFacesOfBatch(t *testing.T) {
	calls := 0
	p := seeing(t, func(*image.NRGBA) []image.Rectangle {
		calls++
		return [][]image.Rectangle{{left, right}, nil, {right}, {left}}[(calls-1)%4]
	})
	for name, change := range map[string]func(r *Request){
		"seeds":      nil,
		"variations": func(r *Request) { r.Variation = Variation{Seed: 5, Strength: 0.5} },
	} {
		r := faced(change)
		r.Faces.Prompt = "a dog [SEP] a cat"
		r.BatchSize = 4
		together := generate(t, p, r).Pictures
		r.BatchSize = 1
		for i, one := range together {
			if r.Seed = 11 + int64(i); r.Variation.Strength != 0 {
				r.Seed, r.Variation.Seed = 11, 5+int64(i)
			}
			if alone := generate(t, p, r).Pictures[0]; difference(one.Image, alone.Image) > 1 || one.Infotext != alone.Infotext {
				t.Errorf("%s: picture %d of a batch differs from itself alone by %d/255, its text is\n%s\nalone\n%s",
					name, i, difference(one.Image, alone.Image), one.Infotext, alone.Infotext)
			}
		}
	}
}

// TestFacesUnderMask looks for faces where a mask lets a picture be drawn, and nowhere else.
func TestFacesUnderMask(t *testing.T) {
	p := seeing(t, func(*image.NRGBA) []image.Rectangle { return []image.Rectangle{left, right} })
	draw := func(faces *FacePass) *image.NRGBA {
		return generate(t, p, inpaint(t, image.Rect(0, 0, 16, 24), func(r *Request) { r.Faces = faces })).Pictures[0].Image
	}
	if at := unlike(draw(nil), draw(faced(nil).Faces)); at.Empty() || !at.In(left) {
		t.Errorf("the pictures differ in %v, want %v", at, left)
	}
}

// TestFaceSteps counts the steps of all passes as one run: from the beginning if boxes are given, else as soon as they are found.
func TestFaceSteps(t *testing.T) {
	p := seeing(t, func(*image.NRGBA) []image.Rectangle { return []image.Rectangle{left, right} })
	for name, c := range map[string]struct {
		r      Request
		totals []int
	}{
		"given": {faced(func(r *Request) { r.Steps = 3 }, left), []int{6, 6, 6, 6, 6, 6}},
		"found": {faced(func(r *Request) { r.Steps, r.Faces.Steps, r.Hires = 2, 2, new(Hires{Steps: 1}) }), []int{3, 3, 7, 7, 7, 7, 7}},
		"none":  {faced(func(r *Request) { r.Steps, r.Faces.Prompt = 3, "[SKIP]" }), []int{3, 3, 3}},
	} {
		var totals []int
		for step, err := range p.Steps(t.Context(), c.r) {
			if err != nil {
				t.Fatal(err)
			}
			if step.Index != len(totals) {
				t.Errorf("%s: step %d, want %d", name, step.Index, len(totals))
			}
			totals = append(totals, step.Total)
			if pictures, err := step.Preview(t.Context(), FullVAE); err != nil || step.passes[step.at].face != nil && pictures[0].Rect.Dx() != p.Side() {
				t.Errorf("%s: step %d: a preview of %v, %v", name, step.Index, pictures[0].Rect, err)
			}
			if result, err := step.Result(t.Context()); err != nil || step.passes[step.at].face != nil && result.Pictures[0].Image.Rect.Dx() == p.Side() {
				t.Errorf("%s: step %d: pictures so far: %v", name, step.Index, err)
			}
		}
		if !slices.Equal(totals, c.totals) {
			t.Errorf("%s: totals %v, want %v", name, totals, c.totals)
		}
	}
}

// TestFacesStop ends runs while faces are looked for, and while they are drawn.
func TestFacesStop(t *testing.T) {
	for name, at := range map[string]int{"looking": 1, "drawing": 3} {
		ctx, stop := context.WithCancel(t.Context())
		p := seeing(t, func(*image.NRGBA) []image.Rectangle {
			if at == 1 {
				stop()
			}
			return []image.Rectangle{left}
		})
		var last error
		n := 0
		for _, err := range p.Steps(ctx, faced(func(r *Request) { r.Steps, r.Faces.Steps = 2, 4 })) {
			if last = err; err == nil {
				n++
			}
			if n == at {
				stop()
			}
		}
		if !errors.Is(last, context.Canceled) || n > at {
			t.Errorf("%s: %d steps, %v", name, n, last)
		}
		stop()
	}
}

// TestFacesMemory compares what is announced with what is held.
func TestFacesMemory(t *testing.T) {
	for name, r := range map[string]Request{
		"given": faced(nil, left), "prompts": faced(func(r *Request) { r.Faces.Prompt = "a [SEP] " + strings.Repeat("very long, ", 30) }, left, right),
		"larger": faced(func(r *Request) { r.Faces.Width, r.Faces.Height = 64, 48 }, left),
	} {
		p := openTiny(t, openCPU(t))
		want, err := p.Memory(r)
		if err != nil {
			t.Fatal(err)
		}
		generate(t, p, r)
		if got := p.cache.Usage().MemoryReport; got != want {
			t.Errorf("%s: %+v is held, %+v was announced", name, got, want)
		}
	}
}

// TestFacesAllocateNothing counts what steps of a face's pass allocate, on the device made for speed.
func TestFacesAllocateNothing(t *testing.T) {
	p := openTiny(t, openCPU(t))
	next, stop := iter.Pull2(p.Steps(t.Context(), faced(func(r *Request) { r.Faces.Steps = 20 }, left)))
	defer stop()
	step := func() {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err, ok)
		}
	}
	for range 2 + 3 {
		step()
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations a step, want none", n)
	}
}

// TestFaceBoxes dilates, erodes, chooses and sorts. What a square does to a box is worked out by hand from OpenCV's rule: its anchor is
// at half its side.
func TestFaceBoxes(t *testing.T) {
	size := image.Pt(100, 60)
	for _, c := range []struct {
		side      int
		box, want image.Rectangle
	}{
		{0, image.Rect(10, 10, 20, 20), image.Rect(10, 10, 20, 20)},
		{1, image.Rect(10, 10, 20, 20), image.Rect(10, 10, 20, 20)},
		{3, image.Rect(10, 10, 20, 20), image.Rect(9, 9, 21, 21)},
		{4, image.Rect(10, 10, 20, 20), image.Rect(9, 9, 22, 22)},
		{4, image.Rect(0, 10, 100, 60), image.Rect(0, 9, 100, 60)},
		{0, image.Rect(-9, 10, 200, 90), image.Rect(0, 10, 100, 60)},
		{-1, image.Rect(10, 10, 20, 20), image.Rect(10, 10, 20, 20)},
		{-3, image.Rect(10, 10, 20, 20), image.Rect(11, 11, 19, 19)},
		{-4, image.Rect(10, 10, 20, 20), image.Rect(12, 12, 19, 19)},
		{-4, image.Rect(0, 10, 100, 60), image.Rect(0, 12, 100, 60)},
		{-10, image.Rect(10, 10, 20, 20), image.Rect(15, 15, 16, 16)},
		{-11, image.Rect(10, 10, 20, 20), image.Rectangle{}},
	} {
		got := FacePass{Dilate: &c.side}.dilated([]image.Rectangle{c.box}, size)
		if c.want.Empty() != (len(got) == 0) || len(got) == 1 && got[0] != c.want {
			t.Errorf("%v, %d: %v, want %v", c.box, c.side, got, c.want)
		}
	}
	for _, test := range []struct {
		x, y, side int
		box        image.Rectangle
		want       []image.Rectangle
	}{ // as Pillow's ImageChops.offset moves a picture, whose sides are joined, before OpenCV dilates it
		{4, 2, 0, image.Rect(10, 10, 20, 20), []image.Rectangle{image.Rect(14, 8, 24, 18)}},
		{-204, 122, 0, image.Rect(10, 10, 20, 20), []image.Rectangle{image.Rect(6, 8, 16, 18)}},
		{5, 0, 0, image.Rect(90, 10, 100, 20), []image.Rectangle{image.Rect(95, 10, 100, 20), image.Rect(0, 10, 5, 20)}},
		{5, -5, 3, image.Rect(90, 50, 100, 60), []image.Rectangle{image.Rect(94, 54, 100, 60), image.Rect(94, 0, 100, 6), image.Rect(0, 54, 6, 60), image.Rect(0, 0, 6, 6)}},
		{5, 0, -3, image.Rect(90, 10, 100, 20), []image.Rectangle{image.Rect(96, 11, 100, 19), image.Rect(0, 11, 4, 19)}},
		{7, 3, 0, image.Rect(0, 10, 100, 20), []image.Rectangle{image.Rect(0, 7, 100, 17)}},
	} {
		got := FacePass{OffsetX: test.x, OffsetY: test.y, Dilate: &test.side, Merge: SeparateFaces}.areas([]image.Rectangle{test.box}, size)
		if len(got) != 1 || !slices.Equal(got[0].parts, test.want) {
			t.Errorf("%v by %d, %d and %d: %v, want %v", test.box, test.x, test.y, test.side, got, test.want)
		}
	}
	a, b, c := image.Rect(0, 0, 10, 10), image.Rect(40, 20, 60, 40), image.Rect(30, 0, 35, 5)
	p := seeing(t, func(*image.NRGBA) []image.Rectangle {
		return []image.Rectangle{c, a, b, {}, image.Rect(100, 0, 120, 60)}
	})
	for _, test := range []struct {
		f    FacePass
		want []image.Rectangle
	}{
		{FacePass{}, []image.Rectangle{c, a, b}},
		{FacePass{Order: LeftToRight}, []image.Rectangle{a, c, b}},
		{FacePass{Order: CenterToEdge}, []image.Rectangle{b, c, a}},
		{FacePass{Order: LargeToSmall}, []image.Rectangle{b, a, c}},
		{FacePass{Largest: 2}, []image.Rectangle{b, a}},
		{FacePass{Largest: 2, Order: LeftToRight}, []image.Rectangle{a, b}},
		{FacePass{Largest: 2, Surest: true}, []image.Rectangle{c, a}},
		{FacePass{Largest: 2, Surest: true, Order: LargeToSmall}, []image.Rectangle{a, c}},
		{FacePass{MinRatio: 0.01}, []image.Rectangle{a, b}},
		{FacePass{MaxRatio: 0.02}, []image.Rectangle{c, a}},
	} {
		request := Request{Faces: &test.f}
		resolved, err := request.resolve(512)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.findFaces(t.Context(), *resolved.Faces, image.NewNRGBA(image.Rectangle{Max: size}), nil)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, %v, want %v", test.f, got, err, test.want)
		}
	}
}

func TestFacePrompts(t *testing.T) {
	for text, want := range map[string]string{
		"": "whole", "a": "a", " a , b ": "a , b", "a[SEP]b": "a|b", "a \n [SEP]\n\n[SEP] b ": "a|whole|b", "[SEP]": "whole|whole",
		"[SKIP] [SEP] [PROMPT], b": "[SKIP]| whole , b", "[sep]": "[sep]", "[a:b:0.5] [SEP] <lora:x:1>": "[a:b:0.5]|<lora:x:1>",
	} {
		if got := strings.Join(facePrompts(text, "whole"), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got, want := taggedFacePrompt("a[SEP][SKIP] [SEP] [SEP]b [PROMPT]", " <lora:x:1>"), "a <lora:x:1> [SEP] [SKIP] [SEP]  [SEP] b [PROMPT]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFaceFields looks at which fields errors are of, and at the mends.
func TestFaceFields(t *testing.T) {
	p := openTiny(t, openCPU(t))
	with := func(change func(f *FacePass)) Request { return faced(func(r *Request) { change(r.Faces) }, left) }
	for _, c := range []struct {
		r    Request
		says string
		want []string
	}{
		{faced(nil), "Options.Faces", []string{"Request.Faces.Boxes"}},
		{faced(nil, image.Rect(30, 0, 41, 9), left, image.Rectangle{}, image.Rect(-1, 0, 4, 4)), "40×24", []string{"Request.Faces.Boxes[0]", "Request.Faces.Boxes[2]", "Request.Faces.Boxes[3]"}},
		{faced(nil, slices.Repeat([]image.Rectangle{left}, MaxFaces+1)...), "64", []string{"Request.Faces.Boxes"}},
		{with(func(f *FacePass) { f.Strength = new(1.5) }), "0 to 1", []string{"Request.Faces.Strength"}},
		{with(func(f *FacePass) { f.Strength = new(math.NaN()) }), "0 to 1", []string{"Request.Faces.Strength"}},
		{with(func(f *FacePass) { f.Steps, f.Sampler = -1, "Leapfrog" }), "", []string{"Request.Faces.Sampler", "Request.Faces.Steps"}},
		{with(func(f *FacePass) { f.Width, f.Height = 12, -8 }), "multiple", []string{"Request.Faces.Width", "Request.Faces.Height"}},
		{with(func(f *FacePass) { f.Blur, f.Dilate, f.Padding = new(65.0), new(1000), new(-1) }), "", []string{"Request.Faces.Blur", "Request.Faces.Dilate", "Request.Faces.Padding"}},
		{with(func(f *FacePass) {
			f.Confidence, f.MinRatio, f.MaxRatio, f.Largest, f.Order = new(2.0), -1, 2, -1, "best"
		}), "left to right",
			[]string{"Request.Faces.Confidence", "Request.Faces.MinRatio", "Request.Faces.MaxRatio", "Request.Faces.Largest", "Request.Faces.Order"}},
		{with(func(f *FacePass) {
			f.Guidance, f.Prompt, f.NegativePrompt = new(math.Inf(1)), "\xff", strings.Repeat("[SEP]", MaxFaces)
		}), "",
			[]string{"Request.Faces.Prompt", "Request.Faces.NegativePrompt", "Request.Faces.Guidance"}},
		{with(func(f *FacePass) {
			f.OffsetX, f.OffsetY, f.Merge, f.NoiseMultiplier = MaxSide+1, -MaxSide-1, "both", new(math.NaN())
		}), "Merge and Invert",
			[]string{"Request.Faces.OffsetX", "Request.Faces.OffsetY", "Request.Faces.Merge", "Request.Faces.NoiseMultiplier"}},
		{with(func(f *FacePass) { f.ClipSkip = 99 }), "layers", []string{"Request.Faces.ClipSkip"}},
		{with(func(f *FacePass) { f.ClipSkip = -1 }), "1 or more", []string{"Request.Faces.ClipSkip"}},
		{with(func(f *FacePass) { f.Prompt = "<lora:x:y>" }), "", []string{"Request.Faces.Prompt"}},
		{with(func(f *FacePass) { f.Prompt = strings.Repeat("a AND ", 20) }), "AND", []string{"Request.Faces.Prompt"}},
	} {
		_, err := p.Generate(t.Context(), c.r)
		var got []string
		for _, e := range invalid.Fields(err) {
			got = append(got, e.Field)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("fields %q, want %q: %v, want %q", got, c.want, err, c.says)
		}
	}
}
