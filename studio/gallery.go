package studio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// galleryPage is a page of the gallery, by days.
type galleryPage struct {
	Search, Folder string
	Folders        []string
	Days           []galleryDay
	Total, From    int
	Next           string // address of the next page; "" is none
}

// galleryDay is what was saved on a day.
type galleryDay struct {
	Day       string
	Name      string
	Pictures  []galleryPicture
	Continued bool // the page before has the beginning of it
}

// galleryPicture is a picture in the gallery.
type galleryPicture struct{ Name, Page, Thumbnail string }

// galleryStep is how many pictures are shown at once: what follows comes when somebody gets there.
const galleryStep = 120

// galleryRoutes are those of the room Gallery.
func (s *Server) galleryRoutes() {
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /gallery":                      s.showGallery,
		"GET /gallery/more":                 s.moreGallery,
		"POST /gallery/text":                s.readPicture,
		"GET /gallery/picture/{name...}":    s.showGalleryPicture,
		"GET /gallery/thumbnail/{name...}":  s.galleryThumbnail,
		"GET /gallery/file/{name...}":       s.galleryFile,
		"POST /gallery/verify/{name...}":    s.verify,
		"GET /gallery/verified/{name...}":   s.verified,
		"POST /gallery/delete/{name...}":    s.deletePicture,
		"POST /gallery/send/{to}/{name...}": s.sendPictureOn,
		"GET /gallery/difference/{name...}": s.difference,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r); err != nil {
				if _, missing := errors.AsType[*library.NotFoundError](err); missing {
					err = fs.ErrNotExist
				}
				s.fail(w, r, notFound(err))
			}
		})
	}
}

// below is an address of a picture, whose name has slashes.
func below(prefix, name string) string { return prefix + (&url.URL{Path: name}).EscapedPath() }

// gallery is a page of the pictures that a request asks for.
func (s *Server) gallery(r *http.Request) (p galleryPage, err error) {
	p.Search, p.Folder = r.FormValue("q"), r.FormValue("folder")
	p.From, _ = strconv.Atoi(r.FormValue("from"))
	p.From = max(p.From, 0)
	pictures, total, err := s.options.Library.Pictures(r.Context(), library.Query{Folder: p.Folder, Search: p.Search, Offset: p.From, Limit: galleryStep})
	if err != nil {
		return p, err
	}
	p.Total = total
	for _, one := range pictures {
		day := one.Day()
		if n := len(p.Days); n == 0 || p.Days[n-1].Day != day {
			p.Days = append(p.Days, galleryDay{Day: day, Name: dayName(one.Time), Continued: n == 0 && r.FormValue("day") == day})
		}
		last := &p.Days[len(p.Days)-1]
		last.Pictures = append(last.Pictures, galleryPicture{one.Name, below("/gallery/picture/", one.Name), below("/gallery/thumbnail/", one.Name)})
	}
	if end := p.From + len(pictures); end < total && len(pictures) > 0 {
		p.Next = "?" + url.Values{"q": {p.Search}, "folder": {p.Folder}, "from": {strconv.Itoa(end)}, "day": {p.Days[len(p.Days)-1].Day}}.Encode()
	}
	p.Folders = []string{"txt2img-images", "img2img-images", "extras-images", "txt2img-grids", "img2img-grids"}
	return p, nil
}

// dayName is a day as people call it.
func dayName(t time.Time) string {
	switch now := time.Now(); {
	case sameDay(t, now):
		return "Today"
	case sameDay(t, now.AddDate(0, 0, -1)):
		return "Yesterday"
	case t.Year() == now.Year():
		return t.Local().Format("Monday, 2 January")
	}
	return t.Local().Format("2 January 2006")
}

func sameDay(a, b time.Time) bool {
	return a.Local().Format(time.DateOnly) == b.Local().Format(time.DateOnly)
}

func (s *Server) showGallery(w http.ResponseWriter, r *http.Request) error {
	p, err := s.gallery(r)
	if err != nil {
		return err
	}
	s.render(w, r, http.StatusOK, "gallery", view{Title: "Gallery", Room: "/gallery", Class: "page wide", Script: "gallery.js", Style: "rooms.css", Content: p})
	return nil
}

func (s *Server) moreGallery(w http.ResponseWriter, r *http.Request) error {
	p, err := s.gallery(r)
	if err == nil {
		s.fragment(w, r, "gallery", "days", p)
	}
	return err
}

// picturePage is what the page of a picture shows: one of the gallery, or one that somebody let look at.
type picturePage struct {
	Name       string // in the gallery; "" if it is not from there
	File       string // its own name
	Path       string // on the machine
	URL        string
	Time       time.Time
	Size       int64
	Text       string
	Prompt     string
	Negative   string
	Fields     []infotext.Field
	Entries    []infotext.Entry
	Program    string // that made it, if that is another
	Fault      string // why it cannot be drawn again
	Verifiable bool
}

// take reads what a picture's text says.
func (p *picturePage) take(m infotext.Metadata) {
	p.Text, p.Entries = m.Infotext(), m.Entries
	if p.Text == "" {
		p.Program = m.Program()
		return
	}
	t := infotext.Parse(p.Text)
	p.Prompt, p.Negative, p.Fields = t.Prompt, t.Negative, t.Fields
	if _, _, err := sd.FromInfotext(t); err != nil {
		p.Fault = err.Error()
	}
	p.Verifiable = p.Fault == "" && p.Name != ""
}

func (s *Server) showGalleryPicture(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	file, found, err := s.options.Library.OpenPicture(name)
	if err != nil {
		return err
	}
	defer file.Close()
	m, err := infotext.Extract(file)
	if err != nil && !errors.Is(err, infotext.ErrFormat) {
		return err
	}
	p := picturePage{Name: name, File: path.Base(name), URL: below("/gallery/file/", name), Time: found.Time, Size: found.Size}
	p.Path, _ = s.options.Library.PicturePath(name) // it was there a moment ago
	p.take(m)
	s.render(w, r, http.StatusOK, "gallery_picture", view{Title: p.File, Room: "/gallery", Class: "page wide", Script: "gallery.js", Style: "rooms.css", Content: p})
	return nil
}

// readPicture says what the text of a picture is that somebody sends, and keeps nothing.
func (s *Server) readPicture(w http.ResponseWriter, r *http.Request) error {
	var p *picturePage
	refused, err := takeFiles(r, func(name string, part io.Reader) error {
		m, err := infotext.Extract(io.LimitReader(part, maxPhotoBytes))
		if err != nil {
			return fmt.Errorf("%s: %w", printable(name), err)
		}
		p = &picturePage{File: printable(path.Base(strings.ReplaceAll(name, `\`, "/")))}
		p.take(m)
		return nil
	})
	switch {
	case err != nil:
		return err
	case p == nil:
		return &api.Problem{Status: http.StatusUnprocessableEntity, Detail: strings.Join(append(refused, "Send a PNG, JPEG or WebP picture."), " ")}
	}
	s.render(w, r, http.StatusOK, "gallery_picture", view{Title: p.File, Room: "/gallery", Class: "page wide", Script: "gallery.js", Style: "rooms.css", Content: *p})
	return nil
}

func (s *Server) galleryThumbnail(w http.ResponseWriter, r *http.Request) error {
	data, err := s.options.Library.Thumbnail(r.Context(), r.PathValue("name"), 320)
	if err != nil {
		return err
	}
	return sendPicture(w, r, "image/jpeg", data)
}

func (s *Server) galleryFile(w http.ResponseWriter, r *http.Request) error {
	file, found, err := s.options.Library.OpenPicture(r.PathValue("name"))
	if err != nil {
		return err
	}
	defer file.Close()
	if kind := kindOf(found.Name); kind != "" {
		w.Header().Set("Content-Type", kind)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	http.ServeContent(w, r, "", found.Time, file)
	return nil
}

// kindOf is what a picture's file is, by its name; "" if it is none that browsers show.
func kindOf(name string) string {
	return map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}[strings.ToLower(path.Ext(name))]
}

func (s *Server) deletePicture(w http.ResponseWriter, r *http.Request) error {
	if err := s.options.Library.DeletePicture(r.PathValue("name")); err != nil {
		return err
	}
	http.Redirect(w, r, "/gallery", http.StatusSeeOther)
	return nil
}

// verify has a picture of the gallery drawn again by its text.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	text, err := s.options.Library.Infotext(name)
	if err != nil {
		return err
	}
	t := infotext.Parse(text)
	request, _, err := sd.FromInfotext(t)
	if err != nil {
		return refuse(err)
	}
	draw := work.Draw{Request: request, Count: 1}
	for _, key := range []string{"Model hash", "Model"} {
		if model, _ := t.Get(key); model != "" && draw.Checkpoint == "" {
			if found, err := s.options.Library.Checkpoint(model); err == nil {
				draw.Checkpoint = found.Title
			}
		}
	}
	j, err := work.Submit(r.Context(), s.options.Queue, jobs.Job{Title: "verify " + path.Base(name)}, draw)
	if err != nil {
		return refuse(err)
	}
	http.Redirect(w, r, below("/gallery/verified/", name)+"?job="+url.QueryEscape(j.ID), http.StatusSeeOther)
	return nil
}

// verifiedPage is a picture beside the one that its text has given.
type verifiedPage struct {
	Name, File string
	Before     string // addresses of the two, and of where they differ
	After      string
	Difference string
	Job        jobs.Job
	Done       bool
	Same       bool
	Says       string
}

func (s *Server) verified(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	j, ok := s.options.Queue.Job(r.FormValue("job"))
	if !ok || j.Kind != work.DrawKind {
		return fs.ErrNotExist
	}
	p := verifiedPage{Name: name, File: path.Base(name), Before: below("/gallery/file/", name), Job: j, Done: j.State.Ended()}
	if j.State == jobs.Done && hasFile(j, "0.png") {
		p.After = "/api/v1/jobs/" + url.PathEscape(j.ID) + "/files/0.png"
		was, is, err := s.pair(r.Context(), name, j)
		if err != nil {
			return err
		}
		p.Says, p.Same = compare(was, is)
		if !p.Same && was.Rect == is.Rect {
			p.Difference = below("/gallery/difference/", name) + "?job=" + url.QueryEscape(j.ID)
		}
	}
	if r.Header.Get("HX-Request") != "" {
		s.fragment(w, r, "gallery_verified", "verified", p)
		return nil
	}
	s.render(w, r, http.StatusOK, "gallery_verified", view{Title: "Verify " + p.File, Room: "/gallery", Class: "page wide", Script: "gallery.js", Style: "rooms.css", Content: p})
	return nil
}

// pair are a picture of the gallery and the one that was drawn by its text.
func (s *Server) pair(ctx context.Context, name string, j jobs.Job) (was, is *image.NRGBA, err error) {
	file, _, err := s.options.Library.OpenPicture(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	result, err := s.options.Queue.Result(ctx, j.ID, "0.png")
	if err != nil {
		return nil, nil, err
	}
	defer result.Close()
	var two [2]*image.NRGBA
	for i, r := range []io.Reader{file, result} {
		data, err := io.ReadAll(io.LimitReader(r, maxPhotoBytes))
		if err == nil {
			two[i], err = picture.Decode(ctx, data, picture.Limits{})
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return two[0], two[1], nil
}

// compare says how two pictures differ.
func compare(was, is *image.NRGBA) (says string, same bool) {
	if was.Rect != is.Rect {
		return fmt.Sprintf("It came out at %d × %d, and is %d × %d.", is.Rect.Dx(), is.Rect.Dy(), was.Rect.Dx(), was.Rect.Dy()), false
	}
	most, differ := 0, 0
	for i := 0; i < len(was.Pix); i += 4 {
		d := 0
		for c := range 3 {
			d = max(d, int(was.Pix[i+c])-int(is.Pix[i+c]), int(is.Pix[i+c])-int(was.Pix[i+c]))
		}
		if most = max(most, d); d > 0 {
			differ++
		}
	}
	switch share := 100 * float64(differ) / float64(len(was.Pix)/4); {
	case most == 0:
		return "The same, to the last bit.", true
	case most <= 2:
		return fmt.Sprintf("The same to the eye: no colour differs by more than %d of 255.", most), true
	default:
		return fmt.Sprintf("%.1f %% of the pixels differ, by up to %d of 255.", share, most), false
	}
}

// difference serves where a picture and the one that was drawn by its text differ: the brighter the more.
func (s *Server) difference(w http.ResponseWriter, r *http.Request) error {
	j, ok := s.options.Queue.Job(r.FormValue("job"))
	if !ok || j.Kind != work.DrawKind || !hasFile(j, "0.png") {
		return fs.ErrNotExist
	}
	was, is, err := s.pair(r.Context(), r.PathValue("name"), j)
	if err != nil {
		return err
	}
	if was.Rect != is.Rect {
		return fs.ErrNotExist
	}
	for i := 0; i < len(was.Pix); i += 4 {
		for c := range 3 {
			d := int(was.Pix[i+c]) - int(is.Pix[i+c])
			was.Pix[i+c] = uint8(min(255, 4*max(d, -d)))
		}
		was.Pix[i+3] = 255
	}
	var b bytes.Buffer
	if err := (sd.Picture{Image: was}).Encode(&b); err != nil {
		return err
	}
	return sendPicture(w, r, "image/png", b.Bytes())
}
