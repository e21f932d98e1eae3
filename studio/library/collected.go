package library

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/filename"
)

// collection is what was saved of a job's results, kept in a file of its own.
type collection struct {
	Job   string               `json:"job"`
	Files map[string]collected `json:"files"` // by the results' names
}

// collected is where a result was saved.
type collected struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // of the file
	Done   bool   `json:"done"`   // it was written; until then it is only meant to be
}

// SaveOnce is SavePicture for a result of a job, which is saved once, however often it is asked for and wherever the program was killed
// between: before a file is written it is noted where it goes and what its digest is, and afterwards that it is there. It needs
// Options.DataDir, where the notes are, and LockSaved.
func (l *Library) SaveOnce(job, name, kind string, p sd.Picture) (path string, err error) {
	file, ext, err := l.encode(kind, p)
	if err != nil {
		return "", err
	}
	v := valuesOf(kind, p)
	return l.once(job, name, file, func() (string, error) { return l.nextPath(kind, ext, v) })
}

// SaveLoRAOnce is SaveOnce for a LoRA, which goes into the first folder of LoRAs under the result's name, with a number behind it if another file
// has that. A training that went on behind its end has another result of the same name: that is saved too.
func (l *Library) SaveLoRAOnce(job, name string, file []byte) (path string, err error) {
	if len(l.places.loras) == 0 {
		return "", errors.New("library: there is no folder for LoRAs; give Options.DataDir or Options.LoRADir")
	}
	if name != filename.Part(name, false) || !isLoRA("", name, false) {
		return "", fmt.Errorf("library: %w", invalid.Field("name", name, "the name of a .safetensors file"))
	}
	path, err = l.once(job, name+" "+digestOf(file), file, func() (string, error) { return free(filepath.Join(l.places.loras[0], name)), nil })
	if err == nil {
		err = l.Refresh()
	}
	return path, err
}

// once writes a file to the next path, unless that was done for the result before.
func (l *Library) once(job, name string, file []byte, next func() (string, error)) (path string, err error) {
	if l.places.collected == "" {
		return "", errors.New("library: there is no folder for what was saved of jobs; give Options.DataDir")
	}
	l.collecting.Lock()
	defer l.collecting.Unlock()
	c, err := l.openCollection(job)
	if err != nil {
		return "", err
	}
	have := c.Files[name]
	if have.Done {
		return have.Path, nil
	}
	if have.Path == "" || !wrote(have) {
		if have, err = l.note(c, name, file, next); err != nil {
			return "", err
		}
	}
	have.Done = true
	c.Files[name] = have
	return have.Path, l.saveCollection(c)
}

// wrote reports whether the file that was meant to be written is there.
func wrote(c collected) bool {
	data, err := openfile.ReadFile(c.Path, maxSaved)
	return err == nil && digestOf(data) == c.SHA256
}

// maxSaved is the most bytes of a file that is compared.
const maxSaved = 4 << 30

// note notes where a file goes and then writes it there.
func (l *Library) note(c collection, name string, file []byte, next func() (string, error)) (noted collected, err error) {
	if meant := c.Files[name].Path; meant != "" && isEmpty(meant) { // its name was taken for it, and no more
		if err := os.Remove(meant); err != nil {
			return noted, fmt.Errorf("library: %w", err)
		}
	}
	noted.SHA256 = digestOf(file)
	for {
		if noted.Path, err = next(); err != nil {
			return noted, err
		}
		c.Files[name] = noted
		if err := l.saveCollection(c); err != nil {
			return noted, err
		}
		switch err := create(noted.Path, file); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return noted, fmt.Errorf("library: saving a result: %w", err)
		default:
			return noted, nil
		}
	}
}

// LockSaved keeps other programs from saving what jobs have made into the same library, until release is called. If one does, the error is a
// *filelock.HeldError.
func (l *Library) LockSaved() (release func() error, err error) {
	if l.places.collected == "" {
		return nil, errors.New("library: there is no folder for what was saved of jobs; give Options.DataDir")
	}
	if err := os.MkdirAll(l.places.collected, 0o777); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	lock, err := filelock.Take(filepath.Join(l.places.collected, "lock"))
	if err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	return lock.Release, nil
}

func isEmpty(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Saved are the paths of the pictures that SaveOnce saved of a job, by the results' names.
func (l *Library) Saved(job string) (map[string]string, error) {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	c, err := l.openCollection(job)
	paths := make(map[string]string)
	for name, f := range c.Files {
		if f.Done {
			paths[name] = f.Path
		}
	}
	return paths, err
}

// ForgetSaved drops what is known of the saved results of jobs that are no more; what was saved stays.
func (l *Library) ForgetSaved(gone func(job string) bool) error {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	notes, err := os.ReadDir(l.places.collected)
	if errors.Is(err, fs.ErrNotExist) || l.places.collected == "" {
		return nil
	}
	for _, e := range notes {
		path := filepath.Join(l.places.collected, e.Name())
		c, e2 := readCollection(path)
		if !strings.HasSuffix(path, ".json") || e2 != nil || !gone(c.Job) {
			continue
		}
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}

// maxCollection is the most bytes that notes of a job have.
const maxCollection = 16 << 20

func (l *Library) notePath(job string) string {
	return filepath.Join(l.places.collected, digestOf([]byte(job))[:32]+".json")
}

// openCollection reads what was saved of a job.
func (l *Library) openCollection(job string) (collection, error) {
	none := collection{Job: job, Files: make(map[string]collected)}
	if l.places.collected == "" {
		return none, nil
	}
	c, err := readCollection(l.notePath(job))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("library: what was saved of job %s: %w", job, err)
	}
	return c, nil
}

func readCollection(path string) (c collection, err error) {
	data, err := openfile.ReadFile(path, maxCollection)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if c.Files == nil {
		c.Files = make(map[string]collected)
	}
	return c, err
}

func (l *Library) saveCollection(c collection) error {
	data, err := json.Marshal(c)
	if err == nil {
		err = os.MkdirAll(l.places.collected, 0o777)
	}
	if err == nil {
		err = atomicfile.WriteFile(l.notePath(c.Job), data)
	}
	if err != nil {
		return fmt.Errorf("library: noting what was saved of job %s: %w", c.Job, err)
	}
	return nil
}
