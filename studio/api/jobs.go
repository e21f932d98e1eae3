package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// Job is a job as the API shows it.
type Job struct {
	jobs.Job
	Request json.RawMessage `json:"request,omitempty"` // is told where one job is asked for
	Files   []File          `json:"files,omitempty"`
	Preview string          `json:"preview,omitzero"` // where what it last showed is; "" if it shows nothing
}

// File is a result.
type File struct {
	jobs.File
	URL string `json:"url"`
}

// present is a job as the API shows it, without its request.
func (s *Server) present(j jobs.Job) Job {
	shown := Job{Job: j}
	here := Prefix + "jobs/" + url.PathEscape(j.ID)
	for _, f := range j.Files {
		shown.Files = append(shown.Files, File{f, here + "/files/" + escape(f.Name)})
	}
	if j.State == jobs.Running && s.options.Queue.Preview(j.ID) != nil {
		shown.Preview = here + "/preview"
	}
	return shown
}

// Present is a job as the API shows it, for pages.
func (s *Server) Present(j jobs.Job) Job { return s.present(j) }

// escape is a name with slashes as a path.
func escape(name string) string { return (&url.URL{Path: name}).EscapedPath() }

// maxList is the most jobs that are told at once.
const maxList = 1000

// list answers with the jobs of some state and kind, those that are to be done first before others and the last that ended at the end.
func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	state, kind := r.FormValue("state"), r.FormValue("kind")
	limit, err := strconv.Atoi(cmp.Or(r.FormValue("limit"), "100"))
	if err != nil || limit < 1 || limit > maxList {
		return &Problem{Status: http.StatusBadRequest, Errors: []Fault{{"limit", "a whole number from 1 to 1000 is wanted"}}, Detail: "limit: a whole number from 1 to 1000 is wanted"}
	}
	all := slices.DeleteFunc(s.options.Queue.Jobs(), func(j jobs.Job) bool {
		return state != "" && string(j.State) != state || kind != "" && j.Kind != kind
	})
	list := struct {
		Jobs  []Job  `json:"jobs"`
		Total int    `json:"total"`
		Mark  string `json:"mark"` // from which events tell what happens after
	}{[]Job{}, len(all), s.Mark()}
	for _, j := range all[max(0, len(all)-limit):] {
		list.Jobs = append(list.Jobs, s.present(j))
	}
	return answer(w, http.StatusOK, list)
}

// add queues a job.
func (s *Server) add(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Kind     string          `json:"kind"`
		Title    string          `json:"title"`
		Priority int             `json:"priority"`
		Request  json.RawMessage `json:"request"`
	}
	if err := read(w, r, &asked); err != nil {
		return err
	}
	j, err := s.submit(r, jobs.Job{Kind: asked.Kind, Title: asked.Title, Priority: asked.Priority, Request: asked.Request})
	if err != nil {
		return err
	}
	w.Header().Set("Location", Prefix+"jobs/"+url.PathEscape(j.ID))
	return answer(w, http.StatusCreated, s.present(j))
}

// maxTitle is the most bytes that a title has.
const maxTitle = 1000

// submit checks a job and queues it.
func (s *Server) submit(r *http.Request, j jobs.Job) (jobs.Job, error) {
	if len(j.Title) > maxTitle {
		return j, fault("title", "up to 1000 bytes are wanted")
	}
	switch j.Kind {
	case work.DrawKind:
		return submit[work.Draw](s, r, j)
	case work.UpscaleKind:
		return submit[work.Upscale](s, r, j)
	case work.TrainKind:
		return submit[work.Train](s, r, j)
	case work.PortraitKind:
		return submit[work.Portrait](s, r, j)
	}
	return j, fault("kind", "draw, upscale, train or portrait is wanted")
}

// submit reads what a job of a kind asks for, checks it and queues it.
func submit[R work.Request](s *Server, r *http.Request, j jobs.Job) (jobs.Job, error) {
	var request R
	if err := strict(bytes.NewReader(j.Request), &request); err != nil {
		return j, under("request", err)
	}
	return work.Submit(r.Context(), s.options.Queue, j, request)
}

// under is a Problem about what stands in a field.
func under(field string, err error) error {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return err
	}
	for i := range p.Errors {
		p.Errors[i].Field = strings.TrimRight(field+"."+p.Errors[i].Field, ".")
	}
	if p.Errors == nil {
		p.Errors = []Fault{{field, p.Detail}}
	}
	return p
}

// fault is a Problem with one field.
func fault(field, detail string) error {
	return &Problem{Status: http.StatusUnprocessableEntity, Detail: field + ": " + detail, Errors: []Fault{{field, detail}}}
}

// job answers with a job.
func (s *Server) job(w http.ResponseWriter, r *http.Request) error {
	j, ok := s.options.Queue.Job(r.PathValue("id"))
	if !ok {
		return &jobs.NotFoundError{ID: r.PathValue("id")}
	}
	shown := s.present(j)
	shown.Request = j.Request
	return answer(w, http.StatusOK, shown)
}

// Patch is what can be changed of a job: one thing at a time.
type Patch struct {
	Wish   jobs.Wish  `json:"wish,omitzero"`   // skip, finish, interrupt or cancel
	Before *string    `json:"before,omitzero"` // a job that waits, in front of which this one is put; "" puts it last
	State  jobs.State `json:"state,omitzero"`  // "pending" makes one that failed or was cancelled wait again
}

// change changes a job.
func (s *Server) change(w http.ResponseWriter, r *http.Request) error {
	var p Patch
	if err := read(w, r, &p); err != nil {
		return err
	}
	j, err := s.Apply(r, r.PathValue("id"), p)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s.present(j))
}

// Apply carries a Patch out.
func (s *Server) Apply(r *http.Request, id string, p Patch) (j jobs.Job, err error) {
	q, ctx := s.options.Queue, r.Context()
	switch {
	case p.Wish != "" && p.Before == nil && p.State == "":
		if !slices.Contains([]jobs.Wish{jobs.Skip, jobs.Finish, jobs.Interrupt, jobs.Cancel}, p.Wish) {
			return j, fault("wish", "skip, finish, interrupt or cancel is wanted")
		}
		return q.Ask(ctx, id, p.Wish)
	case p.Before != nil && p.Wish == "" && p.State == "":
		return q.Move(ctx, id, *p.Before)
	case p.State == jobs.Pending && p.Wish == "" && p.Before == nil:
		return q.Retry(ctx, id)
	case p.State != "" && p.State != jobs.Pending:
		return j, fault("state", `only "pending" can be asked for`)
	}
	return j, &Problem{Status: http.StatusUnprocessableEntity, Detail: "one of wish, before and state is wanted"}
}

// remove forgets a job and its results.
func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	if err := s.options.Queue.Remove(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// preview answers with what a job last showed; with nothing if it has ended meanwhile, which is no fault of who asks.
func (s *Server) preview(w http.ResponseWriter, r *http.Request) error {
	picture := s.options.Queue.Preview(r.PathValue("id"))
	if j, _ := s.options.Queue.Job(r.PathValue("id")); picture == nil && j.State.Ended() {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if picture == nil {
		return &Problem{Status: http.StatusNotFound, Detail: "the job shows nothing now"}
	}
	w.Header().Set("Content-Type", imageType(picture))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(picture)
	return nil
}

// imageType is the type of a picture's file; what is none is no type that a browser would run.
func imageType(file []byte) string {
	if kind := http.DetectContentType(file); strings.HasPrefix(kind, "image/") {
		return kind
	}
	return "application/octet-stream"
}

// file answers with a result. It is shown only if it is a picture, a sound table of text, or a page within a sandbox.
func (s *Server) file(w http.ResponseWriter, r *http.Request) error {
	id, name := r.PathValue("id"), r.PathValue("name")
	j, ok := s.options.Queue.Job(id)
	if !ok {
		return &jobs.NotFoundError{ID: id}
	}
	at := slices.IndexFunc(j.Files, func(f jobs.File) bool { return f.Name == name })
	if at < 0 {
		return &Problem{Status: http.StatusNotFound, Detail: "job " + id + " has no file " + strconv.Quote(name)}
	}
	stored, err := s.options.Queue.Result(r.Context(), id, name)
	if err != nil {
		return err
	}
	defer stored.Close()
	h := w.Header()
	h.Set("Content-Type", fileType(name))
	if h.Get("Content-Type") == "application/octet-stream" || r.FormValue("download") != "" {
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)}))
	}
	if strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		h.Set("Content-Security-Policy", "sandbox allow-popups; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'")
	}
	if h.Set("Cache-Control", "no-cache"); j.State.Ended() {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	h.Set("Content-Length", strconv.FormatInt(j.Files[at].Size, 10))
	io.Copy(w, stored) // who went away is told nothing
	return nil
}

// fileType is the type of a result by its name.
func fileType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".webp":
		return "image/webp"
	case ".json":
		return "application/json"
	case ".txt", ".log", ".toml", ".csv":
		return "text/plain; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	}
	return "application/octet-stream"
}

// maxInput is the most bytes of a file that a job needs.
const maxInput = 64 << 20

// input stores a file that a job needs, such as a photo, and answers with the name under which requests have it.
func (s *Server) input(w http.ResponseWriter, r *http.Request) error {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInput))
	if err != nil {
		return err
	}
	name, err := s.Store(r, r.PathValue("name"), content)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, map[string]string{"name": name})
}

// Store puts a file into the queue's store, for jobs that need it, and returns its name there.
func (s *Server) Store(r *http.Request, name string, content []byte) (string, error) {
	if len(content) == 0 {
		return "", fault("body", "the file is empty")
	}
	if len(name) > maxTitle {
		return "", fault("name", "up to 1000 bytes are wanted")
	}
	return work.PutInput(r.Context(), s.options.Queue, name, content)
}

// stored answers with a file that a job needs.
func (s *Server) stored(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("digest") + "/" + r.PathValue("name")
	file, err := s.options.Queue.Get(r.Context(), "inputs/"+name)
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxInput))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", imageType(content))
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable") // its name has its digest
	w.Write(content)
	return nil
}
