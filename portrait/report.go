package portrait

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"math"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/picture"
)

//go:embed report.html
var reportPage string

// reportTemplate is the page: one file without scripts that asks no other host for anything.
var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// Sides of the pictures in a report, in pixels, and their quality as JPEG.
const (
	heroSide, candidateSide, photoSide = 720, 176, 160
	reportQuality                      = 82
)

// page is what a report tells.
type page struct {
	Person         string
	LinkedIn, CV   template.URL
	Model          string
	Weight         float64
	Choice         Choice
	Sure           string
	Epochs, Trials int
	Curve, Weights *plot
	Prompt         string
	Best           []shown
	Candidates     []shown
	Kept, Dropped  []shown
	Looked         int
	Remarks        []string
	Erased         bool
	Uses           int
	Stages         []timed
	Total          string
	Next           []string
	LoRA           string
	Tag            string
}

// shown is a picture with what is said of it.
type shown struct {
	Image      template.URL // "" shows none
	Wide, High int
	Title      string
	Text       string
	Good       bool
	Place      int
}

// timed is a stage with its time.
type timed struct {
	Name, What, Took string
	Share            float64 // in percent of the longest
}

// whats say what stages do, to people.
var whats = map[Stage]string{
	Checking: "looked at the photos", Preparing: "cropped them to head and shoulders", Training: "learned the person", Choosing: "tried epochs and weights",
	Drawing: "drew the candidates", Ranking: "put them in order", Refining: "drew the best larger",
}

// page makes the report.
func (r *run) page(ctx context.Context, best []Sketch) ([]byte, error) {
	p := page{
		Person: r.set.Name, Model: filepath.Base(r.Checkpoint.Path()), Weight: r.choice.Weight, Choice: r.choice, Sure: sure(r.choice, len(r.set.HeldOut)),
		Epochs: len(r.epochs), Trials: len(r.trials), Curve: byEpoch(r.trials, r.choice.Trial, len(r.set.HeldOut) > 0), Weights: byWeight(r.trials, r.choice.Trial),
		Prompt: r.request().Prompt, Erased: r.Erase, Uses: r.set.Uses(), Looked: len(r.report.Photos), Remarks: append(r.report.Remarks, r.set.Warnings...),
		LoRA: filepath.Base(r.result.LoRA), Tag: tag(r.lora(), r.choice.Weight),
	}
	var err error
	if p.LinkedIn, err = embedFile(ctx, r.result.LinkedIn[0], heroSide); err == nil {
		p.CV, err = embedFile(ctx, r.result.CV[0], heroSide)
	}
	if err != nil {
		return nil, err
	}
	p.addDrawn(r, best)
	if err := p.addPhotos(ctx, r); err != nil {
		return nil, err
	}
	p.addTimes(r.ledger)
	p.Next = r.next()
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("portrait: %w", err)
	}
	return b.Bytes(), nil
}

// sure says how far the choice can be trusted.
func sure(c Choice, heldOut int) string {
	switch margin := math.Abs(c.Margin); {
	case heldOut == 0:
		return "Not sure: no photo could be held out, and likeness to photos that were learned says little. Look at several epochs yourself."
	case c.Next.Weight == 0:
		return "There was nothing to compare it with: only one epoch was tried."
	case margin < 1:
		return fmt.Sprintf("Not very: epoch %d is as like as far as can be told. Either is a good choice.", c.Next.Epoch.Number)
	case margin < 2:
		return fmt.Sprintf("Fairly: epoch %d comes near. With more photos held out it would be surer.", c.Next.Epoch.Number)
	}
	return fmt.Sprintf("Sure: it differs from the next, epoch %d, by more than chance makes likely.", c.Next.Epoch.Number)
}

// addDrawn shows the finished pictures and the candidates.
func (p *page) addDrawn(r *run, best []Sketch) {
	for i, s := range best {
		one := shownOf(s.Image, candidateSide)
		one.Title, one.Text, one.Place, one.Good = fmt.Sprintf("best/%d.png", i+1), fmt.Sprintf("seed %d", s.Seed), i+1, i+1 == r.Pick
		p.Best = append(p.Best, one)
	}
	for i, c := range r.ranked {
		one := shownOf(r.drawn[c.Index].Image, candidateSide)
		one.Title, one.Text, one.Place, one.Good = fmt.Sprintf("seed %d", r.drawn[c.Index].Seed), c.describe(), i+1, len(c.Faults) == 0
		p.Candidates = append(p.Candidates, one)
	}
}

// addPhotos shows the photos that were used, and of the others why not. What was made of photos is not shown if that is to be erased.
func (p *page) addPhotos(ctx context.Context, r *run) error {
	held := make(map[string]bool)
	for _, c := range r.set.HeldOut {
		held[c.Photo] = true
	}
	for _, photo := range r.report.Photos {
		one := shown{Title: photo.Name}
		var texts []string
		for _, f := range photo.Findings {
			if f.Verdict > Keep || f.Kind == Overruled {
				texts = append(texts, f.String())
			}
		}
		one.Text = strings.Join(texts, "; ")
		if held[photo.Name] {
			one.Text = strings.Join(append([]string{"held out to compare with"}, texts...), "; ")
		}
		if !r.Erase && photo.Size != (image.Point{}) {
			img, err := picture.Upright(ctx, filepath.Join(r.Photos, photo.Name), picture.Limits{})
			if err != nil {
				return err
			}
			side, _ := squared(img, photo.Face, photoSide)
			picture.OverWhite(side)
			small := shownOf(side, photoSide)
			one.Image, one.Wide, one.High = small.Image, small.Wide, small.High
		}
		if photo.Verdict() < Drop {
			one.Good = true
			p.Kept = append(p.Kept, one)
		} else {
			p.Dropped = append(p.Dropped, one)
		}
	}
	return nil
}

// addTimes says how long the stages took.
func (p *page) addTimes(l *ledger) {
	var sum, longest float64
	for _, s := range Stages {
		if e := l.Entries[s]; e != nil && whats[s] != "" {
			sum, longest = sum+e.Seconds, max(longest, e.Seconds)
		}
	}
	for _, s := range Stages {
		if e := l.Entries[s]; e != nil && whats[s] != "" {
			p.Stages = append(p.Stages, timed{string(s), whats[s], seconds(e.Seconds), 100 * e.Seconds / max(longest, 1e-9)})
		}
	}
	p.Total = seconds(sum)
}

// next says what to do with what there is, and how it could be better.
func (r *run) next() (all []string) {
	all = append(all, "Look at the candidates below: if another one pleases you more, it is among the files of best/, and linkedin.png and cv.png are cropped anew from it in a second when you start again with that pick.")
	if kept := len(r.report.Kept()); kept < 15 {
		all = append(all, fmt.Sprintf("%d photos were learned from. Fifteen to twenty varied ones make the likeness surer: other days, other light, other clothes, the face from several sides.", kept))
	}
	if r.choice.Overfit > 0 {
		all = append(all, fmt.Sprintf("From epoch %d on the photos themselves were learned by heart. More photos help against that, not more training.", r.choice.Overfit))
	}
	if len(r.epochs) > 0 && r.choice.Epoch.Number == r.epochs[len(r.epochs)-1].Number {
		all = append(all, "The last epoch is the best one: the likeness may still have been growing, and a few epochs more may help.")
	}
	all = append(all, "A real photo of yours beside these, looked at by somebody who knows you, is the best judge. Where likeness must be beyond doubt, as in a passport, use a photo.")
	return all
}

// shownOf is a picture small and inline.
func shownOf(img *image.NRGBA, side int) shown {
	small := thumbnail(img, side)
	return shown{Image: inline(small), Wide: small.Rect.Dx(), High: small.Rect.Dy()}
}

// inline is a picture as the address of an HTML page.
func inline(img *image.NRGBA) template.URL {
	var b bytes.Buffer
	_ = jpeg.Encode(&b, img, &jpeg.Options{Quality: reportQuality}) // a buffer takes everything
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
}

func embedFile(ctx context.Context, path string, side int) (template.URL, error) {
	img, err := picture.Upright(ctx, path, picture.Limits{})
	if err != nil {
		return "", err
	}
	return inline(thumbnail(img, side)), nil
}
