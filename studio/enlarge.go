package studio

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// enlargeRoutes are those of the page on which pictures are made larger, the web UI's Extras.
func (s *Server) enlargeRoutes() {
	s.mux.HandleFunc("GET /enlarge", s.enlargePage)
	s.mux.HandleFunc("POST /enlarge", s.enlargeSubmit)
	s.mux.HandleFunc("GET /enlarge/result", func(w http.ResponseWriter, r *http.Request) {
		s.fragment(w, r, "enlarge", "enlarged", s.enlarged(r))
	})
}

// enlargeView is that page.
type enlargeView struct {
	Pictures  []string // in the queue's store
	V         values
	Faults    faults
	Upscalers []string
	Shown     enlarged
}

// enlarged is a job that makes pictures larger.
type enlarged struct {
	Job      api.Job // without an ID if there is none
	Asked    work.Upscale
	Busy     bool
	Pictures []largerPicture
	One      largerPicture // the one that is shown
}

// largerPicture is a picture before and after.
type largerPicture struct {
	work.Drawn
	URL, Before string
}

// enlargeControls are the names of the form's controls and the fields that they are about.
var enlargeControls = map[string]string{
	"scale": "Upscale.Scale", "width": "Upscale.Width", "height": "Upscale.Height", "visibility": "Upscale.Visibility", "upscaler": "Upscale.Upscaler", "second": "Upscale.Second",
}

// enlargePage shows the page: with pictures that the address names, or a job and its settings.
func (s *Server) enlargePage(w http.ResponseWriter, r *http.Request) {
	v := enlargeView{Pictures: r.URL.Query()["picture"], V: values{"scale": "2", "upscaler": sd.Lanczos, "second": sd.NoUpscaler, "visibility": "0.5"}, Shown: s.enlarged(r)}
	if u := v.Shown.Asked; len(u.Pictures) > 0 {
		v.Pictures, v.V = u.Pictures, valuesOfUpscale(u)
	}
	s.showEnlarge(w, r, http.StatusOK, v)
}

func (s *Server) showEnlarge(w http.ResponseWriter, r *http.Request, status int, v enlargeView) {
	v.Pictures = slices.DeleteFunc(v.Pictures, func(name string) bool { return (work.Upscale{Pictures: []string{name}}).Check() != nil })
	v.Upscalers = []string{sd.Lanczos, sd.Nearest}
	for _, u := range s.options.Library.Upscalers() {
		v.Upscalers = append(v.Upscalers, u.Name)
	}
	s.render(w, r, status, "enlarge", view{Title: "Enlarge", Room: "/draw", Class: "draw", Script: "enlarge.js", Content: v})
}

// valuesOfUpscale are the settings of a job in the form.
func valuesOfUpscale(u work.Upscale) values {
	number := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	v := values{"scale": number(u.Scale), "upscaler": u.Upscaler, "second": u.Second, "visibility": number(u.Visibility)}
	if u.Scale == 0 {
		v["scale"] = "2"
	}
	if u.Width > 0 {
		v["width"], v["height"] = strconv.Itoa(u.Width), strconv.Itoa(u.Height)
	}
	if u.Crop {
		v["crop"] = "on"
	}
	return v
}

// upscale is what a form asks for, with what is wrong with it.
func (v values) upscale(s *Server, pictures []string) (u work.Upscale, f faults) {
	f = make(faults)
	number := func(name string) float64 {
		if v[name] == "" {
			return 0
		}
		n, ok := readNumber(v[name])
		if !ok {
			f[name] = fmt.Sprintf("is %.60q, want a number", v[name])
		}
		return n
	}
	whole := func(name string) int {
		n := number(name)
		if n != float64(int32(n)) && f[name] == "" {
			f[name] = "want whole pixels"
		}
		return int(int32(n))
	}
	u = work.Upscale{Pictures: pictures, Scale: number("scale"), Width: whole("width"), Height: whole("height"), Crop: v["crop"] != "", Upscaler: v["upscaler"], Second: v["second"], Visibility: number("visibility"), Save: true}
	if u.Second == sd.NoUpscaler || u.Second == "" {
		u.Second, u.Visibility = "", 0
	}
	for name, upscaler := range map[string]string{"upscaler": u.Upscaler, "second": u.Second} {
		if !slices.Contains([]string{"", sd.Lanczos, sd.Nearest}, upscaler) {
			if _, err := s.options.Library.Upscaler(upscaler); err != nil {
				f[name] = err.Error()
			}
		}
	}
	if len(pictures) == 0 {
		f["pictures"] = "Choose a picture, or drop one here."
	}
	if len(f) > 0 {
		return u, f
	}
	for _, e := range invalid.Fields(u.Check()) {
		name := "pictures"
		for control, field := range enlargeControls {
			if e.Field == field {
				name = control
			}
		}
		f[name] = strings.TrimSpace(e.Say(""))
	}
	return u, f
}

// enlargeSubmit queues what the form says, or shows what is wrong with it.
func (s *Server) enlargeSubmit(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseMultipartForm(16 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		s.fail(w, r, tooLarge(err))
		return
	}
	v, pictures := make(values), slices.Clone(r.PostForm["picture"])
	for name := range enlargeControls {
		v[name] = strings.TrimSpace(r.PostFormValue(name))
	}
	v["crop"] = r.PostFormValue("crop")
	if r.MultipartForm != nil {
		for _, header := range r.MultipartForm.File["files"] {
			stored, err := s.storeFile(r, header)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			if stored != "" {
				pictures = append(pictures, stored)
			}
		}
	}
	u, f := v.upscale(s, pictures)
	if len(f) > 0 {
		s.showEnlarge(w, r, http.StatusUnprocessableEntity, enlargeView{Pictures: pictures, V: v, Faults: f})
		return
	}
	title := "enlarge one picture"
	if n := len(u.Pictures); n > 1 {
		title = fmt.Sprintf("enlarge %d pictures", n)
	}
	j, err := work.Submit(r.Context(), s.options.Queue, jobs.Job{Title: title}, u)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/enlarge?job="+j.ID, http.StatusSeeOther)
}

// enlarged is the job of a request's address, with the picture that is to be shown, the last if it names none.
func (s *Server) enlarged(r *http.Request) (v enlarged) {
	j, ok := s.options.Queue.Job(r.FormValue("job"))
	if !ok || j.Kind != work.UpscaleKind {
		return v
	}
	v.Job, v.Busy = s.api.Present(j), !j.State.Ended()
	if json.Unmarshal(j.Request, &v.Asked) != nil {
		return v
	}
	var info work.Info
	s.read(j, "info.json", &info)
	file := r.FormValue("file")
	for i, p := range info.Pictures {
		one := largerPicture{Drawn: p}
		for _, f := range v.Job.Files {
			if f.Name == p.File {
				one.URL = f.URL
			}
		}
		if one.URL == "" || i >= len(v.Asked.Pictures) {
			continue
		}
		one.Before = api.Prefix + v.Asked.Pictures[i]
		v.Pictures = append(v.Pictures, one)
		if v.One.URL == "" || v.One.File != file {
			v.One = one
		}
	}
	return v
}
