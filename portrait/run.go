package portrait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
)

// Run goes the whole way from a folder of photos to portraits, stage by stage. The loop over it gets each [Event] as it happens, and the
// work waits for the loop. An error is the last that it gets, with a nil event, a *[StageError] from the stages; without one the last
// event is Finished. Everything wrong with the configuration is reported together, before anything is computed.
//
// What is done stays: stopped at any moment, by its context, by leaving the loop or by a power cut, and started again with the same
// configuration, the job goes on where it was and comes to the same files, byte for byte, but for the times in the report. With another
// configuration the stages are done again that it concerns, and those behind them. One job at a time may work in an output folder.
func Run(ctx context.Context, c Config) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		r := &run{yield: func(e Event) bool { return yield(e, nil) }, stop: stop}
		if err := r.all(ctx, c); err != nil && !r.left {
			yield(nil, err)
		}
	}
}

// errLeft is why a job stops whose loop was left.
var errLeft = errors.New("portrait: the loop over the job was left")

// run is one job.
type run struct {
	Config
	yield func(Event) bool
	stop  context.CancelCauseFunc
	left  bool // the loop was left, or panics

	networks *engine.Networks
	ledger   *ledger
	sources  map[Stage]string

	report  Report
	set     DataSet
	epochs  []Epoch
	trials  []Trial
	choice  Choice
	drawn   []Sketch
	ranked  []Candidate
	refined []Sketch
	result  Result
}

// tell hands an event to the loop. When that is left, the context is done.
func (r *run) tell(e Event) {
	if r.left {
		return
	}
	r.left = true
	if r.left = !r.yield(e); r.left {
		r.stop(errLeft)
	}
}

// steps are what is done at each stage.
func (r *run) steps() map[Stage]func(context.Context) ([]string, error) {
	return map[Stage]func(context.Context) ([]string, error){
		Checking: r.check, Preparing: r.prepare, Training: r.train, Choosing: r.choose,
		Drawing: r.draw, Ranking: r.rank, Refining: r.refine, Publishing: r.publish,
	}
}

// all does everything that is not done yet.
func (r *run) all(ctx context.Context, c Config) error {
	if c.Device == nil || c.Checkpoint == nil {
		return errors.New("portrait: a device and a checkpoint are needed: Config.Device, Config.Checkpoint")
	}
	networks, err := engine.Open(c.Checkpoint)
	if err != nil {
		return fmt.Errorf("portrait: %w", err)
	}
	r.networks = networks
	r.Config = c.defaults(networks.UNet.Config().SampleSize * networks.VAE.Config().ScaleFactor())
	if err := r.Config.check(); err != nil {
		return err
	}
	if err := r.trace(ctx); err != nil {
		return &StageError{Checking, r.Output, err}
	}
	r.ledger = openLedger(r.Output)
	if r.ledger.whole(Publishing, r.sources[Publishing]) {
		return r.finished()
	}
	steps := r.steps()
	for i, s := range Stages {
		r.tell(StageBegun{s, i + 1, len(Stages)})
		if err := r.do(ctx, s, steps[s]); err != nil {
			return &StageError{s, r.Output, err}
		}
	}
	return r.finished()
}

// finished tells the result.
func (r *run) finished() error {
	r.result = r.published()
	r.result.Weight = r.chosenWeight()
	if r.Erase {
		if err := r.erase(); err != nil {
			return &StageError{Publishing, r.Output, err}
		}
	}
	r.tell(Finished{r.result})
	return nil
}

// do does a stage, which looks by itself for what is there of it, and keeps account of it.
func (r *run) do(ctx context.Context, s Stage, work func(context.Context) ([]string, error)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	source := r.sources[s]
	kept := r.ledger.whole(s, source)
	if !kept {
		again, err := r.ledger.begin(s, source)
		if err != nil {
			return err
		}
		if !again {
			if err := r.clear(s); err != nil {
				return err
			}
		}
	}
	began := time.Now()
	files, err := work(ctx)
	if !kept {
		r.ledger.spent(s, time.Since(began))
	}
	if err != nil {
		if !kept {
			err = errors.Join(err, r.ledger.save())
		}
		return err
	}
	if !kept {
		if err := r.ledger.end(s, files); err != nil {
			return err
		}
	}
	r.tell(StageDone{s, kept, time.Duration(r.ledger.Entries[s].Seconds * float64(time.Second))})
	return nil
}

// folders are those that belong to a stage alone.
var folders = map[Stage]string{Training: "training", Choosing: "trials", Drawing: "drawn", Ranking: "ranks", Refining: "refined"}

// clear removes what a stage has left of other photos or other settings.
func (r *run) clear(s Stage) error {
	folder := folders[s]
	if folder == "" {
		return nil
	}
	if s == Training {
		if err := remove(r.work("others")); err != nil {
			return err
		}
	}
	if err := remove(r.work(folder)); err != nil {
		return err
	}
	return os.MkdirAll(r.work(folder), 0o777)
}

// trace finds what each stage follows from: the photos, the configuration and the stages before it. What is computed does not count, because
// it follows.
func (r *run) trace(ctx context.Context) error {
	photos, err := r.photoDigests(ctx)
	if err != nil {
		return err
	}
	hash, err := r.Checkpoint.Hash(ctx)
	if err != nil {
		return err
	}
	others, err := othersListed(r.Others)
	if err != nil {
		return err
	}
	learned := DataSet{Name: r.Prepare.Name, Class: r.Prepare.Class, Resolution: r.Prepare.Resolution, Repeats: 1, Epochs: 1}
	if r.others() != "" {
		learned.Others = "others" // wherever the folder is
	}
	recipe := r.Config.Recipe(learned, r.Checkpoint)
	parts := map[Stage][]any{
		Checking:   {photos, r.Check, fmt.Sprintf("%T", r.Detector)},
		Preparing:  {r.Prepare, others},
		Training:   {filepath.Base(r.Checkpoint.Path()), hash, recipe, r.DrawOthers},
		Choosing:   {r.Score, r.Weights},
		Drawing:    {r.Pictures.of(r.Prepare.Name, r.Prepare.Class, r.lora(), 1), r.Pictures.Candidates, r.Epoch, r.Weight},
		Ranking:    {fmt.Sprintf("%T", r.Embedder)},
		Refining:   {r.Pictures.Hires, r.Pictures.Faces, r.Pictures.Best},
		Publishing: {r.Pick, r.Erase},
	}
	r.sources = make(map[Stage]string)
	before := ""
	for _, s := range Stages {
		if before, err = sourceOf(before, s, parts[s]); err != nil {
			return err
		}
		r.sources[s] = before
	}
	return nil
}

// othersListed tells a folder of other people's pictures from most others, wherever it is: the sizes of its files by their names.
func othersListed(dir string) (map[string]int64, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sizes[e.Name()] = info.Size()
		}
	}
	return sizes, nil
}

// photoDigests tells the photos and their captions from all others.
func (r *run) photoDigests(ctx context.Context) (map[string]string, error) {
	a, err := openAlbum(r.Photos)
	if err != nil {
		return nil, err
	}
	digests := make(map[string]string)
	for _, name := range a.photos {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for _, file := range []string{filepath.Join(r.Photos, name), a.caption(name)} {
			if digest, err := openfile.SHA256(file); err == nil {
				digests[filepath.Base(file)] = digest
			}
		}
	}
	return digests, nil
}

// watched is a detector that tells how far it is.
type watched struct {
	face.Detector
	found func()
}

// Find implements face.Detector.
func (w watched) Find(ctx context.Context, img *image.NRGBA) ([]face.Face, error) {
	faces, err := w.Detector.Find(ctx, img)
	w.found()
	return faces, err
}

func (r *run) check(ctx context.Context) ([]string, error) {
	a, err := openAlbum(r.Photos)
	if err != nil {
		return nil, err
	}
	m, done := meter{stage: Checking, unit: "photo"}, 0
	r.tell(m.at(0, len(a.photos)))
	r.report, err = Check(ctx, r.Photos, watched{r.Detector, func() { done++; r.tell(m.at(done, len(a.photos))) }}, r.Config.Check)
	if err != nil {
		return nil, err
	}
	for _, p := range r.report.Photos {
		r.tell(PhotoChecked{p})
	}
	for _, remark := range r.report.Remarks {
		r.tell(Warning{remark})
	}
	return nil, nil
}

func (r *run) prepare(ctx context.Context) (files []string, err error) {
	if r.set, err = Prepare(ctx, r.work("data"), r.report, r.Prepare); err != nil {
		return nil, err
	}
	r.set.Others = r.others()
	for _, w := range r.set.Warnings {
		r.tell(Warning{w})
	}
	r.tell(DataSetMade{r.set})
	return nil, nil
}

func (r *run) choose(ctx context.Context) (files []string, err error) {
	if r.trials, err = r.tryAll(ctx); err != nil {
		return nil, err
	}
	if r.choice, err = Choose(r.trials); err != nil {
		return nil, err
	}
	if err := r.override(); err != nil {
		return nil, err
	}
	if !r.ledger.whole(Drawing, r.sources[Drawing]) {
		if err := r.writeLoRA(r.loraPath()); err != nil {
			return nil, err
		}
	}
	r.tell(Chosen{r.choice, r.loraPath()})
	return []string{r.trialsPath()}, nil
}

// override takes the epoch and the weight that the configuration says in place of the best.
func (r *run) override() error {
	epoch, weight := cmp.Or(r.Config.Epoch, r.choice.Epoch.Number), cmp.Or(r.Weight, r.choice.Weight)
	if epoch == r.choice.Epoch.Number && weight == r.choice.Weight {
		return nil
	}
	at := slices.IndexFunc(r.epochs, func(e Epoch) bool { return e.Number == epoch })
	if at < 0 {
		return invalid.Field("Config.Epoch", epoch, "one of the %d epochs of the training", len(r.epochs))
	}
	best := r.choice.Trial
	r.choice.Trial = Trial{Epoch: r.epochs[at], Weight: weight}
	for _, t := range r.trials {
		if t.Epoch.Number == epoch && t.Weight == weight {
			r.choice.Trial = t
		}
	}
	r.choice.Next, r.choice.Margin = best, 0
	if r.choice.HeldOut.Pairs != nil {
		less := r.choice.HeldOut.Minus(best.HeldOut)
		r.choice.Margin = less.Mean / max(less.Error, 1e-12)
	}
	r.choice.Reason = fmt.Sprintf("epoch %d at %.2g was chosen by hand; epoch %d at %.2g was found best", epoch, weight, best.Epoch.Number, best.Weight)
	return nil
}

// loraPath is where the LoRA is that is drawn with.
func (r *run) loraPath() string { return filepath.Join(r.Output, r.lora()+".safetensors") }

// pipeline opens what draws.
func (r *run) pipeline(ctx context.Context) (*sd.Pipeline, error) {
	faces, _ := r.Detector.(sd.FaceDetector)
	return sd.New(ctx, r.Checkpoint, r.Device, sd.Options{LoRADirs: []string{r.Output}, Faces: faces})
}

// request is what is drawn.
func (r *run) request() sd.Request {
	return r.Pictures.of(r.set.Name, r.set.Class, r.lora(), r.choice.Weight)
}

func (r *run) draw(ctx context.Context) (files []string, err error) {
	r.drawn, err = r.sketches(ctx, Drawing, r.request(), seeds(r.Pictures.Request.Seed, r.Pictures.Candidates))
	return append(paths(r.drawn), r.loraPath()), err
}

// sketches draws what is not there yet.
func (r *run) sketches(ctx context.Context, s Stage, q sd.Request, seeds []int64) (all []Sketch, err error) {
	pipe, err := r.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pipe.Close()) }()
	m := meter{stage: s, unit: "step"}
	for sketch, err := range Draw(ctx, pipe, r.work(folders[s]), q, seeds, func(done, total int) { r.tell(m.at(done, total)) }) {
		if err != nil {
			return nil, err
		}
		all = append(all, sketch)
		r.tell(Drawn{s, sketch.Seed, sketch.Path})
	}
	return all, nil
}

func paths(sketches []Sketch) (all []string) {
	for _, s := range sketches {
		all = append(all, s.Path)
	}
	return all
}

func images(sketches []Sketch) (all []*image.NRGBA) {
	for _, s := range sketches {
		all = append(all, s.Image)
	}
	return all
}

func (r *run) refine(ctx context.Context) (files []string, err error) {
	q := r.request()
	q.Hires = r.Pictures.Hires
	f := r.Pictures.Faces
	if _, finds := r.Detector.(sd.FaceDetector); finds && (f.Strength == nil || *f.Strength != 0) {
		q.Faces = f
	}
	var best []int64
	for _, c := range r.ranked[:min(r.Pictures.Best, len(r.ranked))] {
		best = append(best, r.drawn[c.Index].Seed)
	}
	r.refined, err = r.sketches(ctx, Refining, q, best)
	return paths(r.refined), err
}

// chosenWeight is that of the choice, or in a job that was done before that of the choice among its trials.
func (r *run) chosenWeight() float64 {
	if r.choice.Weight == 0 {
		trials, _ := r.readTrials()
		r.choice, _ = Choose(trials)
		r.choice.Weight = cmp.Or(r.Weight, r.choice.Weight)
	}
	return cmp.Or(r.choice.Weight, usualWeight)
}

// published are the names of what the job leaves for people.
func (r *run) published() Result {
	path := func(name string) string { return filepath.Join(r.Output, name) }
	result := Result{
		LinkedIn: []string{path("linkedin.png"), path("linkedin.jpg")}, CV: []string{path("cv.png"), path("cv.jpg")},
		Sheet: path("candidates.png"), LoRA: r.loraPath(), Report: path("report.html"),
	}
	for i := range r.Pictures.Best {
		result.Best = append(result.Best, path(filepath.Join("best", fmt.Sprintf("%d.png", i+1))))
	}
	return result
}

func (r *run) publish(ctx context.Context) (files []string, err error) {
	order, faces, err := recheck(ctx, r.refined, r.Detector)
	if err != nil {
		return nil, err
	}
	r.result = r.published()
	if err := os.MkdirAll(filepath.Join(r.Output, "best"), 0o777); err != nil {
		return nil, err
	}
	best := make([]Sketch, len(order))
	for i, at := range order {
		best[i] = r.refined[at]
		if err := savePNG(r.result.Best[i], best[i].Picture); err != nil {
			return nil, err
		}
	}
	pick := order[r.Pick-1]
	if _, _, err := Finish(r.Output, r.refined[pick].Picture, faces[pick]); err != nil {
		return nil, err
	}
	sheet, err := Sheet(images(r.drawn), seeds(r.Pictures.Request.Seed, r.Pictures.Candidates), r.ranked)
	if err != nil {
		return nil, err
	}
	if err := savePNG(r.result.Sheet, sd.Picture{Image: sheet}); err != nil {
		return nil, err
	}
	if err := r.writeReport(ctx, best); err != nil {
		return nil, err
	}
	return r.result.Files(), nil
}

func (r *run) writeReport(ctx context.Context, best []Sketch) error {
	page, err := r.page(ctx, best)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(r.result.Report, page)
}

// erase removes what was made of the photos, and lists what is left of the person.
func (r *run) erase() error {
	if err := remove(r.work("data")); err != nil {
		return err
	}
	r.result.Remaining = r.result.Files()
	for _, s := range Stages {
		for _, name := range r.ledger.names(s) {
			if path := filepath.Join(r.Output, filepath.FromSlash(name)); !slices.Contains(r.result.Remaining, path) {
				r.result.Remaining = append(r.result.Remaining, path)
			}
		}
	}
	return nil
}
