package lora

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/weights"
)

// Folder finds adapters in directories, and in those below them, by the names that stand in prompts. It is safe for
// concurrent use.
type Folder struct {
	dirs []string

	mu      sync.Mutex
	files   []string            // in the order of dirs, each once
	stems   map[string]string   // file by stem
	places  map[string]string   // file by path below one of dirs, with slashes, with its extension and without
	read    map[string]metadata // what each file says, as far as asked for
	aliases map[string][]string // files by alias, nil until a name is asked for that is no stem
	unseen  []error             // what could not be looked at
}

// metadata is the alias that a file gave itself when it was as it is now.
type metadata struct {
	alias string // "" for none
	size  int64
	time  time.Time
}

// extensions are those of files that may be adapters.
var extensions = []string{".safetensors", ".pt", ".ckpt"}

// OpenFolder looks through directories. An adapter's name is its file name without extension, or its alias, the
// ss_output_name of its metadata; both count exactly as they are written. The rules are the A1111 web UI's: where two
// files have the same stem the later one counts, in the order of dirs and then of paths; an alias that is also a stem
// means the file of that stem. Beyond them a name may have its extension, or be a path below one of the directories; with both it means that very file. Other
// files are read, no further than their metadata, when a name is asked for that is neither. A directory that is not there
// is an error; one below that cannot be read is named when a name is not found.
func OpenFolder(dirs ...string) (*Folder, error) {
	f := &Folder{dirs: dirs, read: make(map[string]metadata)}
	if err := f.scan(); err != nil {
		return nil, err
	}
	return f, nil
}

// Find is the path of the adapter called name. An unknown name makes Find look through the directories again, for files
// that are new; if it stays unknown, or is the alias of several, the error is a *NotFoundError.
func (f *Folder) Find(name string) (path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path, err := f.lookup(name); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if err := f.scan(); err != nil {
		return "", err
	}
	return f.lookup(name)
}

// Names lists the names that Find knows, without paths and extensions, in alphabetical order.
func (f *Folder) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names()
}

func (f *Folder) names() []string {
	all := maps.Clone(f.stems)
	for alias, files := range f.byAlias() {
		if len(files) == 1 {
			all[alias] = files[0]
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (f *Folder) lookup(name string) (path string, err error) {
	place := strings.ReplaceAll(name, `\`, "/")
	if path, ok := f.stems[name]; ok {
		return path, nil
	}
	files := f.byAlias()[name]
	switch {
	case len(files) == 1:
		return files[0], nil
	case len(files) > 1:
		return "", f.ambiguous(name, files)
	}
	if path, ok := f.places[place]; ok {
		return path, nil
	}
	place = withoutExtension(place)
	if path, ok := f.stems[place]; ok {
		return path, nil
	}
	if path, ok := f.places[place]; ok {
		return path, nil
	}
	return "", &NotFoundError{Name: withoutExtension(name), Dirs: f.dirs, Names: f.names(), Unseen: f.unseen}
}

// ambiguous is the error for an alias of several files.
func (f *Folder) ambiguous(name string, files []string) error {
	e := &NotFoundError{Name: name, Dirs: f.dirs, Names: f.names(), Unseen: f.unseen, Files: files}
	for _, path := range files {
		e.Choices = append(e.Choices, f.choice(path))
	}
	return e
}

// choice is the shortest name that means a file, "" where others hide it.
func (f *Folder) choice(path string) string {
	if f.stems[stem(path)] == path {
		return stem(path)
	}
	for _, place := range slices.SortedFunc(maps.Keys(f.places), func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) {
		if found, err := f.lookup(place); err == nil && found == path {
			return place
		}
	}
	return ""
}

// byAlias has the files of each alias. It reads the metadata of files that are new or have changed. What cannot be read has
// none: Open will say what is wrong, if the file is asked for.
func (f *Folder) byAlias() map[string][]string {
	if f.aliases != nil {
		return f.aliases
	}
	f.aliases = make(map[string][]string)
	for _, path := range f.files {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		m, ok := f.read[path]
		if !ok || m.size != info.Size() || !m.time.Equal(info.ModTime()) {
			m = metadata{outputName(path), info.Size(), info.ModTime()}
			f.read[path] = m
		}
		if m.alias != "" {
			f.aliases[m.alias] = append(f.aliases[m.alias], path)
		}
	}
	return f.aliases
}

// outputName is the name a file was saved under by the program that trained it, "" if it does not say.
func outputName(path string) string {
	metadata, err := weights.ReadMetadata(path)
	if err != nil || metadata["ss_output_name"] == "None" {
		return ""
	}
	return metadata["ss_output_name"]
}

// scan lists the files anew. The caller holds mu, or nobody else knows f yet.
func (f *Folder) scan() error {
	f.files, f.aliases, f.unseen = nil, nil, nil
	f.stems, f.places = make(map[string]string), make(map[string]string)
	for _, dir := range f.dirs {
		if _, err := os.ReadDir(dir); err != nil {
			return fmt.Errorf("lora: looking for adapters: %w", err)
		}
		f.look(dir, "", make(map[string]bool))
	}
	return nil
}

// look lists the files in a directory, which has this place below one of dirs, and in those below it. Links are followed,
// but to no directory twice.
func (f *Folder) look(dir, place string, seen map[string]bool) {
	where, err := filepath.EvalSymlinks(dir)
	if seen[where] {
		return
	}
	seen[where] = true
	entries, readErr := os.ReadDir(dir)
	if err := errors.Join(err, readErr); err != nil {
		f.unseen = append(f.unseen, err)
	}
	for _, e := range entries {
		path, place := filepath.Join(dir, e.Name()), place+e.Name()
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nowhere
		case err != nil:
			f.unseen = append(f.unseen, err)
		case info.IsDir():
			f.look(path, place+"/", seen)
		case slices.Contains(extensions, strings.ToLower(filepath.Ext(path))):
			f.add(path, place)
		}
	}
}

func (f *Folder) add(path, place string) {
	f.stems[stem(path)], f.places[withoutExtension(place)], f.places[place] = path, path, path
	if !slices.Contains(f.files, path) {
		f.files = append(f.files, path)
	}
}

// withoutExtension is a name without the extension of an adapter's file.
func withoutExtension(name string) string {
	for _, extension := range extensions {
		if at := len(name) - len(extension); at > 0 && strings.EqualFold(name[at:], extension) {
			return name[:at]
		}
	}
	return name
}

// NotFoundError says that a name means no adapter: no file has it, or several have it as their alias and none as its own.
type NotFoundError struct {
	Name    string   // without extension
	Dirs    []string // where it was looked for
	Names   []string // what is there
	Unseen  []error  // folders and files there that could not be looked at
	Files   []string // that have the name as their alias
	Choices []string // for each of Files a name that means it, "" where others hide it
}

// Error names the directories, the names that come close or the files to choose from, and what could not be looked at.
func (e *NotFoundError) Error() string {
	switch {
	case len(e.Dirs) == 0:
		return fmt.Sprintf("lora: no folder to look for %q in; name the folder of your LoRA files", e.Name)
	case len(e.Files) > 0:
		choices := slices.DeleteFunc(slices.Clone(e.Choices), func(name string) bool { return name == "" })
		return fmt.Sprintf("lora: %d files have %.100q as their ss_output_name: %s; choose one by the name of its file: %s", len(e.Files), e.Name,
			some(e.Files, "%s"), some(choices, "<lora:%s:1>"))
	}
	hint := e.hint()
	if len(e.Unseen) > 0 {
		hint = fmt.Sprintf("%s; not everything could be looked at: %v", hint, e.Unseen[0])
	}
	return fmt.Sprintf("lora: no LoRA called %.100q in %s; %s", e.Name, strings.Join(e.Dirs, ", "), hint)
}

// hint says what to do about a name that no file has.
func (e *NotFoundError) hint() string {
	hint := fmt.Sprintf("put %s.safetensors there", e.Name)
	for _, name := range e.Names {
		if strings.EqualFold(name, e.Name) {
			return fmt.Sprintf("there is %q; upper and lower case count", name)
		}
		if strings.Contains(strings.ToLower(name), strings.ToLower(e.Name)) {
			hint = fmt.Sprintf("there is %q", name)
		}
	}
	return hint
}

// Unwrap are the errors of what could not be looked at.
func (e *NotFoundError) Unwrap() []error { return e.Unseen }

// some lists the first few of many, each in the given form.
func some(list []string, form string) string {
	const most = 4
	var b strings.Builder
	for i, s := range list[:min(len(list), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, form, s)
	}
	if n := len(list) - most; n > 0 {
		fmt.Fprintf(&b, " and %d more", n)
	}
	return b.String()
}
