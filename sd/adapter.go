package sd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/weights"
)

// maxAdapters bounds the adapters of a request: each costs time in every weight it changes.
const maxAdapters = 64

// Adapter is a LoRA for a request to apply, named by its Path or by its Name.
type Adapter struct {
	Path     string         `json:"path,omitzero"`     // its file: safetensors, or PyTorch's
	Name     string         `json:"name,omitzero"`     // as a tag in a prompt would have it
	Strength *lora.Strength `json:"strength,omitzero"` // nil is 1 for both networks
}

// AddAdapter makes an adapter in memory known to requests under a name, before any file of that name and in place of an
// adapter that had it. The name can have no ":" and no ">", which a tag could not hold, and the adapter needs a Hash;
// lora.Open and lora.NewAdapter make one.
func (p *Pipeline) AddAdapter(name string, a *lora.Adapter) error {
	if name == "" || strings.ContainsAny(name, ":>") {
		return fmt.Errorf("sd: an adapter cannot be called %.60q; name it without : and >", name)
	}
	if len(a.Hash) < shortHash {
		return fmt.Errorf("sd: adapter %q has no Hash; make it with lora.Open or lora.NewAdapter", name)
	}
	p.files.Lock()
	defer p.files.Unlock()
	p.added[name] = openedFile{a, a.Hash}
	return nil
}

// RemoveAdapter forgets an adapter that AddAdapter has made known under a name.
func (p *Pipeline) RemoveAdapter(name string) {
	p.files.Lock()
	defer p.files.Unlock()
	delete(p.added, name)
}

// Adapters opens the adapters that a request applies, and says with what strength: first those of the tags in the
// prompt, in their order, then Request.Adapters. Names that no file has are reported together, each as
// a *lora.NotFoundError; for files that are no adapter for this model see lora.Open.
func (p *Pipeline) Adapters(r Request) ([]lora.Applied, error) {
	p.tag(&r)
	all, err := p.openAdapters(r)
	if err != nil {
		return nil, err
	}
	var applied []lora.Applied
	for _, a := range all {
		applied = append(applied, a.Applied)
	}
	return applied, nil
}

// parseTags reads the LoRAs that a prompt names. Kinds of tags that nobody knows are no error, as in the web UI.
func parseTags(text string) (tags []lora.Tag, err error) {
	var errs []error
	_, all := prompt.Cut(text)
	for _, tag := range all[:min(len(all), maxAdapters+1)] {
		switch tag.Kind {
		case "lora", "lyco":
			t, err := lora.ParseTag(strings.Join(tag.Items, ":"))
			if err != nil {
				errs = append(errs, err)
			}
			tags = append(tags, t)
		case "hypernet":
			errs = append(errs, fmt.Errorf("%.100s: hypernetworks are not supported; take the tag out", tag))
		}
	}
	return tags, errors.Join(errs...)
}

// tag adds the LoRA that every prompt has.
func (p *Pipeline) tag(r *Request) {
	prompts := []*string{&r.Prompt}
	if r.Hires != nil && r.Hires.Prompt != "" {
		r.Hires = new(*r.Hires)
		prompts = append(prompts, &r.Hires.Prompt)
	}
	for _, text := range prompts {
		if tags, err := parseTags(*text); err == nil && p.lora.Name != "" { // an error is told by who opens them
			*text = lora.WithTag(*text, tags, p.lora.Name, p.lora.TextEncoder)
		}
	}
}

// adapter is a LoRA as a request applies it.
type adapter struct {
	lora.Applied
	name    string // in infotexts: as the prompt has it, or the file's
	tagged  bool   // the prompt names it
	version string // tells contents apart that the file has had
}

// adapters are all adapters of a request, in the order in which they are applied.
type adapters []adapter

// of are those that change a network, and a text that only the same adapters with the same strengths have.
func (all adapters) of(kind weights.Kind) (changing []lora.Applied, id string) {
	var b strings.Builder
	for _, a := range all {
		strength := a.UNet
		if kind == weights.KindTextEncoder {
			strength = a.TextEncoder
		}
		if strength == 0 || !slices.ContainsFunc(a.Modules, func(m lora.Module) bool { return m.Kind == kind }) {
			continue
		}
		changing = append(changing, a.Applied)
		fmt.Fprintf(&b, "%q %s %v %d\n", a.Path, a.version, strength, a.Rank)
	}
	return changing, b.String()
}

// openedFile is an adapter kept for the next request.
type openedFile struct {
	*lora.Adapter
	version string
}

// wanted is an adapter that a request asks for: by its path, or by its name if that is "".
type wanted struct {
	lora.Tag
	field  string // of the request
	path   string
	tagged bool
}

// wanted lists what tags and Request.Adapters ask for, in the order in which it is applied.
func (r Request) wanted() ([]wanted, error) {
	tags, err := parseTags(r.Prompt)
	if err != nil {
		return nil, &invalid.FieldError{Field: "Request.Prompt", Err: err}
	}
	var all []wanted
	for _, t := range tags {
		all = append(all, wanted{Tag: t, field: "Request.Prompt", tagged: true})
	}
	for i, a := range r.Adapters {
		w := wanted{field: fmt.Sprintf("Request.Adapters[%d].Path", i), Tag: lora.Tag{Name: a.Name, Strength: lora.Strength{TextEncoder: 1, UNet: 1}}, path: a.Path}
		if a.Path != "" {
			w.Name = stem(a.Path)
		}
		if a.Strength != nil {
			w.Strength = *a.Strength
		}
		all = append(all, w)
	}
	if len(all) > maxAdapters {
		return nil, fmt.Errorf("the request applies more than %d LoRAs; merge some into one file, or leave some out", maxAdapters)
	}
	return all, nil
}

// openAdapters finds and opens all adapters of a request, reading only files that the request before did not have.
func (p *Pipeline) openAdapters(r Request) (adapters, error) {
	list, err := r.wanted()
	if err != nil {
		return nil, fmt.Errorf("sd: %w", err)
	}
	p.files.Lock()
	defer p.files.Unlock()
	if err := p.findAll(list); err != nil {
		return nil, err
	}
	var all adapters
	var errs []error
	opened := make(map[string]openedFile)
	last := make(map[*lora.Adapter]lora.Strength) // a file named twice is applied twice with the last strength: the web UI's way
	for _, w := range list {
		file, err := p.openAdapter(w, opened)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if w.tagged {
			last[file.Adapter] = w.Strength
		}
		all = append(all, adapter{lora.Applied{Adapter: file.Adapter, Strength: w.Strength}, w.Name, w.tagged, file.version})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, a := range all {
		if a.tagged {
			all[i].Strength = last[a.Adapter]
		}
	}
	p.opened = opened
	return all, nil
}

// stem is a file's name without folder and extension.
func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }

// findAll finds the files of names that no added adapter has, or says of all names that have none. The caller holds files.
func (p *Pipeline) findAll(list []wanted) error {
	var asked, missing []string
	var errs []error
	for i, w := range list {
		if _, ok := p.added[w.Name]; ok || w.path != "" {
			continue
		}
		if err := p.openFolder(); err != nil {
			return fmt.Errorf("sd: %w", err)
		}
		var err error
		if list[i].path, err = p.folder.Find(w.Name); err == nil || slices.Contains(asked, w.Name) {
			continue
		}
		asked, errs = append(asked, w.Name), append(errs, err)
		if e, ok := errors.AsType[*lora.NotFoundError](err); ok && len(e.Files) == 0 {
			missing = append(missing, w.Name)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	err := errors.Join(errs...)
	if len(missing) > 0 {
		err = fmt.Errorf("sd: Lora not found: %s: %w", strings.Join(missing, ", "), err)
	}
	return &invalid.FieldError{Field: "Options.LoRADirs", Err: err}
}

// openFolder looks what is in Options.LoRADirs, once. The caller holds files.
func (p *Pipeline) openFolder() (err error) {
	if p.folder == nil {
		p.folder, err = lora.OpenFolder(p.folders...)
	}
	return err
}

// openAdapter is an added adapter, or opens a file, unless it is still open and unchanged. The caller holds files.
func (p *Pipeline) openAdapter(w wanted, opened map[string]openedFile) (openedFile, error) {
	if w.path == "" {
		return p.added[w.Name], nil
	}
	if file, ok := opened[w.path]; ok {
		return file, nil
	}
	file, err := p.openFile(w.path)
	if err != nil {
		return file, fmt.Errorf("sd: %w", &invalid.FieldError{Field: w.field, Value: w.Name, Err: err})
	}
	opened[w.path] = file
	return file, nil
}

// openFile opens a file, unless the request before has. The caller holds files.
func (p *Pipeline) openFile(path string) (openedFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return openedFile{}, fmt.Errorf("%w; name a LoRA's .safetensors file", err)
	}
	version := fmt.Sprint(info.Size(), ".", info.ModTime().UnixNano())
	if file := p.opened[path]; file.version == version {
		return file, nil
	}
	if p.targets == nil {
		if p.targets, err = lora.NewTargets(p.networks.Text.Config(), p.networks.UNet.Config()); err != nil {
			return openedFile{}, err
		}
	}
	a, err := lora.Open(path, p.targets)
	if err != nil {
		return openedFile{}, err
	}
	p.log.Info("adapter opened", "file", path, "contents", a.String())
	return openedFile{a, version}, nil
}
