package studio

import (
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/library"
)

// machineRoutes are those of the room Machine.
func (s *Server) machineRoutes() {
	s.mux.HandleFunc("GET /machine", s.machinePage)
	s.mux.HandleFunc("POST /machine/checkpoint", s.machineCheckpoint)
	s.mux.HandleFunc("POST /machine/refresh", s.machineRefresh)
	s.mux.HandleFunc("POST /machine/unload", s.machineUnload)
	s.mux.HandleFunc("POST /machine/theme", s.machineTheme)
}

// machineView is the room Machine.
type machineView struct {
	Device      string // "" if nothing computes here
	Loaded      string // the checkpoint that is open
	Report      string // what there is to compute with, and what fits; "" until somebody asks
	CanReport   bool
	System      string
	Processors  int
	Memory      int64 // bytes that the process has of the system
	Go, Version string

	Checkpoints []library.Checkpoint
	Chosen      string
	Folders     []string
	Counts      []tally
	Skipped     []error
	Theme       string
}

// tally is how many there are of something.
type tally struct {
	Name   string
	Number int
}

// machinePage shows the room; "examine" in the address has every device tried, which takes a second.
func (s *Server) machinePage(w http.ResponseWriter, r *http.Request) {
	lib := s.options.Library
	v := machineView{
		System: runtime.GOOS + ", " + runtime.GOARCH, Processors: runtime.NumCPU(), Go: runtime.Version(), Version: version(), CanReport: s.options.Examine != nil,
		Checkpoints: lib.Checkpoints(), Chosen: lib.Settings().Text("sd_model_checkpoint"), Folders: lib.CheckpointDirs(), Skipped: lib.Skipped(),
		Counts: []tally{{"LoRAs", len(lib.LoRAs())}, {"VAEs", len(lib.VAEs())}, {"Embeddings", len(lib.Embeddings())}, {"Upscalers", len(lib.Upscalers())}, {"Styles", len(lib.Styles())}},
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	v.Memory = int64(memory.Sys - memory.HeapReleased)
	if m := s.options.Machine; m != nil {
		v.Device = m.Device()
		if c, ok := m.Loaded(); ok {
			v.Loaded = c.Title
		}
	}
	if v.CanReport && r.FormValue("examine") != "" {
		v.Report = s.options.Examine()
	}
	if c, err := r.Cookie("theme"); err == nil {
		v.Theme = c.Value
	}
	s.render(w, r, http.StatusOK, "machine", view{Title: "Machine", Room: "/machine", Content: v})
}

// version is that of the program, as it was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}

// machineCheckpoint makes a checkpoint the one that is taken where none is named.
func (s *Server) machineCheckpoint(w http.ResponseWriter, r *http.Request) {
	c, err := s.options.Library.Checkpoint(r.PostFormValue("checkpoint"))
	if err == nil {
		err = s.options.Library.Settings().Set(map[string]any{"sd_model_checkpoint": c.Title})
	}
	s.backToMachine(w, r, err)
}

// machineRefresh looks again for what is on disk.
func (s *Server) machineRefresh(w http.ResponseWriter, r *http.Request) {
	s.backToMachine(w, r, s.options.Library.Refresh())
}

// machineUnload closes the checkpoint, when the job at hand is done.
func (s *Server) machineUnload(w http.ResponseWriter, r *http.Request) {
	if s.options.Machine == nil {
		s.fail(w, r, &api.Problem{Status: http.StatusConflict, Detail: "Nothing computes in this process."})
		return
	}
	s.backToMachine(w, r, s.options.Machine.Unload(r.Context()))
}

// machineTheme chooses light or dark for this browser, or leaves it to the system.
func (s *Server) machineTheme(w http.ResponseWriter, r *http.Request) {
	c := &http.Cookie{Name: "theme", Value: r.PostFormValue("theme"), Path: "/", SameSite: http.SameSiteStrictMode, HttpOnly: true, MaxAge: 10 * 365 * 24 * 3600}
	if c.Value != "light" && c.Value != "dark" {
		c.Value, c.MaxAge = "", -1
	}
	http.SetCookie(w, c)
	s.backToMachine(w, r, nil)
}

// backToMachine shows the room again.
func (s *Server) backToMachine(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/machine", http.StatusSeeOther)
}
