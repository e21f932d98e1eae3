package portrait

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
)

// PrepareOptions say how a data set is made of photos. The zero value is for training at 512 pixels.
type PrepareOptions struct {
	// Name is what the person will be called in prompts, "personname" if empty: best a short word that means nothing yet. Class is
	// what the person is to the model, "person" if empty: man and woman are usual.
	Name, Class string
	// Resolution is the side of the pictures that are trained, in pixels. 0 means 512.
	Resolution int
	// HeldOut is how many photos are kept from the training, to see on them how like the person the LoRA draws. 0 means as many as
	// can be spared, up to 3, and -1 none.
	HeldOut int
	// Caption is that of photos that have no text file beside them, but for what is seen of them. "" means "photo of NAME CLASS".
	Caption string
}

// DataSet is what a person is learned from: a folder of crops, captions and masks. Dir/training is laid out as kohya's trainer and
// lora/dataset take it, Dir/masks has the crops' faces for a masked loss, and Dir/held-out what is not trained.
type DataSet struct {
	Dir         string `json:"-"`
	Name, Class string
	Resolution  int
	// Repeats and Epochs are such that all pictures together are used 1,200 to 2,400 times, as far as their number allows.
	Repeats, Epochs int
	Training        []Crop
	HeldOut         []Crop
	Warnings        []string // what is unusual, and what becomes of it
	// Others is a folder of pictures of other people with their captions, so that these stay as they are; "" is none.
	Others string `json:",omitempty"`
}

// Crop is the part of a photo that is trained or compared, a square of the data set's resolution.
type Crop struct {
	Photo   string    // the name of the photo's file, in the folder of the photos
	File    string    // of the crop, and Mask, below the data set's folder, with slashes
	Mask    string    // white where the head is
	Caption string    // as its text file has it
	Face    face.Face // in the crop; zero if none was found
}

// Folder is the folder with the crops that are trained, in Dir/training.
func (s DataSet) Folder() string {
	return fmt.Sprintf("%d_%s %s", s.Repeats, s.Name, s.Class)
}

// Uses is how often pictures are used in all epochs together.
func (s DataSet) Uses() int { return len(s.Training) * s.Repeats * s.Epochs }

// Open reads a crop.
func (s DataSet) Open(ctx context.Context, c Crop) (Example, error) {
	img, err := picture.Upright(ctx, filepath.Join(s.Dir, filepath.FromSlash(c.File)), picture.Limits{})
	return Example{img, c.Face}, err
}

// manifestName is the file that says what a data set holds and was made of.
const manifestName = "dataset.json"

// manifest is the content of that file.
type manifest struct {
	Format int
	Source string // of everything that the data set was made of
	DataSet
	Files map[string]string // the digests of all files, by their paths below the folder
}

// manifestFormat is raised when the same photos would make other files.
const manifestFormat = 1

// OpenDataSet reads what Prepare has left in a folder.
func OpenDataSet(dir string) (DataSet, error) {
	m, err := readManifest(dir)
	return m.DataSet, err
}

func readManifest(dir string) (m manifest, err error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, fmt.Errorf("portrait: %s holds no data set: %w", dir, err)
	}
	m.Dir = dir
	return m, nil
}

// maxTrained is how many photos are trained at most: used once in each of twelve epochs, these are 2,400 uses.
const maxTrained = 200

// Prepare makes a data set in a folder, dir, of the photos that a check has kept: crops around head and shoulders, captions and masks. A
// caption that lies beside a photo as a .txt or .caption file is taken as it is. The photos are only read. The folder appears whole
// or not at all; one that was made of the same photos with the same options stays as it is, one that was made of others is
// replaced, and one that Prepare has not made is an error. Equal photos and options give equal files.
func Prepare(ctx context.Context, dir string, r Report, o PrepareOptions) (DataSet, error) {
	o = o.defaults()
	if err := o.check(); err != nil {
		return DataSet{}, fmt.Errorf("portrait: %w", err)
	}
	p := &preparation{
		PrepareOptions: o, photos: r.Dir, DataSet: DataSet{Dir: dir, Name: o.Name, Class: o.Class, Resolution: o.Resolution},
		files: make(map[string][]byte),
	}
	kept := r.Kept()
	if len(kept) == 0 {
		return DataSet{}, fmt.Errorf("portrait: none of the %d photos in %s can be trained on; the check says why of each: add better ones, or keep some whatever it says (CheckOptions.Keep)", len(r.Photos), r.Dir)
	}
	p.warnOfName()
	p.divide(p.best(kept))
	source, err := p.source()
	if err != nil {
		return DataSet{}, fmt.Errorf("portrait: %w", err)
	}
	if there, err := p.existing(source); there != nil || err != nil {
		return *cmp.Or(there, new(DataSet)), err
	}
	if err := p.make(ctx); err != nil {
		return DataSet{}, fmt.Errorf("portrait: %w", err)
	}
	if err := p.write(source); err != nil {
		return DataSet{}, fmt.Errorf("portrait: %w", p.noRoom(err))
	}
	return p.DataSet, nil
}

// defaults fills in what is zero.
func (o PrepareOptions) defaults() PrepareOptions {
	o.Name, o.Class = cmp.Or(o.Name, "personname"), cmp.Or(o.Class, "person")
	o.Resolution = cmp.Or(o.Resolution, 512)
	o.Caption = cmp.Or(o.Caption, "photo of "+o.Name+" "+o.Class)
	return o
}

// maxName bounds names, which become the name of a folder.
const maxName = 100 // bytes

// check reports what the options cannot be.
func (o PrepareOptions) check() error {
	var errs []error
	for _, word := range []struct{ field, text string }{{"Name", o.Name}, {"Class", o.Class}} {
		at := strings.IndexFunc(word.text, func(r rune) bool { return strings.ContainsRune(`<>:"/\|?*()[]{},`, r) || !unicode.IsPrint(r) })
		if at >= 0 || strings.TrimSpace(word.text) != word.text || strings.HasSuffix(word.text, ".") || len(word.text) > maxName {
			errs = append(errs, invalid.Field("PrepareOptions."+word.field, word.text, "a word that a folder can be called and a prompt can hold: without punctuation, up to %d bytes", maxName))
		}
	}
	if o.Resolution < 64 || o.Resolution > 2048 || o.Resolution%64 != 0 {
		errs = append(errs, invalid.Field("PrepareOptions.Resolution", o.Resolution, "a multiple of 64 from 64 to 2048"))
	}
	if o.HeldOut < -1 {
		errs = append(errs, invalid.Field("PrepareOptions.HeldOut", o.HeldOut, "a number of photos, 0 for as many as can be spared or -1 for none"))
	}
	if strings.ContainsAny(o.Caption, "\r\n") {
		errs = append(errs, invalid.Field("PrepareOptions.Caption", o.Caption, "one line"))
	}
	return errors.Join(errs...)
}

// preparation is a data set that is being made.
type preparation struct {
	PrepareOptions
	DataSet
	photos      string  // their folder
	train, hold []Photo // what is to be made of which
	captions    map[string]string
	files       map[string][]byte // by their paths below the folder
}

func (p *preparation) warn(text string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(text, args...))
}

// warnOfName says what of a name is learned badly.
func (p *preparation) warnOfName() {
	name := p.PrepareOptions.Name
	latin := !strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII })
	switch {
	case !latin:
		p.warn("%q is not in Latin letters, of which the model knows little: it is spelt in many pieces, and prompts need exactly these. A short word such as personname is learned better.", name)
	case strings.Contains(name, " "):
		p.warn("%q is of several words, which mean something to the model already and are learned together: a single made-up word is learned better.", name)
	}
}

// best leaves out what is more than can be used, the least sharp and smallest faces.
func (p *preparation) best(kept []Photo) []Photo {
	if len(kept) <= maxTrained {
		return kept
	}
	p.warn("%d photos are more than can be used: the %d with the clearest faces are. The 20 best and most different ones teach as much.", len(kept), maxTrained)
	order := slices.Clone(kept)
	slices.SortStableFunc(order, func(a, b Photo) int {
		return cmp.Or(cmp.Compare(a.Verdict(), b.Verdict()), cmp.Compare(b.detail(), a.detail()))
	})
	order = order[:maxTrained]
	slices.SortFunc(order, func(a, b Photo) int { return strings.Compare(a.Name, b.Name) })
	return order
}

// detail is how much is seen of the person's face.
func (p Photo) detail() float64 {
	if len(p.looks) == 0 {
		return p.Face.Size
	}
	return p.look().sharpness * p.Face.Size
}

// spared is how many of so many photos are held out.
func spared(photos int) int {
	switch {
	case photos < 5:
		return 0
	case photos < 8:
		return 1
	case photos < 14:
		return 2
	}
	return 3
}

// divide chooses the photos that are held out, and how often the others are used.
func (p *preparation) divide(kept []Photo) {
	n := p.PrepareOptions.HeldOut
	switch wanted := n; {
	case n == 0:
		n = spared(len(kept))
	case n == -1:
		n = 0
	case n >= len(kept):
		n = len(kept) - 1
		p.warn("Of %d photos %d are held out, not %d: one is trained on.", len(kept), n, wanted)
	}
	var with []Photo // those that can be compared, by how like they are to a usual one
	for _, photo := range kept {
		if photo.Face.Size > 0 && !photo.Has(Stranger) {
			with = append(with, photo)
		}
	}
	n = min(n, len(with))
	switch {
	case n == 0 && p.PrepareOptions.HeldOut != -1:
		p.warn("With %d photos none can be spared to see on it how like the person the LoRA is, and it is seen on those that were learned: over-fitting does not show. From 5 on one is held out.", len(kept))
	case n > 0 && n < 3 && p.PrepareOptions.HeldOut == 0:
		p.warn("Of %d photos only %d can be spared to see how like the person the LoRA is, which is less sure than with 3: 14 photos allow that.", len(kept), n)
	}
	byTypicality(with)
	for i := range n { // neither the most usual nor the most unusual ones
		p.hold = append(p.hold, with[(2*i+1)*len(with)/(2*n)])
	}
	slices.SortFunc(p.hold, func(a, b Photo) int { return strings.Compare(a.Name, b.Name) })
	for _, photo := range kept {
		if !slices.ContainsFunc(p.hold, func(h Photo) bool { return h.Name == photo.Name }) {
			p.train = append(p.train, photo)
		}
	}
	p.Repeats, p.Epochs = uses(len(p.train))
}

// byTypicality sorts photos by how like they are to the one that is most like all: the usual ones first.
func byTypicality(photos []Photo) {
	if slices.ContainsFunc(photos, func(p Photo) bool { return len(p.looks) == 0 }) {
		return // the report comes from elsewhere: as they are
	}
	sums := make([]float64, len(photos))
	for i, p := range photos {
		for _, q := range photos {
			sums[i] += p.look().appearance.Similarity(q.look().appearance)
		}
	}
	if len(photos) == 0 {
		return
	}
	middle := photos[slices.Index(sums, slices.Max(sums))].look().appearance
	slices.SortStableFunc(photos, func(a, b Photo) int {
		return cmp.Compare(middle.Similarity(b.look().appearance), middle.Similarity(a.look().appearance))
	})
}

// Of uses of pictures in all epochs, 1,200 to 2,400 are wanted, in 12 to 15 epochs.
const (
	wantedUses              = 1800
	leastEpochs, mostEpochs = 12, 15
)

// uses is how often each of so many pictures is used in an epoch, and in how many.
func uses(pictures int) (repeats, epochs int) {
	times := func(n int) int { return int(math.Round(float64(wantedUses) / float64(n))) }
	repeats = max(1, times(leastEpochs*pictures))
	return repeats, min(max(times(repeats*pictures), leastEpochs), mostEpochs)
}

// source tells everything that the data set is made of from all else, and reads the captions.
func (p *preparation) source() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %+v\n", manifestFormat, p.PrepareOptions)
	a, err := openAlbum(p.photos)
	if err != nil {
		return "", err
	}
	p.captions = make(map[string]string)
	for _, photo := range slices.Concat(p.train, p.hold) {
		digest, err := openfile.SHA256(filepath.Join(p.photos, photo.Name))
		if err != nil {
			return "", err
		}
		caption, err := p.caption(a, photo)
		if err != nil {
			return "", err
		}
		p.captions[photo.Name] = caption
		fmt.Fprintf(h, "%q %s %v %q\n", photo.Name, digest, photo.Face, caption)
	}
	fmt.Fprintf(h, "%d %d", len(p.train), len(p.hold))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// maxCaption bounds the files of captions.
const maxCaption = 1 << 16

// caption is what lies beside a photo, or else the caption of all with what is seen of this one.
func (p *preparation) caption(a album, photo Photo) (string, error) {
	if file := a.caption(photo.Name); file != "" {
		data, err := openfile.ReadFile(file, maxCaption)
		if err != nil {
			return "", fmt.Errorf("%w; a caption has a line", err)
		}
		text := strings.ToValidUTF8(strings.TrimPrefix(string(data), "\ufeff"), "")
		line, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(text), "\r", "\n"), "\n")
		if line = strings.TrimSpace(line); line != "" {
			if !strings.Contains(line, p.DataSet.Name) {
				p.warn("The caption of %s does not say %q: what is seen in it is not learned under that name.", photo.Name, p.DataSet.Name)
			}
			return line, nil
		}
	}
	caption := p.Caption
	for _, seen := range []struct {
		kind Kind
		text string
	}{{Grey, "black and white"}, {Dark, "in low light"}, {Burnt, "in harsh light"}, {Blurred, "blurry"}} {
		if photo.Has(seen.kind) {
			caption += ", " + seen.text
		}
	}
	return caption, nil
}

// existing is the data set in the folder if it is made of the same and nothing is missing or damaged.
func (p *preparation) existing(source string) (*DataSet, error) {
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	m, err := readManifest(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w; name another folder for it, or remove what is there", err)
	}
	if m.Source != source {
		return nil, nil
	}
	for name, digest := range m.Files {
		if d, err := openfile.SHA256(filepath.Join(p.Dir, filepath.FromSlash(name))); err != nil || d != digest {
			return nil, nil
		}
	}
	return &m.DataSet, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// make makes all files, in memory.
func (p *preparation) make(ctx context.Context) error {
	for _, part := range []struct {
		photos        []Photo
		folder, masks string
		into          *[]Crop
	}{
		{p.train, path.Join("training", p.Folder()), "masks", &p.Training},
		{p.hold, "held-out", "held-out/masks", &p.DataSet.HeldOut},
	} {
		for _, photo := range part.photos {
			name := fmt.Sprintf("%03d.png", len(*part.into)+1)
			c, err := p.crop(ctx, photo, path.Join(part.folder, name), path.Join(part.masks, name))
			if err != nil {
				return err
			}
			*part.into = append(*part.into, c)
		}
	}
	return nil
}

// crop makes the files of a photo.
func (p *preparation) crop(ctx context.Context, photo Photo, file, mask string) (c Crop, err error) {
	img, err := picture.Upright(ctx, filepath.Join(p.photos, photo.Name), picture.Limits{})
	if err != nil {
		return c, err
	}
	if img.Rect.Size() != photo.Size {
		return c, fmt.Errorf("%s has changed since it was looked at: check the photos again", photo.Name)
	}
	picture.OverWhite(img)
	c = Crop{Photo: photo.Name, File: file, Mask: mask, Caption: p.captions[photo.Name]}
	img, c.Face = squared(img, photo.Face, p.DataSet.Resolution)
	var grey *image.Gray
	if c.Face.Size > 0 {
		grey = headMask(img.Rect.Size(), c.Face)
	} else {
		grey = image.NewGray(img.Rect)
		for i := range grey.Pix {
			grey.Pix[i] = 255
		}
	}
	for name, img := range map[string]image.Image{file: img, mask: grey} {
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return c, err
		}
		p.files[name] = b.Bytes()
	}
	p.files[strings.TrimSuffix(file, ".png")+".txt"] = []byte(c.Caption + "\n")
	return c, nil
}

// squared is the part of an upright picture to train on, with a number of pixels a side, and the face in it. Without a face it is the
// middle.
func squared(img *image.NRGBA, f face.Face, side int) (*image.NRGBA, face.Face) {
	size := img.Rect.Size()
	part := TrainingBox(size, f)
	if f.Size == 0 {
		shorter := min(size.X, size.Y)
		part = image.Rectangle{Max: image.Pt(shorter, shorter)}.Add(image.Pt((size.X-shorter)/2, (size.Y-shorter)/2))
	}
	square := image.Rect(0, 0, side, side)
	cut := picture.Resample(picture.Part(img, part), square.Max, square, picture.Lanczos, 3)
	if f.Size == 0 {
		return cut, f
	}
	scale := float64(side) / float64(part.Dx())
	move := func(at face.Point) face.Point {
		return face.Point{X: (at.X - float64(part.Min.X)) * scale, Y: (at.Y - float64(part.Min.Y)) * scale}
	}
	f.Centre, f.Size = move(f.Centre), f.Size*scale
	for i, eye := range f.Eyes {
		f.Eyes[i] = move(eye)
	}
	return cut, f
}

// besides is how much what is no head counts in a mask, of 255: with none of it a LoRA would draw anything around the head.
const besides = 26

// headMask is white in the ellipse of a head, with its hair, and dark grey outside.
func headMask(size image.Point, f face.Face) *image.Gray {
	mask := image.NewGray(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			mask.Pix[y*mask.Stride+x] = besides + uint8(math.Round((255-besides)*inHead(f, float64(x)+0.5, float64(y)+0.5)))
		}
	}
	return mask
}

// inHead is 1 within a head, 0 outside and between at its edge.
func inHead(f face.Face, x, y float64) float64 {
	sin, cos := math.Sincos(f.Roll * math.Pi / 180)
	dx, dy := (x-f.Centre.X)/f.Size, (y-f.Centre.Y)/f.Size
	right, down := cos*dx+sin*dy, cos*dy-sin*dx
	const wide, high, above, edge = 0.7, 0.85, 0.12, 0.1
	return min(1, max(0, (1+edge-math.Hypot(right/wide, (down+above)/high))/(2*edge)))
}

// write puts the files in the place of what is there.
func (p *preparation) write(source string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(p.Dir)), 0o777); err != nil {
		return err
	}
	// What was there is no data set any more when its first file goes.
	if err := os.Remove(filepath.Join(p.Dir, manifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return err
	}
	folder, err := atomicfile.CreateFolder(filepath.Clean(p.Dir))
	if err != nil {
		return err
	}
	defer folder.Abort()
	m := manifest{Format: manifestFormat, Source: source, DataSet: p.DataSet, Files: make(map[string]string)}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		to := filepath.Join(folder.Path, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := atomicfile.WriteFile(to, p.files[name]); err != nil {
			return err
		}
		m.Files[name] = digestOf(p.files[name])
	}
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(folder.Path, manifestName), append(data, '\n')); err != nil {
		return err
	}
	return folder.Commit()
}

// noRoom says what to do where the disk is full.
func (p *preparation) noRoom(err error) error {
	if !atomicfile.IsDiskFull(err) {
		return err
	}
	bytes := 0
	for _, data := range p.files {
		bytes += len(data)
	}
	return fmt.Errorf("%w; the data set needs %d MB in %s: make room, and start again, or name a folder elsewhere", err, bytes>>20+1, p.Dir)
}
