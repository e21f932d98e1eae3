package sdapi

import (
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/studio/library"
)

// coverKey is under which a LoRA's file may have pictures of its own.
const coverKey = "ssmd_cover_images"

// network is a file that the web UI's cards show.
type network struct {
	library.File
	metadata func() (map[string]string, error) // nil if it has none
}

// networks are those of a page of cards.
func (s *Server) networks(page string) (all []network) {
	lib := s.options.Library
	switch strings.ToLower(page) {
	case "lora", "lycoris":
		for _, a := range lib.LoRAs() {
			all = append(all, network{a.File, a.Metadata})
		}
	case "textual inversion", "textual_inversion", "embeddings":
		for _, f := range lib.Embeddings() {
			all = append(all, network{f, nil})
		}
	}
	return all
}

// network is the one that a request names by page and item, or name.
func (s *Server) network(r *http.Request) (network, error) {
	name := r.FormValue("item") + r.FormValue("name")
	for _, one := range s.networks(r.FormValue("page")) {
		if one.Name == name {
			return one, nil
		}
	}
	return network{}, refuse(http.StatusNotFound, "there is no %.60q among %.60q", name, r.FormValue("page"))
}

// said is what the file says of itself.
func (n network) said() map[string]string {
	if n.metadata == nil {
		return nil
	}
	// One that cannot be read says nothing.
	metadata, _ := n.metadata()
	return metadata
}

// maxPreview is the most bytes of a preview.
const maxPreview = 32 << 20

// thumb answers with a picture that lies beside one of the files, by its path. No other path is opened.
func (s *Server) thumb(w http.ResponseWriter, r *http.Request) {
	path := r.FormValue("filename")
	known := slices.ContainsFunc(append(s.networks("lora"), s.networks("embeddings")...), func(n network) bool { return n.Preview == path })
	if path == "" || !known {
		s.answer(w, r, nil, refuse(http.StatusNotFound, "that is no preview of a file here"))
		return
	}
	file, err := openfile.ReadFile(path, maxPreview)
	if err != nil {
		s.answer(w, r, nil, refuse(http.StatusNotFound, "the preview cannot be read"))
		return
	}
	s.picture(w, r, file)
}

// cover answers with a picture that a file has within.
func (s *Server) cover(w http.ResponseWriter, r *http.Request) {
	n, err := s.network(r)
	if err != nil {
		s.answer(w, r, nil, err)
		return
	}
	var covers []string
	at, err := strconv.Atoi(r.FormValue("index"))
	if json.Unmarshal([]byte(n.said()[coverKey]), &covers) != nil || err != nil || at < 0 || at >= len(covers) {
		s.answer(w, r, nil, refuse(http.StatusNotFound, "the file has no such picture"))
		return
	}
	file, err := base64.StdEncoding.DecodeString(covers[at])
	if err != nil {
		s.answer(w, r, nil, refuse(http.StatusNotFound, "the picture in the file is damaged"))
		return
	}
	s.picture(w, r, file)
}

// picture answers with a picture's file. What is none, such as a page, is refused.
func (s *Server) picture(w http.ResponseWriter, r *http.Request, file []byte) {
	kind := http.DetectContentType(file)
	if !slices.Contains([]string{"image/png", "image/jpeg", "image/webp", "image/gif"}, kind) {
		s.answer(w, r, nil, refuse(http.StatusNotFound, "that is no picture"))
		return
	}
	send(w, r, http.StatusOK, kind, file)
}

type networkMetadata struct {
	Metadata string `json:"metadata" doc:"JSON"`
}

func (s *Server) metadata(r *http.Request) (networkMetadata, error) {
	n, err := s.network(r)
	if err != nil {
		return networkMetadata{}, err
	}
	said := n.said()
	delete(said, coverKey)
	text, err := json.MarshalIndent(said, "", "    ")
	if said == nil {
		text = []byte("{}")
	}
	return networkMetadata{string(text)}, err
}

// card is how a page shows a file.
var card = template.Must(template.New("card").Parse(`<div class="card" data-name="{{.Name}}"><div class="actions"><span class="name">{{.Name}}</span></div></div>`))

type networkCard struct {
	HTML string `json:"html"`
}

func (s *Server) card(r *http.Request) (networkCard, error) {
	n, err := s.network(r)
	if err != nil {
		return networkCard{}, err
	}
	var b strings.Builder
	err = card.Execute(&b, n)
	return networkCard{b.String()}, err
}
