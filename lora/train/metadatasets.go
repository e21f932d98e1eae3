package train

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora/dataset"
)

// describeDataset describes the pictures: folders of REPEATS_NAME with keys of their own, datasets of another form in one.
func describeDataset(m map[string]any, c dataset.Config, report dataset.Report) {
	set := c.Sets[0]
	m["ss_num_train_images"], m["ss_num_validation_images"] = report.TrainImages, report.ValidationImages
	m["ss_num_reg_images"] = regImages(report, -1)
	m["ss_cache_latents"] = c.CacheLatents || c.CacheLatentsToDisk
	m["ss_prior_loss_weight"] = 1.0
	if w := c.PriorLossWeight; w != nil {
		m["ss_prior_loss_weight"] = *w
	}
	m["ss_validation_split"], m["ss_validation_seed"] = set.ValidationSplit, nil
	if seed := set.ValidationSeed; seed != nil {
		m["ss_validation_seed"] = *seed
	}
	captions := set.Folder.CaptionOptions
	m["ss_caption_dropout_rate"], m["ss_caption_dropout_every_n_epochs"] = captions.DropoutRate, captions.DropoutEveryNEpochs
	m["ss_caption_tag_dropout_rate"], m["ss_face_crop_aug_range"] = captions.TagDropoutRate, nil
	if zoom := set.Folder.FaceCropAugRange; zoom != [2]float64{} {
		m["ss_face_crop_aug_range"] = fmt.Sprintf("(%s, %s)", python.String(zoom[0]), python.String(zoom[1]))
	}
	m["ss_resize_interpolation"] = interpolationName(set.Folder.ResizeInterpolation)
	m["modelspec.resolution"] = set.Resolution.String()
	if set.TrainDataDir != "" && len(c.Sets) == 1 && len(set.Subsets) == 0 {
		describeFolders(m, c, report)
		return
	}
	describeSets(m, c, report)
}

// regImages are the uses of regularisation pictures, as many as are asked for, in one set or, if that is negative, in all.
func regImages(report dataset.Report, set int) (n int) {
	for _, f := range report.Folders {
		if f.Reg && (set < 0 || f.Dataset == set) {
			n += f.Repeats * f.Images
		}
	}
	return n
}

// folderInfo is a folder in ss_dataset_dirs.
type folderInfo struct {
	Repeats int `json:"n_repeats"`
	Images  int `json:"img_count"`
}

// describeFolders describes train_data_dir and reg_data_dir.
func describeFolders(m map[string]any, c dataset.Config, report dataset.Report) {
	set := c.Sets[0]
	batch := max(1, set.BatchSize)
	m["ss_batch_size_per_device"], m["ss_total_batch_size"] = batch, batch*max(1, c.GradientAccumulationSteps)
	m["ss_resolution"] = fmt.Sprintf("(%d, %d)", set.Resolution.W, set.Resolution.H)
	m["ss_color_aug"], m["ss_flip_aug"], m["ss_random_crop"] = set.Folder.ColorAug, set.Folder.FlipAug, set.Folder.RandomCrop
	m["ss_shuffle_caption"], m["ss_keep_tokens"] = set.Folder.Shuffle, set.Folder.KeepTokens
	m["ss_enable_bucket"], m["ss_bucket_no_upscale"] = set.Enable, set.NoUpscale
	m["ss_min_bucket_reso"], m["ss_max_bucket_reso"] = bucketBounds(set.Bucketing)
	folders := map[bool]map[string]folderInfo{false: {}, true: {}}
	for _, f := range report.Folders {
		folders[f.Reg][f.Name] = folderInfo{f.Repeats, f.Images}
	}
	m["ss_dataset_dirs"], m["ss_reg_dataset_dirs"] = python.JSON(folders[false]), python.JSON(folders[true])
	m["ss_tag_frequency"], m["ss_bucket_info"] = python.JSON(report.Sets[0].TagFrequency), python.JSON(bucketsOf(report, 0, set.Bucketing))
}

// setInfo is a dataset in ss_datasets.
type setInfo struct {
	DreamBooth    bool                      `json:"is_dreambooth"`
	BatchSize     int                       `json:"batch_size_per_device"`
	TrainImages   int                       `json:"num_train_images"`
	RegImages     int                       `json:"num_reg_images"`
	Resolution    [2]int                    `json:"resolution"`
	EnableBucket  bool                      `json:"enable_bucket"`
	MinReso       any                       `json:"min_bucket_reso"`
	MaxReso       any                       `json:"max_bucket_reso"`
	TagFrequency  map[string]map[string]int `json:"tag_frequency"`
	Buckets       *bucketInfo               `json:"bucket_info"`
	Interpolation any                       `json:"resize_interpolation"`
	Subsets       []subsetInfo              `json:"subsets"`
}

// subsetInfo is a folder in it.
type subsetInfo struct {
	Images              int    `json:"img_count"`
	Repeats             int    `json:"num_repeats"`
	ColorAug            bool   `json:"color_aug"`
	FlipAug             bool   `json:"flip_aug"`
	RandomCrop          bool   `json:"random_crop"`
	Shuffle             bool   `json:"shuffle_caption"`
	KeepTokens          int    `json:"keep_tokens"`
	KeepTokensSeparator string `json:"keep_tokens_separator"`
	SecondarySeparator  any    `json:"secondary_separator"`
	Wildcard            bool   `json:"enable_wildcard"`
	Prefix              any    `json:"caption_prefix"`
	Suffix              any    `json:"caption_suffix"`
	Interpolation       any    `json:"resize_interpolation"`
	ImageDir            string `json:"image_dir"`
	ClassTokens         any    `json:"class_tokens"`
	Reg                 bool   `json:"is_reg"`
}

// describeSets describes the datasets of a dataset_config. A folder that several of them use has a number in ss_dataset_dirs
// from the second time on, and its tags are counted once.
func describeSets(m map[string]any, c dataset.Config, report dataset.Report) {
	folders, tags := make(map[string]folderInfo), make(map[string]map[string]int)
	var sets []setInfo
	for i, set := range c.Sets {
		info := setInfo{
			DreamBooth: true, BatchSize: max(1, set.BatchSize), RegImages: regImages(report, i), Resolution: [2]int{set.Resolution.W, set.Resolution.H},
			EnableBucket: set.Enable, TagFrequency: report.Sets[i].TagFrequency, Buckets: bucketsOf(report, i, set.Bucketing), Subsets: []subsetInfo{},
		}
		info.MinReso, info.MaxReso = bucketBounds(set.Bucketing)
		for _, f := range report.Folders {
			if f.Dataset != i {
				continue
			}
			subset := describeSubset(f, set)
			info.Subsets, info.Interpolation = append(info.Subsets, subset), cmp.Or(info.Interpolation, subset.Interpolation)
			if f.Reg {
				continue
			}
			info.TrainImages += f.Samples
			name := f.Name
			for n := 2; folders[name] != (folderInfo{}); n++ {
				name = fmt.Sprintf("%s (%d)", f.Name, n)
			}
			folders[name] = folderInfo{f.Repeats, f.Images}
		}
		for name, counts := range report.Sets[i].TagFrequency {
			if tags[name] == nil {
				tags[name] = counts
			}
		}
		sets = append(sets, info)
	}
	m["ss_datasets"], m["ss_dataset_dirs"], m["ss_tag_frequency"] = python.JSON(sets), python.JSON(folders), python.JSON(tags)
}

// describeSubset describes a folder with the options that it has in its set.
func describeSubset(f dataset.FolderReport, set dataset.Set) subsetInfo {
	s := set.Folder
	for _, subset := range set.Subsets {
		if filepath.Clean(subset.ImageDir) == filepath.Clean(f.Dir) {
			s = subset
			break
		}
	}
	return subsetInfo{
		Images: f.Images, Repeats: f.Repeats, ColorAug: s.ColorAug, FlipAug: s.FlipAug, RandomCrop: s.RandomCrop, Shuffle: s.Shuffle,
		KeepTokens: s.KeepTokens, KeepTokensSeparator: s.KeepTokensSeparator, SecondarySeparator: optional(s.SecondarySeparator), Wildcard: s.Wildcard,
		Prefix: optional(s.Prefix), Suffix: optional(s.Suffix), Interpolation: interpolationName(s.ResizeInterpolation), ImageDir: f.Name,
		ClassTokens: optional(s.ClassTokens), Reg: f.Reg,
	}
}

// bucketBounds are a set's least and greatest side, nil without buckets.
func bucketBounds(b dataset.Bucketing) (low, high any) {
	if !b.Enable {
		return nil, nil
	}
	return cmp.Or(b.MinReso, 256), cmp.Or(b.MaxReso, 1024)
}

// bucketInfo is ss_bucket_info.
type bucketInfo struct {
	Buckets map[string]bucket `json:"buckets"`
	Error   float64           `json:"mean_img_ar_error"`
}

type bucket struct {
	Resolution [2]int `json:"resolution"`
	Count      int    `json:"count"`
}

// bucketsOf are the buckets of a set, nil without.
func bucketsOf(report dataset.Report, set int, b dataset.Bucketing) *bucketInfo {
	if !b.Enable {
		return nil
	}
	buckets := make(map[string]bucket)
	for _, b := range report.Buckets {
		if b.Dataset == set {
			buckets[strconv.Itoa(len(buckets))] = bucket{[2]int{b.Resolution.W, b.Resolution.H}, b.Count}
		}
	}
	return &bucketInfo{buckets, report.Sets[set].MeanARError}
}

// interpolationName is what most write for a filter, nil for none.
func interpolationName(i dataset.Interpolation) any {
	switch i {
	case dataset.Cubic:
		return "bicubic"
	case dataset.Linear:
		return "bilinear"
	}
	return optional(string(i))
}
