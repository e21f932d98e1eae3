package portrait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/lora/dataset"
)

// CheckOptions say how photos are looked at. The zero value is for training at 512 pixels.
type CheckOptions struct {
	// Resolution is the size of the pictures that are trained, in pixels. 0 means 512.
	Resolution int
	// Keep and Drop are names of photos, with their extensions, of which it is decided whatever is found.
	Keep, Drop []string
	// Person says where the person is in photos of several people, by the photos' names: the face whose centre lies in the box
	// is the person's.
	Person map[string]image.Rectangle
}

// MaxPhotos is the most photos that a folder may have.
const MaxPhotos = 1000

// Check looks at the photos in a folder, with what finds faces. What cannot be read is a finding, not an error. Errors are of the
// folder and of options that name photos that are not there.
func Check(ctx context.Context, dir string, detector face.Detector, o CheckOptions) (Report, error) {
	a, err := openAlbum(dir)
	if err != nil {
		return Report{}, fmt.Errorf("portrait: %w", err)
	}
	if err := o.check(dir, a.photos); err != nil {
		return Report{}, err
	}
	r := Report{Dir: dir}
	for _, name := range a.photos {
		p := Photo{Name: name}
		if err := p.read(ctx, filepath.Join(dir, name), detector, o); err != nil {
			return Report{}, err
		}
		r.Photos = append(r.Photos, p)
	}
	r.choose(o)
	for i := range r.Photos {
		r.Photos[i].checkFace(cmp.Or(o.Resolution, 512))
		r.Photos[i].checkCaption(a)
	}
	r.checkDuplicates()
	r.checkStrangers()
	r.checkMirrored()
	for i := range r.Photos {
		r.Photos[i].conclude(o)
	}
	r.remark()
	return r, nil
}

// unread are extensions of pictures in formats that are not read, which are findings.
var unread = []string{".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".mov", ".mp4"}

// album is a folder of photos.
type album struct {
	dir      string
	photos   []string // their names
	captions dataset.CaptionFiles
}

// openAlbum lists a folder that has photos, and not too many.
func openAlbum(dir string) (a album, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return a, err
	}
	a.dir = dir
	var files []string
	for _, entry := range entries {
		extension := strings.ToLower(filepath.Ext(entry.Name()))
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		files = append(files, entry.Name())
		if slices.Contains(picture.Extensions, extension) || slices.Contains(unread, extension) {
			a.photos = append(a.photos, entry.Name())
		}
	}
	a.captions = dataset.NewCaptionFiles(files)
	switch n := len(a.photos); {
	case n == 0:
		return a, fmt.Errorf("%s holds no photos: put 10 to 30 of the person into it, as JPEG, PNG or WebP", dir)
	case n > MaxPhotos:
		return a, fmt.Errorf("%s holds %d photos, at most %d are looked at: choose the 10 to 30 best ones", dir, n, MaxPhotos)
	}
	return a, nil
}

// caption is the path of a file with something in it that is a photo's caption, "" without one.
func (a album) caption(photo string) string {
	name := a.captions.Of(photo)
	if name == "" {
		return ""
	}
	path := filepath.Join(a.dir, name)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// check reports names that no photo has.
func (o CheckOptions) check(dir string, names []string) error {
	var errs []error
	for _, name := range slices.Concat(o.Keep, o.Drop) {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("portrait: %q is to be kept or dropped, and %s holds no such photo: names are with extension, as the folder has them", name, dir))
		}
	}
	for name := range o.Person {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("portrait: the person's place is said in %q, and %s holds no such photo", name, dir))
		}
	}
	return errors.Join(errs...)
}

// read looks at a photo by itself. The error is that of a context that ended.
func (p *Photo) read(ctx context.Context, path string, detector face.Detector, o CheckOptions) error {
	f, err := picture.Open(path, picture.Limits{})
	if err == nil {
		defer f.Close()
		var img *image.NRGBA
		if img, err = f.Decode(ctx); err == nil {
			return p.inspect(ctx, picture.Orient(img, f.Orientation), f.Header, detector, o)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.find(Unreadable, Drop, 0, "", "%s", strings.TrimPrefix(err.Error(), path+": "))
	return nil
}

// inspect looks at the upright picture of a photo.
func (p *Photo) inspect(ctx context.Context, img *image.NRGBA, h picture.Header, detector face.Detector, o CheckOptions) (err error) {
	p.Size = img.Rect.Size()
	if h.Orientation > 1 {
		p.find(Turned, Keep, float64(h.Orientation), "", "the camera was turned, and so is the picture, upright")
	}
	p.checkPicture(img, h.Format, cmp.Or(o.Resolution, 512))
	p.Faces, err = detector.Find(ctx, img)
	p.measure(img)
	return err
}

// choose finds the person among the faces of each photo: the one in the box of the options; else the one most like those of the
// photos with one face; else the largest.
func (r *Report) choose(o CheckOptions) {
	var alone []Embedding
	for _, p := range r.Photos {
		if len(p.Faces) == 1 {
			alone = append(alone, p.looks[0].appearance)
		}
	}
	for i := range r.Photos {
		p := &r.Photos[i]
		best := math.Inf(-1)
		box, said := o.Person[p.Name]
		for at, f := range p.Faces {
			fit := f.Size / 1e6 // decides where nothing else does
			if len(p.Faces) > 1 {
				fit += meanSimilarity(p.looks[at].appearance, alone)
			}
			if said && image.Pt(int(f.Centre.X), int(f.Centre.Y)).In(box) {
				fit += 2
			}
			if fit > best {
				best = fit
				p.choose(at)
			}
		}
	}
}

// meanSimilarity is how like a face is to others, 0 if there are none.
func meanSimilarity(e Embedding, others []Embedding) (sum float64) {
	for _, other := range others {
		sum += e.Similarity(other) / float64(len(others))
	}
	return sum
}
