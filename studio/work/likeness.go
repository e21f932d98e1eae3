package work

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/weights"
)

// CheckedPhoto is a photo in check.json of a portrait, which is a list of them.
type CheckedPhoto struct {
	Name     string           `json:"name"`
	Width    int              `json:"width"`
	Height   int              `json:"height"`
	Verdict  string           `json:"verdict"` // keep, warn or drop
	Face     [4]int           `json:"face"`    // left, top, right, bottom of the person's, in pixels; zeros if there is none
	Findings []CheckedFinding `json:"findings,omitempty"`
}

// CheckedFinding is one thing about a photo.
type CheckedFinding struct {
	Kind    portrait.Kind `json:"kind"`
	Verdict string        `json:"verdict"`
	Text    string        `json:"text"`
	Mend    string        `json:"mend,omitzero"`
	Other   string        `json:"other,omitzero"`
}

// Likeness is likeness.json of a portrait: what was tried, and what was chosen.
type Likeness struct {
	Trials []TrialPoint `json:"trials"`
	Chosen *ChosenPoint `json:"chosen,omitempty"`
}

// TrialPoint is how well an epoch knows the person at a weight: logarithms of how much less is lost with it, 0 being nothing.
type TrialPoint struct {
	Epoch     int     `json:"epoch"`
	Weight    float64 `json:"weight"`
	HeldOut   float64 `json:"held_out"` // on photos that were not learned
	Error     float64 `json:"error"`    // its standard error
	Trained   float64 `json:"trained"`
	Obedience float64 `json:"obedience"` // 1 is as without the LoRA
}

// ChosenPoint is the epoch and the weight that are drawn with.
type ChosenPoint struct {
	Epoch  int     `json:"epoch"`
	Weight float64 `json:"weight"`
	Margin float64 `json:"margin"` // over the next best, in standard errors
	Reason string  `json:"reason"`
	LoRA   string  `json:"lora"` // the result
}

// RankedPicture is a candidate in ranked.json of a portrait, which is a list of them, the best first.
type RankedPicture struct {
	File      string          `json:"file"` // the result
	Likeness  float64         `json:"likeness"`
	Sharpness float64         `json:"sharpness"`
	Faults    []portrait.Kind `json:"faults,omitempty"`
}

// portrait does a job that makes portraits.
func (m *Machine) portrait(ctx context.Context, t *jobs.Task) error {
	r, err := readRequest[Portrait](t)
	if err != nil {
		return err
	}
	return m.use(ctx, func() error { return m.inFolder(t, func(dir string) error { return m.portraitIn(ctx, t, r, dir) }) })
}

// portraitIn makes portraits in a folder.
func (m *Machine) portraitIn(ctx context.Context, t *jobs.Task, r Portrait, dir string) (err error) {
	t.Report(jobs.Progress{Stage: "fetching the photos"})
	for _, name := range r.Photos {
		if err := fetch(ctx, t, name, filepath.Join(dir, "photos", path.Base(name)), maxInput); err != nil {
			return err
		}
	}
	folder, err := openKeptFolder(ctx, t, filepath.Join(dir, "output"))
	if err != nil {
		return err
	}
	found, err := m.find(r.Checkpoint)
	if err != nil {
		return err
	}
	c, closeCheckpoint, err := m.lend(found.Title)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeCheckpoint()) }()
	config := r.Config
	config.Device, config.Checkpoint, config.Detector = m.device, c, m.options.Faces(found)
	config.Photos, config.Output = cmp.Or(r.Folder, filepath.Join(dir, "photos")), folder.dir
	config.Recipe = r.recipe
	config.Enough = func() bool { return t.Wish() == jobs.Finish }
	if m.options.Portrait != nil {
		if err := m.options.Portrait(found, &config); err != nil {
			return err
		}
	}
	p := &sitting{learning: learning{machine: m, task: t, folder: folder, course: newCourse(ctx, t), late: late(ctx)}}
	return p.all(ctx, config)
}

// recipe is portrait.Recipe, as long as the job says.
func (r Portrait) recipe(s portrait.DataSet, c *weights.Checkpoint) train.Config {
	config := portrait.Recipe(s, c)
	config.Dataset.MaxTrainEpochs = cmp.Or(r.Epochs, config.Dataset.MaxTrainEpochs)
	person := &config.Dataset.Sets[0].Subsets[0]
	person.Repeats = cmp.Or(r.Repeats, person.Repeats)
	return config
}

// sitting is a job that makes portraits.
type sitting struct {
	learning
	checked  []CheckedPhoto
	likeness Likeness
	drawn    []string // the candidates' results
}

// all goes the whole way.
func (p *sitting) all(ctx context.Context, c portrait.Config) error {
	if err := readResult(ctx, p.task, "likeness.json", &p.likeness); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("work: what was tried before: %w", err)
	}
	for event, err := range portrait.Run(ctx, c) {
		if err == nil {
			err = p.tell(p.late, event)
		}
		if err != nil {
			return p.stopped(ctx, err)
		}
	}
	return nil
}

// stopped keeps what there is for the next worker.
func (p *sitting) stopped(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, jobs.ErrCancelled) || errors.Is(cause, jobs.ErrLost) {
		return err
	}
	return errors.Join(err, p.course.save(p.late, true), p.folder.keep(p.late))
}

// tell passes an event on, and keeps the folder where something is done.
func (p *sitting) tell(ctx context.Context, event portrait.Event) error {
	keep := false
	var err error
	switch e := event.(type) {
	case portrait.StageBegun:
		p.task.Report(jobs.Progress{Stage: stages[e.Stage], Note: fmt.Sprintf("%d of %d", e.Number, e.Of)})
	case portrait.Progress:
		p.task.Report(jobs.Progress{Stage: stages[e.Stage], Done: e.Done, Total: e.Total, Left: e.Left})
	case portrait.PhotoChecked:
		p.checked = append(p.checked, checkedPhoto(e.Photo))
	case portrait.Learning:
		return p.learn(ctx, e.Event)
	case portrait.Warning:
		p.course.Warnings = append(p.course.Warnings, e.Text)
	case portrait.Tried:
		p.likeness.add(e.Trial)
		err, keep = saveJSON(ctx, p.task, "likeness.json", p.likeness), true
	case portrait.Chosen:
		p.likeness.Chosen = &ChosenPoint{e.Choice.Epoch.Number, e.Choice.Weight, e.Choice.Margin, e.Choice.Reason, filepath.Base(e.LoRA)}
		err = errors.Join(saveJSON(ctx, p.task, "likeness.json", p.likeness), saveFile(ctx, p.task, filepath.Base(e.LoRA), e.LoRA))
	case portrait.Drawn:
		err = p.picture(ctx, e)
		keep = p.folder.due()
	case portrait.Ranked:
		err = p.rank(ctx, e.Candidates)
	case portrait.StageDone:
		err, keep = p.stage(ctx, e), !e.Kept
	case portrait.Finished:
		return p.finish(ctx, e.Result)
	}
	if err == nil && keep {
		err = p.folder.keep(ctx)
	}
	return err
}

// stages are what people are told that a stage does.
var stages = map[portrait.Stage]string{
	portrait.Checking: "looking at the photos", portrait.Preparing: "preparing the photos", portrait.Training: "training", portrait.Choosing: "measuring likeness",
	portrait.Drawing: "drawing candidates", portrait.Ranking: "ranking", portrait.Refining: "finishing the best", portrait.Publishing: "writing the portraits",
}

// learn passes an event of the training on. Its files are not results: the chosen one will be.
func (p *sitting) learn(ctx context.Context, event train.Event) error {
	p.course.add(event)
	switch e := event.(type) {
	case train.StepDone:
		if err := p.course.save(ctx, false); err != nil || !p.folder.due() {
			return err
		}
		return p.folder.keep(ctx)
	case train.Sampled:
		return errors.Join(saveFile(ctx, p.task, "sample/"+filepath.Base(e.Path), e.Path), p.course.save(ctx, true))
	case train.EpochDone:
		return p.course.save(ctx, true)
	case train.Saved:
		return p.folder.keep(ctx)
	}
	return nil
}

// add adds a trial, in place of one of before.
func (l *Likeness) add(t portrait.Trial) {
	l.Trials = slices.DeleteFunc(l.Trials, func(have TrialPoint) bool { return have.Epoch == t.Epoch.Number && have.Weight == t.Weight })
	l.Trials = append(l.Trials, TrialPoint{t.Epoch.Number, t.Weight, t.HeldOut.Mean, t.HeldOut.Error, t.Trained.Mean, t.Obedience.Mean})
}

// picture stores a picture that was drawn, and shows it.
func (p *sitting) picture(ctx context.Context, e portrait.Drawn) error {
	name := fmt.Sprintf("candidates/%d.png", e.Seed)
	if e.Stage == portrait.Refining {
		name = fmt.Sprintf("refined/%d.png", e.Seed)
	} else {
		p.drawn = append(p.drawn, name)
	}
	if slices.ContainsFunc(p.task.Job.Files, func(f jobs.File) bool { return f.Name == name }) {
		return nil
	}
	return saveFile(ctx, p.task, name, e.Path)
}

// rank stores the order of the candidates.
func (p *sitting) rank(ctx context.Context, candidates []portrait.Candidate) error {
	var all []RankedPicture
	for _, c := range candidates {
		if c.Index < len(p.drawn) {
			all = append(all, RankedPicture{p.drawn[c.Index], c.Likeness, c.Sharpness, c.Faults})
		}
	}
	return saveJSON(ctx, p.task, "ranked.json", all)
}

// stage stores what a stage has told in all.
func (p *sitting) stage(ctx context.Context, e portrait.StageDone) error {
	switch e.Stage {
	case portrait.Checking:
		return saveJSON(ctx, p.task, "check.json", p.checked)
	case portrait.Training:
		return p.course.save(ctx, true)
	}
	return nil
}

// finish stores the files of the result by their places.
func (p *sitting) finish(ctx context.Context, r portrait.Result) error {
	for _, file := range r.Files() {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("work: %w", err)
		}
		name, err := filepath.Rel(p.folder.dir, file)
		if err != nil {
			return fmt.Errorf("work: %w", err)
		}
		if err := saveFile(ctx, p.task, strings.TrimPrefix(filepath.ToSlash(name), "./"), file); err != nil {
			return err
		}
	}
	return nil
}

func checkedPhoto(p portrait.Photo) CheckedPhoto {
	c := CheckedPhoto{Name: p.Name, Width: p.Size.X, Height: p.Size.Y, Verdict: p.Verdict().String()}
	if p.Face.Size > 0 {
		b := p.Face.Box()
		c.Face = [4]int{b.Min.X, b.Min.Y, b.Max.X, b.Max.Y}
	}
	for _, f := range p.Findings {
		c.Findings = append(c.Findings, CheckedFinding{f.Kind, f.Verdict.String(), f.Text, f.Mend, f.Other})
	}
	return c
}
