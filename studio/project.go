package studio

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/portrait"
)

// project is a portrait in the making: a folder with photos of a person, their captions, and what was decided.
type project struct {
	ID  string `json:"-"`
	Dir string `json:"-"`

	Created    time.Time
	Name       string // that stands for the person in prompts
	Class      string // man, woman, person or an own word
	Checkpoint string `json:",omitempty"` // by its title; "" is the one that is open
	Keep, Drop []string
	// Preset is what is drawn, Epoch and Weight with what: 0 is what was found best.
	Preset string   `json:",omitempty"`
	Epoch  int      `json:",omitempty"`
	Weight float64  `json:",omitempty"`
	Jobs   []string // in the queue, the last is that which counts
}

// Job is the project's job that counts, "" before there is one.
func (p project) Job() string {
	if len(p.Jobs) == 0 {
		return ""
	}
	return p.Jobs[len(p.Jobs)-1]
}

// Title is what the project is called.
func (p project) Title() string {
	if p.Name == "" || p.Name == defaultName {
		return "Portrait of " + p.Created.Format("2 January, 15:04")
	}
	return p.Name
}

// Words are what stands for the person in prompts.
func (p project) Words() string { return strings.TrimSpace(p.Name + " " + p.Class) }

func (p project) photos() string { return filepath.Join(p.Dir, "photos") }

// defaultName is a word that means nothing to models yet.
const defaultName = "personname"

// The bounds of what is uploaded.
const (
	maxPhotoBytes   = 64 << 20
	maxUploadBytes  = 1 << 30
	maxCaptionBytes = 16 << 10
)

// projects are all of them, in a folder.
type projects struct {
	dir string
	mu  sync.Mutex // held while one changes
}

var projectID = regexp.MustCompile(`^[a-z2-7]{10}$`)

// add begins a project.
func (s *projects) add() (project, error) {
	p := project{ID: strings.ToLower(rand.Text()[:10]), Created: time.Now(), Name: defaultName, Class: "person"}
	p.Dir = filepath.Join(s.dir, p.ID)
	if err := os.MkdirAll(p.photos(), 0o777); err != nil {
		return p, fmt.Errorf("studio: a new portrait: %w", err)
	}
	return p, p.save()
}

func (p project) save() error {
	data, err := json.MarshalIndent(p, "", "\t")
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(p.Dir, "project.json"), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("studio: portrait %s: %w", p.ID, err)
	}
	return nil
}

// get is a project; the error is fs.ErrNotExist if there is none.
func (s *projects) get(id string) (p project, err error) {
	if !projectID.MatchString(id) {
		return p, fmt.Errorf("studio: portrait %.20q: %w", id, fs.ErrNotExist)
	}
	p.ID, p.Dir = id, filepath.Join(s.dir, id)
	data, err := openfile.ReadFile(filepath.Join(p.Dir, "project.json"), 1<<20)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return p, fmt.Errorf("studio: portrait %s: %w", id, err)
	}
	return p, nil
}

// all are the projects, the newest first.
func (s *projects) all() []project {
	return newest(s.dir, s.get, func(p project) time.Time { return p.Created })
}

// newest are all that folders in a folder hold, as far as they can be read, the newest first.
func newest[T any](dir string, get func(id string) (T, error), created func(T) time.Time) (all []T) {
	entries, _ := os.ReadDir(dir) // there are none before the first
	for _, e := range entries {
		if one, err := get(e.Name()); err == nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b T) int { return created(b).Compare(created(a)) })
	return all
}

// change changes what is kept of a project.
func (s *projects) change(id string, f func(*project) error) (project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.get(id)
	if err == nil {
		err = f(&p)
	}
	if err == nil {
		err = p.save()
	}
	return p, err
}

// remove forgets a project with its photos.
func (s *projects) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.get(id)
	if err != nil {
		return err
	}
	return os.RemoveAll(p.Dir)
}

// unread are formats that portrait.Check tells of in words.
var unread = []string{".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"}

// photoName makes a name of a file out of one that somebody sent: no path, no letters that some system has no use for.
func photoName(name string) (string, error) {
	name = filepath.Base(strings.ReplaceAll(name, `\`, "/"))
	ext := strings.ToLower(filepath.Ext(name))
	if !slices.Contains(picture.Extensions, ext) && !slices.Contains(unread, ext) && ext != ".txt" {
		return "", fmt.Errorf("%.80q is no photo: JPEG, PNG and WebP are, and .txt files with their captions", name)
	}
	stem := strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"/\|?*%`, r) || r == '\ufffd' {
			return '_'
		}
		return r
	}, strings.TrimSuffix(name, filepath.Ext(name)))
	stem = strings.Trim(stem, " .")
	if runes := []rune(stem); len(runes) > 60 {
		stem = string(runes[:60])
	}
	if stem == "" {
		stem = "photo"
	}
	return stem + ext, nil
}

// addPhoto keeps a file that somebody sent, beside those of the same name, and says what it is called.
func (p project) addPhoto(name string, r io.Reader) (string, error) {
	name, err := photoName(name)
	if err != nil {
		return "", err
	}
	ext := filepath.Ext(name)
	most := int64(maxPhotoBytes)
	if ext == ".txt" {
		most = maxCaptionBytes
	}
	if entries, err := os.ReadDir(p.photos()); err == nil && len(entries) >= 2*portrait.MaxPhotos {
		return "", fmt.Errorf("%s: there are %d files already; drop some first", name, len(entries))
	}
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s did not arrive whole: %w", name, err)
	case len(data) == 0:
		return "", fmt.Errorf("%s is empty", name)
	case int64(len(data)) > most:
		return "", fmt.Errorf("%s has more than %d MB; save it smaller", name, most>>20)
	}
	path := filepath.Join(p.photos(), name)
	if ext != ".txt" {
		if path, err = p.place(name, data); err != nil {
			return "", err
		}
	}
	if err := atomicfile.WriteFile(path, data); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return filepath.Base(path), nil
}

// place is where a photo goes: where the same one is already, or under the next free name.
func (p project) place(name string, data []byte) (string, error) {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 2; n < 2*portrait.MaxPhotos; n++ {
		path := filepath.Join(p.photos(), name)
		have, err := openfile.ReadFile(path, maxPhotoBytes)
		if errors.Is(err, fs.ErrNotExist) || err == nil && string(have) == string(data) {
			return path, nil
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, ext)
	}
	return "", fmt.Errorf("%s: too many photos of that name", name)
}

// names are those of the photos.
func (p project) names() (names []string) {
	entries, _ := os.ReadDir(p.photos()) // an empty list says as much
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && (slices.Contains(picture.Extensions, ext) || slices.Contains(unread, ext)) {
			names = append(names, e.Name())
		}
	}
	return names
}

// has reports whether there is a photo of a name.
func (p project) has(name string) bool { return slices.Contains(p.names(), name) }

// captionFile is where the caption of a photo is.
func (p project) captionFile(photo string) string {
	return filepath.Join(p.photos(), strings.TrimSuffix(photo, filepath.Ext(photo))+".txt")
}

// caption is that of a photo, as its file has it, or what it would be without one.
func (p project) caption(photo string) (text string, own bool) {
	data, err := openfile.ReadFile(p.captionFile(photo), maxCaptionBytes)
	if err != nil {
		return "photo of " + p.Words(), false
	}
	return strings.TrimSpace(string(data)), true
}

// setCaption writes the caption of a photo; one that is what it would be without a file takes the file away.
func (p project) setCaption(photo, text string) error {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r", ""))
	switch {
	case !p.has(photo):
		return fmt.Errorf("there is no photo %.80q", photo)
	case len(text) > maxCaptionBytes:
		return fmt.Errorf("the caption of %s has more than %d bytes", photo, maxCaptionBytes)
	case text == "" || text == "photo of "+p.Words():
		if err := os.Remove(p.captionFile(photo)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return atomicfile.WriteFile(p.captionFile(photo), []byte(text+"\n"))
}

// removePhoto takes a photo away for good.
func (p project) removePhoto(name string) error {
	if !p.has(name) {
		return fmt.Errorf("there is no photo %.80q", name)
	}
	if err := os.Remove(p.captionFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(filepath.Join(p.photos(), name))
}

// decide says of a photo that it is kept or dropped whatever was found, or that what was found decides.
func (p *project) decide(photo string, v string) error {
	if !p.has(photo) {
		return fmt.Errorf("there is no photo %.80q", photo)
	}
	same := func(name string) bool { return name == photo }
	p.Keep, p.Drop = slices.DeleteFunc(p.Keep, same), slices.DeleteFunc(p.Drop, same)
	switch v {
	case "keep":
		p.Keep = append(p.Keep, photo)
	case "drop":
		p.Drop = append(p.Drop, photo)
	case "found":
	default:
		return fmt.Errorf("a photo is kept or dropped, not %.20q", v)
	}
	return nil
}

// checkOptions are those of a check of the photos that are there.
func (p project) checkOptions(resolution int) portrait.CheckOptions {
	gone := func(name string) bool { return !p.has(name) }
	return portrait.CheckOptions{
		Resolution: resolution,
		Keep:       slices.DeleteFunc(slices.Clone(p.Keep), gone), Drop: slices.DeleteFunc(slices.Clone(p.Drop), gone),
	}
}

// stamp tells photos and captions, and what decides of them, from others.
func (p project) stamp(resolution int) string {
	var b strings.Builder
	o := p.checkOptions(resolution)
	fmt.Fprintln(&b, resolution, o.Keep, o.Drop)
	entries, _ := os.ReadDir(p.photos())
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !strings.HasPrefix(e.Name(), ".") {
			fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return digest([]byte(b.String()))
}

// checked is what was found of a project's photos.
type checked struct {
	Stamp  string
	Report portrait.Report
}

func (p project) checkedPath() string { return filepath.Join(p.Dir, "check.json") }

// found is what the last check found, of whatever photos there were.
func (p project) found() (c checked) {
	data, err := openfile.ReadFile(p.checkedPath(), 1<<26)
	if err != nil || json.Unmarshal(data, &c) != nil {
		return checked{}
	}
	return c
}

// check looks at the photos and keeps what it finds.
func (p project) check(ctx context.Context, faces looker, resolution int) error {
	c := checked{Stamp: p.stamp(resolution)}
	var err error
	if c.Report, err = portrait.Check(ctx, p.photos(), faces, p.checkOptions(resolution)); err != nil {
		return err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(p.checkedPath(), data)
}
