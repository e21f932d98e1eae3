package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/atelier-go/atelier/invalid"
)

// source is what one path holds.
type source struct {
	path       string
	components map[Kind]*Component
	broken     map[Kind]error // components that are there and cannot be read
	files      []*File
	root       fs.FS // the folder; nil for a single file
	ignored    []string
	family     *FamilyError // the file is of another family
	tokenizer  fs.FS
	scheduler  []byte
}

func newSource(path string) *source {
	return &source{path: path, components: map[Kind]*Component{}, broken: map[Kind]error{}}
}

func (s *source) close() error { return closeAll(s.files) }

func closeAll(files []*File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openSource opens a path, whatever it is.
func openSource(path string, opts Options) (*source, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("weights: %w; give a diffusers folder or a .safetensors or .ckpt file (models of the Hugging Face Hub are downloaded first)", err)
	case err != nil:
		return nil, fmt.Errorf("weights: %w", err)
	case info.IsDir():
		return openFolder(folder{os.DirFS(path), path}, opts)
	}
	return openSingle(path, opts)
}

// openSingle reads a file that may hold all components.
func openSingle(path string, opts Options) (*source, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	s := newSource(path)
	s.files = []*File{f}
	s.ignored = slices.Clone(f.extras)
	err = s.addKeys(s.files, place, nil)
	if err == nil && s.family == nil && len(s.components) == 0 {
		err = fmt.Errorf("weights: %s: nothing of a Stable Diffusion model among its %d tensors%s", path, len(f.entries), examples(f.Names()))
	}
	if err == nil && opts.EMA {
		err = s.useEMA(f)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func examples(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.200q …)", names[:min(len(names), 3)])
}

// addKeys distributes the tensors of files over the components that place names. config goes
// with the component if there is only one.
func (s *source) addKeys(files []*File, place func(key string) (Kind, string, bool), config []byte) error {
	var keys []string
	holder := map[string]*File{}
	for _, f := range files {
		for _, key := range f.Names() {
			if other, dup := holder[key]; dup {
				return fmt.Errorf("weights: %s: tensor %q is in %s as well", f.path, key, other.path)
			}
			holder[key] = f
			keys = append(keys, key)
		}
	}
	if f := recognise(files[0].path, keys, func(key string) Tensor { t, _ := holder[key].Info(key); return t }); f != nil && s.family == nil {
		s.family = f
	}
	loaded := map[Kind]*Component{}
	for _, key := range keys {
		kind, name, ok := place(key)
		if !ok || ignorable(kind, name) {
			s.ignored = append(s.ignored, key)
			continue
		}
		component := loaded[kind]
		if component == nil {
			component = &Component{kind: kind, path: files[0].path, params: map[string]*param{}, claims: map[string]bool{}}
			loaded[kind] = component
		}
		if err := component.add(name, holder[key], key); err != nil {
			if s.family != nil {
				continue // the better explanation is already there
			}
			return err
		}
	}
	for kind, component := range loaded {
		if len(loaded) == 1 {
			component.config = config
		}
		s.components[kind] = component
	}
	return nil
}

// useEMA exchanges the UNet's tensors for their moving averages.
func (s *source) useEMA(f *File) error {
	unet := s.components[KindUNet]
	if unet == nil {
		return s.missing(KindUNet)
	}
	lacking := 0
	for name, p := range unet.params {
		key := emaKey(name)
		t, ok := f.Info(key)
		if !ok {
			lacking++
			continue
		}
		p.key, p.typ.DType, p.typ.Shape = key, t.DType.param(), t.Shape
	}
	if lacking > 0 {
		return fmt.Errorf("weights: %s: %w", s.path, invalid.Field("Options.EMA", true,
			"false: it has no EMA copy of %d of the UNet's %d tensors (\"emaonly\" files hold the average as their only weights)", lacking, len(unet.params)))
	}
	return nil
}

// missing explains why a component is not there.
func (s *source) missing(kind Kind) error {
	e := &MissingError{Path: s.path, Kind: kind, Err: s.broken[kind]}
	for _, k := range Kinds {
		if s.components[k] != nil {
			e.Holds = append(e.Holds, k)
		}
	}
	return e
}

// supply hands out one component to a checkpoint of another path. The text encoder of SDXL's first tower
// is Stable Diffusion 1.x's own; its VAE is not.
func (s *source) supply(kind Kind) (*Component, error) {
	component := s.components[kind]
	switch {
	case s.family != nil && (component == nil || kind != KindTextEncoder):
		return nil, s.family
	case component == nil:
		return nil, s.missing(kind)
	}
	return component, nil
}
