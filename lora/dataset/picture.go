package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
)

// Picture is one picture of a dataset.
type Picture struct {
	Path string
	// Size is the picture's, turned upright if Subset.EXIFOrientation asks for it.
	Size Size
	// Caption is what its caption file or class tokens say, before any [CaptionOptions]; with wildcards it may have several lines.
	Caption string
	// Repeats is how often it is used in an epoch. For regularisation pictures it is the balanced number, and 0 if there is
	// a surplus of them.
	Repeats int
	// Reg marks a regularisation picture.
	Reg bool
	// Placement is how it fills its bucket.
	Placement

	set         int
	subset      *Subset
	orientation int
	mask        string // path of the picture in ConditioningDataDir
	face        face   // to crop around; zero without FaceCropAugRange
	held        bool   // kept for validation
	transparent bool
	notes       []string // what of the file is not shown
	source      source
	maskSource  source
	skipCheck   bool
}

// source tells one version of a file from another.
type source struct{ bytes, modified int64 }

func sourceOf(info os.FileInfo) source { return source{info.Size(), info.ModTime().UnixNano()} }

// FlipAug reports whether the picture is also used mirrored, so that both versions need latents.
func (p *Picture) FlipAug() bool { return p.subset.FlipAug }

// AlphaMask reports whether the picture's alpha is a mask of the loss, which its cached latents then carry.
func (p *Picture) AlphaMask() bool { return p.subset.AlphaMask }

// Sample is what a use of a picture shows the network.
type Sample struct {
	// Image has the size of the picture's bucket and no alpha.
	Image *image.NRGBA
	// Mask is the mask of the loss, cut as the image is: [H,W] of the bucket, 0…1. It is nil if the picture has none, which
	// means ones.
	Mask []float32
}

// Load decodes the picture as trained without augmentation beyond a flip.
func (p *Picture) Load(ctx context.Context, flip bool) (Sample, error) {
	return Item{Picture: p, Placement: p.Placement, Flip: flip}.Load(ctx)
}

// Mask is the mask alone of what [Picture.Load] returns.
func (p *Picture) Mask(ctx context.Context, flip bool) ([]float32, error) {
	return Item{Picture: p, Placement: p.Placement, Flip: flip}.Mask(ctx)
}

// Text is the caption with prefix and suffix, before anything is left to chance; with wildcards it may have several lines.
func (p *Picture) Text() string { return p.subset.CaptionOptions.surround(p.Caption) }

// Digest tells the contents of the picture's file, and of its mask's, from others.
func (p *Picture) Digest() (string, error) {
	h := sha256.New()
	for _, path := range []string{p.Path, p.mask} {
		if path == "" {
			continue
		}
		if err := hashFile(h, path); err != nil {
			return "", fmt.Errorf("dataset: picture: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func hashFile(h io.Writer, path string) error {
	f, err := openfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return err
}

// decode hands the decoded file at path to do, turned as the subset asks for, if it is still the version that was checked.
func (p *Picture) decode(ctx context.Context, path string, version source, do func(*image.NRGBA)) error {
	f, err := picture.Open(path, picture.Limits{})
	if err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	defer f.Close()
	if sourceOf(f.Info) != version {
		return fmt.Errorf("dataset: %s was replaced or edited since training began: leave pictures alone while training", path)
	}
	img, err := f.Decode(ctx)
	if err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	if p.subset.EXIFOrientation {
		img = picture.Orient(img, p.orientation)
	}
	do(img)
	return nil
}

// Item is one use of a picture in a batch.
type Item struct {
	Picture *Picture
	// Caption is the text for the tokenizer.
	Caption string
	// LossWeight is 1, or Config.PriorLossWeight for a regularisation picture.
	LossWeight float32
	// Flip mirrors left and right.
	Flip bool
	// Placement is the picture's own, but for random crops and crops around faces.
	Placement

	colour colourShift
}

// Load decodes the picture, once, and its mask. It is safe for concurrent use.
func (it Item) Load(ctx context.Context) (s Sample, err error) {
	p := it.Picture
	err = p.decode(ctx, p.Path, p.source, func(img *image.NRGBA) {
		if p.subset.AlphaMask && p.mask == "" {
			s.Mask = it.channel(img, 3)
		}
		if p.subset.AlphaOverWhite {
			picture.OverWhite(img)
		}
		s.Image = it.cut(img, 3)
		it.colour.apply(s.Image)
	})
	if err == nil && p.mask != "" {
		s.Mask, err = it.Mask(ctx)
	}
	return s, err
}

// Mask is the mask alone of what [Item.Load] returns.
func (it Item) Mask(ctx context.Context) (mask []float32, err error) {
	switch p := it.Picture; {
	case p.mask != "":
		err = p.decode(ctx, p.mask, p.maskSource, func(img *image.NRGBA) { mask = it.channel(img, 0) })
	case p.subset.AlphaMask:
		err = p.decode(ctx, p.Path, p.source, func(img *image.NRGBA) { mask = it.channel(img, 3) })
	}
	return mask, err
}

// channel is one channel of the picture, cut, from 0 to 1.
func (it Item) channel(img *image.NRGBA, c int) []float32 {
	img = it.cut(img, 4)
	values := make([]float32, len(img.Pix)/4)
	for i := range values {
		values[i] = float32(img.Pix[4*i+c]) / 255
	}
	return values
}

// cut scales, crops and flips.
func (it Item) cut(img *image.NRGBA, channels int) *image.NRGBA {
	window := image.Rect(it.Crop.X, it.Crop.Y, it.Crop.X+it.Bucket.W, it.Crop.Y+it.Bucket.H)
	resized := image.Pt(it.Resized.W, it.Resized.H)
	img = picture.Resample(img, resized, window, it.Picture.subset.ResizeInterpolation.filter(img.Rect.Size(), resized), channels)
	if it.Flip {
		img = picture.Orient(img, 2)
	}
	return img
}

// use draws what a use of the picture leaves to chance.
func (p *Picture) use(when CaptionUse, priorLossWeight float64, r *rand.Rand) Item {
	it := Item{Picture: p, LossWeight: 1, Placement: p.Placement}
	if p.Reg {
		it.LossWeight = float32(priorLossWeight)
	}
	// Caption draws vary in number, so they come last.
	it.Flip = r.Float64() < 0.5 && p.subset.FlipAug
	x, y := r.IntN(p.Resized.W-p.Bucket.W+1), r.IntN(p.Resized.H-p.Bucket.H+1)
	if p.subset.RandomCrop {
		it.Crop = Point{x, y}
	}
	if p.face != (face{}) {
		if around, ok := p.face.place(p.Size, p.Bucket, p.subset.FaceCropAugRange, p.subset.RandomCrop, r); ok {
			it.Placement = around
		}
	}
	if shift := drawColourShift(r); p.subset.ColorAug {
		it.colour = shift
	}
	it.Caption = p.subset.CaptionOptions.Apply(p.Caption, when, r)
	return it
}

// colourShift is one draw of color_aug; the zero value changes nothing.
type colourShift struct {
	hue   float64 // degrees
	gamma float64 // exponent on 0…255, 0 for none
}

// drawColourShift shifts the hue in a sixth of the uses and gamma in another sixth, by sd-scripts' amounts.
func drawColourShift(r *rand.Rand) colourShift {
	chance, amount := r.Float64(), r.Float64()
	switch {
	case chance < 0.33/2:
		return colourShift{hue: 2 * (16*amount - 8)} // drawn in OpenCV's half degrees
	case chance < 0.33:
		return colourShift{gamma: 0.95 + 0.1*amount}
	}
	return colourShift{}
}

func (c colourShift) apply(img *image.NRGBA) {
	switch {
	case c.hue != 0:
		for i := 0; i < len(img.Pix); i += 4 {
			rotateHue(img.Pix[i:][:3], c.hue)
		}
	case c.gamma != 0:
		// The power acts on 0…255 and not on 0…1, as in sd-scripts: 1.05 brightens strongly.
		var table [256]uint8
		for v := range table {
			table[v] = uint8(min(math.Pow(float64(v), c.gamma), 255))
		}
		for i := 0; i < len(img.Pix); i += 4 {
			for ch := range 3 {
				img.Pix[i+ch] = table[img.Pix[i+ch]]
			}
		}
	}
}

// rotateHue turns the hue of an RGB triple in the HSV hexcone, keeping saturation and value.
func rotateHue(rgb []uint8, degrees float64) {
	r, g, b := float64(rgb[0]), float64(rgb[1]), float64(rgb[2])
	value, low := max(r, g, b), min(r, g, b)
	chroma := value - low
	if chroma == 0 {
		return
	}
	var sextant float64
	switch value {
	case r:
		sextant = (g - b) / chroma
	case g:
		sextant = (b-r)/chroma + 2
	default:
		sextant = (r-g)/chroma + 4
	}
	sextant += degrees/60 + 12
	// A channel is full within one sextant of its own hue, gone beyond two, and linear between.
	for i, own := range [3]float64{0, 2, 4} {
		distance := math.Abs(math.Mod(sextant-own+3, 6) - 3)
		rgb[i] = uint8(math.Round(low + chroma*min(max(2-distance, 0), 1)))
	}
}

// stem is the path without its extension.
func (p *Picture) stem() string { return p.Path[:len(p.Path)-len(filepath.Ext(p.Path))] }
