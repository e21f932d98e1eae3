package lora

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/atelier-go/atelier/weights"
)

// Folder finds adapters in directories, and in those below them, by the names that stand in prompts. It is safe for
// concurrent use.
type Folder struct {
	dirs []string

	mu        sync.Mutex
	stems     map[string]string // file by stem
	names     map[string]string // file by stem or alias
	forbidden map[string]bool   // aliases of several files
}

// OpenFolder looks through directories. An adapter's name is its file name without extension, or its alias, the
// ss_output_name of its metadata; both count exactly as they are written. The rules are the A1111 web UI's: where two
// files have the same stem the later one counts, in the order of dirs and then of paths; an alias that is already the
// name of another file finds nothing but a file of that stem.
func OpenFolder(dirs ...string) (*Folder, error) {
	f := &Folder{dirs: dirs}
	if err := f.scan(); err != nil {
		return nil, err
	}
	return f, nil
}

// Find is the path of the adapter called name. An unknown name makes Find look through the directories again, for files
// that are new; if it stays unknown the error is a *NotFoundError.
func (f *Folder) Find(name string) (path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path, ok := f.lookup(name); ok {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if err := f.scan(); err != nil {
		return "", err
	}
	if path, ok := f.lookup(name); ok {
		return path, nil
	}
	return "", &NotFoundError{name, f.dirs, sorted(f.names)}
}

// Names lists the names that Find knows, in alphabetical order.
func (f *Folder) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sorted(f.names)
}

func sorted(names map[string]string) []string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (f *Folder) lookup(name string) (path string, ok bool) {
	if f.forbidden[name] {
		path, ok = f.stems[name]
	} else {
		path, ok = f.names[name]
	}
	return path, ok
}

// scan reads the names anew. The caller holds mu, or nobody else knows f yet.
func (f *Folder) scan() error {
	f.stems, f.names, f.forbidden = make(map[string]string), make(map[string]string), make(map[string]bool)
	for _, dir := range f.dirs {
		files, err := adapters(dir, map[string]bool{})
		if err != nil {
			return fmt.Errorf("lora: looking for adapters: %w", err)
		}
		for _, path := range files {
			f.add(path)
		}
	}
	return nil
}

func (f *Folder) add(path string) {
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	alias := outputName(path)
	if alias == "" {
		alias = stem
	}
	if _, taken := f.names[alias]; taken {
		f.forbidden[alias] = true
	}
	f.stems[stem] = path
	f.names[stem], f.names[alias] = path, path
}

// outputName is the name a file was saved under by the program that trained it, "" if it does not say.
func outputName(path string) string {
	file, err := weights.OpenFile(path)
	if err != nil {
		return "" // Open will say what is wrong, if the file is asked for
	}
	defer file.Close()
	if name := file.Metadata()["ss_output_name"]; name != "None" {
		return name
	}
	return ""
}

// adapters lists the files below dir that may be adapters, by path. Pickles are among them, for Open to refuse with
// a better message than "not found". Links are followed, but to no directory twice.
func adapters(dir string, seen map[string]bool) (list []string, err error) {
	where, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if seen[where] {
		return nil, nil
	}
	seen[where] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to nowhere
		}
		if err != nil {
			return nil, err
		}
		switch {
		case info.IsDir():
			below, err := adapters(path, seen)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		case slices.Contains([]string{".safetensors", ".pt", ".ckpt"}, filepath.Ext(path)):
			list = append(list, path)
		}
	}
	return list, nil
}

// NotFoundError says that no adapter has the name.
type NotFoundError struct {
	Name  string
	Dirs  []string // where it was looked for
	Names []string // what is there
}

// Error names the directories and the names that come close.
func (e *NotFoundError) Error() string {
	if len(e.Dirs) == 0 {
		return fmt.Sprintf("lora: no folder to look for %q in; name the folder of your LoRA files", e.Name)
	}
	hint := fmt.Sprintf("put %s.safetensors there", e.Name)
	for _, name := range e.Names {
		if strings.EqualFold(name, e.Name) {
			hint = fmt.Sprintf("there is %q; upper and lower case count", name)
			break
		}
		if strings.Contains(strings.ToLower(name), strings.ToLower(e.Name)) {
			hint = fmt.Sprintf("there is %q", name)
		}
	}
	return fmt.Sprintf("lora: no LoRA called %.100q in %s; %s", e.Name, strings.Join(e.Dirs, ", "), hint)
}
