package studio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// step is one of the five on the way from photos to portraits.
type step struct {
	Name, Title string
	Open        bool // it can be gone to
	Done        bool
}

// steps are all of them, in their order.
var steps = []step{{Name: "photos", Title: "Photos"}, {Name: "person", Title: "Person"}, {Name: "train", Title: "Train"}, {Name: "choose", Title: "Choose"}, {Name: "pictures", Title: "Pictures"}}

// wizard is what the pages of a portrait show.
type wizard struct {
	project
	Step  string
	Job   *jobs.Job // that makes it; nil before there is one
	Fault string

	Photos   *photoStep
	Person   *personStep
	Training *trainStep
	Choice   *chooseStep
	Pictures *pictureStep
	One      *onePicture
}

// Path is the address of the portrait.
func (w wizard) Path() string { return "/portrait/" + w.ID }

// Steps are the five with what can be done.
func (w wizard) Steps() []step {
	all := slices.Clone(steps)
	kept := len(w.Found().Kept())
	done := w.Job != nil && w.Job.State == jobs.Done && !w.Job.Partial
	chosen := w.Job != nil && hasFile(*w.Job, likenessFile)
	for i, now := range []step{{Open: true, Done: kept > 0}, {Open: kept > 0, Done: w.Job != nil}, {Open: kept > 0, Done: chosen}, {Open: chosen, Done: done}, {Open: chosen, Done: done}} {
		all[i].Open, all[i].Done = now.Open, now.Done
	}
	return all
}

// Found is what was found of the photos.
func (w wizard) Found() portrait.Report { return w.found().Report }

// likenessFile is the result that says what was tried.
const likenessFile = "likeness.json"

func hasFile(j jobs.Job, name string) bool {
	return slices.ContainsFunc(j.Files, func(f jobs.File) bool { return f.Name == name })
}

// answer answers a request about a portrait.
type answer func(http.ResponseWriter, *http.Request, wizard) error

// portraitRoutes are those of the room Portrait.
func (s *Server) portraitRoutes() {
	s.mux.HandleFunc("GET /portrait", s.portraits)
	s.mux.HandleFunc("POST /portrait", s.addPortrait)
	s.mux.HandleFunc("GET /portrait/{id}", s.openPortrait)
	for pattern, handle := range map[string]answer{
		"GET photos":               s.page("photos"),
		"GET photos/grid":          s.part("photos", "grid"),
		"POST photos":              s.addPhotos,
		"POST photos/{photo}":      s.decidePhoto,
		"GET photo/{photo}":        s.photo,
		"GET person":               s.page("person"),
		"POST person":              s.setPerson,
		"POST captions":            s.setCaptions,
		"GET train":                s.page("train"),
		"GET train/live":           s.part("train", "live"),
		"POST train":               s.train,
		"GET choose":               s.page("choose"),
		"POST choose":              s.choose,
		"GET pictures":             s.page("pictures"),
		"POST pictures":            s.drawAgain,
		"GET pictures/all.zip":     s.zip,
		"GET pictures/{n}":         s.showPicture,
		"GET pictures/{n}/{file}":  s.cropped,
		"GET results/{name...}":    s.result,
		"POST remove":              s.removePortrait,
		"GET pictures/live":        s.part("pictures", "live"),
		"GET choose/live":          s.part("choose", "live"),
		"GET thumbnails/{name...}": s.thumbnail,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" /portrait/{id}/"+path, func(w http.ResponseWriter, r *http.Request) {
			p, err := s.wizard(r)
			if err == nil {
				err = handle(w, r, p)
			}
			if err != nil {
				s.fail(w, r, notFound(err))
			}
		})
	}
}

// notFound makes a problem for people of what is not there.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &api.Problem{Status: http.StatusNotFound, Detail: "There is no such thing here: it was removed, or never was."}
	}
	return err
}

// refuse is an answer to what somebody sent and cannot be.
func refuse(err error) error {
	return &api.Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
}

// wizard is the portrait that a request is about.
func (s *Server) wizard(r *http.Request) (w wizard, err error) {
	p, err := s.projects.get(r.PathValue("id"))
	if err != nil {
		return w, err
	}
	return s.wizardOf(p), nil
}

func (s *Server) wizardOf(p project) wizard {
	w := wizard{project: p}
	if j, ok := s.options.Queue.Job(p.Job()); ok {
		w.Job = &j
	}
	return w
}

// fill adds what a step shows.
func (s *Server) fill(p *wizard, step string) {
	switch p.Step = step; step {
	case "photos":
		p.Photos = s.photoStep(*p)
	case "person":
		p.Person = s.personStep(*p)
	case "train":
		p.Training = s.trainStep(*p)
	case "choose":
		p.Choice = s.chooseStep(*p)
	case "pictures":
		p.Pictures = s.pictureStep(*p)
	}
}

// page answers with the page of a step as it stands.
func (s *Server) page(step string) answer {
	return func(w http.ResponseWriter, r *http.Request, p wizard) error {
		s.fill(&p, step)
		return s.show(w, r, http.StatusOK, step, p)
	}
}

// part answers with a part of it, which its template names.
func (s *Server) part(step, name string) answer {
	return func(w http.ResponseWriter, r *http.Request, p wizard) error {
		s.fill(&p, step)
		s.fragment(w, r, "portrait_"+step, name, p)
		return nil
	}
}

// show answers with a step's page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, step string, p wizard) error {
	p.Step = step
	s.render(w, r, status, "portrait_"+step, view{Title: p.Title(), Room: "/portrait", Class: "page wide", Script: "portrait.js", Style: "rooms.css", Content: p})
	return nil
}

// again sends a browser to a step, after it has sent a form.
func again(w http.ResponseWriter, r *http.Request, p wizard, step string) error {
	http.Redirect(w, r, p.Path()+"/"+step, http.StatusSeeOther)
	return nil
}

// shownProject is a portrait in the list of all.
type shownProject struct {
	wizard
	Cover string // address of a picture; "" if there is none
	State string
}

func (s *Server) portraits(w http.ResponseWriter, r *http.Request) {
	var all []shownProject
	for _, p := range s.projects.all() {
		one := shownProject{wizard: s.wizardOf(p)}
		one.State, one.Cover = one.state(), one.cover()
		all = append(all, one)
	}
	s.render(w, r, http.StatusOK, "portrait", view{Title: "Portrait", Room: "/portrait", Class: "page wide", Script: "portrait.js", Style: "rooms.css", Content: all})
}

// state says in words how far a portrait is.
func (w wizard) state() string {
	switch {
	case w.Job == nil:
		n := len(w.names())
		return fmt.Sprintf("%d %s", n, plural(n, "photo"))
	case w.Job.State == jobs.Done && w.Job.Partial:
		return "paused"
	case w.Job.State == jobs.Done:
		return "finished"
	case w.Job.State == jobs.Running && w.Job.Progress.Stage != "":
		return w.Job.Progress.Stage
	}
	return string(w.Job.State)
}

// cover is the address of the picture that shows a portrait best.
func (w wizard) cover() string {
	if w.Job != nil && hasFile(*w.Job, "linkedin.png") {
		return w.Path() + "/thumbnails/linkedin.png"
	}
	for _, p := range w.Found().Kept() {
		if w.has(p.Name) {
			return w.Path() + "/photo/" + url.PathEscape(p.Name)
		}
	}
	return ""
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

// addPortrait begins a portrait, with photos if some were sent.
func (s *Server) addPortrait(w http.ResponseWriter, r *http.Request) {
	p, err := s.projects.add()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if err := s.addPhotos(w, r, s.wizardOf(p)); err != nil {
		s.fail(w, r, err)
	}
}

// openPortrait goes to the step at which a portrait is. The address may have the ID of its job.
func (s *Server) openPortrait(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	p, err := s.wizard(r)
	if err != nil {
		all := s.projects.all()
		at := slices.IndexFunc(all, func(p project) bool { return slices.Contains(p.Jobs, id) })
		if at < 0 {
			s.fail(w, r, notFound(fs.ErrNotExist))
			return
		}
		p = s.wizardOf(all[at])
	}
	now := "photos"
	switch {
	case p.Job != nil && p.Job.State == jobs.Done && !p.Job.Partial:
		now = "pictures"
	case p.Job != nil:
		now = "train"
	}
	again(w, r, p, now)
}

func (s *Server) removePortrait(w http.ResponseWriter, r *http.Request, p wizard) error {
	for _, id := range p.Jobs {
		if j, ok := s.options.Queue.Job(id); ok && !j.State.Ended() {
			return &api.Problem{Status: http.StatusConflict, Detail: "The portrait is being made. Cancel it first, on its page Train."}
		}
	}
	for _, id := range p.Jobs {
		if err := s.options.Queue.Remove(r.Context(), id); err != nil && !isNotFound(err) {
			return err
		}
	}
	if err := s.projects.remove(p.ID); err != nil {
		return err
	}
	http.Redirect(w, r, "/portrait", http.StatusSeeOther)
	return nil
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[*jobs.NotFoundError](err)
	return ok
}

// checkpoint is the one that a portrait is made with.
func (s *Server) checkpoint(title string) (library.Checkpoint, error) {
	if title = cmp.Or(title, s.options.Library.Settings().Text("sd_model_checkpoint")); title != "" {
		return s.options.Library.Checkpoint(title)
	}
	if all := s.options.Library.Checkpoints(); len(all) > 0 {
		return all[0], nil
	}
	return library.Checkpoint{}, fs.ErrNotExist
}

// portraitConfig is what is usual for a portrait with a checkpoint.
func (s *Server) portraitConfig(title string) (c portrait.Config) {
	found, err := s.checkpoint(title)
	if err == nil && s.options.Machine != nil {
		c.Prepare.Resolution = s.options.Machine.Side(found)
	}
	if err == nil && s.options.Portrait != nil {
		err = s.options.Portrait(found, &c)
	}
	if err != nil {
		s.log.Debug("a portrait is as usual", "checkpoint", title, "error", err)
	}
	return c
}

// faces is what finds faces in photos that are to be learned with a checkpoint.
func (s *Server) faces(title string) face.Detector {
	found, err := s.checkpoint(title)
	switch {
	case err == nil && s.options.Faces != nil:
		return s.options.Faces(found)
	case err == nil && s.options.Machine != nil:
		return s.options.Machine.Faces(found)
	}
	return face.Cascades{}
}

// look looks at the photos of a portrait in the background, unless what was found is of these photos.
func (s *Server) look(p wizard) {
	resolution := s.portraitConfig(p.Checkpoint).Prepare.Resolution
	_, _, running := s.checker.progress(p.ID)
	if len(p.names()) > 0 && !running && s.checker.failure(p.ID) == "" && p.found().Stamp != p.stamp(resolution) {
		s.lookAnew(p)
	}
}

func (s *Server) lookAnew(p wizard) {
	s.checker.start(p.project, s.faces(p.Checkpoint), s.portraitConfig(p.Checkpoint).Prepare.Resolution)
}

// openRooms makes what the rooms keep.
func (s *Server) openRooms() (err error) {
	o := &s.options
	if o.Dir == "" && o.Library.DataDir() != "" {
		o.Dir = filepath.Join(o.Library.DataDir(), "studio")
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "atelier-studio-*"); err != nil {
			return fmt.Errorf("studio: %w", err)
		}
		s.temporary = o.Dir
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.projects = &projects{dir: filepath.Join(o.Dir, "portraits")}
	s.trainings = &trainings{dir: filepath.Join(o.Dir, "trainings"), stop: ctx}
	s.checker = &checker{logger: s.log, stop: ctx}
	s.thumbs = thumbs{filepath.Join(o.Dir, "thumbs")}
	s.trainings.wait.Go(func() { s.forgetThumbs(ctx) })
	return nil
}

// closeRooms ends what goes on for the rooms.
func (s *Server) closeRooms() error {
	s.stop()
	s.checker.wait.Wait()
	s.trainings.wait.Wait()
	if s.temporary == "" {
		return nil
	}
	return os.RemoveAll(s.temporary)
}
