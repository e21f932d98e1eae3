package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/atelier-go/atelier/internal/picture"
)

// Dataset is the pictures of a [Config], checked and sorted into buckets. It does not change; all methods may be called
// concurrently.
type Dataset struct {
	config     Config
	sets       []*set
	pictures   []*Picture
	validation []*Picture
	steps      Steps
	report     Report
}

// set is one dataset with its parts found.
type set struct {
	Set
	index   int
	buckets *Buckets
	folders []*folder
}

// folder is one subset with its pictures found, training and validation.
type folder struct {
	Subset
	name      string // the directory's own, without what lies above
	pictures  []*Picture
	warnings  []string
	files     listing
	uncaption []string // pictures without a caption file
	unusual   []string // caption files that sd-scripts would not find
	blank     []string // caption files that begin with a blank line
	longer    []string // and those that go on behind their first line, which is all that is used
	captions  map[string]bool
}

// maxSamples bounds the uses of pictures in an epoch.
const maxSamples = 1 << 26

// maxNamed is how many files a message names.
const maxNamed = 5

// Open finds, decodes and counts everything cfg names. It fails with all problems it finds together: unusable options,
// folders without pictures, pictures that cannot be decoded or trained, captions that are empty files or no UTF-8, each
// with its path; unusable options are [invalid.FieldError]s of "Config". What is odd but usable becomes a warning of [Dataset.Report].
func Open(ctx context.Context, cfg Config) (*Dataset, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.GradientAccumulationSteps = cmp.Or(cfg.GradientAccumulationSteps, 1)
	cfg.PriorLossWeight = cmp.Or(cfg.PriorLossWeight, new(1.0))
	d := &Dataset{config: cfg}
	var errs []error
	for i, s := range cfg.Sets {
		opened, err := d.openSet(ctx, i, s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
		d.sets = append(d.sets, opened)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	batches := 0
	for _, s := range d.sets {
		d.splitValidation(s)
		if err := d.balance(s); err != nil {
			return nil, err
		}
		for _, f := range s.folders {
			for _, p := range f.pictures {
				if !p.held {
					d.pictures = append(d.pictures, p)
				}
			}
		}
	}
	for _, group := range d.grouped(d.pictures) {
		batches += ceilDiv(group.samples(), max(1, d.sets[group.set].BatchSize))
	}
	d.steps = CountSteps(batches, cfg.GradientAccumulationSteps, cfg.MaxTrainEpochs, cfg.MaxTrainSteps)
	d.report = d.makeReport()
	return d, nil
}

// openSet finds the folders of a set and inspects their pictures.
func (d *Dataset) openSet(ctx context.Context, index int, s Set) (*set, error) {
	s.BatchSize = cmp.Or(s.BatchSize, 1)
	buckets, err := NewBuckets(s.Resolution, s.Bucketing)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", within(fmt.Sprintf("Config.Sets[%d]", index), err))
	}

	d.warn(buckets.Warnings()...)
	opened := &set{Set: s, index: index, buckets: buckets}
	subsets, err := d.subsets(s)
	if err != nil {
		return nil, err
	}
	var errs []error
	seen := map[string]bool{}
	for _, subset := range subsets {
		path := subset.ImageDir
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		if seen[path] {
			d.warn(fmt.Sprintf("folder %s is named twice: the second time is ignored", subset.ImageDir))
			continue
		}
		seen[path] = true
		f, err := openFolder(index, subset)
		errs = append(errs, err)
		if f != nil {
			opened.folders = append(opened.folders, f)
		}
	}
	errs = append(errs, opened.inspect(ctx, d.config))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	training, reasons := 0, []error{fmt.Errorf("dataset: no training pictures: nothing to do")}
	for _, f := range opened.folders {
		d.warn(f.warnings...)
		if !f.Reg {
			training += len(f.pictures)
		}
		if len(f.pictures) == 0 {
			reasons = append(reasons, fmt.Errorf("dataset: %s", f.emptiness()))
			d.warn(f.emptiness())
		}
	}
	if training == 0 {
		return nil, errors.Join(reasons...)
	}
	return opened, nil
}

func (d *Dataset) warn(texts ...string) { d.report.Warnings = append(d.report.Warnings, texts...) }

// subsets are the folders of TrainDataDir, those listed and those of RegDataDir.
func (d *Dataset) subsets(s Set) ([]Subset, error) {
	var training, reg []Subset
	var errs []error
	for _, parent := range []struct {
		dir  string
		reg  bool
		into *[]Subset
	}{{s.TrainDataDir, false, &training}, {s.RegDataDir, true, &reg}} {
		if parent.dir == "" {
			continue
		}
		found, warnings, err := conceptFolders(parent.dir, parent.reg, s.Folder)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.warn(warnings...)
		*parent.into = found
	}
	return slices.Concat(training, s.Subsets, reg), errors.Join(errs...)
}

// openFolder lists the pictures of a subset and reads their captions. The folder is nil only if it cannot be listed.
func openFolder(set int, subset Subset) (*folder, error) {
	subset.Repeats = cmp.Or(subset.Repeats, 1)
	files, err := listFolder(subset.ImageDir)
	if err != nil {
		return nil, err
	}
	f := &folder{Subset: subset, name: filepath.Base(subset.ImageDir), files: files, captions: make(map[string]bool)}
	masks, err := f.listMasks()
	errs := []error{err}
	stems := map[string]string{}
	for _, name := range files.pictures {
		p := &Picture{Path: filepath.Join(f.ImageDir, name), Repeats: f.Repeats, Reg: f.Reg, set: set, subset: &f.Subset}
		if twin := stems[p.stem()]; twin != "" {
			f.warn("%s and %s share their caption file and cached latents: rename one", twin, p.Path)
		}
		stems[p.stem()] = p.Path
		errs = append(errs, f.caption(p, name))
		if masks != nil {
			p.mask, err = findMask(masks, f.ConditioningDataDir, name)
			errs = append(errs, err)
		}
		f.pictures = append(f.pictures, p)
	}
	f.noteFiles()
	return f, errors.Join(errs...)
}

func (f *folder) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

// caption reads the caption of a picture.
func (f *folder) caption(p *Picture, name string) (err error) {
	file, usual := f.files.names.findCaption(name, f.CaptionExtension)
	if file == "" {
		p.Caption = f.ClassTokens
		f.uncaption = append(f.uncaption, name)
		return nil
	}
	f.captions[file] = true
	if !usual {
		f.unusual = append(f.unusual, file)
	}
	var more bool
	p.Caption, more, err = readCaption(filepath.Join(f.ImageDir, file), f.Wildcard)
	switch {
	case err != nil:
		return err
	case p.Caption == "":
		f.blank = append(f.blank, file)
	case more && !f.Wildcard:
		f.longer = append(f.longer, file)
	}
	return nil
}

// noteFiles warns of files that are not used as their owner may expect.
func (f *folder) noteFiles() {
	if len(f.files.unread) > 0 && len(f.pictures) > 0 {
		f.warn("%s: %d pictures are in formats that are not read: %s; %s", f.ImageDir, len(f.files.unread), list(f.files.unread), export)
	}
	if f.files.ignored > 0 {
		f.warn("%s: %d subfolders are not looked into", f.ImageDir, f.files.ignored)
	}
	if len(f.unusual) > 0 {
		f.warn("%s: %d captions are read from files that sd-scripts would not find: %s", f.ImageDir, len(f.unusual), list(f.unusual))
	}
	if len(f.blank) > 0 {
		f.warn("%s: %d caption files begin with a blank line, so that their pictures are learned without a caption: %s", f.ImageDir, len(f.blank), list(f.blank))
	}
	if len(f.longer) > 0 {
		f.warn("%s: %d caption files have more lines than the first, which alone is learned: %s; put all into one line, or set CaptionOptions.Wildcard to draw one of the lines each time",
			f.ImageDir, len(f.longer), list(f.longer))
	}
	f.noteUnused()
	if n := len(f.uncaption); n > 0 {
		f.warn(`%s: %d of %d pictures have no caption file and get %q: %s`, f.ImageDir, n, len(f.pictures), f.ClassTokens, list(f.uncaption))
		if n == len(f.pictures) && f.CaptionExtension != "" {
			f.noteExtension()
		}
	} else if len(f.pictures) > 0 && !slices.ContainsFunc(f.pictures, func(p *Picture) bool { return strings.Contains(p.Caption, f.ClassTokens) }) {
		f.warn("%s: every picture has a caption file, so the class tokens %q are not used, and no caption contains them: put them into the captions or into CaptionOptions.Prefix", f.ImageDir, f.ClassTokens)
	}
}

// noteUnused warns of files that are neither pictures nor the caption of one.
func (f *folder) noteUnused() {
	var captions, others []string
	for _, name := range f.files.others {
		switch {
		case f.captions[name]:
		case hasExtension(name, append(usualCaptionExtensions, f.CaptionExtension)):
			captions = append(captions, name)
		default:
			others = append(others, name)
		}
	}
	if len(captions) > 0 && len(f.pictures) > 0 {
		f.warn("%s: %d captions are not used, as they are no picture's: %s", f.ImageDir, len(captions), list(captions))
	}
	if len(others) > 0 {
		f.warn("%s: %d files are passed over, as they are neither pictures nor captions: %s", f.ImageDir, len(others), list(others))
	}
}

// noteExtension looks for captions with an extension that is not configured.
func (f *folder) noteExtension() {
	for _, other := range usualCaptionExtensions {
		if file, _ := f.files.names.findCaption(f.uncaption[0], other); file != "" {
			f.warn("%s: there are %s files, but Subset.CaptionExtension is %s: set it to %s to use them", f.ImageDir, other, f.CaptionExtension, other)
		}
	}
}

// export is how to make pictures of other formats readable.
const export = "export them as JPEG or PNG (photo programs do so with Export or Save as; for new photos set an iPhone's camera to Formats, Most Compatible)"

// emptiness says why a folder has no pictures.
func (f *folder) emptiness() string {
	captions := 0
	for _, name := range f.files.others {
		if hasExtension(name, append(usualCaptionExtensions, f.CaptionExtension)) {
			captions++
		}
	}
	switch {
	case len(f.files.unread) > 0:
		return fmt.Sprintf("%s holds %d pictures, but none in a format that is read: %s; %s", f.ImageDir, len(f.files.unread), list(f.files.unread), export)
	case captions > 0:
		return fmt.Sprintf("%s holds %d captions but no pictures: put the pictures beside them (%s)", f.ImageDir, captions, strings.Join(picture.Extensions, " "))
	}
	return fmt.Sprintf("%s holds no pictures (%s)", f.ImageDir, strings.Join(picture.Extensions, " "))
}

// listMasks are the files of ConditioningDataDir; nil without one.
func (f *folder) listMasks() (names, error) {
	if f.ConditioningDataDir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(f.ConditioningDataDir)
	if err != nil {
		return nil, fmt.Errorf("dataset: masks: %w", err)
	}
	masks := make(names)
	for _, entry := range entries {
		masks.add(entry.Name())
	}
	return masks, nil
}

// findMask finds the picture in dir that has the name of picture, with its extension or another.
func findMask(masks names, dir, name string) (string, error) {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	candidates := []string{name}
	for _, extension := range picture.Extensions {
		candidates = append(candidates, stem+extension)
	}
	for _, candidate := range candidates {
		if found, _ := masks.find(candidate); found != "" {
			return filepath.Join(dir, found), nil
		}
	}
	return "", fmt.Errorf("dataset: %s has no mask %s.png in %s: every picture of the folder needs one", name, stem, dir)
}

// list names the first few of files.
func list(files []string) string {
	var named []string
	for _, path := range files[:min(len(files), maxNamed)] {
		named = append(named, filepath.Base(path))
	}
	if more := len(files) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, ", ")
}

// maxDecoders bounds how many pictures are decoded at once.
const maxDecoders = 4

// inspect decodes every picture of a set, a few at a time, and places it in its bucket.
func (s *set) inspect(ctx context.Context, cfg Config) error {
	var all []*Picture
	for _, f := range s.folders {
		all = append(all, f.pictures...)
	}
	errs := make([]error, len(all))
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(all), maxDecoders) {
		workers.Go(func() {
			for i := range work {
				if ctx.Err() == nil {
					all[i].skipCheck = cfg.SkipCacheCheck
					errs[i] = all[i].inspect(ctx, s.buckets)
				}
			}
		})
	}
	for i := range all {
		work <- i
	}
	close(work)
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, f := range s.folders {
		f.noteContents()
		if f.FaceCropAugRange != ([2]float64{}) && !slices.ContainsFunc(f.pictures, func(p *Picture) bool { return p.face != face{} }) {
			f.warn("%s: Subset.FaceCropAugRange has no effect: it needs Bucketing.Enable off and file names that end in _cx_cy_w_h, the centre and size of the face", f.ImageDir)
		}
		if cfg.CacheLatentsToDisk {
			errs = append(errs, f.sharedCaches())
		}
	}
	return errors.Join(errs...)
}

// minSide is the shorter side below which a picture has less than one latent to show.
const minSide = vaeStep

// inspect fills in what the file itself tells, and decodes it once to see that it can be.
func (p *Picture) inspect(ctx context.Context, buckets *Buckets) error {
	f, err := picture.Open(p.Path, picture.Limits{})
	if err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	defer f.Close()
	p.Size, p.orientation, p.notes, p.source = Size{f.Width, f.Height}, f.Orientation, f.Notes, sourceOf(f.Info)
	if f.Width < minSide || f.Height < minSide {
		return fmt.Errorf("dataset: %s: %v pixels, too small to train on (a side needs at least %d): replace or remove it", p.Path, p.Size, minSide)
	}
	stored := p.Size
	if p.subset.EXIFOrientation && picture.Turned(p.orientation) {
		p.Size = Size{stored.H, stored.W}
	}
	if p.Placement, err = buckets.Place(p.Size); err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	img, err := f.Decode(ctx)
	if err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	p.transparent = !img.Opaque()
	if p.subset.FaceCropAugRange != ([2]float64{}) && !buckets.bucketing.Enable {
		p.face, _ = parseFace(p.Path)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("dataset: picture: %w", err)
	}
	return p.inspectMask(ctx, stored)
}

// inspectMask checks the mask of a picture of the size stored, if it has one.
func (p *Picture) inspectMask(ctx context.Context, stored Size) error {
	if p.mask == "" {
		return nil
	}
	f, err := picture.Open(p.mask, picture.Limits{})
	if err != nil {
		return fmt.Errorf("dataset: mask: %w", err)
	}
	defer f.Close()
	p.maskSource = sourceOf(f.Info)
	if size := (Size{f.Width, f.Height}); size != stored {
		return fmt.Errorf("dataset: mask %s has %v pixels and its picture %s %v: make them equal", p.mask, size, p.Path, stored)
	}
	if _, err = f.Decode(ctx); err != nil {
		return fmt.Errorf("dataset: mask: %w", err)
	}
	return nil
}

// noteContents warns of pictures that are used otherwise than they look.
func (f *folder) noteContents() {
	var sideways, halo, cropped, enlarged []string
	for _, p := range f.pictures {
		if p.orientation > 1 && !f.EXIFOrientation {
			sideways = append(sideways, p.Path)
		}
		if p.transparent && !f.AlphaOverWhite && !f.AlphaMask {
			halo = append(halo, p.Path)
		}
		if p.Bucket.W*p.Bucket.H*2 < p.Resized.W*p.Resized.H {
			cropped = append(cropped, p.Path)
		}
		if p.Resized.W > 2*p.Size.W {
			enlarged = append(enlarged, p.Path)
		}
	}
	for _, note := range []struct {
		paths []string
		text  string
	}{
		{sideways, "carry an EXIF orientation that is ignored, so they are trained as stored, perhaps lying on their side: set exif_orientation to turn them"},
		{halo, "have transparent areas whose hidden colours are trained: set alpha_over_white, or alpha_mask to leave them out of the loss"},
		{cropped, "lose more than half of their area to the crop"},
		{enlarged, "are enlarged more than twice and will teach blur"},
	} {
		if len(note.paths) > 0 {
			f.warn("%s: %d pictures %s: %s", f.ImageDir, len(note.paths), note.text, list(note.paths))
		}
	}
	for _, p := range f.pictures {
		for _, note := range p.notes {
			f.warn("%s: %s", p.Path, note)
		}
	}
}

// sharedCaches refuses two pictures that would overwrite each other's cached latents.
func (f *folder) sharedCaches() error {
	seen := map[string]string{}
	var errs []error
	for _, p := range f.pictures {
		if twin := seen[p.LatentsPath()]; twin != "" {
			errs = append(errs, fmt.Errorf("dataset: %s and %s would share the latents file %s: rename one", twin, p.Path, p.LatentsPath()))
		}
		seen[p.LatentsPath()] = p.Path
	}
	return errors.Join(errs...)
}

// splitValidation moves a part of every training folder into the validation set: one shuffle, complementary parts.
func (d *Dataset) splitValidation(s *set) {
	seed := d.config.Seed
	if s.ValidationSeed != nil {
		seed = *s.ValidationSeed
	}
	for i, f := range s.folders {
		if f.Reg {
			continue
		}
		held := int(math.RoundToEven(float64(len(f.pictures)) * s.ValidationSplit))
		order := stream(seed, splitStream, s.index, i).Perm(len(f.pictures))
		slices.Sort(order[:held])
		for _, k := range order[:held] {
			p := f.pictures[k]
			p.Repeats, p.held = 1, true
			d.validation = append(d.validation, p)
		}
	}
}

// balance gives the regularisation pictures of a set as many uses as the training pictures have: in listing order each
// its folder's repeats until enough are there, then one more each, round after round.
func (d *Dataset) balance(s *set) error {
	want, have := 0, 0
	var reg, used []*Picture
	for _, f := range s.folders {
		for _, p := range f.pictures {
			if f.Reg {
				reg = append(reg, p)
			} else if !p.held {
				want += p.Repeats
			}
		}
	}
	if want == 0 {
		return fmt.Errorf("dataset: validation_split %v leaves no picture for training", s.ValidationSplit)
	}
	if want > maxSamples {
		return fmt.Errorf("dataset: %d uses of pictures in an epoch, at most %d make sense: lower the repeats", want, maxSamples)
	}
	for _, p := range reg {
		if have >= want {
			p.Repeats = 0
			continue
		}
		have += p.Repeats
		used = append(used, p)
	}
	if surplus := len(reg) - len(used); surplus > 0 {
		d.warn(fmt.Sprintf("%d of %d regularisation pictures are not used: there are more than training pictures times repeats (%d)", surplus, len(reg), want))
	}
	for i := 0; have < want && len(used) > 0; i, have = i+1, have+1 {
		used[i%len(used)].Repeats++
	}
	return nil
}

// group is the pictures of one bucket of one set.
type group struct {
	set      int
	bucket   Size
	pictures []*Picture
}

func (g group) samples() int {
	n := 0
	for _, p := range g.pictures {
		n += p.Repeats
	}
	return n
}

// grouped sorts pictures by set and bucket, keeping their order within. Unused ones are left out.
func (d *Dataset) grouped(pictures []*Picture) []group {
	var groups []group
	for _, p := range pictures {
		if p.Repeats == 0 {
			continue
		}
		i, found := slices.BinarySearchFunc(groups, p, func(g group, p *Picture) int {
			return cmp.Or(cmp.Compare(g.set, p.set), compareSizes(g.bucket, p.Bucket))
		})
		if !found {
			groups = slices.Insert(groups, i, group{set: p.set, bucket: p.Bucket})
		}
		groups[i].pictures = append(groups[i].pictures, p)
	}
	return groups
}

// Config is what the dataset was opened with.
func (d *Dataset) Config() Config { return d.config }

// Steps is the length of the training.
func (d *Dataset) Steps() Steps { return d.steps }

// Pictures are those trained on, regularisation pictures included, in the order of their folders and names.
func (d *Dataset) Pictures() []*Picture { return slices.Clone(d.pictures) }

// ValidationPictures are those kept from training.
func (d *Dataset) ValidationPictures() []*Picture { return slices.Clone(d.validation) }

// Batch is pictures of one bucket that are trained at once.
type Batch struct {
	Epoch  int // from 1; 0 in validation
	Index  int // from 0 within the epoch
	Step   int // optimizer steps done before this batch's own
	Bucket Size
	Items  []Item
}

// Epoch yields the batches of epoch n, from 1: every picture Repeats times, each batch from one bucket, the last batch of a
// bucket perhaps shorter, all in an order that follows from seed and n. It ends early where the steps of the training are
// used up.
func (d *Dataset) Epoch(n int) iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		r := stream(d.config.Seed, orderStream, n, 0)
		type part struct {
			bucket   Size
			pictures []*Picture
		}
		var parts []part
		for _, g := range d.grouped(d.pictures) {
			uses := make([]*Picture, 0, g.samples())
			for _, p := range g.pictures {
				uses = append(uses, slices.Repeat([]*Picture{p}, p.Repeats)...)
			}
			r.Shuffle(len(uses), func(i, j int) { uses[i], uses[j] = uses[j], uses[i] })
			for chunk := range slices.Chunk(uses, d.sets[g.set].BatchSize) {
				parts = append(parts, part{g.bucket, chunk})
			}
		}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		place := 0
		for i, part := range parts {
			step := (n-1)*d.steps.StepsPerEpoch + i/d.config.GradientAccumulationSteps
			if step >= d.steps.Total {
				return
			}
			batch := Batch{Epoch: n, Index: i, Step: step, Bucket: part.bucket}
			when := CaptionUse{Epoch: n, Step: step, MaxSteps: d.steps.Total}
			for _, p := range part.pictures {
				batch.Items = append(batch.Items, p.use(when, *d.config.PriorLossWeight, stream(d.config.Seed, itemStream, n, place)))
				place++
			}
			if !yield(batch) {
				return
			}
		}
	}
}

// Validation yields the batches of the validation set, the same each time: no augmentation, and captions as they are apart
// from prefix, suffix and a fixed choice of wildcards.
func (d *Dataset) Validation() iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		index, place := 0, 0
		for _, g := range d.grouped(d.validation) {
			for chunk := range slices.Chunk(g.pictures, d.sets[g.set].BatchSize) {
				batch := Batch{Index: index, Bucket: g.bucket}
				for _, p := range chunk {
					o := p.subset.CaptionOptions
					plain := CaptionOptions{Prefix: o.Prefix, Suffix: o.Suffix, Wildcard: o.Wildcard, Separator: o.Separator, SecondarySeparator: o.SecondarySeparator}
					caption := plain.Apply(p.Caption, CaptionUse{}, stream(d.config.Seed, validationStream, 0, place))
					batch.Items = append(batch.Items, Item{Picture: p, Caption: caption, LossWeight: 1, Placement: p.Placement})
					place++
				}
				if !yield(batch) {
					return
				}
				index++
			}
		}
	}
}
