package dataset

import (
	"errors"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/invalid"
)

// Config says what a LoRA is trained on. Keys of its JSON form are the option names of sd-scripts; fields tagged
// resume:"-" change no result.
type Config struct {
	// Sets are trained together; each has its own resolution, batch size and buckets. At least one.
	Sets []Set `json:"datasets"`
	// Seed fixes order, crops, flips, colours and captions of every epoch, and the validation split if that has no seed of its own.
	Seed uint64 `json:"seed"`
	// GradientAccumulationSteps is how many batches make an optimizer step; 0 means 1.
	GradientAccumulationSteps int `json:"gradient_accumulation_steps,omitempty"`
	// MaxTrainEpochs decides the number of steps; if it is 0, MaxTrainSteps does, where 0 means 1600.
	MaxTrainEpochs int `json:"max_train_epochs,omitempty"`
	MaxTrainSteps  int `json:"max_train_steps,omitempty"`
	// PriorLossWeight is the weight of regularisation pictures in the loss; nil means 1.
	PriorLossWeight *float64 `json:"prior_loss_weight,omitempty"`
	// CacheLatents says that every picture is encoded once, which rules out colour augmentation and random crops.
	// CacheLatentsToDisk implies it, and that no two pictures of a folder may share their name up to the extension.
	CacheLatents       bool `json:"cache_latents,omitempty" resume:"-"`
	CacheLatentsToDisk bool `json:"cache_latents_to_disk,omitempty" resume:"-"`
	// SkipCacheCheck trusts cached latents whose keys and shapes fit, without looking whether the picture changed since.
	SkipCacheCheck bool `json:"skip_cache_check,omitempty" resume:"-"`
}

// Set is one dataset: folders trained at one resolution.
type Set struct {
	// Resolution is the size whose area pictures are trained at; required.
	Resolution Size `json:"resolution"`
	// BatchSize is the largest number of pictures in a batch; 0 means 1.
	BatchSize int `json:"batch_size,omitempty"`
	Bucketing

	// TrainDataDir and RegDataDir are parents of folders called "N_name": N repeats, fallback caption "name".
	// Folder holds the options of all of them.
	TrainDataDir string `json:"train_data_dir,omitempty" resume:"-"`
	RegDataDir   string `json:"reg_data_dir,omitempty" resume:"-"`
	Folder       Subset `json:"folder"`
	// Subsets are further folders, each with its own options; "N_name" has no meaning in their names.
	Subsets []Subset `json:"subsets,omitempty"`

	// ValidationSplit is the part, 0 to below 1, of each folder's pictures (regularisation aside) that is kept from training.
	ValidationSplit float64 `json:"validation_split,omitempty"`
	// ValidationSeed chooses that part; nil means Config.Seed.
	ValidationSeed *uint64 `json:"validation_seed,omitempty"`
}

// Subset is one folder of pictures. Subfolders are not looked into.
type Subset struct {
	ImageDir string `json:"image_dir,omitempty" resume:"-"`
	// Repeats is how often a picture is used in an epoch; 0 means 1.
	Repeats int `json:"num_repeats,omitempty"`
	// ClassTokens is the caption of pictures without a caption file; those with one do not get it.
	ClassTokens string `json:"class_tokens,omitempty"`
	// Reg marks regularisation pictures: trained along with PriorLossWeight, as many as there are training pictures.
	Reg bool `json:"is_reg,omitempty"`
	// CaptionExtension is the extension of caption files with its dot. Empty means .txt, and .caption where there is none.
	CaptionExtension string `json:"caption_extension,omitempty"`
	CaptionOptions

	// FlipAug mirrors left and right in half of the uses.
	FlipAug bool `json:"flip_aug,omitempty"`
	// ColorAug shifts hue or gamma in a third of the uses.
	ColorAug bool `json:"color_aug,omitempty"`
	// RandomCrop cuts the bucket out anywhere instead of from the middle.
	RandomCrop bool `json:"random_crop,omitempty"`
	// FaceCropAugRange is how many times its face a picture shows at least and at most; zeros mean off. It acts on files called
	// name_cx_cy_w_h, for the centre and size of the face in pixels, of sets without buckets.
	FaceCropAugRange [2]float64 `json:"face_crop_aug_range,omitzero"`
	// ResizeInterpolation is the filter pictures are scaled with.
	ResizeInterpolation Interpolation `json:"resize_interpolation,omitempty"`
	// EXIFOrientation turns pictures the way the camera was held. sd-scripts, and the zero value, train them as stored.
	EXIFOrientation bool `json:"exif_orientation,omitempty"`
	// AlphaOverWhite lays transparent pictures on white. sd-scripts, and the zero value, drop alpha, so that whatever colour
	// is stored under transparent areas appears.
	AlphaOverWhite bool `json:"alpha_over_white,omitempty"`
	// AlphaMask uses alpha as a mask of the loss.
	AlphaMask bool `json:"alpha_mask,omitempty"`
	// ConditioningDataDir holds masks of the loss: pictures of the same names and sizes, of which the red channel counts.
	ConditioningDataDir string `json:"conditioning_data_dir,omitempty" resume:"-"`
}

// validate reports every problem that shows without looking at files, as [invalid.FieldError]s of "Config".
func (c Config) validate() error {
	var errs []error
	refuse := func(field string, value any, want string, args ...any) {
		errs = append(errs, invalid.Field(field, value, want, args...))
	}
	if len(c.Sets) == 0 {
		refuse("Sets", nil, "a dataset: no dataset given")
	}
	for _, n := range []struct {
		field string
		value int
	}{{"GradientAccumulationSteps", c.GradientAccumulationSteps}, {"MaxTrainEpochs", c.MaxTrainEpochs}, {"MaxTrainSteps", c.MaxTrainSteps}} {
		if n.value < 0 || n.value > maxCount {
			refuse(n.field, n.value, "0 to %d", maxCount)
		}
	}
	if w := c.PriorLossWeight; w != nil && !(*w >= 0 && *w <= 1e6) {
		refuse("PriorLossWeight", *w, "a number from 0")
	}
	for i, s := range c.Sets {
		errs = append(errs, within(fmt.Sprintf("Sets[%d]", i), s.validate(c)))
	}
	if err := within("Config", invalid.Join(errs...)); err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	return nil
}

// within says of which field the fields are that errors speak of.
func within(field string, err error) error {
	for _, e := range invalid.Fields(err) {
		e.Field = field + "." + e.Field
	}
	return err
}

// maxCount bounds repeats, steps and epochs, far beyond any training.
const maxCount = 1 << 30

func (s Set) validate(c Config) error {
	var errs []error
	if s.BatchSize < 0 || s.BatchSize > 1<<16 {
		errs = append(errs, invalid.Field("BatchSize", s.BatchSize, "1 or more"))
	}
	if !(s.ValidationSplit >= 0 && s.ValidationSplit < 1) {
		errs = append(errs, invalid.Field("ValidationSplit", s.ValidationSplit, "0 to below 1"))
	}
	if s.TrainDataDir != "" || s.RegDataDir != "" {
		errs = append(errs, within("Folder", s.Folder.validate(c)))
	} else if len(s.Subsets) == 0 {
		errs = append(errs, invalid.Field("TrainDataDir", nil, "a folder: no folder given"))
	}
	for i, subset := range s.Subsets {
		if subset.ImageDir == "" {
			errs = append(errs, invalid.Field(fmt.Sprintf("Subsets[%d].ImageDir", i), nil, "a folder of pictures"))
		}
		errs = append(errs, within(fmt.Sprintf("Subsets[%d]", i), subset.validate(c)))
	}
	return errors.Join(errs...)
}

func (s Subset) validate(c Config) error {
	errs := []error{s.CaptionOptions.validate()}
	refuse := func(field string, value any, want string, args ...any) {
		errs = append(errs, invalid.Field(field, value, want, args...))
	}
	if s.Repeats < 0 || s.Repeats > maxRepeats {
		refuse("Repeats", s.Repeats, "1 to %d", maxRepeats)
	}
	if s.CaptionExtension != "" && !strings.HasPrefix(s.CaptionExtension, ".") {
		refuse("CaptionExtension", s.CaptionExtension, "it with its dot, such as .txt")
	}
	if _, err := s.ResizeInterpolation.canonical(); err != nil {
		refuse("ResizeInterpolation", string(s.ResizeInterpolation), "lanczos, box, nearest, bilinear, bicubic or area")
	}
	low, high := s.FaceCropAugRange[0], s.FaceCropAugRange[1]
	faces := low != 0 || high != 0
	if faces && !(low > 0 && low <= high && high <= maxSide) {
		refuse("FaceCropAugRange", s.FaceCropAugRange, "two ascending numbers above 0, such as 2.0,4.0")
	}
	const kept = "it off: cached latents (Config.CacheLatents) stay as they are, and this changes pictures at each use"
	if c.CacheLatents || c.CacheLatentsToDisk {
		for _, o := range []struct {
			field string
			on    bool
		}{{"ColorAug", s.ColorAug}, {"RandomCrop", s.RandomCrop}, {"FaceCropAugRange", faces}} {
			if o.on {
				refuse(o.field, nil, kept)
			}
		}
	}
	return errors.Join(errs...)
}

// maxRepeats bounds num_repeats and the N of "N_name".
const maxRepeats = 1 << 20
