package sd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// MaxFaces bounds the boxes of a request, and the prompts for single faces.
const MaxFaces = 64

// FaceDetector finds the faces that a pass of their own draws anew: face.Cascades is one.
type FaceDetector interface {
	// Boxes are where a picture has faces, those of which the detector is as sure as confidence, 0 to 1, the surest first. They may
	// reach beyond the picture.
	Boxes(ctx context.Context, img *image.NRGBA, confidence float64) ([]image.Rectangle, error)
}

// FacePass draws the faces of the finished pictures anew, each cut out, brought to a size at which the model draws faces well, and put
// back through a soft mask: what the web UI's extension ADetailer does. The rest of the picture stays, to the byte. The zero value of
// every field is a sensible default.
type FacePass struct {
	Boxes []image.Rectangle `json:"boxes,omitempty"` // of the faces, in pixels of the finished pictures, in this order; none asks Options.Faces

	// The prompts of the faces; "" is the request's. [SEP] stands between those of the first face, of the second and so on, the last of
	// which is also that of all further ones; [PROMPT] in it is the request's, and [SKIP] for a face's prompt leaves that face as it is.
	Prompt         string `json:"prompt,omitzero"`
	NegativePrompt string `json:"negative_prompt,omitzero"`

	Strength *float64 `json:"denoising_strength,omitzero"` // how much is drawn anew, 0 to 1; nil is 0.4. 0 leaves the pictures as they are
	Width    int      `json:"width,omitzero"`              // that a face with its surroundings is drawn at, in pixels; 0 is the model's own side
	Height   int      `json:"height,omitzero"`             // as Width
	Blur     *float64 `json:"mask_blur,omitzero"`          // of the mask's edge, pixels of the picture, 0 to 64; nil is 4
	Dilate   *int     `json:"dilate_erode,omitzero"`       // side of the square with which a box is dilated or, below 0, eroded, pixels of the picture, -128 to 128; nil is 4
	Padding  *int     `json:"inpaint_padding,omitzero"`    // pixels around the mask that are cut out too, 0 to 256; nil is 32

	OffsetX int       `json:"x_offset,omitzero"`          // pixels by which masks are moved to the right before that, -MaxSide to MaxSide; what leaves the picture comes in at its other side
	OffsetY int       `json:"y_offset,omitzero"`          // upwards, likewise
	Merge   FaceMerge `json:"mask_merge_invert,omitzero"` // "" is SeparateFaces

	Steps           int             `json:"steps,omitzero"` // 0 is the request's, and so for all that follows
	Guidance        *float64        `json:"guidance,omitzero"`
	Sampler         sampler.Sampler `json:"sampler,omitzero"`
	Spacing         sampler.Spacing `json:"spacing,omitzero"`
	ClipSkip        int             `json:"clip_skip,omitzero"`
	NoiseMultiplier *float64        `json:"noise_multiplier,omitzero"`

	// The rest says which of the faces that Options.Faces finds are drawn anew.
	Confidence *float64  `json:"confidence,omitzero"`          // how sure it has to be, 0 to 1; nil is 0.3
	MinRatio   float64   `json:"mask_min_ratio,omitzero"`      // least part of the picture that a face covers, 0 to 1
	MaxRatio   float64   `json:"mask_max_ratio,omitzero"`      // greatest; 0 is 1
	Largest    int       `json:"mask_only_k_largest,omitzero"` // so many of the largest; 0 is all
	Surest     bool      `json:"mask_k_surest,omitzero"`       // Largest counts those of which the detector is surest instead
	Order      FaceOrder `json:"sort_by,omitzero"`             // "" is AsFound
}

// byConfidence is what ADetailer calls Surest.
const byConfidence = "Confidence"

// FaceMerge says whether each face is drawn by itself.
type FaceMerge string

// The choices, by ADetailer's names.
const (
	SeparateFaces  FaceMerge = "None"
	MergeFaces     FaceMerge = "Merge"            // all are drawn at once, by the first face's prompt
	MergeAndInvert FaceMerge = "Merge and Invert" // everything but them is
)

// FaceMerges are all of them, in ADetailer's order.
var FaceMerges = []FaceMerge{SeparateFaces, MergeFaces, MergeAndInvert}

// FaceOrder is the order in which found faces get their prompts.
type FaceOrder string

// The orders, by ADetailer's names.
const (
	AsFound      FaceOrder = "None" // by the detector, or by size if only the largest are taken
	LeftToRight  FaceOrder = "Position (left to right)"
	CenterToEdge FaceOrder = "Position (center to edge)"
	LargeToSmall FaceOrder = "Area (large to small)"
)

// FaceOrders are all of them, in ADetailer's order.
var FaceOrders = []FaceOrder{AsFound, LeftToRight, CenterToEdge, LargeToSmall}

// resolve fills in the defaults, for a model of a side.
func (f FacePass) resolve(r Request, side int) FacePass {
	setDefault(&f.Width, side)
	setDefault(&f.Height, side)
	setDefault(&f.Steps, r.Steps)
	setDefault(&f.Sampler, r.Sampler)
	if f.Sampler == r.Sampler {
		setDefault(&f.Spacing, r.Spacing)
	}
	setDefault(&f.MaxRatio, 1)
	setDefault(&f.Order, AsFound)
	setDefault(&f.Merge, SeparateFaces)
	setDefault(&f.ClipSkip, r.ClipSkip)
	f.NoiseMultiplier = cmp.Or(f.NoiseMultiplier, r.NoiseMultiplier)
	f.Guidance, f.Strength, f.Confidence = cmp.Or(f.Guidance, r.Guidance), cmp.Or(f.Strength, new(0.4)), cmp.Or(f.Confidence, new(0.3))
	f.Blur, f.Dilate, f.Padding = cmp.Or(f.Blur, new(4.0)), cmp.Or(f.Dilate, new(4)), cmp.Or(f.Padding, new(32))
	return f
}

// check complains about what a face pass cannot be, the sampler's part left to the sampler.
func (f FacePass) check() error {
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request.Faces."+field, value, want, args...))
		}
	}
	check(len(f.Boxes) <= MaxFaces, "Boxes", len(f.Boxes), "%d boxes at most", MaxFaces)
	check(len(facePrompts(f.Prompt, "")) <= MaxFaces, "Prompt", len(facePrompts(f.Prompt, "")), "the prompts of %d faces at most", MaxFaces)
	check(len(facePrompts(f.NegativePrompt, "")) <= MaxFaces, "NegativePrompt", len(facePrompts(f.NegativePrompt, "")), "the prompts of %d faces at most", MaxFaces)
	check(goodSide(f.Width), "Width", f.Width, "0, or a multiple of 8 up to %d pixels", MaxSide)
	check(goodSide(f.Height), "Height", f.Height, "0, or a multiple of 8 up to %d pixels", MaxSide)
	check(*f.Blur >= 0 && *f.Blur <= 64, "Blur", *f.Blur, "0 to 64 pixels")
	check(*f.Dilate >= -128 && *f.Dilate <= 128, "Dilate", *f.Dilate, "-128 to 128 pixels")
	check(*f.Padding >= 0 && *f.Padding <= 256, "Padding", *f.Padding, "0 to 256 pixels")
	check(f.OffsetX >= -MaxSide && f.OffsetX <= MaxSide, "OffsetX", f.OffsetX, "-%d to %[1]d pixels", MaxSide)
	check(f.OffsetY >= -MaxSide && f.OffsetY <= MaxSide, "OffsetY", f.OffsetY, "-%d to %[1]d pixels", MaxSide)
	check(slices.Contains(FaceMerges, f.Merge), "Merge", string(f.Merge), "one of %q", FaceMerges)
	check(math.Abs(*f.Guidance) <= 1000, "Guidance", *f.Guidance, "a number from -1000 to 1000")
	check(f.ClipSkip >= 1, "ClipSkip", f.ClipSkip, "0, or 1 or more")
	if m := f.NoiseMultiplier; m != nil {
		check(*m >= 0 && *m <= 10, "NoiseMultiplier", *m, "a factor from 0 to 10")
	}
	check(*f.Confidence >= 0 && *f.Confidence <= 1, "Confidence", *f.Confidence, "0 to 1")
	check(f.MinRatio >= 0 && f.MinRatio <= 1, "MinRatio", f.MinRatio, "a part from 0 to 1")
	check(f.MaxRatio >= 0 && f.MaxRatio <= 1, "MaxRatio", f.MaxRatio, "a part from 0 to 1")
	check(f.Largest >= 0, "Largest", f.Largest, "0 or more")
	check(slices.Contains(FaceOrders, f.Order), "Order", string(f.Order), "one of %q", FaceOrders)
	return errors.Join(errs...)
}

// The words of face prompts.
var between = regexp.MustCompile(`\s*\[SEP\]\s*`)

const (
	skipFace    = "[SKIP]"
	wholePrompt = "[PROMPT]"
)

// facePrompts are those of each face by its number, the last being those of all further ones. Whole is the request's prompt.
func facePrompts(text, whole string) []string {
	all := between.Split(text, -1)
	for i, one := range all {
		if one = strings.TrimSpace(one); one == "" {
			all[i] = whole
		} else {
			all[i] = strings.ReplaceAll(one, wholePrompt, " "+whole+" ")
		}
	}
	return all
}

// ofFace is the request as a pass of a face carries it out.
func (r Request) ofFace(prompt, negative string) Request {
	f := *r.Faces
	r.Prompt, r.NegativePrompt, r.Width, r.Height, r.Steps, r.Strength = prompt, negative, f.Width, f.Height, f.Steps, f.Strength
	r.Sampler, r.Spacing, r.Guidance, r.BatchSize, r.ResizeMode = f.Sampler, f.Spacing, f.Guidance, 1, JustResize
	r.ClipSkip, r.NoiseMultiplier = f.ClipSkip, f.NoiseMultiplier
	r.Refiner = nil
	r.Inpaint = new(Inpaint{Blur: f.Blur, Padding: f.Padding, Only: true}.resolve())
	return r
}

// facePasses are what the passes of faces are made of: one for each prompt, nil where it leaves the face out. There are none where faces
// stay as they are.
func (p *Pipeline) facePasses(r Request) (all []*pass, err error) {
	f := r.Faces
	c := r.ofFace("", "").config(p.networks.Schedule, p.networks.Prediction)
	c.Denoise = f.Strength
	plan, err := sampler.New(c)
	if err != nil {
		return nil, inPart("Faces", FacePass{}, err)
	}
	if len(f.Boxes) == 0 && p.faces == nil {
		return nil, invalid.Field("Request.Faces.Boxes", f.Boxes, "the boxes of faces, or a detector in Options.Faces, which finds them")
	}
	if *f.Strength == 0 {
		return nil, nil
	}
	prompts, negatives := facePrompts(f.Prompt, r.Prompt), facePrompts(f.NegativePrompt, r.NegativePrompt)
	for i := range max(len(prompts), len(negatives)) {
		prompt, negative := prompts[min(i, len(prompts)-1)], negatives[min(i, len(negatives)-1)]
		if prompt == skipFace {
			all = append(all, nil)
		} else {
			hidden := &source{mask: []float32{0}} // until there is a picture to mask
			all = append(all, &pass{request: r.ofFace(prompt, negative), pipe: p, plan: plan, part: "Faces.", source: hidden})
		}
	}
	return all, nil
}

// inside complains about boxes that are not in a picture of a size.
func (f FacePass) inside(size image.Point) error {
	var errs []error
	for i, box := range f.Boxes {
		if box.Empty() || !box.In(image.Rectangle{Max: size}) {
			errs = append(errs, invalid.Field(fmt.Sprintf("Request.Faces.Boxes[%d]", i), box, "a box with something in it, inside a picture of %d×%d pixels", size.X, size.Y))
		}
	}
	return errors.Join(errs...)
}

// face is what the pass of a face draws anew.
type face struct {
	picture int // of the batch
	area        // in it
}

// area is what a mask covers.
type area struct {
	parts []image.Rectangle
	rest  bool // all but these
}

// mask is white in the area of a picture of a size.
func (a area) mask(size image.Point) *image.Gray {
	mask := image.NewGray(image.Rectangle{Max: size})
	inside := image.White
	if a.rest {
		draw.Draw(mask, mask.Rect, image.White, image.Point{}, draw.Src)
		inside = image.Black
	}
	for _, part := range a.parts {
		draw.Draw(mask, part, inside, image.Point{}, draw.Src)
	}
	return mask
}

// draw appends the passes of a picture's faces. One whose mask is nothing any more once it is blurred is left out.
func (c *course) draw(picture int, boxes []image.Rectangle) {
	seed, variation := c.request.seeds(picture)
	for i, area := range c.request.Faces.areas(boxes, c.size) {
		kind, blur := c.faces[min(i, len(c.faces)-1)], *c.request.Faces.Blur
		if kind == nil || canvas.Bounds(canvas.Blur(area.mask(c.size), blur, blur)).Empty() {
			continue
		}
		one := *kind
		one.request.Seed, one.request.Variation.Seed = seed+int64(i), variation+int64(i)
		one.face = &face{picture, area}
		c.passes = append(c.passes, &one)
	}
}

// areas are what is drawn anew in a picture of a size for boxes: one for each that is left of them, or one for all.
func (f FacePass) areas(boxes []image.Rectangle, size image.Point) (all []area) {
	merged := area{rest: f.Merge == MergeAndInvert}
	for _, box := range boxes {
		if parts := f.dilated(f.moved(box.Intersect(image.Rectangle{Max: size}), size), size); len(parts) > 0 {
			all = append(all, area{parts: parts})
			merged.parts = append(merged.parts, parts...)
		}
	}
	if f.Merge != SeparateFaces && len(all) > 0 {
		return []area{merged}
	}
	return all
}

// moved is a box of a picture of a size where the offsets bring it: in up to four parts, as the picture's sides are joined.
func (f FacePass) moved(box image.Rectangle, size image.Point) (all []image.Rectangle) {
	if f.OffsetX == 0 && f.OffsetY == 0 {
		return []image.Rectangle{box}
	}
	for _, x := range moved(box.Min.X, box.Max.X, f.OffsetX, size.X) {
		for _, y := range moved(box.Min.Y, box.Max.Y, -f.OffsetY, size.Y) {
			all = append(all, image.Rect(x[0], y[0], x[1], y[1]))
		}
	}
	return all
}

// moved are the parts of from to to, along a side, moved by so much.
func moved(from, to, by, side int) [][2]int {
	length := to - from
	from = ((from+by)%side + side) % side
	switch {
	case length == side:
		return [][2]int{{0, side}}
	case from+length > side:
		return [][2]int{{from, side}, {0, from + length - side}}
	}
	return [][2]int{{from, from + length}}
}

// drawGiven appends the passes of the faces whose boxes the request has.
func (c *course) drawGiven() {
	if len(c.faces) > 0 {
		for i := range c.request.BatchSize {
			c.draw(i, c.request.Faces.Boxes)
		}
	}
}

// dilated are boxes in a picture of a size, dilated or eroded by a square as OpenCV does it: with the middle of the square, or what comes
// behind it, on each pixel. What erosion leaves nothing of is left out.
func (f FacePass) dilated(boxes []image.Rectangle, size image.Point) (all []image.Rectangle) {
	whole, side := image.Rectangle{Max: size}, *f.Dilate
	for _, box := range boxes {
		box = box.Intersect(whole)
		before := max(side, -side) / 2
		behind := max(side, -side, 1) - 1 - before
		switch {
		case side > 0:
			box = image.Rect(box.Min.X-behind, box.Min.Y-behind, box.Max.X+before, box.Max.Y+before).Intersect(whole)
		case side < 0:
			box = eroded(box, whole, before, behind)
		}
		if !box.Empty() {
			all = append(all, box)
		}
	}
	return all
}

// eroded takes from a box what is before and behind it, but nothing at the edges of the picture.
func eroded(box, whole image.Rectangle, before, behind int) image.Rectangle {
	if box.Min.X > whole.Min.X {
		box.Min.X += before
	}
	if box.Min.Y > whole.Min.Y {
		box.Min.Y += before
	}
	if box.Max.X < whole.Max.X {
		box.Max.X -= behind
	}
	if box.Max.Y < whole.Max.Y {
		box.Max.Y -= behind
	}
	return box
}

// findFaces asks for the faces of a picture, and chooses those that are drawn anew: under a mask, those that have some of what it drew.
func (p *Pipeline) findFaces(ctx context.Context, f FacePass, img *image.NRGBA, under *image.Gray) ([]image.Rectangle, error) {
	found, err := p.faces.Boxes(ctx, img, *f.Confidence)
	if err != nil {
		return nil, fmt.Errorf("sd: looking for faces: %w", err)
	}
	var boxes []image.Rectangle
	for _, box := range found {
		box = box.Intersect(img.Rect)
		ratio := pixels(box) / pixels(img.Rect)
		if !box.Empty() && ratio >= f.MinRatio && ratio <= f.MaxRatio && (under == nil || touches(under, box)) {
			boxes = append(boxes, box)
		}
	}
	boxes = f.sort(boxes, img.Rect.Size())
	p.log.Info("faces found", "boxes", boxes)
	return boxes, nil
}

// sort takes the largest of found faces and brings them in order.
func (f FacePass) sort(boxes []image.Rectangle, size image.Point) []image.Rectangle {
	by := func(key func(image.Rectangle) float64) {
		slices.SortStableFunc(boxes, func(a, b image.Rectangle) int { return cmp.Compare(key(a), key(b)) })
	}
	smallness := func(box image.Rectangle) float64 { return -pixels(box) }
	if f.Largest > 0 {
		if !f.Surest {
			by(smallness)
		}
		boxes = boxes[:min(f.Largest, len(boxes))]
	}
	switch f.Order {
	case LeftToRight:
		by(func(box image.Rectangle) float64 { return float64(box.Min.X) })
	case CenterToEdge:
		by(func(box image.Rectangle) float64 {
			off := box.Min.Add(box.Max).Sub(size)
			return math.Hypot(float64(off.X), float64(off.Y))
		})
	case LargeToSmall:
		by(smallness)
	}
	return boxes
}

func pixels(r image.Rectangle) float64 { return float64(r.Dx()) * float64(r.Dy()) }

// touches reports whether a mask has something that is not black in a box.
func touches(mask *image.Gray, box image.Rectangle) bool {
	box = box.Intersect(mask.Rect)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for _, v := range mask.Pix[mask.PixOffset(box.Min.X, y):][:box.Dx()] {
			if v > 0 {
				return true
			}
		}
	}
	return false
}
