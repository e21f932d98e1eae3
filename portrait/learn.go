package portrait

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
)

// trainName is what files of the training are called.
const trainName = "person"

func (r *run) train(ctx context.Context) (files []string, err error) {
	c := r.Config.Recipe(r.set, r.Checkpoint)
	c.Device, c.Checkpoint, c.OutputDir, c.OutputName = r.Device, r.Checkpoint, r.work(folders[Training]), trainName
	if !r.ledger.whole(Training, r.sources[Training]) {
		if err := errors.Join(r.drawOthers(ctx), r.addSamples(&c)); err != nil {
			return nil, err
		}
		if err := r.learn(ctx, c); err != nil {
			return nil, err
		}
		if err := tidyTraining(c.OutputDir); err != nil {
			return nil, err
		}
	}
	if r.epochs, err = Epochs(c); err != nil {
		return nil, err
	}
	if len(r.epochs) == 0 {
		return nil, errors.New("the training left no epoch: Config.Recipe must save every epoch (SaveEveryNEpochs) of a number of epochs (Dataset.MaxTrainEpochs)")
	}
	for _, e := range r.epochs {
		files = append(files, e.Path)
	}
	return files, nil
}

// addSamples has a picture drawn after each epoch, always of the same seed.
func (r *run) addSamples(c *train.Config) error {
	if !r.Samples || c.SamplePrompts != "" {
		return nil
	}
	side := r.set.Resolution
	prompt, err := json.Marshal([]any{map[string]any{"prompt": "photo of " + r.set.Name + " " + r.set.Class, "width": side, "height": side, "seed": 1, "sample_steps": 20}})
	if err != nil {
		return err
	}
	c.SamplePrompts, c.SampleEveryNEpochs = filepath.Join(c.OutputDir, "sample.json"), 1
	if err := os.MkdirAll(c.OutputDir, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(c.SamplePrompts, prompt)
}

// drawOthers draws other people of the person's class, as many as Config.DrawOthers says.
func (r *run) drawOthers(ctx context.Context) (err error) {
	if r.DrawOthers == 0 {
		return nil
	}
	pipe, err := r.pipeline(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pipe.Close()) }()
	q := r.Pictures.Request
	q.Prompt, q.NegativePrompt = "photo of a "+r.set.Class, ""
	q.Width, q.Height, q.BatchSize, q.Hires, q.Faces, q.Image, q.Inpaint, q.Adapters = r.set.Resolution, r.set.Resolution, 1, nil, nil, nil, nil, nil
	m := meter{stage: Training, unit: "picture"}
	r.tell(m.at(0, r.DrawOthers))
	for done, err := range Regularise(ctx, pipe, r.set.Others, q, r.DrawOthers) {
		if err != nil {
			return err
		}
		r.tell(m.at(done, r.DrawOthers))
	}
	return nil
}

// learn trains, from where an interrupted training stopped.
func (r *run) learn(ctx context.Context, c train.Config) error {
	state, damaged, err := train.LatestState(c.OutputDir, c.OutputName)
	for _, d := range damaged {
		r.tell(Warning{fmt.Sprintf("%v; the training goes on from before", d)})
	}
	if err == nil {
		c.Resume = state
	} else if !errors.Is(err, fs.ErrNotExist) {
		r.tell(Warning{fmt.Sprintf("%v; the training begins anew", err)})
	}
	m := meter{stage: Training, unit: "step"}
	for event, err := range train.Run(ctx, c) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case train.StepDone:
			r.tell(m.at(e.Step, e.Steps))
		case train.Warning:
			r.tell(Warning{e.Text})
		}
		r.tell(Learning{event})
		if _, ok := event.(train.EpochDone); ok && r.Enough != nil && r.Enough() {
			return nil
		}
	}
	return nil
}

// tidyTraining removes what a training that has come to its end left to go on from.
func tidyTraining(dir string) error {
	var errs []error
	for _, pattern := range []string{trainName + "-*-state", trainName + "-state", trainName + "-step*.safetensors"} {
		left, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well formed
		for _, path := range left {
			errs = append(errs, remove(path))
		}
	}
	return errors.Join(errs...)
}

func (r *run) trialsPath() string { return filepath.Join(r.work(folders[Choosing]), "trials.json") }

// readTrials reads what was tried before.
func (r *run) readTrials() (trials []Trial, err error) {
	data, err := openfile.ReadFile(r.trialsPath(), 1<<26)
	if err == nil {
		err = json.Unmarshal(data, &trials)
	}
	return trials, err
}

// usualWeight is the one at which all epochs are compared if it is among the weights.
const usualWeight = 0.8

// trialsOfBest is how many epochs are tried at all weights.
const trialsOfBest = 2

// tryAll tries every epoch at one weight, and the best of them at all, but for what was tried before.
func (r *run) tryAll(ctx context.Context) (trials []Trial, err error) {
	trials, err = r.readTrials()
	if err != nil {
		trials = nil // none, or damaged: once more
	}
	weight := r.Weights[len(r.Weights)-1]
	if slices.Contains(r.Weights, usualWeight) {
		weight = usualWeight
	}
	x := &examination{run: r, trials: trials, meter: meter{stage: Choosing, unit: "trial"}}
	x.total = len(r.epochs) + min(trialsOfBest, len(r.epochs))*(len(r.Weights)-1)
	defer func() { err = errors.Join(err, x.close()) }()
	for _, e := range r.epochs {
		if err := x.try(ctx, e, weight); err != nil {
			return nil, err
		}
	}
	best := slices.Clone(x.done)
	slices.SortStableFunc(best, func(a, b Trial) int { return cmp.Compare(b.HeldOut.Mean, a.HeldOut.Mean) })
	for _, t := range best[:min(trialsOfBest, len(best))] {
		for _, w := range r.Weights {
			if w == weight {
				continue
			}
			if err := x.try(ctx, t.Epoch, w); err != nil {
				return nil, err
			}
		}
	}
	return x.done, nil
}

// examination puts epochs to an exam, which is opened when the first has to sit it.
type examination struct {
	*run
	meter  meter
	total  int
	trials []Trial // of before
	done   []Trial
	scorer *Scorer
	exam   *Exam
}

// try tries an epoch at a weight, unless it was tried before.
func (x *examination) try(ctx context.Context, e Epoch, weight float64) error {
	if i := slices.IndexFunc(x.trials, func(t Trial) bool { return t.Epoch.Number == e.Number && t.Weight == weight }); i >= 0 {
		t := x.trials[i]
		t.Epoch = e
		x.done = append(x.done, t)
		return nil
	}
	if err := x.open(ctx); err != nil {
		return err
	}
	x.tell(x.meter.at(len(x.done), x.total))
	a, err := x.scorer.Open(e.Path)
	if err != nil {
		return err
	}
	t, err := x.exam.Try(ctx, a, e, weight)
	if err != nil {
		return err
	}
	x.done = append(x.done, t)
	x.tell(Tried{t})
	x.tell(x.meter.at(len(x.done), x.total))
	return x.save()
}

// save keeps what was tried, with the names of files alone.
func (x *examination) save() error {
	kept := slices.Clone(x.done)
	for i := range kept {
		kept[i].Epoch.Path = filepath.Base(kept[i].Epoch.Path)
	}
	data, err := json.MarshalIndent(kept, "", "\t")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(x.trialsPath(), append(data, '\n'))
}

func (x *examination) open(ctx context.Context) (err error) {
	if x.exam != nil {
		return nil
	}
	if x.scorer, err = NewScorer(x.Device, x.Checkpoint, x.Score); err != nil {
		return err
	}
	x.exam, err = NewExam(ctx, x.scorer, x.set)
	return err
}

func (x *examination) close() error {
	if x.scorer == nil {
		return nil
	}
	return x.scorer.Close()
}

// moments are metadata that say when and in which run a file was made: without them equal jobs leave equal files.
var moments = []string{"ss_session_id", "ss_training_started_at", "ss_training_finished_at", "modelspec.date", "sshs_model_hash", "sshs_legacy_hash"}

// writeLoRA writes the chosen epoch under the person's name, with the metadata of its training.
func (r *run) writeLoRA(path string) error {
	targets, err := lora.NewTargets(r.networks.Text.Config(), r.networks.UNet.Config())
	if err != nil {
		return err
	}
	a, err := lora.Open(r.choice.Epoch.Path, targets)
	if err != nil {
		return err
	}
	metadata := maps.Clone(a.Metadata)
	for _, key := range moments {
		delete(metadata, key)
	}
	metadata["ss_output_name"], metadata["modelspec.title"] = r.lora(), r.lora()
	metadata["ss_training_comment"] = fmt.Sprintf("epoch %d, chosen by likeness; draw at weight %.2g", r.choice.Epoch.Number, r.choice.Weight)
	return lora.Write(path, a.Modules, compute.F16, metadata)
}

func (r *run) ranksPath() string { return filepath.Join(r.work(folders[Ranking]), "ranks.json") }

func (r *run) rank(ctx context.Context) (files []string, err error) {
	files = []string{r.ranksPath()}
	if data, err := openfile.ReadFile(r.ranksPath(), 1<<26); err == nil && json.Unmarshal(data, &r.ranked) == nil && len(r.ranked) == len(r.drawn) {
		r.tell(Ranked{r.ranked})
		return files, nil
	}
	scorer, err := NewScorer(r.Device, r.Checkpoint, r.Score)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scorer.Close()) }()
	judge, err := r.judge(ctx, scorer)
	if err != nil {
		return nil, err
	}
	m, done := meter{stage: Ranking, unit: "picture"}, 0
	watch := watched{r.Detector, func() { done++; r.tell(m.at(done, len(r.drawn))) }}
	if r.ranked, err = Rank(ctx, images(r.drawn), watch, judge); err != nil {
		return nil, err
	}
	if c := r.ranked[0]; len(c.Faults) > 0 {
		r.tell(Warning{fmt.Sprintf("no candidate is without a fault; the best has this: %s. Draw more, or with another prompt", c.Faults[0])})
	}
	r.tell(Ranked{r.ranked})
	data, err := json.MarshalIndent(r.ranked, "", "\t")
	if err != nil {
		return nil, err
	}
	return files, atomicfile.WriteFile(r.ranksPath(), append(data, '\n'))
}

// judge follows both how like the photos a picture looks, and how much better the model knows it with the LoRA.
func (r *run) judge(ctx context.Context, s *Scorer) (Judge, error) {
	var photos []Example
	for _, c := range slices.Concat(r.set.Training, r.set.HeldOut) {
		e, err := r.set.Open(ctx, c)
		if err != nil {
			return nil, err
		}
		if e.Face.Size > 0 {
			photos = append(photos, e)
		}
	}
	looks, err := NewLikeness(ctx, r.Embedder, photos)
	if err != nil {
		return nil, err
	}
	a, err := s.Open(filepath.Join(r.Output, r.lora()+".safetensors"))
	if err != nil {
		return nil, err
	}
	caption := "photo of " + r.set.Name + " " + r.set.Class
	return Together{looks, &DrawnLikeness{Scorer: s, Adapter: a, Weight: r.choice.Weight, Caption: caption}}, nil
}

// seconds is a time as people read it.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", s)
	}
	return d.Round(time.Second).String()
}
