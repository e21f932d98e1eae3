package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/invalid"
)

// Size is a width and a height in pixels.
type Size struct{ W, H int }

// String is "512x768".
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.W, s.H) }

func (s Size) ratio() float64 { return float64(s.W) / float64(s.H) }

// Point is a place in a picture, in pixels from its left and upper edge.
type Point struct{ X, Y int }

const (
	// sd15Step is what bucket sides of SD 1.5 must be multiples of: 8 for the VAE times 8 for the UNet.
	sd15Step = 64
	// vaeStep is the side of the square of pixels that becomes one latent.
	vaeStep = 8
	// maxSide bounds resolutions and bucket sides.
	maxSide = 8192
)

// Bucketing says how pictures of several shapes are trained. The zero value trains everything at one size; zero numbers
// mean the defaults of sd-scripts.
type Bucketing struct {
	// Enable sorts pictures into buckets of about equal area, "enable_bucket".
	Enable bool `json:"enable_bucket"`
	// MinReso and MaxReso bound the sides of buckets, 0 means 256 and 1024. They are rounded outwards to multiples of ResoSteps.
	MinReso int `json:"min_bucket_reso"`
	MaxReso int `json:"max_bucket_reso"`
	// ResoSteps is what the sides of buckets are multiples of: 64 (also meant by 0) or a multiple of it.
	ResoSteps int `json:"bucket_reso_steps"`
	// NoUpscale never enlarges a picture: its bucket follows from its own size, and MinReso and MaxReso are ignored.
	NoUpscale bool `json:"bucket_no_upscale"`
}

// withDefaults fills in zeros and rounds the bounds outwards, saying so.
func (b Bucketing) withDefaults() (Bucketing, []string) {
	b.MinReso = cmp.Or(b.MinReso, 256)
	b.MaxReso = cmp.Or(b.MaxReso, 1024)
	b.ResoSteps = cmp.Or(b.ResoSteps, sd15Step)
	if !b.Enable || b.ResoSteps < 1 || b.MinReso < 0 || b.MaxReso < 0 || b.MaxReso > maxSide {
		return b, nil // nothing to round, or refused by NewBuckets
	}
	var warnings []string
	if low := b.MinReso / b.ResoSteps * b.ResoSteps; low != b.MinReso {
		warnings = append(warnings, fmt.Sprintf("Bucketing.MinReso %d is no multiple of %d: %d is used", b.MinReso, b.ResoSteps, low))
		b.MinReso = low
	}
	if high := (b.MaxReso + b.ResoSteps - 1) / b.ResoSteps * b.ResoSteps; high != b.MaxReso {
		warnings = append(warnings, fmt.Sprintf("Bucketing.MaxReso %d is no multiple of %d: %d is used", b.MaxReso, b.ResoSteps, high))
		b.MaxReso = high
	}
	return b, warnings
}

// Buckets are the sizes pictures are trained at.
type Buckets struct {
	resolution Size
	bucketing  Bucketing
	sizes      []Size // ascending by width, then height; empty with NoUpscale
	warnings   []string
}

// NewBuckets makes the buckets for a resolution, whose area every bucket keeps to within a step. It fails if the bounds
// leave no room for the resolution or a number is out of range, with an [invalid.FieldError] for each: "Resolution" or a field
// of Bucketing.
func NewBuckets(resolution Size, bucketing Bucketing) (*Buckets, error) {
	bucketing, warnings := bucketing.withDefaults()
	k := &Buckets{resolution: resolution, bucketing: bucketing, warnings: warnings}
	var errs []error
	refuse := func(field string, value any, want string, args ...any) {
		errs = append(errs, invalid.Field(field, value, want, args...))
	}
	short, long := min(resolution.W, resolution.H), max(resolution.W, resolution.H)
	if short < sd15Step || long > maxSide {
		refuse("Resolution", resolution, "sides of %d to %d pixels, such as 512", sd15Step, maxSide)
		return nil, errors.Join(errs...)
	}
	if !bucketing.Enable {
		k.resolution = Size{resolution.W / vaeStep * vaeStep, resolution.H / vaeStep * vaeStep}
		if k.resolution != resolution && len(errs) == 0 {
			k.warnings = append(k.warnings, fmt.Sprintf("resolution %v is no multiple of %d pixels: %v is used", resolution, vaeStep, k.resolution))
		}
		k.sizes = []Size{k.resolution}
		return k, errors.Join(errs...)
	}
	if bucketing.ResoSteps < sd15Step || bucketing.ResoSteps%sd15Step != 0 {
		refuse("ResoSteps", bucketing.ResoSteps, "a multiple of %d for SD 1.5", sd15Step)
		return nil, errors.Join(errs...)
	}
	if bucketing.MinReso < bucketing.ResoSteps || bucketing.MinReso > short {
		refuse("MinReso", bucketing.MinReso, "%d to %d, the shorter side of the resolution %v", bucketing.ResoSteps, short, resolution)
	}
	if bucketing.MaxReso < long || bucketing.MaxReso > maxSide {
		refuse("MaxReso", bucketing.MaxReso, "%d, the longer side of the resolution %v, to %d", long, resolution, maxSide)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if bucketing.NoUpscale {
		k.warnings = append(k.warnings, "Bucketing.NoUpscale: Bucketing.MinReso and Bucketing.MaxReso have no effect, small pictures stay small")
	} else {
		k.sizes = bucketSizes(resolution, bucketing)
	}
	return k, nil
}

// bucketSizes lists the buckets of at most resolution's area: the largest square, and for every width the largest height.
func bucketSizes(resolution Size, b Bucketing) []Size {
	area := resolution.W * resolution.H
	square := int(math.Sqrt(float64(area))) / b.ResoSteps * b.ResoSteps
	sizes := []Size{{square, square}}
	for w := b.MinReso; w <= b.MaxReso; w += b.ResoSteps {
		h := min(b.MaxReso, area/w/b.ResoSteps*b.ResoSteps)
		if h >= b.MinReso {
			sizes = append(sizes, Size{w, h}, Size{h, w})
		}
	}
	slices.SortFunc(sizes, compareSizes)
	return slices.Compact(sizes)
}

func compareSizes(a, b Size) int { return cmp.Or(cmp.Compare(a.W, b.W), cmp.Compare(a.H, b.H)) }

// Sizes lists the buckets, ascending by width, then height. With NoUpscale they depend on the pictures and the list is empty.
func (k *Buckets) Sizes() []Size { return slices.Clone(k.sizes) }

// Warnings says what was adjusted.
func (k *Buckets) Warnings() []string { return slices.Clone(k.warnings) }

// Placement is how a picture enters a bucket: it is scaled to Resized, which covers Bucket, and Bucket is cut out of it,
// by default at Crop, the middle.
type Placement struct {
	Bucket, Resized Size
	Crop            Point
}

func centred(bucket, resized Size) Placement {
	return Placement{bucket, resized, Point{(resized.W - bucket.W) / 2, (resized.H - bucket.H) / 2}}
}

// Place chooses the bucket for a picture of the given size. With NoUpscale it fails for a picture with a side under 64
// pixels, which has no bucket.
func (k *Buckets) Place(image Size) (Placement, error) {
	if image.W < 1 || image.H < 1 {
		return Placement{}, fmt.Errorf("dataset: a picture of %v pixels has no bucket", image)
	}
	if k.bucketing.Enable && k.bucketing.NoUpscale {
		return k.placeUnscaled(image)
	}
	bucket := k.nearest(image)
	return centred(bucket, cover(image, bucket)), nil
}

// nearest is the bucket of the picture's own size or else of the nearest ratio w/h. Ratios are compared by their plain
// difference, which treats portrait and landscape differently; sd-scripts does so, and buckets must agree.
func (k *Buckets) nearest(image Size) Size {
	if slices.Contains(k.sizes, image) {
		return image
	}
	return slices.MinFunc(k.sizes, func(a, b Size) int {
		return cmp.Compare(math.Abs(a.ratio()-image.ratio()), math.Abs(b.ratio()-image.ratio()))
	})
}

// cover is the smallest size of the picture's shape that covers the bucket.
func cover(image, bucket Size) Size {
	scale := float64(bucket.W) / float64(image.W)
	if image.ratio() > bucket.ratio() {
		scale = float64(bucket.H) / float64(image.H)
	}
	// The maximum guards against a product such as 447.4999… that rounds below the bucket.
	return Size{max(bucket.W, roundHalfUp(float64(image.W)*scale)), max(bucket.H, roundHalfUp(float64(image.H)*scale))}
}

// placeUnscaled shrinks a picture to resolution's area if it is larger, along the side whose rounding keeps its shape better,
// and cuts both sides to multiples of the step.
func (k *Buckets) placeUnscaled(image Size) (Placement, error) {
	step := k.bucketing.ResoSteps
	floor := func(x float64) int { return roundHalfUp(x) / step * step }
	resized, ar := image, image.ratio()
	if area := k.resolution.W * k.resolution.H; image.W*image.H > area {
		w := math.Sqrt(float64(area) * ar)
		h := float64(area) / w
		aw := floor(w)
		ah := floor(float64(aw) / ar)
		bh := floor(h)
		bw := floor(float64(bh) * ar)
		if math.Abs(Size{aw, ah}.ratio()-ar) < math.Abs(Size{bw, bh}.ratio()-ar) {
			resized = Size{aw, roundHalfUp(float64(aw) / ar)}
		} else {
			resized = Size{roundHalfUp(float64(bh) * ar), bh}
		}
	}
	bucket := Size{resized.W / step * step, resized.H / step * step}
	if bucket.W == 0 || bucket.H == 0 {
		return Placement{}, fmt.Errorf("dataset: a picture of %v pixels would be trained at %v, under the step of %d on one side: enlarge it, or crop it to a less extreme shape, or switch Bucketing.NoUpscale off",
			image, resized, step)
	}
	return centred(bucket, resized), nil
}

func roundHalfUp(x float64) int { return int(x + 0.5) }
