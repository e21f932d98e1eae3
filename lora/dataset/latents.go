package dataset

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/atelier-go/atelier/internal/atomicfile"
)

// Latents are the encoded versions of one picture. H and W are its bucket's sides divided by 8.
type Latents struct {
	H, W int
	// Sample is one draw from the VAE's posterior, [4,H,W], without the factor 0.18215.
	Sample []float32
	// Flipped is one of the mirrored picture; nil without Subset.FlipAug.
	Flipped []float32
	// AlphaMask is the mask of the loss in pixels, [8·H,8·W], 0…1; nil without Subset.AlphaMask.
	AlphaMask []float32
}

// ErrStale is what [Picture.ReadLatents] wraps when a picture has no usable latents on disk and must be encoded: there is no
// file, it is damaged, or it belongs to another size, bucket, version of the picture or encoder.
var ErrStale = errors.New("no usable cached latents")

const latentChannels = 4

// Names of arrays. sd-scripts reads the plain ones for SD 1.5, whatever resolution they have, and for newer models appends
// "_{H}x{W}", so that a file serves several resolutions. Here the resolution encoded last has the plain names, and others keep
// theirs with what sd-scripts would append. sourceKey is ours; other programs do not look at it.
const (
	latentsKey  = "latents"
	flippedKey  = "latents_flipped"
	originalKey = "original_size"
	cropKey     = "crop_ltrb"
	alphaKey    = "alpha_mask"
	sourceKey   = "atelier_source"
)

// LatentsPath is where the latents of the picture are kept: beside it, named for its size as sd-scripts does, such as
// dog_3024x4032_sd.npz; or dog.npz, a name of older versions, if that exists.
func (p *Picture) LatentsPath() string {
	if legacy := p.stem() + ".npz"; isFile(legacy) {
		return legacy
	}
	return fmt.Sprintf("%s_%04dx%04d_sd.npz", p.stem(), p.Size.W, p.Size.H)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// ReadLatents reads the cached latents of the picture. encoder is any number that tells one VAE and one choice of posterior
// noise from another; it must be the one given to [Picture.WriteLatents]. Files of sd-scripts, which record neither it nor
// the picture's version, are taken on their keys, shapes and original size. Errors wrap [ErrStale], except for
// latents that are not finite, which encoding again would likely not cure.
func (p *Picture) ReadLatents(encoder int64) (*Latents, error) {
	path := p.LatentsPath()
	file, err := openArchive(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w: %w", path, ErrStale, err)
	}
	defer file.Close()
	l, err := p.pick(file, encoder)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w: %w", path, ErrStale, err)
	}
	if err := l.finite(); err != nil {
		return nil, fmt.Errorf("dataset: %s: cached latents of %s: %w: delete the file, and encode in fp32 (no_half_vae) if it happens again", path, p.Path, err)
	}
	return l, nil
}

// suffix is what sd-scripts appends to the keys of models whose files serve several resolutions.
func (p *Picture) suffix() string {
	return fmt.Sprintf("_%dx%d", p.Bucket.H/vaeStep, p.Bucket.W/vaeStep)
}

// pick reads the picture's latents out of a file and checks that they are its own.
func (p *Picture) pick(file *archive, encoder int64) (*Latents, error) {
	var errs []error
	floats := func(key string, shape ...int) []float32 {
		data, err := pickArray[float32](file, p, key, shape...)
		errs = append(errs, err)
		return data
	}
	l := &Latents{H: p.Bucket.H / vaeStep, W: p.Bucket.W / vaeStep}
	l.Sample = floats(latentsKey, latentChannels, l.H, l.W)
	if p.subset.FlipAug {
		l.Flipped = floats(flippedKey, latentChannels, l.H, l.W)
	}
	if p.AlphaMask() {
		l.AlphaMask = floats(alphaKey, p.Bucket.H, p.Bucket.W)
	}
	size, err := pickArray[int64](file, p, originalKey, 2)
	if err == nil && !slices.Equal(size, []int64{int64(p.Size.W), int64(p.Size.H)}) {
		errs = append(errs, fmt.Errorf("made from a picture of %v pixels, this one has %v", size, p.Size))
	}
	made, err := pickArray[int64](file, p, sourceKey, 8)
	if err == nil && !p.skipCheck && !slices.Equal(made, p.provenance(encoder)) {
		errs = append(errs, errors.New("the picture, its placement or the encoder changed since"))
	}
	return l, errors.Join(errs...)
}

// pickArray reads the array of a key, under the picture's resolution or else under none.
func pickArray[T element](file *archive, p *Picture, key string, shape ...int) ([]T, error) {
	name := key + p.suffix()
	if !file.has(name) {
		name = key
	}
	if !file.has(name) {
		return nil, fmt.Errorf("%s is missing", key)
	}
	return readArray[T](file, name, shape...)
}

// provenance is all that latents depend on beside the pixels' values.
func (p *Picture) provenance(encoder int64) []int64 {
	var options int64
	if p.subset.EXIFOrientation {
		options |= 1
	}
	if p.subset.AlphaOverWhite {
		options |= 2
	}
	filter, _ := p.subset.ResizeInterpolation.canonical() // validated by Open
	options |= int64(slices.Index(interpolations, filter)) << 8
	return []int64{p.source.bytes, p.source.modified, int64(p.Resized.W), int64(p.Resized.H), int64(p.Crop.X), int64(p.Crop.Y), options, encoder}
}

func (l *Latents) finite() error {
	for _, part := range []struct {
		name string
		data []float32
	}{{latentsKey, l.Sample}, {flippedKey, l.Flipped}, {alphaKey, l.AlphaMask}} {
		for i, v := range part.data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%s: element %d is %v", part.name, i, v)
			}
		}
	}
	return nil
}

// WriteLatents keeps the latents of the picture beside it, where sd-scripts finds them too, in place of those of the same
// bucket size; those of other resolutions in the same file stay. The file is replaced as a whole or not at all. See [Picture.ReadLatents] for encoder.
func (p *Picture) WriteLatents(l *Latents, encoder int64) error {
	path := p.LatentsPath()
	fail := func(err error) error {
		return fmt.Errorf("dataset: latents of %s: %w", p.Path, err)
	}
	h, w := p.Bucket.H/vaeStep, p.Bucket.W/vaeStep
	n := latentChannels * h * w
	switch {
	case l.H != h || l.W != w || len(l.Sample) != n:
		return fail(fmt.Errorf("%d numbers for %d×%d latents, want %d for %d×%d", len(l.Sample), l.H, l.W, n, h, w))
	case p.subset.FlipAug != (l.Flipped != nil) || l.Flipped != nil && len(l.Flipped) != n:
		return fail(fmt.Errorf("%d numbers of flipped latents, flip_aug is %v", len(l.Flipped), p.subset.FlipAug))
	case p.AlphaMask() != (l.AlphaMask != nil) || l.AlphaMask != nil && len(l.AlphaMask) != p.Bucket.W*p.Bucket.H:
		return fail(fmt.Errorf("%d numbers of alpha mask, alpha_mask is %v", len(l.AlphaMask), p.AlphaMask()))
	}
	if err := l.finite(); err != nil {
		return fail(err)
	}
	left, top := float64(p.Crop.X), float64(p.Crop.Y)
	arrays := []array{
		{latentsKey, []int{latentChannels, h, w}, l.Sample},
		{originalKey, []int{2}, []int64{int64(p.Size.W), int64(p.Size.H)}},
		{cropKey, []int{4}, []float64{left, top, left + float64(p.Bucket.W), top + float64(p.Bucket.H)}},
		{sourceKey, []int{8}, p.provenance(encoder)},
	}
	if l.Flipped != nil {
		arrays = append(arrays, array{flippedKey, []int{latentChannels, h, w}, l.Flipped})
	}
	if l.AlphaMask != nil {
		arrays = append(arrays, array{alphaKey, []int{p.Bucket.H, p.Bucket.W}, l.AlphaMask})
	}
	if err := replaceFile(path, func(w io.Writer) error { return p.fill(w, arrays, path) }); err != nil {
		return fail(err)
	}
	return nil
}

// fill writes arrays and those of other resolutions in the file at path. A damaged file is simply replaced.
func (p *Picture) fill(w io.Writer, arrays []array, path string) error {
	z := zip.NewWriter(w)
	if err := writeArrays(z, arrays); err != nil {
		return err
	}
	if old, err := openArchive(path); err == nil {
		err = old.copyOthers(z, p.suffix())
		if err := errors.Join(err, old.Close()); err != nil {
			return err
		}
	}
	return z.Close()
}

// replaceFile writes the file at path anew, whole or not at all.
func replaceFile(path string, fill func(io.Writer) error) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("%w; pictures' folders must be writable for Config.CacheLatentsToDisk", err)
	}
	defer f.Abort()
	b := bufio.NewWriter(f)
	if err := fill(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Commit()
}
