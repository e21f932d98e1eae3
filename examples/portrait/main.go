// Portrait is the main job from end to end: from a folder of photos of a person to linkedin.png and cv.png.
//
//	go run ./examples/portrait
//	go run ./examples/portrait -model v1-5-pruned-emaonly.safetensors -photos ~/me -name personname -class woman
//
// It looks at the photos, learns the person, chooses epoch and weight, draws candidates and finishes the best of them. What it did and
// why is in portraits/report.html. Stopped and started again it goes on where it was. Without -photos it puts sample photos into
// portraits/photos, and without -model it teaches the tiny portrait model built into the program, which takes two or three minutes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/examples/internal/tiny"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
	"github.com/atelier-go/atelier/weights"
)

func main() {
	cli.Main("portrait", func(ctx context.Context, args []string, out, _ io.Writer) error { return run(ctx, args, out) })
}

// job is what the command line asks for.
type job struct {
	portrait.Config
	model           cli.Model
	on              cli.Device
	epochs, repeats int

	log io.Writer
}

// flags fill these fields.
var flags = map[string]string{
	"Config.Photos": "-photos", "Config.Output": "-output", "Config.Others": "-others", "Config.DrawOthers": "-draw-others", "Config.Pick": "-pick",
	"Config.Prepare.Name": "-name", "Config.Prepare.Class": "-class", "Config.Prepare.Resolution": "-resolution", "Config.Prepare.Caption": "-caption",
	"Config.Pictures.Preset": "-preset", "Config.Pictures.Candidates": "-n", "Config.Pictures.Best": "-best", "Config.Pictures.Request.Seed": "-seed",
	"CheckOptions.Keep": "-keep", "CheckOptions.Drop": "-drop",
}

const usage = `portrait makes linkedin.png and cv.png of a person from a folder of photos.

  portrait
  portrait -model v1-5-pruned-emaonly.safetensors -photos ~/me -name personname -class woman
`

func parse(args []string, log io.Writer) (j job, err error) {
	f := cli.NewFlags("portrait", usage, log)
	j.log, j.Output = log, "portraits"
	f.StringVar(&j.Photos, "photos", "", "`FOLDER` 10 to 30 photos of the person (default: sample photos in OUTPUT/photos)")
	f.StringVar(&j.Prepare.Name, "name", "personname", "`WORD` that will stand for the person in prompts: best one that means nothing yet")
	f.StringVar(&j.Prepare.Class, "class", "", "`WORD` what the person is to the model: man, woman (default: person)")
	names := func(into *[]string) func(string) error {
		return func(name string) error { *into = append(*into, name); return nil }
	}
	f.Func("keep", "`NAME` a photo to use whatever is found; repeat it for several", names(&j.Check.Keep))
	f.Func("drop", "`NAME` a photo not to use, likewise", names(&j.Check.Drop))
	keepPhotos := f.Bool("keep-photos", true, "keep the crops and masks made of the photos; =false erases them in the end")
	f.StringVar(&j.Others, "others", "", "`FOLDER` pictures of other people, so that these stay as they are")
	f.IntVar(&j.DrawOthers, "draw-others", 0, "`NUMBER` of such pictures that the model draws itself before it learns the person")
	f.StringVar(&j.Prepare.Caption, "caption", "", "`TEXT` of photos without a text file beside them (default: photo of NAME CLASS)")
	f.IntVar(&j.Prepare.Resolution, "resolution", 0, "`PIXELS` side of what is trained (default: the model's own)")
	f.IntVar(&j.epochs, "epochs", 0, "`NUMBER` of the training (default: as the photos want)")
	f.IntVar(&j.repeats, "repeats", 0, "`NUMBER` of times a photo is used in an epoch (default: likewise)")
	f.Group("Person", "photos", "name", "class", "keep", "drop", "keep-photos")
	f.Output(&j.Output, "`FOLDER` where everything is written, and gone on from")
	f.StringVar(&j.Pictures.Preset, "preset", "", "`NAME` linkedin, cv, studio or outdoor (default: linkedin)")
	f.StringVar(&j.Pictures.Prompt, "prompt", "", "`TEXT` words of your own instead; {person} stands for the person")
	f.StringVar(&j.Pictures.Negative, "negative", "", "`TEXT` what is not to be seen")
	f.IntVar(&j.Pictures.Candidates, "n", 32, "`NUMBER` candidates to draw")
	f.IntVar(&j.Pictures.Best, "best", 8, "`NUMBER` of them to finish")
	f.IntVar(&j.Pick, "pick", 1, "`NUMBER` which of these becomes linkedin.png and cv.png")
	f.Int64Var(&j.Pictures.Request.Seed, "seed", 1, "`NUMBER` of the first candidate")
	f.Group("Pictures", "output", "preset", "prompt", "negative", "n", "best", "pick")
	f.Model(&j.model)
	f.Weights(&j.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Group("Model", "model", "vae", "text-encoder", "model-config", "variant")
	f.Device(&j.on)
	f.Group("Computing", "device", "threads")
	if err := f.Parse(args, 0); err != nil {
		return j, err
	}
	j.Erase = !*keepPhotos
	return j, j.check()
}

// check refuses numbers that stand for defaults in the configuration, and such as cannot be.
func (j *job) check() error {
	var errs []error
	for _, n := range []struct {
		name         string
		value, least int
	}{{"n", j.Pictures.Candidates, 1}, {"best", j.Pictures.Best, 1}, {"pick", j.Pick, 1}, {"epochs", j.epochs, 0}, {"repeats", j.repeats, 0}} {
		if n.value < n.least || n.value > portrait.MaxCandidates {
			errs = append(errs, fmt.Errorf("-%s is %d, want %d to %d", n.name, n.value, n.least, portrait.MaxCandidates))
		}
	}
	return errors.Join(errs...)
}

// run does what the command line asks for.
func run(ctx context.Context, args []string, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, flags) }()
	j, err := parse(args, log)
	if err != nil {
		return err
	}
	closeAll, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	return j.work(ctx)
}

// open lays out the sample photos if there are no others, and opens what is computed with.
func (j *job) open(ctx context.Context) (closeAll func(), err error) {
	if err := j.findPhotos(); err != nil {
		return nil, err
	}
	if j.Checkpoint, err = j.model.Open(ctx, j.log); err != nil {
		return nil, err
	}
	if j.Device, err = j.on.Open(); err != nil {
		return nil, errors.Join(err, j.Checkpoint.Close())
	}
	if j.model.IsTiny() {
		j.Detector = drawn.Detector{}
		tiny.Pictures(&j.Pictures)
	}
	j.Recipe = j.recipe
	return func() { j.Device.Close(); j.Checkpoint.Close() }, nil
}

// recipe is portrait.Recipe, as long as the flags say.
func (j *job) recipe(s portrait.DataSet, c *weights.Checkpoint) train.Config {
	cfg := portrait.Recipe(s, c)
	if j.repeats > 0 {
		cfg.Dataset.Sets[0].Subsets[0].Repeats = j.repeats
	}
	if j.epochs > 0 {
		cfg.Dataset.MaxTrainEpochs = j.epochs
	}
	return cfg
}

// findPhotos lays out the sample photos if there are no others.
func (j *job) findPhotos() error {
	if err := os.MkdirAll(j.Output, 0o777); err != nil {
		return fmt.Errorf("-output: %w; choose a folder that can be written to", err)
	}
	var errs []error
	if j.Photos == "" {
		j.Photos = filepath.Join(j.Output, "photos")
		errs = append(errs, tiny.LayOut(j.Photos, tiny.Person))
		if j.Prepare.Class == "" {
			j.Prepare.Class = "man"
		}
	}
	if j.model.IsTiny() && j.Others == "" && j.DrawOthers == 0 {
		j.Others = filepath.Join(j.Output, "others")
		errs = append(errs, tiny.LayOut(j.Others, tiny.Others))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("-output: %w; choose a folder that can be written to", err)
	}
	return nil
}

// titles are what stages are called while they are done.
var titles = map[portrait.Stage]string{
	portrait.Checking: "photos", portrait.Training: "training", portrait.Choosing: "likeness", portrait.Drawing: "candidates",
	portrait.Ranking: "ranking", portrait.Refining: "finishing",
}

// work does the job and tells how it goes.
func (j *job) work(ctx context.Context) error {
	t := &teller{job: j}
	defer func() { t.bar.Done() }()
	t.begin("")
	for event, err := range portrait.Run(ctx, j.Config) {
		if err != nil {
			return err
		}
		if err := t.tell(event); err != nil {
			return err
		}
	}
	return nil
}

// teller writes what happens.
type teller struct {
	*job
	bar *terminal.Bar
}

// begin begins a bar of another stage.
func (t *teller) begin(s portrait.Stage) { t.bar = terminal.NewBar(t.log, titles[s], "step") }

// say writes a line below the bar.
func (t *teller) say(format string, args ...any) {
	t.bar.Done()
	fmt.Fprintln(t.log, cli.Printable(fmt.Sprintf(format, args...)))
}

func (t *teller) tell(event portrait.Event) error {
	switch e := event.(type) {
	case portrait.StageBegun:
		t.begin(e.Stage)
	case portrait.Progress:
		t.bar.Set(e.Done, e.Total)
	case portrait.StageDone:
		if t.bar.Done(); e.Kept && titles[e.Stage] != "" && e.Stage != portrait.Checking {
			t.say("%s: done before", titles[e.Stage])
		}
	case portrait.PhotoChecked:
		if v := e.Photo.Verdict(); v > portrait.Keep {
			t.say("%s %s: %s", v, e.Photo.Name, e.Photo.Findings[0])
		}
	case portrait.Warning:
		t.say("note: %s", e.Text)
	case portrait.DataSetMade:
		t.say("%d photos are learned, %d are held out to compare with", len(e.DataSet.Training), len(e.DataSet.HeldOut))
	case portrait.Learning:
		if started, ok := e.Event.(train.Started); ok {
			return cli.Fits(started.Report.Memory)
		}
	case portrait.Chosen:
		t.say("%s", e.Choice.Reason)
	case portrait.Finished:
		t.report(e.Result)
	}
	return nil
}

// report says what there is now and what to do with it.
func (t *teller) report(r portrait.Result) {
	t.say(`
%s
%s
are the portraits, with JPEGs to upload beside them. Why these, and all others: %s

Draw anything else with the LoRA:
  go run ./examples/txt2img %s-lora-dir "%s" -prompt "photo of %s %s, <lora:%s:%.2g>"`,
		r.LinkedIn[0], r.CV[0], r.Report, t.modelFlag(), t.Output, t.Prepare.Name, t.Prepare.Class, strings.TrimSuffix(filepath.Base(r.LoRA), ".safetensors"), r.Weight)
	if t.Erase {
		t.say("\nCopies and crops of the photos are erased. These files still show the person, or have learned the person:\n  %s", strings.Join(r.Remaining, "\n  "))
	}
}

// modelFlag is what names the model to other programs.
func (t *teller) modelFlag() string {
	if t.model.IsTiny() {
		return "-cfg 4 "
	}
	return fmt.Sprintf("-model %q ", t.model.Path)
}
