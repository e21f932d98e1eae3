package work

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/weights"
)

// train does a job that trains.
func (m *Machine) train(ctx context.Context, t *jobs.Task) error {
	r, err := readRequest[Train](t)
	if err != nil {
		return err
	}
	return m.use(ctx, func() error { return m.inFolder(t, func(dir string) error { return m.trainIn(ctx, t, r, dir) }) })
}

// inFolder does something in a folder that a job has while it runs.
func (m *Machine) inFolder(t *jobs.Task, do func(dir string) error) (err error) {
	dir, remove, err := m.folder(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return do(dir)
}

// trainIn trains in a folder.
func (m *Machine) trainIn(ctx context.Context, t *jobs.Task, r Train, dir string) (err error) {
	t.Report(jobs.Progress{Stage: "fetching the photos"})
	for _, f := range r.Data {
		if err := fetch(ctx, t, f.Input, filepath.Join(dir, "data", filepath.FromSlash(f.Path)), maxModel); err != nil {
			return err
		}
	}
	folder, err := openKeptFolder(ctx, t, filepath.Join(dir, "output"))
	if err != nil {
		return err
	}
	c, closeCheckpoint, err := m.lend(r.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeCheckpoint()) }()
	config, notes, err := m.trainConfig(ctx, r, c, dir)
	if err != nil {
		return err
	}
	l := &learning{machine: m, task: t, folder: folder, course: newCourse(ctx, t), late: late(ctx)}
	l.course.Warnings = notes
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for event, err := range train.Run(ctx, config) {
		if err != nil {
			return l.ended(ctx, config, err)
		}
		if err := l.tell(l.late, event); err != nil {
			return l.ended(ctx, config, err)
		}
		if _, ok := event.(train.EpochDone); ok && t.Wish() == jobs.Finish {
			stop(errEnough)
		}
	}
	return errors.Join(l.course.save(ctx, true), l.result(ctx, config, resultPath(config)))
}

// errEnough is why a training stops behind an epoch that is to be its last.
var errEnough = errors.New("work: enough was learned")

// lend opens a checkpoint for a job that has the device for itself: what was open for drawing gives its memory back. The caller has the
// turn.
func (m *Machine) lend(name string) (*weights.Checkpoint, func() error, error) {
	found, err := m.find(name)
	if err != nil {
		return nil, nil, err
	}
	if err := m.unload(); err != nil {
		return nil, nil, err
	}
	c, err := found.Open(m.options.Weights)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// ownOptions are those that a job cannot have, each with what is there for it.
var ownOptions = map[string]string{
	"output_dir": "Train.Name", "output_name": "Train.Name", "pretrained_model_name_or_path": "Train.Checkpoint", "sample_prompts": "Train.Prompts",
	"config_file": "its options themselves", "resume": "nothing: the job goes on by itself", "logging_dir": "losses.json",
}

// dataOptions name folders and files that may be those of Train.Data.
var dataOptions = []string{"train_data_dir", "reg_data_dir", "network_weights", "dataset_config", "conditioning_data_dir"}

// trainConfig is what a job asks for, to be done in a folder.
func (m *Machine) trainConfig(ctx context.Context, r Train, c *weights.Checkpoint, dir string) (config train.Config, notes []string, err error) {
	data := filepath.Join(dir, "data")
	if r.Config != nil {
		config = placed(*r.Config, data)
	} else if config, notes, err = m.optionsConfig(ctx, r, c, data); err != nil {
		return config, nil, err
	}
	config.Device, config.Checkpoint = m.device, c
	config.OutputDir, config.OutputName, config.SamplePrompts, config.Logging = filepath.Join(dir, "output"), r.Name, "", train.Logging{}
	if r.Prompts != "" {
		config.SamplePrompts = filepath.Join(dir, "prompts.txt")
		if err := os.WriteFile(config.SamplePrompts, []byte(r.Prompts), 0o666); err != nil {
			return config, nil, fmt.Errorf("work: %w", err)
		}
	}
	state, damaged, err := train.LatestState(config.OutputDir, config.OutputName)
	for _, d := range damaged {
		notes = append(notes, "passed over: "+d.Error())
	}
	if err == nil {
		config.Resume = state
	}
	return config, notes, nil
}

// placed is a configuration whose relative folders are below that of the data.
func placed(c train.Config, data string) train.Config {
	c.Dataset.Sets = slices.Clone(c.Dataset.Sets)
	for i, set := range c.Dataset.Sets {
		subsets := slices.Clone(set.Subsets)
		for j, s := range subsets {
			subsets[j].ImageDir, subsets[j].ConditioningDataDir = below(data, s.ImageDir), below(data, s.ConditioningDataDir)
		}
		c.Dataset.Sets[i].Subsets = subsets
	}
	c.NetworkWeights = below(data, c.NetworkWeights)
	return c
}

// below is a path in a folder, unless it is absolute or none.
func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, filepath.FromSlash(path))
}

// optionsConfig reads sd-scripts' options.
func (m *Machine) optionsConfig(ctx context.Context, r Train, c *weights.Checkpoint, data string) (config train.Config, notes []string, err error) {
	side, err := m.side(ctx, c)
	if err != nil {
		return config, nil, err
	}
	var o kohya.Options
	if o.Defaults = kohya.Recipe(); side <= smallSide {
		o.Defaults["resolution"], o.Defaults["min_bucket_reso"] = strconv.Itoa(side), strconv.Itoa(side)
	}
	flags := flag.NewFlagSet("train", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.Bind(flags)
	var errs []error
	set := func(name, value string) {
		if slices.Contains(dataOptions, name) {
			value = below(data, value)
		}
		if err := flags.Set(name, value); err != nil {
			errs = append(errs, invalid.Field("Train.Options["+name+"]", value, "an option of sd-scripts: %v", err))
		}
	}
	if len(r.Data) > 0 {
		set("train_data_dir", ".")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Options)) {
		if instead, own := ownOptions[name]; own {
			errs = append(errs, invalid.Field("Train.Options["+name+"]", r.Options[name], "%s in its place", instead))
			continue
		}
		set(name, r.Options[name])
	}
	if err := invalid.Join(errs...); err != nil {
		return config, nil, err
	}
	set("output_dir", filepath.Join(filepath.Dir(data), "output"))
	return o.Config()
}

// smallSide is the side of pictures up to which a model is a small one, whose own size is trained.
const smallSide = 256

// side is that of the pictures that a checkpoint was trained on.
func (m *Machine) side(ctx context.Context, c *weights.Checkpoint) (int, error) {
	pipe, err := sd.New(ctx, c, m.device, sd.Options{})
	if err != nil {
		return 0, err
	}
	return pipe.Side(), pipe.Close()
}

// learning is a training that a job does.
type learning struct {
	machine *Machine
	task    *jobs.Task
	folder  *keptFolder
	course  *course
	pace    pace
	late    context.Context // for what is stored
}

// tell passes an event of the training on.
func (l *learning) tell(ctx context.Context, event train.Event) error {
	now := false // the course is stored at once
	switch e := event.(type) {
	case train.Started:
		now = true
		l.task.Report(jobs.Progress{Stage: "training", Done: e.Report.Step, Total: e.Report.Dataset.Steps.Total, Left: e.Report.Time})
		if err := save(ctx, l.task, "report.txt", []byte(e.Report.String())); err != nil {
			return err
		}
	case train.LatentsCached:
		l.task.Report(jobs.Progress{Stage: "encoding the photos", Done: e.Done, Total: e.Total})
	case train.StepDone:
		if l.pace == (pace{}) {
			l.pace = newPace(e.Step)
		}
		note := fmt.Sprintf("loss %.4f", e.AverageLoss)
		l.task.Report(jobs.Progress{Stage: "training", Done: e.Step, Total: e.Steps, Left: l.pace.left(e.Step, e.Steps), Note: note})
	case train.Sampled:
		now = true
		if err := saveFile(ctx, l.task, "sample/"+filepath.Base(e.Path), e.Path); err != nil {
			return err
		}
	case train.Saved:
		now = true
		if err := l.course.save(ctx, true); err != nil { // whoever sees the file sees what led to it
			return err
		}
		if err := saveFile(ctx, l.task, filepath.Base(e.Path), e.Path); err != nil {
			return err
		}
	}
	l.course.add(event)
	if err := l.course.save(ctx, now); err != nil {
		return err
	}
	if _, saved := event.(train.Saved); saved || l.folder.due() {
		return l.folder.keep(ctx)
	}
	return nil
}

// resultPath is the file of what a training has learned in the end.
func resultPath(c train.Config) string {
	return filepath.Join(c.OutputDir, c.OutputName+".safetensors")
}

// result stores a file as what the training has learned, in place of what was stored as that before.
func (l *learning) result(ctx context.Context, c train.Config, path string) error {
	return saveFile(ctx, l.task, filepath.Base(resultPath(c)), path)
}

// ended keeps what an interrupted training has saved: for people if they interrupted it or have enough, for the next worker always.
func (l *learning) ended(ctx context.Context, c train.Config, err error) error {
	e, interrupted := errors.AsType[*train.InterruptedError](err)
	switch {
	case errors.Is(context.Cause(ctx), jobs.ErrCancelled), errors.Is(context.Cause(ctx), jobs.ErrLost):
		return err
	case interrupted && e.Path != "" && errors.Is(e.Err, errEnough):
		err = l.result(l.late, c, e.Path)
	case interrupted && e.Path != "":
		err = errors.Join(err, saveFile(l.late, l.task, filepath.Base(e.Path), e.Path))
	}
	return errors.Join(err, l.course.save(l.late, true), l.folder.keep(l.late))
}
