package sd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// maxAdapters bounds the adapters of a request: each costs time in every weight it changes.
const maxAdapters = 64

// Adapter is a LoRA for a request to apply.
type Adapter struct {
	Path     string         // of the safetensors file
	LoRA     *lora.Adapter  // applied instead of a file if it is not nil
	Strength *lora.Strength // nil is 1 for both networks
}

// Adapters opens the adapters that a request applies, and says with what strength: first those of the tags in the
// prompt, in their order, then Request.Adapters. Names that no file has are reported together, each as
// a *lora.NotFoundError; for files that are no adapter for this model see lora.Open.
func (p *Pipeline) Adapters(r Request) ([]lora.Applied, error) {
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

// tag is an extra-network tag of the web UI: <KIND:ARGUMENTS>.
var tag = regexp.MustCompile(`<([\p{L}\p{N}_]+):([^>]+)>`)

// cutTags is the prompt without its tags. The blanks around them stay.
func cutTags(prompt string) string { return tag.ReplaceAllString(prompt, "") }

// parseTags reads the LoRAs that a prompt names. Kinds of tags that nobody knows are no error, as in the web UI.
func parseTags(prompt string) (tags []lora.Tag, err error) {
	var errs []error
	for _, m := range tag.FindAllStringSubmatch(prompt, maxAdapters+1) {
		switch kind, arguments := m[1], m[2]; kind {
		case "lora", "lyco":
			t, err := lora.ParseTag(arguments)
			if err != nil {
				errs = append(errs, fmt.Errorf("sd: the prompt: %w", err))
			}
			tags = append(tags, t)
		case "hypernet":
			errs = append(errs, fmt.Errorf("sd: the prompt: %.100s: hypernetworks are not supported; take the tag out", m[0]))
		}
	}
	return tags, errors.Join(errs...)
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

// openAdapters finds and opens all adapters of a request, reading only files that the request before did not have.
func (p *Pipeline) openAdapters(r Request) (adapters, error) {
	tags, err := parseTags(r.Prompt)
	if err != nil {
		return nil, err
	}
	if n := len(tags) + len(r.Adapters); n > maxAdapters {
		return nil, fmt.Errorf("sd: the request applies more than %d LoRAs; merge some into one file, or leave some out", maxAdapters)
	}
	p.files.Lock()
	defer p.files.Unlock()
	paths, err := p.findAll(tags)
	if err != nil {
		return nil, err
	}
	last := make(map[string]lora.Strength) // a file named twice is applied twice with the last strength: the web UI's way
	for i, t := range tags {
		last[paths[i]] = t.Strength
	}

	var all adapters
	var errs []error
	opened := make(map[string]openedFile)
	add := func(path string, strength lora.Strength, name string, tagged bool) {
		file, err := p.openAdapter(path)
		if err != nil {
			errs = append(errs, err)
			return
		}
		opened[path] = file
		all = append(all, adapter{lora.Applied{Adapter: file.Adapter, Strength: strength}, name, tagged, file.version})
	}
	for i, t := range tags {
		add(paths[i], last[paths[i]], t.Name, true)
	}
	for _, a := range r.Adapters {
		strength := lora.Strength{TextEncoder: 1, UNet: 1}
		if a.Strength != nil {
			strength = *a.Strength
		}
		if a.LoRA != nil {
			all = append(all, adapter{lora.Applied{Adapter: a.LoRA, Strength: strength}, stem(a.LoRA.Path), false, a.LoRA.Hash})
			continue
		}
		add(a.Path, strength, stem(a.Path), false)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.opened = opened
	return all, nil
}

// stem is a file's name without folder and extension.
func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }

// findAll finds the files of tags, or says of all names that have none. The caller holds files.
func (p *Pipeline) findAll(tags []lora.Tag) ([]string, error) {
	if p.folder == nil && len(tags) > 0 {
		folder, err := lora.OpenFolder(p.folders...)
		if err != nil {
			return nil, fmt.Errorf("sd: %w", err)
		}
		p.folder = folder
	}
	paths := make([]string, len(tags))
	var asked, missing []string
	var errs []error
	for i, t := range tags {
		var err error
		if paths[i], err = p.folder.Find(t.Name); err == nil || slices.Contains(asked, t.Name) {
			continue
		}
		asked, errs = append(asked, t.Name), append(errs, err)
		if e, ok := errors.AsType[*lora.NotFoundError](err); ok && len(e.Files) == 0 {
			missing = append(missing, t.Name)
		}
	}
	switch err := errors.Join(errs...); {
	case len(missing) > 0:
		return nil, fmt.Errorf("sd: Lora not found: %s: %w", strings.Join(missing, ", "), err)
	case err != nil:
		return nil, fmt.Errorf("sd: %w", err)
	}
	return paths, nil
}

// openAdapter opens a file, unless it is still open and unchanged. The caller holds files.
func (p *Pipeline) openAdapter(path string) (openedFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return openedFile{}, fmt.Errorf("sd: %w; name a LoRA's .safetensors file", err)
	}
	version := fmt.Sprint(info.Size(), ".", info.ModTime().UnixNano())
	if file := p.opened[path]; file.version == version {
		return file, nil
	}
	if p.targets == nil {
		if p.targets, err = lora.NewTargets(p.text.Config(), p.unet.Config()); err != nil {
			return openedFile{}, fmt.Errorf("sd: %w", err)
		}
	}
	a, err := lora.Open(path, p.targets)
	if err != nil {
		return openedFile{}, fmt.Errorf("sd: %w", err)
	}
	p.log.Info("adapter opened", "file", path, "contents", a.String())
	return openedFile{a, version}, nil
}
