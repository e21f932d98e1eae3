// Package api is the studio's own HTTP API: jobs as resources, what happens to them as events, and lists of what there is to work with.
//
//	server, err := api.New(api.Options{Queue: queue, Library: lib})
//	mux.Handle("/api/v1/", server)
//
// What cannot be done is answered as application/problem+json (RFC 9457), which names the fields that are wrong. The package checks
// neither who asks nor from where: package studio does, in front of it.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// Prefix is where a Server stands.
const Prefix = "/api/v1/"

// maxBody is the most bytes that a body of JSON has.
const maxBody = 64 << 20

// Options say what a Server works with.
type Options struct {
	Queue   *jobs.Queue
	Library *library.Library
	Logger  *slog.Logger // nil is silent
}

// Server is the API.
type Server struct {
	options Options
	mux     *http.ServeMux
	feed    *feed
	shown   shown
	stop    context.CancelFunc

	patience time.Duration // with browsers that do not read
}

// New makes a Server, which follows the queue until it is closed.
func New(o Options) (*Server, error) {
	if o.Queue == nil || o.Library == nil {
		return nil, errors.New("api: a server needs a queue and a library")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, mux: http.NewServeMux(), feed: newFeed(), patience: patience}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.feed.follow(o.Queue.Changes(ctx))
	s.routes()
	return s, nil
}

// Close ends the streams of events.
func (s *Server) Close() error {
	s.stop()
	s.feed.end()
	return nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) routes() {
	o := s.options
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET jobs":                      s.list,
		"POST jobs":                     s.add,
		"GET jobs/{id}":                 s.job,
		"PATCH jobs/{id}":               s.change,
		"DELETE jobs/{id}":              s.remove,
		"GET jobs/{id}/preview":         s.preview,
		"GET jobs/{id}/files/{name...}": s.file,
		"POST inputs/{name}":            s.input,
		"GET inputs/{digest}/{name}":    s.stored,
		"GET checkpoints":               s.checkpoints,
		"GET loras":                     s.loras,
		"GET embeddings":                s.files(o.Library.Embeddings),
		"GET vaes":                      s.files(o.Library.VAEs),
		"GET upscalers":                 s.upscalers,
		"GET samplers":                  s.samplers,
		"GET styles":                    s.styles,
		"POST refresh":                  s.refresh,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	s.mux.HandleFunc("GET "+Prefix+"events", s.Events)
	s.mux.HandleFunc("GET "+Prefix+"jobs/{id}/events", s.Events)
	s.mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &Problem{Status: http.StatusNotFound, Detail: "there is nothing at " + r.URL.Path})
	})
}

// Problem is what was wrong with a request, as RFC 9457 has it.
type Problem struct {
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitzero"`
	Errors []Fault `json:"errors,omitempty"`
}

// Fault is what is wrong with a field.
type Fault struct {
	Field  string `json:"field"` // as in "request.steps"
	Detail string `json:"detail"`
}

// Error is what is wrong, in one line.
func (p *Problem) Error() string { return p.Detail }

// ProblemOf says what went wrong as a Problem.
func ProblemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	p := &Problem{Status: http.StatusInternalServerError, Detail: err.Error()}
	for _, field := range invalid.Fields(err) {
		p.Status = http.StatusUnprocessableEntity
		p.Errors = append(p.Errors, Fault{field.Field, field.Error()})
	}
	switch {
	case p.Errors != nil:
	case isType[*jobs.NotFoundError](err), isType[*library.NotFoundError](err), errors.Is(err, fs.ErrNotExist):
		p.Status = http.StatusNotFound
	case isType[*jobs.StateError](err):
		p.Status = http.StatusConflict
	case isType[*http.MaxBytesError](err):
		p.Status = http.StatusRequestEntityTooLarge
	case errors.Is(err, jobs.ErrUnreachable):
		p.Status = http.StatusServiceUnavailable
	case errors.Is(err, jobs.ErrFull):
		p.Status = http.StatusInsufficientStorage
	}
	return p
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// fail answers that something went wrong.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := ProblemOf(err)
	p.Title = http.StatusText(p.Status)
	if p.Status >= 500 && r.Context().Err() == nil {
		s.options.Logger.Error("a request failed", "path", r.URL.Path, "error", err)
	}
	write(w, p.Status, "application/problem+json", p)
}

// answer answers with a value as JSON.
func answer(w http.ResponseWriter, status int, value any) error {
	write(w, status, "application/json", value)
	return nil
}

func write(w http.ResponseWriter, status int, kind string, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"title":"Internal Server Error","status":500}`)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// read reads a body of JSON, all of whose fields it knows.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	return strict(http.MaxBytesReader(w, r.Body, maxBody), into)
}

// strict reads one JSON value and nothing else; what is wrong is a Problem.
func strict(r io.Reader, into any) error {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, more := decoder.Token(); more != io.EOF {
			err = errors.New("there is more behind it")
		}
	}
	if err == nil || isType[*http.MaxBytesError](err) {
		return err
	}
	p := &Problem{Status: http.StatusBadRequest, Detail: "this is not the JSON that is wanted here: " + err.Error()}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		p.Errors = []Fault{{typ.Field, "a " + typ.Value + " cannot be a " + typ.Type.String()}}
	}
	return p
}
