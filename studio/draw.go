package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// drawRoutes are those of the room Draw.
func (s *Server) drawRoutes() {
	s.mux.HandleFunc("GET /draw", s.drawPage)
	s.mux.HandleFunc("POST /draw", s.drawSubmit)
	s.mux.HandleFunc("POST /draw/form", s.drawKeep)
	s.mux.HandleFunc("POST /draw/read", s.drawRead)
	s.mux.HandleFunc("POST /draw/count", s.drawCount)
	s.mux.HandleFunc("POST /draw/send/{to}/{id}/{file}", s.drawSend)
	s.mux.HandleFunc("GET /draw/result", s.drawResult)
	s.mux.HandleFunc("GET /draw/recent", func(w http.ResponseWriter, r *http.Request) { s.fragment(w, r, "draw", "recent", s.recent()) })
	s.mux.HandleFunc("GET /draw/cards", s.drawCards)
	s.mux.HandleFunc("GET /draw/card", s.drawCard)
}

// drawView is the room Draw.
type drawView struct {
	V      values
	Faults faults
	Note   string // about what was read

	Checkpoints                []library.Checkpoint
	VAEs                       []library.File
	Samplers                   []sampler.Sampler
	Spacings                   []sampler.Spacing
	Upscalers                  []string
	ResizeModes                []sd.ResizeMode
	Contents                   []sd.MaskedContent
	Styles                     []styleChoice
	Axes                       []string
	Sizes, Sampling, Finish    string
	Grid                       string
	Paint                      bool // the brush is at hand
	PromptCount, NegativeCount string
	Cards                      cards
	Shown                      shown
	Recent                     []recent
}

// controlView is a control of a number.
type controlView struct {
	Name, Label, Value, Fault string
	Min, Max, Step, Empty     string // Empty is what stands there while nothing does
}

// axisView is a control of an axis of a grid.
type axisView struct {
	Letter, Label, Chosen, Values, Fault string
	Names                                []string
}

// styleChoice is a style, and whether it is chosen.
type styleChoice struct {
	prompt.Style
	Chosen bool
}

// shown is the job in the middle of the room.
type shown struct {
	Job      api.Job
	File     string       // the picture
	URL      string       // of it; "" if there is none yet
	Before   string       // the URL of what it was drawn over, if that was a picture
	Pictures []work.Drawn // of the job
	Drawn    work.Drawn   // of the picture
	Busy     bool         // the job waits or runs
}

// recent is a picture among those that were drawn last.
type recent struct{ Job, File, URL, Title string }

// drawPage shows the room, with what was last in the form, or what the address says: "use" a job's settings, or a picture's of the gallery.
func (s *Server) drawPage(w http.ResponseWriter, r *http.Request) {
	v, note := s.kept(r.Context()), ""
	switch {
	case r.FormValue("use") != "":
		if j, ok := s.options.Queue.Job(r.FormValue("use")); ok && j.Kind == work.DrawKind {
			v = s.valuesOfJob(r, j, r.FormValue("file"))
		}
	case r.FormValue("picture") != "":
		text, err := s.options.Library.Infotext(r.FormValue("picture"))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		v, note = valuesOfText(infotext.Parse(text), v)
	}
	s.showDraw(w, r, http.StatusOK, v, nil, note)
}

// showDraw answers with the room.
func (s *Server) showDraw(w http.ResponseWriter, r *http.Request, status int, v values, f faults, note string) {
	lib := s.options.Library
	d := drawView{
		V: v, Faults: f, Note: note,
		Checkpoints: lib.Checkpoints(), VAEs: lib.VAEs(), Samplers: sampler.Names(), Spacings: sampler.Spacings(), Upscalers: sd.BuiltInUpscalers(),
		ResizeModes: sd.ResizeModes, Contents: sd.MaskedContents, Axes: grid.Names()[1:], Sizes: v.sizes(), Sampling: v.sampling(), Finish: v.finish(), Grid: v.grid(),
		PromptCount: count(v["prompt"], true, v["steps"]), NegativeCount: count(v["negative"], false, v["steps"]),
		Cards: s.cards("loras", ""), Recent: s.recent(),
	}
	if canvas := r.FormValue("canvas"); canvas == "" {
		d.Shown = s.shown(r, r.FormValue("job"), r.FormValue("file"))
	} else {
		d.Paint = canvas == "paint"
	}
	for _, u := range lib.Upscalers() {
		d.Upscalers = append(d.Upscalers, u.Name)
	}
	for _, style := range lib.Styles() {
		d.Styles = append(d.Styles, styleChoice{style, slices.Contains(strings.Split(v["styles"], "\n"), style.Name)})
	}
	s.render(w, r, status, "draw", view{Title: "Draw", Room: "/draw", Class: "draw", Script: "draw.js", Content: d})
}

// formFile is where the form's last values are, in the queue's store.
const formFile = "pages/draw.json"

// formKept are the values that the form last had, which are in memory too: the store takes long to answer while the processors draw.
type formKept struct {
	mu      sync.Mutex
	last    values // nil before the store was asked
	storing sync.Mutex
}

// kept are the values that the form last had.
func (s *Server) kept(ctx context.Context) values {
	s.form.mu.Lock()
	defer s.form.mu.Unlock()
	if s.form.last == nil {
		s.form.last = s.stored(ctx)
	}
	return maps.Clone(s.form.last)
}

// stored are the values of the store, or the preset.
func (s *Server) stored(ctx context.Context) values {
	file, err := s.options.Queue.Get(ctx, formFile)
	if err != nil {
		return preset()
	}
	defer file.Close()
	last := make(values)
	if err := json.NewDecoder(io.LimitReader(file, 1<<20)).Decode(&last); err != nil || len(last) == 0 {
		return preset()
	}
	return last
}

// keep keeps them.
func (s *Server) keep(r *http.Request, v values) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.form.storing.Lock() // so that the last one is what stays
	defer s.form.storing.Unlock()
	s.form.mu.Lock()
	s.form.last = maps.Clone(v)
	s.form.mu.Unlock()
	_, err = s.options.Queue.Put(r.Context(), formFile, bytes.NewReader(text))
	return err
}

// sent are the values that a browser sends, with files put into the queue's store.
func (s *Server) sent(r *http.Request) (values, error) {
	if err := r.ParseMultipartForm(16 << 20); err != nil && err != http.ErrNotMultipart {
		return nil, tooLarge(err)
	}
	v := take(r.PostForm)
	for _, name := range []string{"image", "mask"} {
		file, err := fileOf(r, name+"_file")
		if err != nil || file == nil {
			continue
		}
		if v[name], err = s.api.Store(r, name, file); err != nil {
			return nil, err
		}
	}
	if v["mask"] != "" {
		v["inpaint"] = "on"
	}
	return v, nil
}

// storeFile puts a file of a form into the queue's store; "" is one that is empty, as where none was chosen.
func (s *Server) storeFile(r *http.Request, header *multipart.FileHeader) (string, error) {
	if header.Size == 0 {
		return "", nil
	}
	file, err := header.Open()
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPhotoBytes))
	if err != nil {
		return "", err
	}
	return s.api.Store(r, header.Filename, content)
}

// fileOf is a file of a form; nil if none was chosen.
func fileOf(r *http.Request, name string) ([]byte, error) {
	file, header, err := r.FormFile(name)
	if err != nil || header.Size == 0 {
		return nil, nil
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 64<<20))
}

// drawSubmit queues what the form says, or shows what is wrong with it.
func (s *Server) drawSubmit(w http.ResponseWriter, r *http.Request) {
	v, err := s.sent(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if r.PostFormValue("do") == "read" {
		s.readIntoForm(w, r, v)
		return
	}
	if err := s.keep(r, v); err != nil {
		s.fail(w, r, err)
		return
	}
	d, f := v.draw(s.options.Library)
	if len(f) > 0 {
		if wantsPage(r) {
			s.showDraw(w, r, http.StatusUnprocessableEntity, v, f, "")
			return
		}
		p := &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "The form cannot be drawn as it is."}
		for name, detail := range f {
			p.Errors = append(p.Errors, api.Fault{Field: name, Detail: detail})
		}
		s.fail(w, r, p)
		return
	}
	j, err := work.Submit(r.Context(), s.options.Queue, jobs.Job{Title: titleOf(v["prompt"])}, d)
	switch {
	case err != nil:
		s.fail(w, r, err)
	case wantsPage(r):
		http.Redirect(w, r, "/draw?job="+j.ID, http.StatusSeeOther)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(s.api.Present(j))
	}
}

// titleOf is a prompt as a title.
func titleOf(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 120 {
		text = string(runes[:119]) + "…"
	}
	if text == "" {
		return "without a prompt"
	}
	return text
}

// drawKeep keeps what the form has, so that a reload and another tab have it too.
func (s *Server) drawKeep(w http.ResponseWriter, r *http.Request) {
	v, err := s.sent(r)
	if err == nil {
		err = s.keep(r, v)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readIntoForm fills the form from a picture that a browser without scripts sends.
func (s *Server) readIntoForm(w http.ResponseWriter, r *http.Request, v values) {
	file, err := fileOf(r, "read_file")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var text infotext.Text
	if file != nil {
		text, err = infotext.Read(bytes.NewReader(file))
	} else {
		text = infotext.Parse(v["prompt"])
	}
	if err != nil {
		s.showDraw(w, r, http.StatusUnprocessableEntity, v, faults{"read_file": err.Error()}, "")
		return
	}
	v, note := valuesOfText(text, v)
	if err := s.keep(r, v); err != nil {
		s.fail(w, r, err)
		return
	}
	s.showDraw(w, r, http.StatusOK, v, nil, note)
}

// drawRead answers with the settings that a picture or a text has.
func (s *Server) drawRead(w http.ResponseWriter, r *http.Request) {
	text, err := infotext.Read(io.LimitReader(r.Body, 64<<20))
	if err == nil && text.Prompt == "" && len(text.Fields) == 0 {
		err = errors.New("the picture says nothing of how it was made")
	}
	if err != nil {
		s.fail(w, r, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()})
		return
	}
	v, note := valuesOfText(text, s.kept(r.Context()))
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"values": v, "note": note})
}

// valuesOfText are the settings of an infotext. The checkpoint, and the picture on the canvas, stay; the note says what was left.
func valuesOfText(text infotext.Text, before values) (values, string) {
	request, left, err := sd.FromInfotext(text)
	v := valuesOf(work.Draw{Request: request, Count: 1})
	for _, name := range []string{"checkpoint", "image", "mask", "inpaint", "mask_blur", "masked_content"} {
		v[name] = before[name]
	}
	note := "The settings were read."
	if len(left) > 0 {
		var keys []string
		for _, f := range left {
			keys = append(keys, f.Key)
		}
		note = "The settings were read, but for " + strings.Join(keys, ", ") + "."
	}
	if err != nil {
		note += " " + err.Error()
	}
	return v, note
}

// valuesOfJob are the settings of a job, with the seed of one of its pictures.
func (s *Server) valuesOfJob(r *http.Request, j jobs.Job, file string) values {
	var d work.Draw
	if err := json.Unmarshal(j.Request, &d); err != nil {
		return s.kept(r.Context())
	}
	var info work.Info
	s.read(j, "info.json", &info)
	at := slices.IndexFunc(info.Pictures, func(p work.Drawn) bool { return p.File == file && !p.Sheet() })
	if at < 0 {
		return valuesOf(d)
	}
	p := info.Pictures[at]
	if d.Grid != nil {
		v, _ := valuesOfText(infotext.Parse(p.Infotext), valuesOf(d))
		return v
	}
	d.Request.Seed, d.Count, d.Request.BatchSize = p.Seed, 1, 1
	return valuesOf(d)
}

// tokenizer counts tokens.
var tokenizer = sync.OnceValue(clip.Default)

// count is how many tokens a prompt has, of how many there is room for.
func count(text string, positive bool, steps string) string {
	n, err := strconv.Atoi(steps)
	if err != nil || n < 1 || n > sampler.MaxSteps {
		n = 20
	}
	tokens, limit := prompt.Reader{Tokenizer: tokenizer()}.Count(text, positive, n)
	return fmt.Sprintf("%d/%d", tokens, limit)
}

// drawCount answers with the tokens of the prompts.
func (s *Server) drawCount(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseMultipartForm(1 << 20); err != nil && err != http.ErrNotMultipart {
		s.fail(w, r, tooLarge(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{
		"prompt": count(r.PostFormValue("prompt"), true, r.PostFormValue("steps")), "negative": count(r.PostFormValue("negative"), false, r.PostFormValue("steps")),
	})
}

// shown is what the room shows: the job of an address, else the one that runs, else the last.
func (s *Server) shown(r *http.Request, id, file string) (v shown) {
	all := s.options.Queue.Jobs()
	slices.SortStableFunc(all, func(a, b jobs.Job) int { return a.Finished.Compare(b.Finished) })
	for _, j := range all {
		better := v.Job.ID == "" || j.State == jobs.Running || v.Job.State != jobs.Running && !j.Finished.IsZero() && len(j.Files) > 0
		if j.Kind == work.DrawKind && (id == "" && better || j.ID == id) {
			v.Job = s.api.Present(j)
			v.Job.Request = j.Request
		}
	}
	if v.Job.ID == "" {
		return v
	}
	v.Busy = !v.Job.State.Ended()
	var info work.Info
	s.read(v.Job.Job, "info.json", &info)
	v.Pictures = slices.DeleteFunc(info.Pictures, func(p work.Drawn) bool { return !hasFile(v.Job.Job, p.File) }) // what is said of a picture is there before it
	slices.SortStableFunc(v.Pictures, func(a, b work.Drawn) int { return a.Batch - b.Batch })                     // a grid's are drawn in an order of their own
	if at := slices.IndexFunc(v.Pictures, func(p work.Drawn) bool { return p.File == file }); at >= 0 {
		v.Drawn = v.Pictures[at]
	} else if len(v.Pictures) > 0 {
		v.Drawn = v.Pictures[len(v.Pictures)-1]
	}
	for _, f := range v.Job.Files {
		if f.Name == v.Drawn.File {
			v.File, v.URL = f.Name, f.URL
		}
	}
	if v.Busy && file == "" && v.Job.Preview != "" {
		v.URL = v.Job.Preview
	}
	var d work.Draw
	if err := json.Unmarshal(v.Job.Request, &d); err == nil && d.Image != "" {
		v.Before = api.Prefix + d.Image
	}
	v.Job.Request = nil
	return v
}

// drawResult answers with what stands below a picture.
func (s *Server) drawResult(w http.ResponseWriter, r *http.Request) {
	s.fragment(w, r, "draw", "result", s.shown(r, r.FormValue("job"), r.FormValue("file")))
}

// maxRecent is how many pictures are shown below the canvas.
const maxRecent = 30

// recent are the pictures that were drawn last, the newest first.
func (s *Server) recent() (all []recent) {
	list := s.options.Queue.Jobs()
	slices.SortStableFunc(list, func(a, b jobs.Job) int { return b.Finished.Compare(a.Finished) })
	for _, j := range list {
		if j.Kind != work.DrawKind || !j.State.Ended() {
			continue
		}
		for _, f := range s.api.Present(j).Files {
			if path.Ext(f.Name) == ".png" && len(all) < maxRecent {
				all = append(all, recent{j.ID, f.Name, f.URL, j.Title})
			}
		}
	}
	return all
}

// cards are what can be put into a prompt.
type cards struct {
	Kind, Search string
	All          []card
	More         int // so many are left out
}

// card is a LoRA or a textual inversion.
type card struct {
	Name, Tag string
	Triggers  []string
	Picture   string // its URL; "" if there is none
}

// maxCards is how many are shown at once; a search finds the others.
const maxCards = 60

// cards are the LoRAs or embeddings with a word in their names.
func (s *Server) cards(kind, search string) cards {
	found := cards{Kind: kind, Search: search}
	add := func(f library.File, tag string, triggers []string) {
		if !strings.Contains(strings.ToLower(f.Place+" "+strings.Join(triggers, " ")), strings.ToLower(search)) {
			return
		}
		if len(found.All) == maxCards {
			found.More++
			return
		}
		c := card{Name: f.Name, Tag: tag, Triggers: triggers[:min(len(triggers), 4)]}
		if f.Preview != "" {
			c.Picture = "/draw/card?" + url.Values{"kind": {kind}, "name": {f.Name}}.Encode()
		}
		found.All = append(found.All, c)
	}
	if kind == "embeddings" {
		for _, f := range s.options.Library.Embeddings() {
			add(f, f.Name, nil)
		}
		return found
	}
	for _, a := range s.options.Library.LoRAs() {
		add(a.File, "<lora:"+a.Name+":1>", a.Triggers)
	}
	return found
}

// drawCards answers with cards.
func (s *Server) drawCards(w http.ResponseWriter, r *http.Request) {
	s.fragment(w, r, "draw", "cards", s.cards(r.FormValue("kind"), r.FormValue("q")))
}

// drawCard answers with the picture on a card.
func (s *Server) drawCard(w http.ResponseWriter, r *http.Request) {
	files := s.options.Library.Embeddings()
	if r.FormValue("kind") == "loras" {
		files = nil
		for _, a := range s.options.Library.LoRAs() {
			files = append(files, a.File)
		}
	}
	at := slices.IndexFunc(files, func(f library.File) bool { return f.Name == r.FormValue("name") })
	if at < 0 {
		s.fail(w, r, &library.NotFoundError{Kind: r.FormValue("kind"), Name: r.FormValue("name")})
		return
	}
	picture, err := s.options.Library.PreviewPicture(r.Context(), files[at], 192)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(picture)
}
