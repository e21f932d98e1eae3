package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// Options say what to take from where. The zero value takes everything from the path given to Open.
type Options struct {
	// Variant chooses among a folder's weight files: "fp16", "bf16", "non_ema", …; "" means the plain ones.
	// What the folder does not have in that variant is taken plain, and the other way round.
	Variant string
	// EMA takes the UNet's exponential moving average, where a single file has both. The default, as
	// in the reference programs, is the raw weights.
	EMA bool
	// VAE and TextEncoder name another file or folder to take that component from.
	VAE, TextEncoder string
	// Config names a diffusers folder whose config.json files, tokenizer and scheduler stand in for those
	// that a single file lacks. Without it a single file is taken for Stable Diffusion 1.5's shapes.
	Config string
	// Prediction overrides what the checkpoint says the UNet predicts; "" leaves it to the checkpoint.
	Prediction sampler.Prediction
}

// Checkpoint is an open model: up to three components and what stands beside them.
type Checkpoint struct {
	path       string
	components map[Kind]*Component
	sources    []*source
	tokenizer  fs.FS
	scheduler  []byte
	prediction Prediction
}

// Open opens a checkpoint: a diffusers folder, the folder of one component, or a single file, safetensors or PyTorch's, with
// LDM or diffusers names. It reads headers and small files only. A file that is not Stable Diffusion 1.x is a *FamilyError; one
// of PyTorch that asks for anything but tensors wraps a *pickle.RefusedError.
func Open(path string, opts Options) (*Checkpoint, error) {
	main, err := openSource(path, opts)
	if err != nil {
		return nil, err
	}
	return assemble(main, opts)
}

// OpenFS opens the diffusers folder at the root of fsys, such as an embedded one; name is what Path returns and errors
// say. Files of an fs.FS that is not a directory of the system are held in memory.
func OpenFS(fsys fs.FS, name string, opts Options) (*Checkpoint, error) {
	main, err := openFolder(folder{fsys, name}, opts)
	if err != nil {
		return nil, err
	}
	return assemble(main, opts)
}

// assemble completes the main source with the components and configuration that opts name.
func assemble(main *source, opts Options) (_ *Checkpoint, err error) {
	c := &Checkpoint{path: main.path, components: maps.Clone(main.components), sources: []*source{main}, tokenizer: main.tokenizer, scheduler: main.scheduler}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if main.family != nil {
		return nil, main.family
	}
	for _, part := range []struct {
		kind Kind
		path string
	}{{KindVAE, opts.VAE}, {KindTextEncoder, opts.TextEncoder}} {
		if part.path == "" {
			continue
		}
		s, err := openSource(part.path, Options{Variant: opts.Variant})
		if err != nil {
			return nil, err
		}
		c.sources = append(c.sources, s)
		if c.components[part.kind], err = s.supply(part.kind); err != nil {
			return nil, err
		}
	}
	if opts.Config != "" {
		if err := c.configure(folder{os.DirFS(opts.Config), opts.Config}); err != nil {
			return nil, err
		}
	}
	for _, kind := range Kinds {
		if component := c.components[kind]; component != nil {
			if f := recogniseShapes(component); f != nil {
				return nil, f
			}
		}
	}
	c.prediction, err = main.readPrediction(opts.Prediction, c.scheduler)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// configure fills in what the checkpoint lacks from a diffusers folder.
func (c *Checkpoint) configure(d folder) error {
	found := false
	for kind, component := range c.components {
		sub, ok := d.sub(string(kind))
		found = found || ok
		if !ok || component.config != nil {
			continue
		}
		config, err := sub.read("config.json", maxConfigBytes)
		if err != nil {
			return err
		}
		component.config = config
	}
	if !found {
		return fmt.Errorf("weights: %s: no diffusers folder to take configurations from: none of unet, vae and text_encoder is in it", d.path)
	}
	if sub, ok := d.sub("tokenizer"); ok && c.tokenizer == nil {
		c.tokenizer = sub.fsys
	}
	if sub, ok := d.sub("scheduler"); ok && c.scheduler == nil {
		scheduler, err := sub.read("scheduler_config.json", maxConfigBytes)
		if err != nil {
			return err
		}
		c.scheduler = scheduler
	}
	return nil
}

// Path is what the checkpoint was opened under.
func (c *Checkpoint) Path() string { return c.path }

// Has reports whether the component is there.
func (c *Checkpoint) Has(kind Kind) bool { return c.components[kind] != nil }

// Component returns one of the three networks' parameters, or a *MissingError.
func (c *Checkpoint) Component(kind Kind) (*Component, error) {
	if component := c.components[kind]; component != nil {
		return component, nil
	}
	return nil, c.sources[0].missing(kind)
}

// BuiltIn is Component of what is at the path given to Open, also where Options named another in its place.
func (c *Checkpoint) BuiltIn(kind Kind) (*Component, error) { return c.sources[0].supply(kind) }

// UNet is Component(KindUNet).
func (c *Checkpoint) UNet() (*Component, error) { return c.Component(KindUNet) }

// VAE is Component(KindVAE).
func (c *Checkpoint) VAE() (*Component, error) { return c.Component(KindVAE) }

// TextEncoder is Component(KindTextEncoder).
func (c *Checkpoint) TextEncoder() (*Component, error) { return c.Component(KindTextEncoder) }

// Tokenizer is the tokenizer folder (vocab.json, merges.txt, or only tokenizer.json), nil if the checkpoint
// came without: then CLIP's own vocabulary is meant.
func (c *Checkpoint) Tokenizer() fs.FS { return c.tokenizer }

// Scheduler is scheduler_config.json, nil if the checkpoint came without.
func (c *Checkpoint) Scheduler() []byte { return slices.Clone(c.scheduler) }

// Prediction is what the UNet predicts.
func (c *Checkpoint) Prediction() Prediction { return c.prediction }

// Metadata is a copy of the header strings of the file that holds the UNet (of the first file opened
// if none does).
func (c *Checkpoint) Metadata() map[string]string {
	if len(c.sources[0].files) == 0 {
		return map[string]string{}
	}
	return c.sources[0].files[0].Metadata()
}

// Ignored lists what the opened files hold that belongs to no component: schedule buffers, EMA copies, position_ids, the
// optimizer and callbacks of a training, and anything unknown.
func (c *Checkpoint) Ignored() []string {
	var all []string
	for _, s := range c.sources {
		all = append(all, s.ignored...)
	}
	return all
}

// Close closes every file. Parameter bytes handed out must not be touched afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, s := range c.sources {
		errs = append(errs, s.close())
	}
	c.sources = c.sources[:1]
	c.sources[0].files = nil
	return errors.Join(errs...)
}

// MissingError says that a checkpoint has no such component, and where to get it.
type MissingError struct {
	Path  string
	Kind  Kind
	Holds []Kind // what is there
	Err   error  // why it could not be read, nil if it just is not there
}

// Error names what the file lacks, what it has, and the option that supplies the rest.
func (e *MissingError) Error() string {
	if option := e.option(); option != nil {
		return "weights: " + option.Error()
	}
	return fmt.Sprintf("weights: %v; open a checkpoint that has one", e.reason())
}

// Unwrap is the option that would supply the component, as an invalid.FieldError, and the reason why it could not be read.
func (e *MissingError) Unwrap() []error {
	var errs []error
	if option := e.option(); option != nil {
		errs = append(errs, option)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// option says which of Options would supply the component; nil for the UNet, without which there is no model.
func (e *MissingError) option() *invalid.FieldError {
	const another = "a file or folder that has one, such as "
	switch e.Kind {
	case KindVAE:
		return &invalid.FieldError{Field: "Options.VAE", Want: another + "sd-vae-ft-mse, or a model with its own", Err: e.reason()}
	case KindTextEncoder:
		return &invalid.FieldError{Field: "Options.TextEncoder", Want: another + "any whole SD 1.5 checkpoint, or a model with its own", Err: e.reason()}
	}
	return nil
}

// reason says what is wrong with the file.
func (e *MissingError) reason() error {
	switch {
	case e.Err != nil:
		return fmt.Errorf("%s: its %s cannot be read (%w)", e.Path, e.Kind, e.Err)
	case len(e.Holds) == 0:
		return fmt.Errorf("%s: no %s in it, and nothing else of a Stable Diffusion model", e.Path, e.Kind)
	}
	return fmt.Errorf("%s: no %s in it, only %v", e.Path, e.Kind, e.Holds)
}
