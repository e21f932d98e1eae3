package api

import (
	"net/http"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/library"
)

// model is a file of the library as lists have it: where it is on the machine is nobody's business.
type model struct {
	Name     string   `json:"name"`
	Title    string   `json:"title,omitzero"` // by which the web UI calls a checkpoint
	Hash     string   `json:"hash,omitzero"`  // the first ten digits of its SHA-256
	Alias    string   `json:"alias,omitzero"` // that a LoRA gave itself
	Triggers []string `json:"triggers,omitempty"`
	Size     int64    `json:"size,omitzero"` // bytes
}

func (s *Server) checkpoints(w http.ResponseWriter, r *http.Request) error {
	list := []model{}
	for _, c := range s.options.Library.Checkpoints() {
		list = append(list, model{Name: c.Name, Title: c.Title, Hash: c.Hash})
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) loras(w http.ResponseWriter, r *http.Request) error {
	list := []model{}
	for _, a := range s.options.Library.LoRAs() {
		list = append(list, model{Name: a.Name, Alias: a.Alias, Triggers: a.Triggers, Size: a.Size})
	}
	return answer(w, http.StatusOK, list)
}

// files answers with files by their names.
func (s *Server) files(all func() []library.File) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		list := []model{}
		for _, f := range all() {
			list = append(list, model{Name: f.Name})
		}
		return answer(w, http.StatusOK, list)
	}
}

func (s *Server) upscalers(w http.ResponseWriter, r *http.Request) error {
	list := []model{}
	for _, name := range sd.BuiltInUpscalers() {
		list = append(list, model{Name: name})
	}
	for _, f := range s.options.Library.Upscalers() {
		list = append(list, model{Name: f.Name})
	}
	return answer(w, http.StatusOK, list)
}

func (s *Server) samplers(w http.ResponseWriter, r *http.Request) error {
	return answer(w, http.StatusOK, map[string]any{"samplers": sampler.Names(), "schedules": sampler.Spacings()})
}

func (s *Server) styles(w http.ResponseWriter, r *http.Request) error {
	type style struct {
		Name           string `json:"name"`
		Prompt         string `json:"prompt"`
		NegativePrompt string `json:"negative_prompt"`
	}
	list := []style{}
	for _, one := range s.options.Library.Styles() {
		list = append(list, style{one.Name, one.Prompt, one.Negative})
	}
	return answer(w, http.StatusOK, list)
}

// refresh looks again for what is on disk.
func (s *Server) refresh(w http.ResponseWriter, r *http.Request) error {
	if err := s.options.Library.Refresh(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
