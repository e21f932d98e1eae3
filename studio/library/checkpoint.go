package library

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// Checkpoint is a model, in the web UI's words.
type Checkpoint struct {
	Name   string // its place with "_" for slashes, without extension: "model_name"
	Title  string // its place, with Hash behind it if that is known: "v1-5-pruned-emaonly.safetensors [6ce0161689]"
	Path   string // of the file, or the folder of diffusers; "" if the program carries it
	Hash   string // the first ten digits of SHA256
	SHA256 string // "" until it is known: for folders always, for files until somebody asks for it, or draws with it

	place    string
	stem     string
	embedded fs.FS
}

// Open opens the checkpoint, which the caller closes.
func (c Checkpoint) Open(o weights.Options) (*weights.Checkpoint, error) {
	if c.embedded != nil {
		return weights.OpenFS(c.embedded, c.Name, o)
	}
	return weights.Open(c.Path, o)
}

// shortHash is how many digits of a hash people see.
const shortHash = 10

// hashed is the checkpoint with its hash.
func (c Checkpoint) hashed(sha256 string) Checkpoint {
	if c.SHA256 = sha256; len(sha256) >= shortHash {
		c.Hash = sha256[:shortHash]
		c.Title = fmt.Sprintf("%s [%s]", c.place, c.Hash)
	}
	return c
}

// asCheckpoints are files as checkpoints, behind the one that the program carries.
func (l *Library) asCheckpoints(files []File) (all []Checkpoint) {
	if l.options.Embedded != nil {
		name := l.options.EmbeddedName
		all = append(all, Checkpoint{Name: name, Title: name, place: name, stem: name, embedded: l.options.Embedded})
	}
	for _, f := range files {
		name := f.Place
		if ext := path.Ext(name); hasExtension(name, ".safetensors", ".ckpt") {
			name = strings.TrimSuffix(name, ext)
		}
		c := Checkpoint{Name: strings.ReplaceAll(name, "/", "_"), Title: f.Place, Path: f.Path, place: f.Place, stem: f.Name}
		all = append(all, c.hashed(weights.KnownHash(f.Path)))
	}
	return all
}

// Checkpoints are all checkpoints, by their places; first the one that the program carries, if it does.
func (l *Library) Checkpoints() []Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range l.checkpoints {
		if c.SHA256 == "" && c.Path != "" {
			l.checkpoints[i] = c.hashed(weights.KnownHash(c.Path))
		}
	}
	return slices.Clone(l.checkpoints)
}

// Hash is the SHA-256 of a checkpoint's file, which is read for it once; "" for one that is no file.
func (l *Library) Hash(ctx context.Context, c Checkpoint) (string, error) {
	if c.embedded != nil || c.SHA256 != "" || isCheckpoint(c.Path, "", true) {
		return c.SHA256, nil
	}
	return weights.HashFile(ctx, c.Path)
}

// Checkpoint finds a checkpoint by its title, place, name, file name without extension or hash, with or without the hash in brackets
// behind it; else the one of the shortest title that has the name in it. If there is none it looks through the folders again, unless it did a
// moment ago, before the error is a *NotFoundError.
func (l *Library) Checkpoint(name string) (Checkpoint, error) {
	if c, ok := find(l.Checkpoints(), name); ok {
		return c, nil
	}
	if err := l.lookAgain(); err != nil {
		return Checkpoint{}, err
	}
	all := l.Checkpoints()
	if c, ok := find(all, name); ok {
		return c, nil
	}
	e := &NotFoundError{Kind: "checkpoint", Name: name, Dirs: existing(l.places.checkpoints)}
	for _, c := range all {
		e.Known = append(e.Known, c.Title)
	}
	return Checkpoint{}, e
}

// CheckpointDirs are the folders that checkpoints are looked for in.
func (l *Library) CheckpointDirs() []string { return slices.Clone(l.places.checkpoints) }

// checksum is a hash behind a name.
var checksum = regexp.MustCompile(` *\[[0-9a-f]{8,64}\] *$`)

func find(all []Checkpoint, name string) (Checkpoint, bool) {
	bare := checksum.ReplaceAllString(strings.ReplaceAll(name, `\`, "/"), "")
	if bare == "" {
		return Checkpoint{}, false
	}
	for _, same := range []func(c Checkpoint) bool{
		func(c Checkpoint) bool {
			return c.Title == name || c.Hash != "" && (c.Hash == name || c.SHA256 == name)
		},
		func(c Checkpoint) bool { return c.place == bare || c.Path != "" && c.Path == name },
		func(c Checkpoint) bool { return c.Name == bare },
		func(c Checkpoint) bool { return c.stem == bare || path.Base(c.place) == bare },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return all[i], true
		}
	}
	near := slices.DeleteFunc(slices.Clone(all), func(c Checkpoint) bool { return !strings.Contains(strings.ToLower(c.Title), strings.ToLower(bare)) })
	if len(near) == 0 {
		return Checkpoint{}, false
	}
	return slices.MinFunc(near, func(a, b Checkpoint) int { return cmp.Compare(len(a.Title), len(b.Title)) }), true
}

// NotFoundError says that the library has nothing of a name.
type NotFoundError struct {
	Kind  string   // "checkpoint", "upscaler", "style", "picture"
	Name  string   // that was asked for
	Known []string // what there is
	Dirs  []string // where it was looked for
}

// Error names what there is, or says where to put it.
func (e *NotFoundError) Error() string {
	const some = 20
	switch {
	case len(e.Known) > some:
		return fmt.Sprintf("there is no %s %.100q; there are %.60q and %d more", e.Kind, e.Name, e.Known[:some], len(e.Known)-some)
	case len(e.Known) > 0:
		return fmt.Sprintf("there is no %s %.100q; there are %.60q", e.Kind, e.Name, e.Known)
	case len(e.Dirs) > 0:
		return fmt.Sprintf("there is no %s %.100q; put its file into %q", e.Kind, e.Name, e.Dirs)
	}
	return fmt.Sprintf("there is no %s %.100q", e.Kind, e.Name)
}
