package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/filename"
	"github.com/atelier-go/atelier/sd/infotext"
)

// naming says where pictures go.
type naming struct {
	output  string // the first one's file; "" where patterns name them
	folder  string
	pattern filename.Naming
	started time.Time
}

// flags defines -output, -folder, -pattern and -folder-pattern.
func (n *naming) flags(f *Flags) {
	f.Output(&n.output, "`FILE` PNG or JPEG to write (default: SEED.png); -n appends -2, -3 and so on")
	f.StringVar(&n.folder, "folder", "", "`FOLDER` for pictures under names by -pattern, instead of -output")
	f.StringVar(&n.pattern.Pattern, "pattern", "", `TEXT how pictures in -folder are named behind a number, as in the web UI (default: "[seed]-[prompt_spaces]")`)
	f.StringVar(&n.pattern.FolderPattern, "folder-pattern", "", `TEXT how folders below it are named, such as "[date]" (default: none)`)
}

// complete chooses what is not given. Several jobs have names by a pattern.
func (n *naming) complete(f *Flags, seed int64, several bool) error {
	n.started, n.pattern.NoFolders = time.Now(), n.pattern.FolderPattern == ""
	byPattern := several
	for _, name := range []string{"folder", "pattern", "folder-pattern"} {
		byPattern = byPattern || f.Given(name)
	}
	switch ext := strings.ToLower(filepath.Ext(n.output)); {
	case byPattern && n.output != "":
		return errors.New("-output names one picture: leave it out beside -folder, -pattern and -prompts-from-file, which name many")
	case byPattern:
	case n.output == "":
		n.output = fmt.Sprintf("%d.png", seed)
	case ext != ".png" && ext != ".jpg" && ext != ".jpeg":
		return fmt.Errorf("-output is %q, want a name that ends in .png or .jpg", n.output)
	}
	return nil
}

// writable finds out before the work whether so many pictures can be written.
func (n *naming) writable(pictures int) error {
	if n.output == "" {
		if n.folder == "" {
			return nil
		}
		if err := os.MkdirAll(n.folder, 0o777); err != nil {
			return fmt.Errorf("-folder: %w", err)
		}
		return nil
	}
	for i := range min(pictures, sd.MaxBatchSize) {
		if err := Writable("output", n.path(i)); err != nil {
			return err
		}
	}
	return nil
}

// path is -output for the picture with an index.
func (n *naming) path(i int) string {
	if i == 0 {
		return n.output
	}
	ext := filepath.Ext(n.output)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(n.output, ext), i+1, ext)
}

// save writes picture i of a job and returns its name.
func (n *naming) save(j job, result *sd.Result, i int) (path string, err error) {
	picture := result.Pictures[i]
	if path = n.path(i); n.output == "" {
		if path, err = n.pattern.Path(n.folder, n.values(j, result, i), filename.File{}); err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return "", fmt.Errorf("-folder: %w", err)
		}
	}
	return path, picture.Save(path)
}

// values are what patterns are filled with.
func (n *naming) values(j job, result *sd.Result, i int) *filename.Values {
	r, picture := result.Request, result.Pictures[i]
	said := func(key string) string {
		value, _ := infotext.Parse(picture.Infotext).Get(key)
		return value
	}
	v := &filename.Values{
		Prompt: r.Prompt, Negative: r.NegativePrompt, Styles: j.styles.names, Seed: &picture.Seed,
		Steps: r.Steps, Guidance: *r.Guidance, ClipSkip: r.ClipSkip, Sampler: string(r.Sampler), Schedule: said("Schedule type"),
		Model: said("Model"), ModelHash: said("Model hash"), VAE: said("VAE"),
		BatchSize: r.BatchSize, Batches: j.batches, BatchIndex: i, Batch: j.batch, Image: picture.Image, Time: time.Now(), Started: n.started,
	}
	if len(r.Image) > 0 {
		v.Denoising = *r.Strength
	}
	for _, p := range result.Pictures {
		v.Seeds = append(v.Seeds, p.Seed)
	}
	for _, name := range j.styles.names {
		if style, ok := j.styles.all.Find(name); ok {
			v.StyleTexts = append(v.StyleTexts, style.Prompt)
		}
	}
	return v
}
