package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/sd/infotext"
)

// Picture is a picture among the outputs.
type Picture struct {
	Name string    // its path below the outputs, with slashes: "txt2img-images/2026-11-29/00000-7.png"
	Time time.Time // when it was saved
	Size int64     // bytes
}

// Day is when the picture was saved, as in 2026-11-29.
func (p Picture) Day() string { return p.Time.Format(time.DateOnly) }

// Query says which pictures are wanted. The zero value is the newest ones of all.
type Query struct {
	Folder string // "txt2img-images", or any other below the outputs; "" is all
	Search string // words that the text of a picture, or its name, has all of, whatever their case
	Offset int    // so many of the newest are passed over
	Limit  int    // how many there are at most; 0 is 100, and MaxPage the most
}

// MaxPage is the most pictures that are told at once.
const MaxPage = 1000

// gallery knows the pictures among the outputs. Folders are read again when they have changed; the texts of pictures are read when
// somebody searches, once.
type gallery struct {
	root string

	mu      sync.Mutex
	folders map[string]*galleryFolder // by their paths below the root, "" for itself
	sorted  []*galleryPicture         // the newest first; nil if a folder has changed

	thumbnails thumbnails
}

// galleryFolder is a folder as it was read.
type galleryFolder struct {
	modified time.Time
	read     time.Time
	below    []string // folders
	pictures map[string]*galleryPicture
}

// galleryPicture is a picture with its text, if that was read.
type galleryPicture struct {
	Picture
	text   string // in lower case
	hasRun bool   // the text was read
}

func (g *gallery) init(root string) {
	g.root, g.folders = root, make(map[string]*galleryFolder)
	g.thumbnails.init()
}

// Pictures are a page of the pictures among the outputs, the newest first, and how many there are of the query in all.
func (l *Library) Pictures(ctx context.Context, q Query) (page []Picture, total int, err error) {
	g := &l.gallery
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refresh(); err != nil {
		return nil, 0, fmt.Errorf("library: the gallery: %w", err)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, MaxPage)
	words := strings.Fields(strings.ToLower(q.Search))
	for _, p := range g.sorted {
		if q.Folder != "" && !strings.HasPrefix(p.Name, q.Folder+"/") {
			continue
		}
		if len(words) > 0 && !g.matches(p, words) {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			continue
		}
		if total++; total > q.Offset && len(page) < limit {
			page = append(page, p.Picture)
		}
	}
	return page, total, nil
}

// matches reports whether a picture's text or name has all words.
func (g *gallery) matches(p *galleryPicture, words []string) bool {
	if !p.hasRun {
		p.text, p.hasRun = strings.ToLower(p.Name+"\n"+infotextOf(g.path(p.Name))), true
	}
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(p.text, word) })
}

func (g *gallery) path(name string) string { return filepath.Join(g.root, filepath.FromSlash(name)) }

// infotextOf is the text of a picture's file; "" if it has none or cannot be read.
func infotextOf(path string) string {
	f, err := openfile.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	m, err := infotext.Extract(f)
	if err != nil {
		return ""
	}
	return m.Infotext()
}

// grain is how coarse the times of folders may be: one that changed less than that before it was read may have changed since.
const grain = 2 * time.Second

// refresh reads the folders that have changed.
func (g *gallery) refresh() error {
	if g.root == "" {
		return nil
	}
	seen, changed := make(map[string]bool), g.sorted == nil
	var look func(below string) error
	look = func(below string) error {
		dir := g.path(below)
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		seen[below] = true
		f := g.folders[below]
		if f == nil || !f.modified.Equal(info.ModTime()) || f.read.Sub(info.ModTime()) < grain {
			if f, err = readFolder(dir, below, f, info.ModTime()); err != nil {
				return err
			}
			g.folders[below], changed = f, true
		}
		for _, name := range f.below {
			if err := look(path.Join(below, name)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := look(""); err != nil {
		return err
	}
	for below := range g.folders {
		if !seen[below] {
			delete(g.folders, below)
			changed = true
		}
	}
	if changed {
		g.sort()
	}
	return nil
}

// readFolder lists a folder. Of pictures that are as they were before, what is known stays.
func readFolder(dir, below string, before *galleryFolder, modified time.Time) (*galleryFolder, error) {
	f := &galleryFolder{modified: modified, read: time.Now(), pictures: make(map[string]*galleryPicture)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if isFolder(dir, e) {
			f.below = append(f.below, name)
		}
		if !e.Type().IsRegular() || !hasExtension(name, ".png", ".jpg", ".jpeg", ".webp") {
			continue
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 { // a name that somebody has taken for a picture that comes
			continue
		}
		p := &galleryPicture{Picture: Picture{path.Join(below, name), info.ModTime(), info.Size()}}
		if before != nil {
			if was := before.pictures[name]; was != nil && was.Size == p.Size && was.Time.Equal(p.Time) {
				p = was
			}
		}
		f.pictures[name] = p
	}
	return f, nil
}

// isFolder reports whether an entry is a folder, or a link to one.
func isFolder(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

// sort puts all pictures in order.
func (g *gallery) sort() {
	g.sorted = make([]*galleryPicture, 0, len(g.sorted))
	for _, f := range g.folders {
		for _, p := range f.pictures {
			g.sorted = append(g.sorted, p)
		}
	}
	slices.SortFunc(g.sorted, func(a, b *galleryPicture) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(b.Name, a.Name))
	})
}

// find is a picture of the gallery; its name is the only way to it, so that no name leads elsewhere.
func (l *Library) find(name string) (Picture, error) {
	g := &l.gallery
	g.mu.Lock()
	defer g.mu.Unlock()
	lookup := func() *galleryPicture {
		if f := g.folders[strings.TrimPrefix(path.Dir(name), ".")]; f != nil {
			return f.pictures[path.Base(name)]
		}
		return nil
	}
	p := lookup()
	if p == nil {
		if err := g.refresh(); err != nil {
			return Picture{}, fmt.Errorf("library: the gallery: %w", err)
		}
		p = lookup()
	}
	if p == nil || p.Name != name {
		return Picture{}, &NotFoundError{Kind: "picture", Name: name}
	}
	return p.Picture, nil
}

// OpenPicture opens a picture of the gallery by its name. One that is not there is a *NotFoundError.
func (l *Library) OpenPicture(name string) (*os.File, Picture, error) {
	p, err := l.find(name)
	if err != nil {
		return nil, p, err
	}
	f, err := openfile.Open(l.gallery.path(name))
	return f, p, err
}

// PicturePath is where a picture of the gallery is on the machine.
func (l *Library) PicturePath(name string) (string, error) {
	_, err := l.find(name)
	return l.gallery.path(name), err
}

// Infotext is the text of a picture of the gallery; "" if it has none.
func (l *Library) Infotext(name string) (string, error) {
	if _, err := l.find(name); err != nil {
		return "", err
	}
	return infotextOf(l.gallery.path(name)), nil
}

// DeletePicture deletes a picture of the gallery.
func (l *Library) DeletePicture(name string) error {
	if _, err := l.find(name); err != nil {
		return err
	}
	if err := os.Remove(l.gallery.path(name)); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}
