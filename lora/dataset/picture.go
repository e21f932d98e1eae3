package dataset

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	source      source
	skipCheck   bool
}

// source tells one version of a picture's file from another.
type source struct{ bytes, modified int64 }

// FlipAug reports whether the picture is also used mirrored, so that both versions need latents.
func (p *Picture) FlipAug() bool { return p.subset.FlipAug }

// AlphaMask reports whether the picture's alpha is a mask of the loss, which its cached latents then carry.
func (p *Picture) AlphaMask() bool { return p.subset.AlphaMask }

// Image is the picture as trained without augmentation beyond a flip: [H,W,3] of its bucket, RGB, −1…1.
func (p *Picture) Image(flip bool) ([]float32, error) {
	return Item{Picture: p, Placement: p.Placement, Flip: flip}.Image()
}

// Mask is the mask of the loss, [H,W] of its bucket, 0…1; nil if the picture has none, which means ones.
func (p *Picture) Mask(flip bool) ([]float32, error) {
	return Item{Picture: p, Placement: p.Placement, Flip: flip}.Mask()
}

// load decodes, turns and composites.
func (p *Picture) load() (*image.NRGBA, error) {
	img, err := readPicture(p.Path)
	if err != nil {
		return nil, err
	}
	if p.subset.EXIFOrientation {
		img = orient(img, p.orientation)
	}
	if size := (Size{img.Rect.Dx(), img.Rect.Dy()}); size != p.Size {
		return nil, fmt.Errorf("dataset: %s: %v pixels, it had %v when training began: leave pictures alone while training", p.Path, size, p.Size)
	}
	if p.subset.AlphaOverWhite {
		overWhite(img)
	}
	return img, nil
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

// Image loads the pixels: [H,W,3] of the batch's bucket, RGB, −1…1. It is safe for concurrent use.
func (it Item) Image() ([]float32, error) {
	img, err := it.Picture.load()
	if err != nil {
		return nil, err
	}
	img = it.cut(img, 3)
	it.colour.apply(img)
	pixels := make([]float32, 0, len(img.Pix)/4*3)
	for i := 0; i < len(img.Pix); i += 4 {
		for _, v := range img.Pix[i:][:3] {
			pixels = append(pixels, float32(v)/127.5-1)
		}
	}
	return pixels, nil
}

// Mask loads the mask of the loss, cut as the pixels are: [H,W] of the batch's bucket, 0…1. It is nil if the picture has
// none, which means ones.
func (it Item) Mask() ([]float32, error) {
	var img *image.NRGBA
	var err error
	channel := 3
	switch p := it.Picture; {
	case p.mask != "":
		channel = 0
		img, err = readPicture(p.mask)
		if err == nil && p.subset.EXIFOrientation {
			img = orient(img, p.orientation)
		}
	case p.subset.AlphaMask:
		img, err = p.load()
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img = it.cut(img, 4)
	mask := make([]float32, len(img.Pix)/4)
	for i := range mask {
		mask[i] = float32(img.Pix[4*i+channel]) / 255
	}
	return mask, nil
}

// cut scales, crops and flips.
func (it Item) cut(img *image.NRGBA, channels int) *image.NRGBA {
	window := image.Rect(it.Crop.X, it.Crop.Y, it.Crop.X+it.Bucket.W, it.Crop.Y+it.Bucket.H)
	filter, _ := it.Picture.subset.ResizeInterpolation.canonical() // validated by Open
	img = resample(img, it.Resized, window, filter, channels)
	if it.Flip {
		img = orient(img, 2)
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
			table[v] = uint8(clampByte(math.Pow(float64(v), c.gamma)))
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

// stat notes which version of the file is being used.
func (p *Picture) stat() error {
	info, err := os.Stat(p.Path)
	if err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	p.source = source{info.Size(), info.ModTime().UnixNano()}
	return nil
}

// stem is the path without its extension.
func (p *Picture) stem() string { return p.Path[:len(p.Path)-len(filepath.Ext(p.Path))] }
