package portrait

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// Config describes the way from a folder of photos to portraits. It can be kept as JSON, but for what it runs on. The zero value of
// what is not said to be needed is for Stable Diffusion 1.5.
type Config struct {
	// Device and Checkpoint are what is trained and drawn with; the caller closes them afterwards. Both are needed.
	Device     compute.Device      `json:"-"`
	Checkpoint *weights.Checkpoint `json:"-"`
	// Detector finds faces; nil is face.Cascades, for photos.
	Detector face.Detector `json:"-"`

	// Photos is the folder of the photos, which are only read, and Output the one where everything is written. Both are needed, and
	// neither lies in the other's work.
	Photos, Output string

	Check   CheckOptions
	Prepare PrepareOptions // its Name and Class are the person's, its Resolution that of the model if 0
	// Others is a folder of pictures of other people with their captions, so that these stay as they are; "" is none.
	Others string `json:",omitempty"`
	// DrawOthers is how many pictures of other people of the class the model draws itself for that, before it learns the person; 0 is
	// none. It takes the place of Others.
	DrawOthers int `json:",omitempty"`
	// Recipe is how the person is learned; nil is the function Recipe.
	Recipe func(DataSet, *weights.Checkpoint) train.Config `json:"-"`

	Score ScoreOptions
	// Embedder compares the faces of candidates to those of the photos; nil is Appearance.
	Embedder Embedder `json:"-"`
	// Weights are those that are tried, from 0 to 2; nil means 0.4, 0.6, 0.8 and 1.
	Weights []float64
	// Epoch and Weight are drawn with in place of the ones that Choose takes, where they are not 0: of a person who looked at the trials.
	Epoch  int     `json:",omitempty"`
	Weight float64 `json:",omitempty"`
	// Samples says that a picture of the person is drawn after each epoch of the training, to be looked at: train.Sampled tells of it.
	Samples bool `json:",omitempty"`
	// Enough is asked after each epoch whether the training is to end there; nil is never. With the epochs that there are the job goes on.
	Enough func() bool `json:"-"`

	Pictures Pictures
	// Pick is which of the best pictures becomes linkedin.png and cv.png, from 1 as they are ordered; 0 is the first.
	Pick int
	// Erase removes what was made of the photos when all is done: copies, crops, captions and masks. The photos stay. What still shows the
	// person, or has learned the person, is in Result.Remaining.
	Erase bool
}

// workFolder is where in Config.Output everything is that is not for people.
const workFolder = "work"

// defaults fills in what is zero, for a model of a side.
func (c Config) defaults(side int) Config {
	if c.Detector == nil {
		c.Detector = face.Cascades{}
	}
	if c.Recipe == nil {
		c.Recipe = Recipe
	}
	if c.Embedder == nil {
		c.Embedder = Appearance{}
	}
	if c.Weights == nil {
		c.Weights = []float64{0.4, 0.6, 0.8, 1}
	}
	if c.Prepare.Resolution == 0 {
		c.Prepare.Resolution = side
	}
	if c.Check.Resolution == 0 {
		c.Check.Resolution = c.Prepare.Resolution
	}
	if c.Score.Resolution == 0 {
		c.Score.Resolution = c.Prepare.Resolution
	}
	if c.Pick == 0 {
		c.Pick = 1
	}
	c.Prepare = c.Prepare.defaults()
	c.Pictures = c.Pictures.defaults(side)
	return c
}

// check reports everything that is wrong before any work.
func (c Config) check() error {
	var errs []error
	refuse := func(field string, value any, want string, args ...any) {
		errs = append(errs, invalid.Field("Config."+field, value, want, args...))
	}
	if c.Photos == "" {
		refuse("Photos", nil, "the folder with the person's photos")
	}
	if a, err := os.Stat(c.Photos); err == nil {
		if b, err := os.Stat(c.Output); err == nil && os.SameFile(a, b) {
			refuse("Output", c.Output, "another folder than that of the photos: what is drawn would be taken for photos the next time")
		}
	}
	if len(c.Weights) == 0 || slices.ContainsFunc(c.Weights, func(w float64) bool { return !(w > 0 && w <= 2) }) {
		refuse("Weights", fmt.Sprint(c.Weights), "one or more from above 0 to 2")
	}
	if !(c.Weight >= 0 && c.Weight <= 2) {
		refuse("Weight", c.Weight, "above 0 to 2, or 0 for the one that is found best")
	}
	if c.Epoch < 0 {
		refuse("Epoch", c.Epoch, "the number of an epoch from 1, or 0 for the one that is found best")
	}
	if c.Pick < 1 || c.Pictures.Best > 0 && c.Pick > c.Pictures.Best {
		refuse("Pick", c.Pick, "1 to %d, as many as are finished", c.Pictures.Best)
	}
	if c.DrawOthers < 0 || c.DrawOthers > MaxPhotos || c.DrawOthers > 0 && c.Others != "" {
		refuse("DrawOthers", c.DrawOthers, "1 to %d pictures, or 0 for none, which it must be where Others are given", MaxPhotos)
	}
	if c.Others != "" {
		if info, err := os.Stat(c.Others); err != nil || !info.IsDir() {
			refuse("Others", c.Others, "a folder of pictures of other people")
		}
	}
	errs = append(errs, invalid.Under("Config.Prepare", c.Prepare.check()), invalid.Under("Config.Pictures", c.Pictures.check()), c.checkOutput())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("portrait: %w", err)
	}
	return nil
}

// checkOutput makes the folder and sees whether it can be written to.
func (c Config) checkOutput() error {
	if c.Output == "" {
		return invalid.Field("Config.Output", nil, "the folder where everything is written")
	}
	refused := func(err error) error {
		return &invalid.FieldError{Field: "Config.Output", Value: c.Output, Want: "a folder that can be written to", Err: err}
	}
	if err := os.MkdirAll(filepath.Join(c.Output, workFolder), 0o777); err != nil {
		return refused(err)
	}
	for _, name := range []string{"linkedin.png", "report.html", filepath.Join(workFolder, ledgerName)} {
		if err := atomicfile.Check(filepath.Join(c.Output, name)); err != nil && !atomicfile.IsDiskFull(err) {
			return refused(err)
		}
	}
	return nil
}

// lora is what the LoRA is called, as a file and in prompts.
func (c Config) lora() string { return strings.ReplaceAll(c.Prepare.Name, " ", "_") + "_lora_v1" }

// others is the folder of other people's pictures, "" if there is none.
func (c Config) others() string {
	if c.DrawOthers > 0 {
		return c.work("others")
	}
	return c.Others
}

// work is a path in the folder for work.
func (c Config) work(name string) string { return filepath.Join(c.Output, workFolder, name) }
