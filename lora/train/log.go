package train

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/internal/tfevents"
	"github.com/atelier-go/atelier/invalid"
)

// Logging says where the numbers of a training are kept, in the options of sd-scripts. The zero value keeps none.
type Logging struct {
	// Dir gets a folder Prefix+YYYYmmddHHMMSS for each training, "logging_dir" and "log_prefix"; in it TrackerName,
	// "log_tracker_name", "network_train" if empty.
	Dir         string `json:"logging_dir"`
	Prefix      string `json:"log_prefix"`
	TrackerName string `json:"log_tracker_name"`
	// With is "log_with": "tensorboard" for event files, "json" for log.jsonl, a line of JSON for each step, "all" or "" for both.
	With string `json:"log_with"`
}

// logKinds are the values of "log_with".
var logKinds = []string{"", "all", "tensorboard", "json"}

// Check reports what is wrong with the options, as [invalid.FieldError]s of a Logging.
func (l Logging) Check() error {
	var errs []error
	if !slices.Contains(logKinds, l.With) {
		errs = append(errs, invalid.Field("Logging.With", l.With, "tensorboard, json or all"))
	}
	name := func(field, name string) {
		if name != "" && (filepath.Base(name) != name || name == "..") {
			errs = append(errs, invalid.Field("Logging."+field, name, "a name without a folder"))
		}
	}
	name("Prefix", l.Prefix)
	name("TrackerName", l.TrackerName)
	return errors.Join(errs...)
}

// log writes the numbers of one training.
type log struct {
	events *tfevents.Writer
	lines  *os.File
	failed bool // so that no more is written

	rates func(Rates) []GroupRate
	norms bool // whether norms of the modules' changes are bounded, and so are logged
}

// open makes the files of a training.
func (l Logging) open(now time.Time) (_ *log, err error) {
	if l.Dir == "" {
		return nil, nil
	}
	name := l.TrackerName
	if name == "" {
		name = "network_train"
	}
	folder := filepath.Join(l.Dir, l.Prefix+now.Format("20060102150405"), name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, l.unwritable(err)
	}
	into := new(log)
	if l.With != "json" {
		if into.events, err = tfevents.Create(folder, now); err != nil {
			return nil, l.unwritable(err)
		}
	}
	if l.With != "tensorboard" {
		into.lines, err = os.OpenFile(filepath.Join(folder, "log.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		if err != nil {
			return nil, errors.Join(l.unwritable(err), into.close())
		}
	}
	return into, nil
}

func (l Logging) unwritable(err error) error {
	return &invalid.FieldError{Field: "Config.Logging.Dir", Value: l.Dir, Want: "a folder that can be written to", Err: err}
}

// chart is what an event adds to a log: numbers under sd-scripts' names.
type chart struct {
	step, epoch int
	perEpoch    bool // charted over epochs, not over steps
	scalars     []tfevents.Scalar
}

func (c *chart) add(tag string, value float64) {
	c.scalars = append(c.scalars, tfevents.Scalar{Tag: tag, Value: value})
}

// chart is that of an event; of most it is empty.
func (l *log) chart(e Event) (c chart) {
	switch e := e.(type) {
	case StepDone:
		c.step, c.epoch = e.Step, e.Epoch
		l.chartStep(&c, e)
	case EpochDone:
		c.step, c.epoch, c.perEpoch = e.Step, e.Epoch, true
		c.add("loss/epoch_average", e.AverageLoss)
	case Validated:
		c.step, c.epoch, c.perEpoch = e.Step, e.Epoch, e.EpochEnd
		per := "loss/validation/step_"
		if e.EpochEnd {
			per = "loss/validation/epoch_"
		}
		c.add(per+"average", e.Loss)
		c.add(per+"divergence", e.Divergence)
	}
	return c
}

func (l *log) chartStep(c *chart, e StepDone) {
	c.add("loss/current", e.Loss)
	c.add("loss/average", e.AverageLoss)
	c.add("norm/gradient", e.Norm)
	for _, g := range l.rates(e.Rates) {
		c.add("lr/"+g.Name, g.Rate)
		if e.D > 0 {
			c.add("lr/d*lr/"+g.Name, e.D*g.Rate)
		}
	}
	if l.norms {
		c.add("max_norm/keys_scaled", float64(e.KeysScaled))
		c.add("max_norm/max_key_norm", e.MaxKeyNorm)
		c.add("norm/avg_key_norm", e.AverageKeyNorm)
	}
}

// write logs an event. Numbers that are not finite are left out of the lines, which cannot hold them.
func (l *log) write(now time.Time, e Event) error {
	if l == nil || l.failed {
		return nil
	}
	c := l.chart(e)
	if len(c.scalars) == 0 {
		return nil
	}
	var errs []error
	if l.events != nil {
		at := c.step
		if c.perEpoch {
			at = c.epoch
		}
		errs = append(errs, l.events.Write(now, at, c.scalars...))
	}
	if l.lines != nil {
		line := map[string]any{"time": now.UTC().Format(time.RFC3339Nano), "step": c.step, "epoch": c.epoch}
		for _, s := range c.scalars {
			if !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0) {
				line[s.Tag] = s.Value
			}
		}
		text, err := json.Marshal(line)
		if err == nil {
			_, err = l.lines.Write(append(text, '\n'))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// close closes the files. Closing nil is harmless.
func (l *log) close() error {
	if l == nil {
		return nil
	}
	var errs []error
	if l.events != nil {
		errs = append(errs, l.events.Close())
	}
	if l.lines != nil {
		errs = append(errs, l.lines.Close())
	}
	return errors.Join(errs...)
}
