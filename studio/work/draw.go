package work

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// Draw asks for pictures. Results are 0.png, 1.png and so on, each with its infotext and as soon as it is finished, and info.json, an
// [Info]; what an interrupted run leaves of a picture ends in -incomplete.png. While it runs it shows previews and counts steps of all
// pictures in its Progress, Total/Count of them a batch.
type Draw struct {
	Request    sd.Request `json:"request"`
	Checkpoint string     `json:"checkpoint,omitzero"` // by any name that library.Checkpoint knows; "" is that of the settings
	Count      int        `json:"n_iter,omitzero"`     // batches, up to MaxCount, each of Request.BatchSize pictures with the seeds after those before; 0 is 1
	Grid       *Grid      `json:"grid,omitempty"`      // compares values instead, a picture each: Count and Request.BatchSize have no meaning then
	Save       string     `json:"save,omitzero"`       // the kind of outputs that Collect saves the pictures among, library.Txt2Img or Img2Img; "" is none

	// Names of files in the queue's store, as PutInput gives them.
	Image string   `json:"image,omitzero"`  // in place of Request.Image
	Mask  string   `json:"mask,omitzero"`   // in place of Request.Inpaint.Mask
	LoRAs []string `json:"loras,omitempty"` // that prompts may name, as the names of files before their extension, before those of the worker
}

// MaxCount is the most batches of a job.
const MaxCount = 10000

// Kind implements Request.
func (Draw) Kind() string { return DrawKind }

// Check implements Request. What only a checkpoint can tell of Draw.Request the job itself says.
func (d Draw) Check() error {
	errs := []error{d.Request.Check(), d.Grid.check()}
	if d.Count < 0 || d.Count > MaxCount {
		errs = append(errs, invalid.Field("Draw.Count", d.Count, "1 to %d", MaxCount))
	}
	if !slices.Contains([]string{"", library.Txt2Img, library.Img2Img}, d.Save) {
		errs = append(errs, invalid.Field("Draw.Save", d.Save, "%s, %s or nothing", library.Txt2Img, library.Img2Img))
	}
	for _, name := range []string{d.Image, d.Mask} {
		if name != "" {
			errs = append(errs, checkInputs("Draw.Image", name))
		}
	}
	if d.Mask != "" && d.Request.Inpaint == nil {
		errs = append(errs, invalid.Field("Draw.Mask", d.Mask, "Request.Inpaint beside it"))
	}
	return invalid.Join(append(errs, checkInputs("Draw.LoRAs", d.LoRAs...))...)
}

// inputs implements Request.
func (d Draw) inputs() (names []string) {
	for _, name := range append([]string{d.Image, d.Mask}, d.LoRAs...) {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// stored is the request with its pictures in the queue's store.
func (d Draw) stored(ctx context.Context, q *jobs.Queue) (_ Draw, err error) {
	if len(d.Request.Image) > 0 {
		if d.Image, err = PutInput(ctx, q, "image", d.Request.Image); err != nil {
			return d, err
		}
		d.Request.Image = nil
	}
	if d.Request.Inpaint != nil && len(d.Request.Inpaint.Mask) > 0 {
		inpaint := *d.Request.Inpaint
		if d.Mask, err = PutInput(ctx, q, "mask", inpaint.Mask); err != nil {
			return d, err
		}
		inpaint.Mask = nil
		d.Request.Inpaint = &inpaint
	}
	return d, nil
}

// Info is info.json of a job that draws.
type Info struct {
	Request    sd.Request `json:"request"`             // of the first batch, as it was carried out, without the pictures that it begins with
	Checkpoint string     `json:"checkpoint"`          // its title
	Pictures   []Drawn    `json:"pictures"`            // in their order
	Skipped    []int      `json:"skipped,omitempty"`   // batches, from 0, that somebody wished to skip
	Incomplete bool       `json:"incomplete,omitzero"` // the last pictures were interrupted
}

// Drawn is a picture of a job.
type Drawn struct {
	File     string `json:"file"` // the result
	Batch    int    `json:"batch"`
	Seed     int64  `json:"seed"`
	Subseed  int64  `json:"subseed,omitzero"`
	Infotext string `json:"infotext"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Cell     string `json:"cell,omitzero"` // the values of a grid's
}

// Sheet reports whether it shows the pictures of a grid.
func (d Drawn) Sheet() bool { return sheets.MatchString(d.File) }

// ReadInfo reads the info.json of a job.
func ReadInfo(ctx context.Context, q *jobs.Queue, id string) (info Info, err error) {
	r, err := q.Result(ctx, id, infoFile)
	if err != nil {
		return info, err
	}
	defer r.Close()
	return info, json.NewDecoder(r).Decode(&info)
}

const (
	infoFile         = "info.json"
	incompleteEnding = "-incomplete.png"
)

// drawing is a job that draws.
type drawing struct {
	Draw
	machine *Machine
	task    *jobs.Task
	drawn   drawnSeeds
	plot    plot // of a grid
	open    *opened
	name    string // by which it was opened
	remove  func() // takes the job's LoRAs out of it
	info    Info
	pace    pace
	showed  shown
}

// draw does a job that draws.
func (m *Machine) draw(ctx context.Context, t *jobs.Task) error {
	d, err := readRequest[Draw](t)
	if err != nil {
		return err
	}
	r := &drawing{Draw: d, machine: m, task: t, remove: func() {}}
	r.Count, r.Request.BatchSize = max(r.Count, 1), max(r.Request.BatchSize, 1)
	return m.use(ctx, func() error {
		t.Report(jobs.Progress{Stage: "opening the checkpoint"})
		if err := r.use(ctx, d.Checkpoint); err != nil {
			return err
		}
		defer func() { r.remove() }()
		if err := r.prepare(ctx); err != nil {
			return err
		}
		return r.all(ctx)
	})
}

// use opens a checkpoint, unless it is open, and gives it the job's LoRAs.
func (r *drawing) use(ctx context.Context, name string) (err error) {
	if r.open != nil && r.name == name {
		return nil
	}
	r.remove()
	r.remove = func() {}
	if r.open, err = r.machine.checkpoint(ctx, name); err != nil {
		return err
	}
	r.name = name
	remove, err := r.machine.addLoRAs(ctx, r.task, r.open, r.LoRAs)
	if err == nil {
		r.remove = remove
	}
	return err
}

// prepare fetches what the request needs, and what is there already of the job.
func (r *drawing) prepare(ctx context.Context) (err error) {
	if r.Image != "" {
		if r.Request.Image, err = input(ctx, r.task, r.Image); err != nil {
			return err
		}
	}
	if r.Mask != "" {
		if r.Request.Inpaint.Mask, err = input(ctx, r.task, r.Mask); err != nil {
			return err
		}
	}
	if err := r.seeds(ctx); err != nil {
		return err
	}
	if err := r.plan(); err != nil {
		return err
	}
	return r.resume(ctx)
}

// drawnSeeds are the seeds of a job that asked for random ones.
type drawnSeeds struct {
	Seed      int64  `json:"seed"`
	Variation int64  `json:"variation"`
	Axes      uint64 `json:"axes"` // of what a grid's axes leave to chance
}

// seeds draws those that are to be random, once for the job, whoever goes on with it.
func (r *drawing) seeds(ctx context.Context) error {
	q := &r.Request
	if q.Seed >= 0 && q.Variation.Seed >= 0 && r.Grid == nil {
		return nil
	}
	r.drawn = drawnSeeds{rand.Int64N(1 << 32), rand.Int64N(1 << 32), rand.Uint64()}
	err := readKept(ctx, r.task, "seeds.json", &r.drawn)
	if errors.Is(err, fs.ErrNotExist) {
		err = keepJSON(ctx, r.task, "seeds.json", r.drawn)
	}
	if err != nil {
		return fmt.Errorf("work: the job's seeds: %w", err)
	}
	if q.Seed < 0 {
		q.Seed = r.drawn.Seed
	}
	if q.Variation.Seed < 0 {
		q.Variation.Seed = r.drawn.Variation
	}
	return nil
}

// resume reads what a worker before has drawn of the job. Of a batch that is not there whole, or was interrupted, nothing counts.
func (r *drawing) resume(ctx context.Context) error {
	if err := readResult(ctx, r.task, infoFile, &r.info); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("work: what was drawn before: %w", err)
	}
	there := make(map[string]bool)
	for _, f := range r.task.Job.Files {
		there[f.Name] = true
	}
	whole := make(map[int]int)
	for _, p := range r.info.Pictures {
		if there[p.File] && !strings.HasSuffix(p.File, incompleteEnding) {
			whole[p.Batch]++
		}
	}
	r.info.Incomplete = false
	r.info.Pictures = slices.DeleteFunc(r.info.Pictures, func(p Drawn) bool { return whole[p.Batch] < r.Request.BatchSize })
	return nil
}

// done reports whether a batch needs no drawing any more.
func (r *drawing) done(batch int) bool {
	return slices.Contains(r.info.Skipped, batch) || slices.ContainsFunc(r.info.Pictures, func(p Drawn) bool { return p.Batch == batch })
}

// all draws the batches that are not there.
func (r *drawing) all(ctx context.Context) error {
	running, stop := untilInterrupted(ctx)
	defer stop()
	begun := false
	for place, batch := range r.order() {
		if r.done(batch) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if begun && r.task.Wish() == jobs.Finish {
			break
		}
		begun = true
		if err := r.batch(ctx, running, batch, place); err != nil {
			return err
		}
	}
	return r.sheets(running)
}

// untilInterrupted is a context that ends as another, but for an interruption, which leaves time to keep what there is.
func untilInterrupted(ctx context.Context) (running context.Context, stop func()) {
	running, end := context.WithCancelCause(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if errors.Is(cause, jobs.ErrInterrupted) {
			time.AfterFunc(grace, func() { end(cause) })
			return
		}
		end(cause)
	})
	return running, func() { forget(); end(nil) }
}

// request is that of a batch, with the name of the checkpoint that draws it.
func (r *drawing) request(batch int) (q sd.Request, checkpoint string, err error) {
	if r.Grid != nil {
		q, checkpoint, err = r.cell(batch)
		return q, cmp.Or(checkpoint, r.Checkpoint), err
	}
	q = r.Request
	if q.Variation.Strength == 0 {
		q.Seed += int64(batch * q.BatchSize)
	} else {
		q.Variation.Seed += int64(batch * q.BatchSize)
	}
	return q, r.Checkpoint, nil
}

// batch draws a batch, which is the one at a place in the order: to its end, until it is skipped or until somebody interrupts the job, with what there is then.
func (r *drawing) batch(ctx, running context.Context, batch, place int) error {
	q, checkpoint, err := r.request(batch)
	if err == nil {
		err = r.use(running, checkpoint)
	}
	if err != nil {
		return err
	}
	for step, err := range r.open.pipe.Steps(running, q) {
		if err != nil {
			return err
		}
		if err := r.show(running, step, place); err != nil {
			return err
		}
		switch interrupted := ctx.Err() != nil; {
		case r.task.Skipped():
			r.info.Skipped = append(r.info.Skipped, batch)
			return saveJSON(running, r.task, infoFile, r.info)
		case interrupted && !step.Last():
			result, err := step.Estimate(running)
			if err == nil {
				err = r.save(running, result, batch, true)
			}
			return cmp.Or(err, context.Cause(ctx))
		case step.Last():
			result, err := step.Result(running)
			if err != nil {
				return err
			}
			return r.save(running, result, batch, false)
		}
	}
	return nil
}

// show reports a step, of the batch at a place in the order, and shows what it leads to.
func (r *drawing) show(ctx context.Context, step *sd.Step, place int) error {
	done, total := place*step.Total+step.Index+1, r.Count*step.Total
	if r.pace == (pace{}) {
		r.pace = newPace(done)
	}
	stage := "drawing"
	if r.Count > 1 {
		stage = fmt.Sprintf("drawing %d of %d", place+1, r.Count)
	}
	r.task.Report(jobs.Progress{Stage: stage, Done: done, Total: total, Left: r.pace.left(done, total)})
	if !r.showed.due() {
		return nil
	}
	pictures, err := step.Preview(ctx, sd.ApproxCheap)
	if err != nil {
		return err
	}
	file, err := preview(pictures)
	if err != nil {
		return err
	}
	r.task.Preview(file)
	return nil
}

// save stores a batch: first what is to be said of it, so that no picture is there of which that is not known.
func (r *drawing) save(ctx context.Context, result *sd.Result, batch int, incomplete bool) error {
	q := result.Request
	if len(r.info.Pictures) == 0 {
		r.info.Request, r.info.Checkpoint = withoutPictures(q), r.open.Title
		r.info.Request.Seed = r.Request.Seed
	}
	r.info.Incomplete = incomplete
	ending := ".png"
	if incomplete {
		ending = incompleteEnding
	}
	first := len(r.info.Pictures)
	for i, p := range result.Pictures {
		d := Drawn{File: fmt.Sprint(batch*q.BatchSize+i, ending), Batch: batch, Seed: p.Seed, Infotext: p.Infotext, Width: p.Image.Rect.Dx(), Height: p.Image.Rect.Dy()}
		if r.Grid != nil {
			d.Cell = r.plot.Label(r.plot.At(batch))
		}
		if q.Variation.Strength != 0 {
			d.Subseed = q.Variation.Seed + int64(i)
		}
		r.info.Pictures = append(r.info.Pictures, d)
	}
	if err := saveJSON(ctx, r.task, infoFile, r.info); err != nil {
		return err
	}
	for i, p := range result.Pictures {
		if err := savePicture(ctx, r.task, r.info.Pictures[first+i].File, p); err != nil {
			return err
		}
	}
	return nil
}

// withoutPictures is a request without those that it begins with, which are large.
func withoutPictures(q sd.Request) sd.Request {
	q.Image = nil
	if q.Inpaint != nil {
		inpaint := *q.Inpaint
		inpaint.Mask, q.Inpaint = nil, &inpaint
	}
	return q
}
