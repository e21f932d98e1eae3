package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/internal/tfevents"
)

// Logging says where the numbers of a training are kept, in the options of sd-scripts. The zero value keeps none.
type Logging struct {
	// Dir gets a folder Prefix+YYYYmmddHHMMSS for each training, "logging_dir" and "log_prefix"; in it TrackerName,
	// "log_tracker_name", "network_train" if empty.
	Dir, Prefix, TrackerName string
	// With is "log_with": "tensorboard" for event files, "json" for log.jsonl, a line of JSON for each step, "all" or "" for both.
	With string
}

// logKinds are the values of "log_with".
var logKinds = []string{"", "all", "tensorboard", "json"}

// Check reports what is wrong with the options.
func (l Logging) Check() error {
	if !slices.Contains(logKinds, l.With) {
		return fmt.Errorf("lora: log_with is %q, want tensorboard, json or all", l.With)
	}
	for _, name := range []string{l.Prefix, l.TrackerName} {
		if name != "" && (filepath.Base(name) != name || name == "..") {
			return fmt.Errorf("lora: log_prefix and log_tracker_name are %q and %q, want names without a folder", l.Prefix, l.TrackerName)
		}
	}
	return nil
}

// log writes the numbers of one training.
type log struct {
	events *tfevents.Writer
	lines  *os.File
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
		return nil, fmt.Errorf("lora: logging_dir: %w; name a folder that can be written to", err)
	}
	into := new(log)
	if l.With != "json" {
		if into.events, err = tfevents.Create(folder, now); err != nil {
			return nil, fmt.Errorf("lora: logging_dir: %w", err)
		}
	}
	if l.With != "tensorboard" {
		into.lines, err = os.OpenFile(filepath.Join(folder, "log.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lora: logging_dir: %w", err), into.close())
		}
	}
	return into, nil
}

// write logs the scalars of a step or an epoch; events are charted over the one or the other. Those that are no finite
// number are left out of the lines, which cannot hold them.
func (l *log) write(now time.Time, p Progress, scalars []tfevents.Scalar) error {
	if l == nil || len(scalars) == 0 {
		return nil
	}
	var errs []error
	if l.events != nil {
		at := p.Step
		if p.Phase == "epoch" || p.EpochEnd {
			at = p.Epoch
		}
		errs = append(errs, l.events.Write(now, at, scalars...))
	}
	if l.lines != nil {
		line := map[string]any{"time": now.UTC().Format(time.RFC3339Nano), "step": p.Step, "epoch": p.Epoch}
		for _, s := range scalars {
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
