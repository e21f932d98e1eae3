// Package studio is a page to make portraits, draw and train on, and to look at what came of it, with the HTTP APIs behind it: all that
// examples/studio serves. It mounts in any server of Go's.
//
//	server, err := studio.New(studio.Options{Queue: queue, Library: lib})
//	http.ListenAndServe("127.0.0.1:7860", server)
//
// Pages are made on the server, of templates; what happens meanwhile comes as events, and state is kept in the queue and the library, so
// that a reload or a second tab loses nothing. Forms and results need no JavaScript.
package studio

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net/http"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/sdapi"
	"github.com/atelier-go/atelier/studio/work"
)

// Options say what a Server works with and whom it serves.
type Options struct {
	Queue *jobs.Queue
	// Library is what there is to draw and train with, and what was drawn.
	Library *library.Library
	// Machine does jobs in this process, for the page about it; nil if nothing does.
	Machine *work.Machine
	// Examine says what there is to compute with and what fits, for the page about the machine; nil says nothing.
	Examine func() string
	// Dir is a folder for what people have begun, portraits and trainings, with the photos that they have sent; "" is "studio" in the library's, or a temporary one if
	// that has none.
	Dir string
	// Faces chooses what finds faces in photos that are to be learned with a checkpoint; nil is as the
	// Machine does, or face.Cascades.
	Faces func(library.Checkpoint) face.Detector
	// Portrait completes a portrait's configuration for checkpoints that want something else than Stable Diffusion 1.5, as that of
	// work.Options; nil leaves it.
	Portrait func(library.Checkpoint, *portrait.Config) error
	// APIAuth are pairs of "user:password" for the web UI's API, of which its programs show one in place of the Token.
	APIAuth []string
	// Stop ends the program, or begins it anew, when a program asks the web UI's API for it; nil refuses both.
	Stop func(restart bool)
	// Flags are those of the program, by the web UI's names, which its API tells whoever asks.
	Flags map[string]any
	// Token is what every request must show, as ?token= in the first address, on the page that asks for it, as a bearer's token or as the
	// password of Basic authentication; at least MinToken bytes. "" asks for none, and then only requests to this machine by its own
	// names, such as localhost and 127.0.0.1, are answered.
	Token string
	// Hosts are further names under which browsers reach the server, without ports: with a Token, any address of numbers is one
	// already. Other names are refused, so that no page elsewhere can make its own name mean this machine.
	Hosts  []string
	Logger *slog.Logger // is told of requests, never of what they carry; nil is silent
}

// MinToken is the least number of bytes of a Token, so that nobody guesses it.
const MinToken = 16

// Server is the studio.
type Server struct {
	options Options
	log     *slog.Logger
	api     *api.Server
	webUI   http.Handler // its API
	mux     *http.ServeMux
	guarded http.Handler
	pages   pages
	form    formKept

	stop      context.CancelFunc // ends what goes on in the background
	temporary string             // a folder that goes at the end; "" is none
	projects  *projects
	trainings *trainings
	checker   *checker
	thumbs    thumbs
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Queue == nil || o.Library == nil {
		return nil, errors.New("studio: a server needs a queue and a library")
	}
	if o.Token != "" && len(o.Token) < MinToken {
		return nil, errors.New("studio: the token is too short: people could guess it. Use 16 characters or more, such as those of crypto/rand.Text")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, log: o.Logger, mux: http.NewServeMux()}
	var err error
	if s.api, err = api.New(api.Options{Queue: o.Queue, Library: o.Library, Logger: o.Logger}); err != nil {
		return nil, err
	}
	if s.webUI, err = s.mountWebUI(); err != nil {
		return nil, err
	}
	if s.pages, err = parsePages(); err != nil {
		return nil, err
	}
	if err := s.openRooms(); err != nil {
		return nil, err
	}
	s.routes()
	s.guarded = s.guard(s.mux)
	return s, nil
}

// Close ends the streams of events and what goes on in the background. The queue and the library are the caller's.
func (s *Server) Close() error { return errors.Join(s.api.Close(), s.closeRooms()) }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.guarded.ServeHTTP(w, r) }

// routes are what there is. Each room has its own in its own file.
func (s *Server) routes() {
	s.mux.Handle(api.Prefix, s.api)
	for _, prefix := range sdapi.Prefixes {
		s.mux.Handle(prefix, s.webUI)
	}
	s.mux.HandleFunc("GET /events", s.api.Events)
	s.mux.Handle("GET /static/", static())
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, rooms[0].Path, http.StatusSeeOther)
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &api.Problem{Status: http.StatusNotFound, Detail: "There is no such page."})
	})
	s.drawRoutes()
	s.enlargeRoutes()
	s.queueRoutes()
	s.portraitRoutes()
	s.trainRoutes()
	s.galleryRoutes()
	s.machineRoutes()
}

// mountWebUI makes the web UI's API.
func (s *Server) mountWebUI() (http.Handler, error) {
	o := sdapi.Options{Queue: s.options.Queue, Library: s.options.Library, Auth: s.options.APIAuth, Stop: s.options.Stop, Flags: s.options.Flags, Version: version(), Logger: s.log}
	if s.options.Machine != nil {
		o.Unload = s.options.Machine.Unload
	}
	return sdapi.New(o)
}

//go:embed static
var staticFiles embed.FS
