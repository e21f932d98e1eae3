// Package library is what a studio has on disk: checkpoints, LoRAs, VAEs, textual inversions, upscalers, styles and settings, and the
// pictures that were drawn. They are in a folder laid out as that of AUTOMATIC1111's web UI, and an installation of that or of ComfyUI is
// used in place.
//
//	l, err := library.Open(library.Options{DataDir: "data", WebUI: "stable-diffusion-webui"})
//	checkpoint, err := l.Checkpoint("v1-5-pruned-emaonly")
//	pipe, err := sd.Open(ctx, checkpoint.Path, dev, l.PipelineOptions())
//	path, err := l.SavePicture(library.Txt2Img, result.Pictures[0])
//
// The package knows no device and no queue.
package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/prompt"
)

// Options say where things are. All folders are optional.
type Options struct {
	// DataDir has what is written, settings, styles and outputs, and models in folders named as the web UI's. It is made if need be.
	// Without it nothing is written, but for what has a folder of its own.
	DataDir string
	// WebUI is the folder of an installation of AUTOMATIC1111's web UI, or one of its descendants, or of ComfyUI, whose models are found
	// too. Of the first, styles and outputs are used as well; its settings are left alone.
	WebUI string

	// The rest are in place of what DataDir has, and searched before WebUI's.
	CheckpointDir, LoRADir, VAEDir, EmbeddingDir, UpscalerDir, OutputDir string

	StylesFile string

	// Embedded is a diffusers folder that the program carries, known as a checkpoint called EmbeddedName.
	Embedded     fs.FS
	EmbeddedName string
}

// Library is an open library. Its methods may be called from several goroutines.
type Library struct {
	options  Options
	places   places
	settings *Settings

	mu          sync.Mutex
	checkpoints []Checkpoint
	loras       []LoRA
	read        map[string]described // what LoRAs say, by path
	vaes        []File
	embeddings  []File
	upscalers   []File
	styles      prompt.Styles
	skipped     []error // what could not be looked at

	collecting sync.Mutex // guards the notes of what was saved of jobs
	rescans    rescans

	gallery gallery
}

// Open opens a library and looks for what is there.
func Open(o Options) (*Library, error) {
	l := &Library{options: o, read: make(map[string]described)}
	var err error
	if l.places, err = o.places(); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	if l.settings, err = openSettings(l.places.settings); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	l.gallery.init(l.places.outputs)
	return l, l.Refresh()
}

// DataDir is the folder of what is written; "" is none.
func (l *Library) DataDir() string { return l.options.DataDir }

// Places are where things are: of "checkpoints", "loras", "vaes", "embeddings" and "upscalers" the folder that is searched first, the file of
// "styles", and the folder "data". What has no place is "".
func (l *Library) Places() map[string]string {
	places := map[string]string{"data": l.options.DataDir, "styles": l.places.styles}
	for name, dirs := range map[string][]string{
		"checkpoints": l.places.checkpoints, "loras": l.places.loras, "vaes": l.places.vaes, "embeddings": l.places.embeddings, "upscalers": l.places.upscalers,
	} {
		if there := existing(dirs); len(there) > 0 {
			places[name] = there[0]
		}
	}
	return places
}

// Settings are the web UI's options, as they are set here.
func (l *Library) Settings() *Settings { return l.settings }

// PipelineOptions are the folders, for sd.Open.
func (l *Library) PipelineOptions() sd.Options {
	return sd.Options{
		CheckpointDirs: existing(l.places.checkpoints), LoRADirs: existing(l.places.loras), VAEDirs: existing(l.places.vaes),
		EmbeddingDirs: existing(l.places.embeddings), UpscalerDirs: existing(l.places.upscalers),
	}
}

// Refresh looks again for all that is there. The error is of the file of styles; what cannot be looked at besides is left out, and told
// by Skipped.
func (l *Library) Refresh() error {
	skipped := slices.Clone(l.settings.skipped)
	look := func(dirs []string, take func(path, name string, folder bool) bool) []File {
		files, errs := scan(existing(dirs), take)
		skipped = append(skipped, errs...)
		return files
	}
	checkpoints, loras := look(l.places.checkpoints, isCheckpoint), look(l.places.loras, isLoRA)
	vaes := look(l.places.vaes, isWeights)
	embeddings, upscalers := look(l.places.embeddings, isEmbedding), look(l.places.upscalers, isUpscaler)
	styles, err := readStyles(l.places.styles)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkpoints = l.asCheckpoints(checkpoints)
	l.loras = l.asLoRAs(loras)
	l.vaes, l.embeddings, l.upscalers, l.skipped = vaes, embeddings, upscalers, skipped
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	l.styles = styles
	return nil
}

// Skipped are the folders and files that the last Refresh could not look at.
func (l *Library) Skipped() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.skipped)
}

// VAEs are the files of VAEs by their names.
func (l *Library) VAEs() []File { return l.files(&l.vaes) }

// Embeddings are the files of textual inversions by their names.
func (l *Library) Embeddings() []File { return l.files(&l.embeddings) }

// Upscalers are the files of the ESRGAN family by their names.
func (l *Library) Upscalers() []File { return l.files(&l.upscalers) }

// Upscaler finds one of Upscalers by its name, or that of its file. If there is none it looks through the folders again, unless it did a moment
// ago, before the error is a *NotFoundError.
func (l *Library) Upscaler(name string) (File, error) {
	find := func() (f File, ok bool) {
		all := l.Upscalers()
		at := slices.IndexFunc(all, func(f File) bool { return f.Name == name || filepath.Base(f.Path) == name })
		if at < 0 {
			return f, false
		}
		return all[at], true
	}
	if f, ok := find(); ok {
		return f, nil
	}
	if err := l.lookAgain(); err != nil {
		return File{}, err
	}
	if f, ok := find(); ok {
		return f, nil
	}
	e := &NotFoundError{Kind: "upscaler", Name: name, Known: []string{sd.NoUpscaler, sd.Lanczos, sd.Nearest}, Dirs: existing(l.places.upscalers)}
	for _, f := range l.Upscalers() {
		e.Known = append(e.Known, f.Name)
	}
	return File{}, e
}

func (l *Library) files(of *[]File) []File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(*of)
}

// places are the folders, those that are searched first before others, and files.
type places struct {
	checkpoints, loras, vaes, embeddings, upscalers []string

	styles, outputs, settings, collected string // "" is none
}

// layout is where a program has its models, below its folder.
type layout struct {
	program                                         string
	checkpoints, loras, vaes, embeddings, upscalers []string
	writes                                          bool // outputs and styles.csv are where the web UI has them
}

// layouts are known by the first folder of their checkpoints.
var layouts = []layout{
	{
		"AUTOMATIC1111's web UI", []string{"models/Stable-diffusion"}, []string{"models/Lora", "models/LyCORIS"},
		[]string{"models/VAE", "models/VAE-approx", "models/VAE-taesd"}, []string{"embeddings"}, []string{"models/ESRGAN", "models/RealESRGAN"}, true,
	},
	{
		"ComfyUI", []string{"models/checkpoints", "models/diffusers"}, []string{"models/loras"}, []string{"models/vae", "models/vae_approx"},
		[]string{"models/embeddings"}, []string{"models/upscale_models"}, false,
	},
}

// isIn reports whether a folder is the program's.
func (p layout) isIn(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p.checkpoints[0])))
	return err == nil && info.IsDir()
}

// Installation is the first of folders that has one of the programs whose models Options.WebUI takes; "" if none has.
func Installation(dirs ...string) string {
	for _, dir := range dirs {
		for _, p := range layouts {
			if p.isIn(dir) {
				return dir
			}
		}
	}
	return ""
}

// in are the layout's places below a folder.
func (p layout) in(dir string) places {
	below := func(names []string) (dirs []string) {
		for _, name := range names {
			dirs = append(dirs, filepath.Join(dir, filepath.FromSlash(name)))
		}
		return dirs
	}
	all := places{
		checkpoints: below(p.checkpoints), loras: below(p.loras), vaes: below(p.vaes),
		embeddings: below(p.embeddings), upscalers: below(p.upscalers),
	}
	if p.writes {
		all.styles, all.outputs = filepath.Join(dir, "styles.csv"), filepath.Join(dir, "outputs")
	}
	return all
}

// places resolves the options.
func (o Options) places() (p places, err error) {
	if o.DataDir != "" {
		if p, err = o.own(); err != nil {
			return p, err
		}
	}
	var errs []error
	for _, given := range []struct {
		field, dir string
		dirs       *[]string
	}{
		{"CheckpointDir", o.CheckpointDir, &p.checkpoints}, {"LoRADir", o.LoRADir, &p.loras}, {"VAEDir", o.VAEDir, &p.vaes},
		{"EmbeddingDir", o.EmbeddingDir, &p.embeddings}, {"UpscalerDir", o.UpscalerDir, &p.upscalers},
	} {
		if given.dir == "" {
			continue
		}
		if info, err := os.Stat(given.dir); err != nil || !info.IsDir() {
			errs = append(errs, invalid.Field("Options."+given.field, given.dir, "a folder that is there"))
		}
		*given.dirs = []string{given.dir}
	}
	if o.WebUI != "" {
		errs = append(errs, p.add(o.WebUI))
	}
	if o.OutputDir != "" {
		p.outputs = o.OutputDir
	}
	if o.StylesFile != "" {
		p.styles = o.StylesFile
	}
	return p, errors.Join(errs...)
}

// own are the places in DataDir, which are made.
func (o Options) own() (places, error) {
	p := layouts[0].in(o.DataDir)
	for _, dirs := range [][]string{p.checkpoints, p.loras[:1], p.vaes[:1], p.embeddings, p.upscalers[:1], {p.outputs}} {
		if err := os.MkdirAll(dirs[0], 0o777); err != nil {
			return p, &invalid.FieldError{Field: "Options.DataDir", Value: o.DataDir, Want: "a folder that can be written to", Err: err}
		}
	}
	p.settings, p.collected = filepath.Join(o.DataDir, "config.json"), filepath.Join(o.DataDir, "collected")
	return p, nil
}

// add adds the places of an installation.
func (p *places) add(dir string) error {
	for _, known := range layouts {
		if !known.isIn(dir) {
			continue
		}
		more := known.in(dir)
		for _, of := range []struct{ have, more *[]string }{
			{&p.checkpoints, &more.checkpoints}, {&p.loras, &more.loras}, {&p.vaes, &more.vaes}, {&p.embeddings, &more.embeddings}, {&p.upscalers, &more.upscalers},
		} {
			*of.have = append(*of.have, *of.more...)
		}
		if known.writes {
			p.styles, p.outputs = more.styles, more.outputs
		}
		return nil
	}
	return invalid.Field("Options.WebUI", dir, "the folder of %s, which has models/Stable-diffusion, or of %s, which has models/checkpoints", layouts[0].program, layouts[1].program)
}

// existing are the folders that are there, each once.
func existing(dirs []string) (there []string) {
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !slices.Contains(there, filepath.Clean(dir)) {
			there = append(there, filepath.Clean(dir))
		}
	}
	return there
}
