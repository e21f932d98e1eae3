package studio

import (
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// sent is a picture on its way from where it is to where something is done with it.
type sent struct {
	name string // a file's
	file []byte
	v    values // the settings that it was drawn with
}

// drawSend sends a result of a job on.
func (s *Server) drawSend(w http.ResponseWriter, r *http.Request) {
	j, ok := s.options.Queue.Job(r.PathValue("id"))
	name := r.PathValue("file")
	if !ok || !hasFile(j, name) || kindOf(name) == "" {
		s.fail(w, r, &library.NotFoundError{Kind: "picture", Name: name})
		return
	}
	p := sent{name: name, v: s.kept(r.Context())}
	var err error
	if p.file, err = s.readResult(r.Context(), j.ID, name); err != nil {
		s.fail(w, r, err)
		return
	}
	if j.Kind == work.DrawKind {
		p.v = s.valuesOfJob(r, j, name)
	}
	if err := s.send(w, r, p); err != nil {
		s.fail(w, r, err)
	}
}

// sendPictureOn sends a picture of the gallery on.
func (s *Server) sendPictureOn(w http.ResponseWriter, r *http.Request) error {
	file, _, err := s.options.Library.OpenPicture(r.PathValue("name"))
	if err != nil {
		return err
	}
	defer file.Close()
	p := sent{name: path.Base(r.PathValue("name")), v: s.kept(r.Context())}
	if p.file, err = io.ReadAll(io.LimitReader(file, maxPhotoBytes)); err != nil {
		return err
	}
	if text, err := s.options.Library.Infotext(r.PathValue("name")); err == nil && text != "" {
		p.v, _ = valuesOfText(infotext.Parse(text), p.v)
	}
	return s.send(w, r, p)
}

// send brings a picture to the canvas, all of it or to be painted on, with its settings in the form; or to where it is made larger.
func (s *Server) send(w http.ResponseWriter, r *http.Request, p sent) error {
	to := map[string]string{"img2img": "/draw?canvas=all", "inpaint": "/draw?canvas=paint", "enlarge": "/enlarge"}[r.PathValue("to")]
	if to == "" {
		return &api.Problem{Status: http.StatusNotFound, Detail: "Pictures are sent to img2img, inpaint or enlarge."}
	}
	stored, err := s.api.Store(r, p.name, p.file)
	if err != nil {
		return err
	}
	if to == "/enlarge" {
		http.Redirect(w, r, to+"?"+url.Values{"picture": {stored}}.Encode(), http.StatusSeeOther)
		return nil
	}
	img, err := picture.Decode(r.Context(), p.file, picture.Limits{})
	if err != nil {
		return refuse(err)
	}
	for _, name := range []string{"mask", "inpaint", "hires", "x_axis", "y_axis", "z_axis"} {
		p.v[name] = ""
	}
	side := func(n int) string { return strconv.Itoa(max(8, n/8*8)) }
	p.v["image"], p.v["width"], p.v["height"], p.v["count"], p.v["batch"] = stored, side(img.Rect.Dx()), side(img.Rect.Dy()), "1", "1"
	if err := s.keep(r, p.v); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
