package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Report is what training on a dataset will look like.
type Report struct {
	Folders []FolderReport
	// Buckets are those in use, per dataset ascending by width, then height.
	Buckets []BucketReport
	// Sets has what is known of each dataset as a whole.
	Sets []SetReport
	// MeanARError is the mean over pictures, without repeats, of the difference between the ratios w/h of picture and bucket.
	MeanARError float64
	// TrainImages and RegImages are uses per epoch; ValidationImages are pictures.
	TrainImages, RegImages, ValidationImages int
	// FirstCaption is the caption of the first training picture as a tokenizer gets it in the first epoch, FirstPicture its path.
	FirstCaption, FirstPicture string
	Steps                      Steps
	// Warnings are what is usable but probably not meant.
	Warnings []string
}

// SetReport is one dataset.
type SetReport struct {
	MeanARError float64 // as Report has it, over this dataset's pictures
	// TagFrequency counts for each folder in how many captions a tag occurs; tags are the pieces between commas, in lower case.
	TagFrequency map[string]map[string]int
}

// FolderReport is one folder.
type FolderReport struct {
	Dataset int // index of its set
	Dir     string
	Name    string
	Reg     bool
	Repeats int // as asked for
	Images  int // files used for training or, with Reg, regularisation
	Samples int // uses per epoch, balanced with Reg
}

// BucketReport is one bucket. Count is uses per epoch.
type BucketReport struct {
	Dataset    int
	Resolution Size
	Count      int
	Batches    int
}

// Report says what training will look like.
func (d *Dataset) Report() Report {
	r := d.report
	r.Folders, r.Buckets, r.Warnings = slices.Clone(r.Folders), slices.Clone(r.Buckets), slices.Clone(r.Warnings)
	return r
}

func (d *Dataset) makeReport() Report {
	r := d.report // its warnings
	r.Steps, r.ValidationImages = d.steps, len(d.validation)
	for _, g := range d.grouped(d.pictures) {
		n := g.samples()
		r.Buckets = append(r.Buckets, BucketReport{g.set, g.bucket, n, ceilDiv(n, d.sets[g.set].BatchSize)})
	}
	for _, s := range d.sets {
		set := SetReport{TagFrequency: map[string]map[string]int{}}
		pictures := 0
		for _, f := range s.folders {
			line := FolderReport{Dataset: s.index, Dir: f.ImageDir, Name: f.name, Reg: f.Reg, Repeats: f.Repeats}
			for _, p := range f.pictures {
				if p.held {
					continue
				}
				line.Images++
				line.Samples += p.Repeats
				set.countTags(f.name, p.Caption)
				set.MeanARError += p.arError()
			}
			pictures += line.Images
			if f.Reg {
				r.RegImages += line.Samples
			} else {
				r.TrainImages += line.Samples
			}
			r.Folders = append(r.Folders, line)
		}
		set.MeanARError /= float64(max(1, pictures))
		r.Sets = append(r.Sets, set)
	}
	for _, p := range d.pictures {
		r.MeanARError += p.arError() / float64(len(d.pictures))
	}
	if i := slices.IndexFunc(d.pictures, func(p *Picture) bool { return !p.Reg }); i >= 0 {
		p := d.pictures[i]
		when := CaptionUse{Epoch: 1, MaxSteps: d.steps.Total}
		r.FirstPicture, r.FirstCaption = p.Path, p.subset.CaptionOptions.Apply(p.Caption, when, stream(d.config.Seed, itemStream, 1, 0))
	}
	return r
}

// arError is how far the ratio of the picture's bucket is from its own.
func (p *Picture) arError() float64 { return math.Abs(p.Bucket.ratio() - p.Size.ratio()) }

func (r *SetReport) countTags(folder, caption string) {
	tags := r.TagFrequency[folder]
	if tags == nil {
		tags = map[string]int{}
		r.TagFrequency[folder] = tags
	}
	for tag := range strings.SplitSeq(caption, ",") {
		if tag = strings.ToLower(strings.TrimSpace(tag)); tag != "" {
			tags[tag]++
		}
	}
}

// String is the report as text for a console.
func (r Report) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, f := range r.Folders {
		kind := ""
		if f.Reg {
			kind = ", regularisation"
		}
		line("folder %q: %d pictures × %d repeats, %d uses per epoch%s", f.Name, f.Images, f.Repeats, f.Samples, kind)
	}
	for i, k := range r.Buckets {
		line("bucket %d: %v, %d uses in %d batches", i, k.Resolution, k.Count, k.Batches)
	}
	line("mean ar error: %.4f", r.MeanARError)
	if r.RegImages > 0 {
		line("an epoch: %d training uses and %d of regularisation pictures, which are trained like the others", r.TrainImages, r.RegImages)
	}
	if r.ValidationImages > 0 {
		line("validation: %d pictures", r.ValidationImages)
	}
	line("first caption: %q", r.FirstCaption)
	line("steps: %d = %s", r.Steps.Total, r.Steps.How)
	for _, w := range r.Warnings {
		line("warning: %s", w)
	}
	return b.String()
}
