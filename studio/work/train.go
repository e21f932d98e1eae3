package work

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd/filename"
)

// Train asks for a LoRA. Results are NAME.safetensors in the end, NAME-000001.safetensors and so on as the configuration has epochs saved,
// sample/*.png as it has samples drawn, losses.json, a [Losses] that grows, and report.txt, which says what the training will be. What is
// needed to go on is kept, so that another worker does.
type Train struct {
	Checkpoint string `json:"checkpoint,omitzero"` // as Draw.Checkpoint
	Name       string `json:"name"`                // of the LoRA's file, without extension

	// Options are those of sd-scripts by their names, as package kohya has them; what is not named is as in its Recipe. Config is in place of
	// them, if it is not nil. Where the data set and what comes of it are on disk, and what is trained, is not their business; folders in them
	// are on the machine of the worker, or, if they are not absolute, those of Data.
	Options map[string]string `json:"options,omitempty"`
	Config  *train.Config     `json:"config,omitempty"`

	Data    []DataFile `json:"data,omitempty"`   // photos and captions, laid out in a folder that is Options' train_data_dir
	Prompts string     `json:"prompts,omitzero"` // sample prompts, a line each as in sd-scripts' .txt

	Save bool `json:"save,omitzero"` // Collect puts the LoRA into the library's folder
}

// DataFile is a file of a data set.
type DataFile struct {
	Path  string `json:"path"`  // below the folder, with slashes: "12_personname man/001.jpg"
	Input string `json:"input"` // its name in the queue's store, as PutInput gives it
}

// MaxDataFiles is the most files of a data set that a job carries.
const MaxDataFiles = 2000

// Losses are how a training has gone so far.
type Losses struct {
	Total     int               `json:"total"`            // steps, in all
	Memory    int64             `json:"memory,omitzero"`  // bytes that the device takes for it; 0 is not known
	Seconds   float64           `json:"seconds,omitzero"` // that all of it takes, as estimated before the first step; 0 is not known
	Steps     []LossPoint       `json:"steps"`
	Validated []ValidationPoint `json:"validated,omitempty"`
	Epochs    []EpochPoint      `json:"epochs"`
	Samples   []SamplePoint     `json:"samples,omitempty"`
	Saved     []SavedPoint      `json:"saved,omitempty"`
	Warnings  []string          `json:"warnings,omitempty"`
}

// LossPoint is a step.
type LossPoint struct {
	Step    int     `json:"step"`
	Loss    float64 `json:"loss"`
	Average float64 `json:"average"` // over an epoch
}

// ValidationPoint is the loss on pictures that are kept from training.
type ValidationPoint struct {
	Step  int     `json:"step"`
	Epoch int     `json:"epoch"`
	Loss  float64 `json:"loss"`
}

// EpochPoint is the end of an epoch.
type EpochPoint struct {
	Epoch   int     `json:"epoch"`
	Step    int     `json:"step"`
	Average float64 `json:"average"`
}

// SamplePoint is a sample picture.
type SamplePoint struct {
	File   string `json:"file"` // the result
	Epoch  int    `json:"epoch"`
	Step   int    `json:"step"`
	Prompt string `json:"prompt"`
}

// SavedPoint is a file that was saved.
type SavedPoint struct {
	File  string `json:"file"` // the result
	Epoch int    `json:"epoch"`
	Step  int    `json:"step"`
}

// Kind implements Request.
func (Train) Kind() string { return TrainKind }

// Check implements Request. What is wrong with the options the job itself says.
func (r Train) Check() error {
	var errs []error
	if r.Name == "" || r.Name != filename.Part(r.Name, false) || strings.HasPrefix(r.Name, ".") {
		errs = append(errs, invalid.Field("Train.Name", r.Name, "a name for a file, without extension"))
	}
	if len(r.Data) > MaxDataFiles {
		errs = append(errs, invalid.Field("Train.Data", len(r.Data), "up to %d files", MaxDataFiles))
	}
	seen := make(map[string]bool)
	for i, f := range r.Data {
		field := fmt.Sprintf("Train.Data[%d]", i)
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || path.Clean(f.Path) != f.Path || seen[strings.ToLower(f.Path)] || !plain(f.Path) {
			errs = append(errs, invalid.Field(field+".Path", f.Path, "the path of a file below a folder, of its own"))
		}
		seen[strings.ToLower(f.Path)] = true
		if !isInput(f.Input) {
			errs = append(errs, invalid.Field(field+".Input", f.Input, "the name of a file in the queue's store, inputs/SHA256/NAME"))
		}
	}
	return invalid.Join(errs...)
}

// inputs implements Request.
func (r Train) inputs() (names []string) {
	for _, f := range r.Data {
		names = append(names, f.Input)
	}
	return names
}

// plain reports whether all parts of a path are names that every system takes.
func plain(slashed string) bool {
	for part := range strings.SplitSeq(slashed, "/") {
		if part != filename.Part(part, false) {
			return false
		}
	}
	return true
}
