package studio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/api"
)

// photoStep is the step Photos.
type photoStep struct {
	Shots       []shot
	Done, Total int    // how far looking at them is
	Looking     bool   // whether they are looked at
	Summary     string // one sentence on all of them
	Remarks     []string
	Refused     []string // files that were sent and not taken
	Fault       string
}

// shot is a photo with what was found.
type shot struct {
	Name      string
	URL, Face string
	Verdict   string // keep, warn, drop, or look while it was not looked at
	Chip      string // the verdict in a word
	Findings  []string
	Decided   string // keep or drop, if a person said so
}

var chips = map[string]string{"keep": "kept", "warn": "kept, with a warning", "drop": "dropped", "look": "looking"}

// photoStep gathers what there is to say of the photos.
func (s *Server) photoStep(p wizard) *photoStep {
	s.look(p)
	f, found := &photoStep{Fault: s.checker.failure(p.ID)}, p.found()
	f.Done, f.Total, f.Looking = s.checker.progress(p.ID)
	at := make(map[string]portrait.Photo)
	for _, photo := range found.Report.Photos {
		at[photo.Name] = photo
	}
	count := make(map[string]int)
	for _, name := range p.names() {
		one := shot{Name: name, URL: p.Path() + "/photo/" + url.PathEscape(name), Verdict: "look"}
		if photo, ok := at[name]; ok {
			one.Verdict = photo.Verdict().String()
			for _, finding := range photo.Findings {
				if finding.Kind != portrait.Overruled && finding.Kind != portrait.NoCaption {
					one.Findings = append(one.Findings, finding.String())
				}
			}
			if photo.Face.Size > 0 {
				one.Face = one.URL + "?face=1"
			}
		}
		switch {
		case slices.Contains(p.Keep, name):
			one.Decided, one.Verdict = "keep", "keep"
		case slices.Contains(p.Drop, name):
			one.Decided, one.Verdict = "drop", "drop"
		}
		one.Chip = chips[one.Verdict]
		count[one.Verdict]++
		f.Shots = append(f.Shots, one)
	}
	f.Summary, f.Remarks = summary(count, f.Looking), found.Report.Remarks
	return f
}

// summary is one sentence on a set of photos.
func summary(count map[string]int, looking bool) string {
	kept, all := count["keep"]+count["warn"], count["keep"]+count["warn"]+count["drop"]+count["look"]
	switch {
	case all == 0:
		return "Ten to thirty photos of one person are best, from several days and in several lights."
	case looking && kept+count["drop"] == 0:
		return fmt.Sprintf("Looking at %d %s.", all, plural(all, "photo"))
	case kept == 0:
		return fmt.Sprintf("None of %d photos can be used as it is: each says why.", all)
	case kept < 10:
		return fmt.Sprintf("%d of %d kept. Ten or more would make a better likeness.", kept, all)
	case kept > 40:
		return fmt.Sprintf("%d of %d kept. Thirty good ones are enough, and train no worse.", kept, all)
	}
	return fmt.Sprintf("%d of %d kept.", kept, all)
}

// addPhotos takes photos as a form sends them, one after the other, and has them looked at. What is refused is told with the reason, and
// keeps nothing else from being taken.
func (s *Server) addPhotos(w http.ResponseWriter, r *http.Request, p wizard) error {
	refused, err := takeFiles(r, func(name string, part io.Reader) error {
		_, err := p.addPhoto(name, part)
		return err
	})
	if err != nil {
		return err
	}
	s.lookAnew(p)
	switch {
	case len(refused) > 0 && wantsPage(r):
		p.Photos = s.photoStep(p)
		p.Photos.Refused = refused
		return s.show(w, r, http.StatusUnprocessableEntity, "photos", p)
	case len(refused) > 0:
		return &api.Problem{Status: http.StatusUnprocessableEntity, Detail: strings.Join(refused, "; ")}
	}
	return again(w, r, p, "photos")
}

// takeFiles reads the files of a form, each as it comes. Refused are those that were not taken, with the reason; the error is of the form.
func takeFiles(r *http.Request, take func(name string, part io.Reader) error) (refused []string, err error) {
	form, err := r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		return nil, nil
	}
	if err != nil {
		return nil, refuse(err)
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return refused, nil
		}
		if err != nil {
			return refused, tooLarge(err)
		}
		if err := takeFile(part, take); err != nil {
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				return refused, tooLarge(err)
			}
			refused = append(refused, err.Error())
		}
	}
}

func takeFile(part *multipart.Part, take func(name string, part io.Reader) error) error {
	defer part.Close()
	if part.FileName() == "" {
		return nil
	}
	return take(part.FileName(), part)
}

// tooLarge makes a problem of a form that is none, or has too much.
func tooLarge(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("More than %s were sent at once: send fewer files.", size(e.Limit))}
	}
	return refuse(fmt.Errorf("the form did not arrive whole: %w", err))
}

// decidePhoto keeps or drops a photo whatever was found, or erases it.
func (s *Server) decidePhoto(w http.ResponseWriter, r *http.Request, p wizard) error {
	if r.PostFormValue("do") == "erase" {
		return s.erasePhoto(w, r, p)
	}
	changed, err := s.projects.change(p.ID, func(p *project) error {
		if err := p.decide(r.PathValue("photo"), r.PostFormValue("do")); err != nil {
			return refuse(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.project = changed
	s.lookAnew(p)
	if r.Header.Get("HX-Request") != "" {
		return s.part("photos", "grid")(w, r, p)
	}
	return again(w, r, p, "photos#"+url.PathEscape(r.PathValue("photo")))
}

// erasePhoto takes a photo away for good.
func (s *Server) erasePhoto(w http.ResponseWriter, r *http.Request, p wizard) error {
	if err := p.removePhoto(r.PathValue("photo")); err != nil {
		return refuse(err)
	}
	s.lookAnew(p)
	if r.Header.Get("HX-Request") != "" {
		return s.part("photos", "grid")(w, r, p)
	}
	return again(w, r, p, "photos")
}

// The sides of pictures that pages show, in pixels.
const (
	thumbSide = 360
	mostSide  = 2048
)

// photo serves a photo, upright and small, or its face.
func (s *Server) photo(w http.ResponseWriter, r *http.Request, p wizard) error {
	name := r.PathValue("photo")
	if !p.has(name) {
		return os.ErrNotExist
	}
	path, side, around := filepath.Join(p.photos(), name), sideOf(r), image.Rectangle{}
	if r.FormValue("face") != "" {
		for _, photo := range p.Found().Photos {
			if photo.Name == name && photo.Face.Size > 0 {
				around, side = portrait.TrainingBox(photo.Size, photo.Face), max(side, 768)
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	cached := filepath.Join(p.Dir, "thumbs", digest(fmt.Append(nil, name, info.Size(), info.ModTime(), side, around))[:32]+".jpg")
	data, err := os.ReadFile(cached)
	if err != nil {
		if data, err = small(r.Context(), path, side, around); err != nil {
			return &api.Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
		}
		s.keepSmall(cached, data)
	}
	return sendPicture(w, r, "image/jpeg", data)
}

// keepSmall keeps a small picture for those who ask again.
func (s *Server) keepSmall(path string, data []byte) {
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = atomicfile.WriteFile(path, data)
	}
	if err != nil {
		s.log.Warn("a small picture cannot be kept", "error", err)
	}
}

// sideOf is the longer side that a request wants of a picture.
func sideOf(r *http.Request) int {
	side, _ := strconv.Atoi(r.FormValue("side"))
	if side < 16 || side > mostSide {
		return thumbSide
	}
	return side
}

// sendPicture answers with a picture, which the browser keeps and asks after.
func sendPicture(w http.ResponseWriter, r *http.Request, kind string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "private, max-age=0, must-revalidate")
	h.Set("ETag", `"`+digest(data)[:24]+`"`)
	if r.Header.Get("If-None-Match") == h.Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data)
	return nil
}

// small is a picture's file as a JPEG of a side: all of it, or what is around a face.
func small(ctx context.Context, path string, side int, around image.Rectangle) ([]byte, error) {
	img, err := picture.Upright(ctx, path, picture.Limits{})
	if err != nil {
		return nil, err
	}
	return smallOf(img, side, around)
}

// smallOf is a picture as a JPEG of a side.
func smallOf(img *image.NRGBA, side int, around image.Rectangle) ([]byte, error) {
	if around = around.Intersect(img.Rect); !around.Empty() && around != img.Rect {
		part := image.NewNRGBA(image.Rectangle{Max: around.Size()})
		draw.Draw(part, part.Rect, img, around.Min, draw.Src)
		img = part
	}
	picture.OverWhite(img)
	img = picture.Within(img, side, picture.Area, 3)
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}, &jpeg.Options{Quality: 86}) // opaque, so that both kinds are the same bytes
	return b.Bytes(), err
}
