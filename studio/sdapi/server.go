// Package sdapi is the HTTP API of AUTOMATIC1111's web UI, so that programs for that one work with this one: what they send becomes
// jobs of a queue, and what came of these the answer.
//
//	api, err := sdapi.New(sdapi.Options{Queue: queue, Library: lib})
//	for _, prefix := range sdapi.Prefixes {
//		mux.Handle(prefix, api)
//	}
//
// Requests, answers and the OpenAPI document are made from one set of Go types: a field's tags say its name, its default, its bounds and
// what it is.
package sdapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// Prefixes are the paths that a Server answers, as patterns of http.ServeMux.
var Prefixes = []string{"/sdapi/v1/", "/internal/", "/queue/status", "/sd_extra_networks/", "/openapi.json", "/docs"}

// Options say what a Server works with.
type Options struct {
	Queue   *jobs.Queue
	Library *library.Library
	// Auth are the pairs of "user:password", of which every request must have one as Basic authentication. Without any, what
	// requests say of themselves is left.
	Auth []string
	// Unload frees what the checkpoint takes on this machine, until something is drawn again; nil leaves it.
	Unload func(context.Context) error
	// Stop ends the program, or begins it anew, when that was answered; nil refuses both.
	Stop func(restart bool)
	// Flags are what GET /sdapi/v1/cmd-flags answers besides folders and the web UI's own defaults: the program's flags by the web UI's names.
	Flags map[string]any
	// Version stands in /internal/sysinfo.
	Version string
	Logger  *slog.Logger // nil is silent
}

// The bounds of requests.
const (
	maxBody      = 256 << 20 // bytes
	maxFile      = 64 << 20  // bytes of a picture's file
	maxPixels    = 1 << 27   // of all pictures of a request together
	maxPictures  = 1000      // of a request
	maxRequests  = 200       // that draw or enlarge, at work or waiting
	maxInterests = 1000      // names of tasks that are remembered
)

// Server is the API.
type Server struct {
	options Options
	log     *slog.Logger
	users   [][sha256.Size]byte
	routes  []route
	mux     *http.ServeMux
	tasks   tasks
}

// route is what a path does with a method.
type route struct {
	method, path, summary string
	query                 []string     // parameters
	request, reply        reflect.Type // nil is nothing
	needed                bool         // the body is
	handle                http.HandlerFunc
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Queue == nil || o.Library == nil {
		return nil, errors.New("sdapi: a server needs a queue and a library")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, log: o.Logger, mux: http.NewServeMux()}
	for i, pair := range o.Auth {
		if user, _, ok := strings.Cut(pair, ":"); !ok || user == "" {
			return nil, fmt.Errorf("sdapi: pair %d of Options.Auth is not of the form user:password", i+1) // it may be a password, and is not repeated
		}
		s.users = append(s.users, sha256.Sum256([]byte(pair)))
	}
	s.tasks.init()
	s.routes = slices.Concat(s.drawing(), s.control(), s.lists(), s.options_(), s.tools(), s.internal())
	for _, one := range s.routes {
		s.mux.HandleFunc(one.method+" "+one.path, one.handle)
	}
	document := openAPI(s.routes)
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, document, nil) })
	s.mux.HandleFunc("GET /docs", s.page)
	s.mux.HandleFunc("/", s.nothing)
	return s, nil
}

// beganKey is under which a request's context has the time when it came.
type beganKey struct{}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), beganKey{}, time.Now()))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if !s.allowed(r) {
		s.answer(w, r, nil, &Error{Status: http.StatusUnauthorized, Kind: "HTTPException", Detail: "Incorrect username or password"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// allowed reports whether a request may be answered.
func (s *Server) allowed(r *http.Request) bool {
	if len(s.users) == 0 {
		return true
	}
	user, password, ok := r.BasicAuth()
	have, found := sha256.Sum256([]byte(user+":"+password)), 0
	for _, one := range s.users {
		found |= subtle.ConstantTimeCompare(have[:], one[:])
	}
	return ok && found == 1
}

// nothing answers what no route has.
func (s *Server) nothing(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, one := range s.routes {
		if one.path == r.URL.Path {
			methods = append(methods, one.method)
		}
	}
	if methods != nil {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		s.answer(w, r, nil, refuse(http.StatusMethodNotAllowed, "Method Not Allowed"))
		return
	}
	s.answer(w, r, nil, refuse(http.StatusNotFound, "Not Found"))
}

// get is a route that reads.
func get[T any](s *Server, path, summary string, read func(*http.Request) (T, error), query ...string) route {
	return route{
		method: http.MethodGet, path: path, summary: summary, query: query, reply: reflect.TypeFor[T](),
		handle: func(w http.ResponseWriter, r *http.Request) {
			value, err := read(r)
			s.answer(w, r, value, err)
		},
	}
}

// request is a body that was read.
type request[T any] struct {
	*http.Request
	body T
	sent map[string]bool // the fields that the body has
}

// post is a route that takes a body, which may be left out unless it is needed.
func post[T, R any](s *Server, path, summary string, needed bool, do func(request[T]) (R, error)) route {
	return route{
		method: http.MethodPost, path: path, summary: summary, request: reflect.TypeFor[T](), reply: reflect.TypeFor[R](), needed: needed,
		handle: func(w http.ResponseWriter, r *http.Request) {
			one := request[T]{Request: r}
			body, err := readBody(r, needed)
			if err == nil {
				var faults []Fault
				one.sent, faults = decode(body, &one.body)
				err = faulty(faults)
			}
			if err != nil {
				s.answer(w, r, nil, err)
				return
			}
			value, err := do(one)
			s.answer(w, r, value, err)
		},
	}
}

// command is a route that takes nothing.
func command[R any](s *Server, path, summary string, do func(*http.Request) (R, error)) route {
	return route{
		method: http.MethodPost, path: path, summary: summary, reply: reflect.TypeFor[R](),
		handle: func(w http.ResponseWriter, r *http.Request) {
			value, err := do(r)
			s.answer(w, r, value, err)
		},
	}
}

// readBody reads a body of JSON, "{}" if there is none and none is needed. One that is said to be something else is refused, as the web
// UI does: a form of a page of another site so cannot send one.
func readBody(r *http.Request, needed bool) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the request has more than %d MB", e.Limit>>20)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the request ended early: %v", err)
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		if needed {
			return nil, faulty([]Fault{{[]any{"body"}, "field required", "value_error.missing"}})
		}
		return []byte("{}"), nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Header.Get("Content-Type") != "" && (err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json")) {
		return nil, faulty([]Fault{{[]any{"body"}, "value is not a valid dict: send it with the header Content-Type: application/json", "type_error.dict"}})
	}
	return body, nil
}
