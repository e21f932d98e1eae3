package studio

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// personStep is the step Person.
type personStep struct {
	Classes  []string
	Own      bool // the class is a word of one's own
	Captions []caption
	All      string // all captions as one text, a line for each photo
	Models   []library.Checkpoint
	Fault    string
}

// caption is what is said of a photo.
type caption struct {
	Photo, URL, Text string
	Own              bool // it has a file of its own
}

// classes are what a person is to the model, as people usually say it.
var classes = []string{"woman", "man", "person"}

func (s *Server) personStep(p wizard) *personStep {
	step := &personStep{Classes: classes, Own: !slices.Contains(classes, p.Class), Models: s.options.Library.Checkpoints()}
	var lines strings.Builder
	for _, name := range p.keptNames() {
		c := caption{Photo: name, URL: p.Path() + "/photo/" + url.PathEscape(name)}
		c.Text, c.Own = p.caption(name)
		step.Captions = append(step.Captions, c)
		fmt.Fprintf(&lines, "%s: %s\n", name, strings.ReplaceAll(c.Text, "\n", " "))
	}
	step.All = lines.String()
	return step
}

// keptNames are the photos that are to be learned, as far as they were looked at.
func (w wizard) keptNames() (names []string) {
	for _, p := range w.Found().Photos {
		kept := p.Verdict() < portrait.Drop
		if (kept || slices.Contains(w.Keep, p.Name)) && !slices.Contains(w.Drop, p.Name) && w.has(p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// setPerson takes the name, the class and the model.
func (s *Server) setPerson(w http.ResponseWriter, r *http.Request, p wizard) error {
	name, class := strings.Join(strings.Fields(r.PostFormValue("name")), " "), strings.TrimSpace(r.PostFormValue("class"))
	if class == "own" {
		class = strings.Join(strings.Fields(r.PostFormValue("own")), " ")
	}
	fault := ""
	switch {
	case name == "" || len([]rune(name)) > 40 || strings.ContainsAny(name, `<>:"/\|?*(){}[],`):
		fault = "The name is one short word of letters and digits that means nothing yet, such as " + defaultName + "."
	case class == "" || len([]rune(class)) > 40 || strings.ContainsAny(class, `<>:"/\|?*(){}[],`):
		fault = "What the person is to the model is a word, such as woman or man."
	}
	if fault != "" {
		p.Name, p.Class = name, class
		p.Person = s.personStep(p)
		p.Person.Fault = fault
		return s.show(w, r, http.StatusUnprocessableEntity, "person", p)
	}
	before := p.Words()
	changed, err := s.projects.change(p.ID, func(p *project) error {
		p.Name, p.Class, p.Checkpoint = name, class, r.PostFormValue("checkpoint")
		return nil
	})
	if err != nil {
		return err
	}
	p.project = changed
	if err := p.renamed(before); err != nil {
		return err
	}
	if r.PostFormValue("next") != "" {
		return again(w, r, p, "train")
	}
	return again(w, r, p, "person")
}

// renamed writes the person's new words into captions that have the old ones.
func (w wizard) renamed(before string) error {
	for _, name := range w.names() {
		if text, own := w.caption(name); own && strings.Contains(text, before) {
			if err := w.setCaption(name, strings.ReplaceAll(text, before, w.Words())); err != nil {
				return err
			}
		}
	}
	return nil
}

// setCaptions takes captions: one by one, as one text, or a change to all of them.
func (s *Server) setCaptions(w http.ResponseWriter, r *http.Request, p wizard) error {
	if err := r.ParseForm(); err != nil {
		return refuse(err)
	}
	set := make(map[string]string)
	names := p.keptNames()
	switch all := r.PostFormValue("all"); {
	case all != "":
		for line := range strings.Lines(all) {
			for _, name := range names {
				if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
					set[name] = text
				}
			}
		}
	case r.PostForm.Has("find"):
		find, put, before := r.PostFormValue("find"), r.PostFormValue("put"), r.PostFormValue("append")
		for _, name := range names {
			text, _ := p.caption(name)
			if find != "" {
				text = strings.ReplaceAll(text, find, put)
			}
			if before != "" {
				text = strings.TrimRight(text, " ,") + ", " + before
			}
			set[name] = text
		}
	default:
		for _, name := range names {
			if text, ok := r.PostForm["caption-"+name]; ok && len(text) == 1 {
				set[name] = text[0]
			}
		}
	}
	for name, text := range set {
		if err := p.setCaption(name, text); err != nil {
			return refuse(err)
		}
	}
	return again(w, r, p, "person#captions")
}

// trainStep is the step Train.
type trainStep struct {
	Kept      int
	Model     string
	Cost      string // what it takes in time, in words
	Live      *live
	Fault     string
	Pausable  bool
	Resumable bool
}

// live is what is seen of a training while it goes.
type live struct {
	Job        jobs.Job
	Running    bool
	Loss       plot
	Likeness   plot
	Samples    []sample
	Empty      int // epochs to come, for which there is place
	Warnings   []string
	LatestLoss string
	Preview    string // address of what is drawn now; "" is nothing
}

// Blanks are the places of samples that are still to come.
func (l *live) Blanks() []struct{} { return make([]struct{}, l.Empty) }

// sample is a picture drawn on the way.
type sample struct {
	URL, Prompt string
	Epoch, Step int
}

func (s *Server) trainStep(p wizard) *trainStep {
	t := &trainStep{Kept: len(p.keptNames()), Cost: s.cost(p)}
	if found, err := s.checkpoint(p.Checkpoint); err == nil {
		t.Model = found.Name
	} else {
		t.Fault = "There is no model to train yet: put a Stable Diffusion 1.5 checkpoint into the folder of checkpoints, as the page Machine says."
	}
	if p.Job != nil {
		t.Live = s.live(*p.Job, p.Path()+"/results/")
		t.Pausable = !p.Job.State.Ended()
		t.Resumable = p.Job.State.Ended() && (p.Job.State != jobs.Done || p.Job.Partial)
	}
	return t
}

// live gathers how a training goes.
func (s *Server) live(j jobs.Job, results string) *live {
	l := &live{Job: j, Running: j.State == jobs.Running}
	var losses work.Losses
	s.read(j, "losses.json", &losses)
	l.Loss, l.Warnings = lossPlot(losses), losses.Warnings
	if n := len(losses.Steps); n > 0 {
		l.LatestLoss = figureOf(losses.Steps[n-1].Average)
	}
	for _, p := range losses.Samples {
		l.Samples = append(l.Samples, sample{results + (&url.URL{Path: p.File}).EscapedPath(), p.Prompt, p.Epoch, p.Step})
	}
	if n := len(losses.Epochs); n > 0 && losses.Total > 0 && len(l.Samples) > 0 {
		perEpoch := losses.Epochs[n-1].Step / max(losses.Epochs[n-1].Epoch, 1)
		l.Empty = min(40, max(0, losses.Total/max(perEpoch, 1)-len(l.Samples)))
	}
	var likeness work.Likeness
	s.read(j, likenessFile, &likeness)
	l.Likeness = likenessPlot(likeness)
	return l
}

// read reads a result that is JSON; one that is not there, or not whole yet, leaves the value.
func (s *Server) read(j jobs.Job, name string, into any) {
	if !hasFile(j, name) {
		return
	}
	r, err := s.options.Queue.Result(context.Background(), j.ID, name)
	if err != nil {
		return
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		s.log.Warn("a result cannot be read", "job", j.ID, "file", name, "error", err)
	}
}

// lossPlot draws how the loss went.
func lossPlot(l work.Losses) plot {
	p := plot{ID: "loss", Title: "Loss", X: "step", Y: "loss", Last: float64(l.Total)}
	each, mean := series{Name: "each step", Kind: "faint"}, series{Name: "mean", Kind: "first"}
	var y []float64
	for _, at := range l.Steps {
		each.X, each.Y = append(each.X, float64(at.Step)), append(each.Y, at.Loss)
		y = append(y, at.Loss)
	}
	mean.X, mean.Y = each.X, smooth(y, max(4, len(y)/30))
	p.Series = []series{each, mean}
	if len(l.Validated) > 0 {
		held := series{Name: "on photos held out", Kind: "second"}
		for _, at := range l.Validated {
			held.X, held.Y = append(held.X, float64(at.Step)), append(held.Y, at.Loss)
		}
		p.Series = append(p.Series, held)
	}
	return p
}

// percentBetter is a gain, the logarithm of a ratio of losses, as how much less wrong a model is, in percent.
func percentBetter(gain float64) float64 { return 100 * (1 - math.Exp(-gain)) }

// likenessPlot draws how well each epoch knows the person, at the weight at which most were tried.
func likenessPlot(l work.Likeness) plot {
	p := plot{ID: "likeness", Title: "Likeness", X: "epoch", Y: "less wrong about the person, in percent"}
	count, weight := make(map[float64]int), 0.0
	for _, t := range l.Trials {
		if count[t.Weight]++; count[t.Weight] > count[weight] {
			weight = t.Weight
		}
	}
	held, trained := series{Name: "photos held out", Kind: "first"}, series{Name: "photos learned", Kind: "second"}
	all := slices.Clone(l.Trials)
	slices.SortFunc(all, func(a, b work.TrialPoint) int { return a.Epoch - b.Epoch })
	for _, t := range all {
		if t.Weight == weight {
			held.X, held.Y = append(held.X, float64(t.Epoch)), append(held.Y, percentBetter(t.HeldOut))
			trained.X, trained.Y = append(trained.X, float64(t.Epoch)), append(trained.Y, percentBetter(t.Trained))
		}
	}
	p.Series = []series{held, trained}
	if l.Chosen != nil {
		p.Marks = []plotMark{{float64(l.Chosen.Epoch), "chosen"}}
	}
	return p
}

// train begins, pauses, resumes or ends.
func (s *Server) train(w http.ResponseWriter, r *http.Request, p wizard) error {
	q := s.options.Queue
	var err error
	switch do := r.PostFormValue("do"); {
	case do == "start":
		err = s.begin(r.Context(), p)
	case p.Job == nil:
		err = &api.Problem{Status: http.StatusConflict, Detail: "Nothing was begun yet."}
	case do == "pause":
		_, err = q.Ask(r.Context(), p.Job.ID, jobs.Interrupt)
	case do == "stop":
		_, err = q.Ask(r.Context(), p.Job.ID, jobs.Finish)
	case do == "resume":
		_, err = q.Again(r.Context(), p.Job.ID, nil)
	case do == "cancel":
		_, err = q.Ask(r.Context(), p.Job.ID, jobs.Cancel)
	default:
		err = refuse(fmt.Errorf("what is to be done is %.20q; want start, pause, resume, stop or cancel", do))
	}
	if err != nil {
		return err
	}
	return again(w, r, p, "train")
}

// begin puts a portrait into the queue, with its photos.
func (s *Server) begin(ctx context.Context, p wizard) error {
	if p.Job != nil && !p.Job.State.Ended() {
		return &api.Problem{Status: http.StatusConflict, Detail: "It is being made already."}
	}
	kept := p.keptNames()
	if len(kept) == 0 {
		return &api.Problem{Status: http.StatusConflict, Detail: "There are no photos to learn from: keep some first, on the page Photos."}
	}
	request := work.Portrait{Checkpoint: p.Checkpoint, Config: s.configOf(p), Save: true}
	for _, name := range kept {
		files := []string{name}
		if _, own := p.caption(name); own {
			files = append(files, filepath.Base(p.captionFile(name)))
		}
		for _, file := range files {
			data, err := os.ReadFile(filepath.Join(p.photos(), file))
			if err != nil {
				return err
			}
			stored, err := work.PutInput(ctx, s.options.Queue, file, data)
			if err != nil {
				return err
			}
			request.Photos = append(request.Photos, stored)
		}
	}
	j, err := work.Submit(ctx, s.options.Queue, jobs.Job{Title: p.project.Title()}, request)
	if err != nil {
		return refuse(err)
	}
	_, err = s.projects.change(p.ID, func(p *project) error {
		p.Jobs, p.Epoch, p.Weight = append(p.Jobs, j.ID), 0, 0
		return nil
	})
	return err
}

// configOf is what is wanted of a portrait. Photos that a person keeps are kept whatever is found; those that are dropped are not sent.
func (s *Server) configOf(p wizard) (c portrait.Config) {
	kept := p.keptNames()
	c.Check.Keep = slices.DeleteFunc(slices.Clone(p.Keep), func(name string) bool { return !slices.Contains(kept, name) })
	c.Prepare.Name, c.Prepare.Class = p.Name, p.Class
	c.Pictures.Preset, c.Epoch, c.Weight, c.Samples = p.Preset, p.Epoch, p.Weight, true
	return c
}

// redo has the job of a portrait done again from the training on, with what was decided since.
func (s *Server) redo(ctx context.Context, p wizard) error {
	if p.Job == nil || !p.Job.State.Ended() {
		return &api.Problem{Status: http.StatusConflict, Detail: "It is being made. Wait until it is done, or pause it."}
	}
	var request work.Portrait
	if err := json.Unmarshal(p.Job.Request, &request); err != nil {
		return err
	}
	c := s.configOf(p)
	request.Config.Pictures, request.Config.Epoch, request.Config.Weight = c.Pictures, c.Epoch, c.Weight
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	_, err = s.options.Queue.Again(ctx, p.Job.ID, data)
	return err
}

// chooseStep is the step Choose.
type chooseStep struct {
	Weights []float64
	Rows    []epochRow
	Chosen  *work.ChosenPoint
	Sure    string
	Plot    plot
	ByHand  bool
	Ended   bool // the job runs no more, so that another choice can be drawn
}

// epochRow is an epoch with its sample and how it does at each weight.
type epochRow struct {
	Epoch  int
	Sample string // address of its picture; "" if there is none
	Cells  []trialCell
}

// trialCell is an epoch at a weight.
type trialCell struct {
	Value  string // "epoch/weight"
	Weight float64
	Tried  bool
	Like   string // how much less wrong it is, in percent
	Obeys  string // what is left of the prompt, in percent
	Chosen bool
}

func (s *Server) chooseStep(p wizard) *chooseStep {
	c := &chooseStep{ByHand: p.Epoch != 0 || p.Weight != 0}
	if p.Job == nil {
		return c
	}
	var l work.Likeness
	var losses work.Losses
	s.read(*p.Job, likenessFile, &l)
	s.read(*p.Job, "losses.json", &losses)
	c.Chosen, c.Ended, c.Plot = l.Chosen, p.Job.State.Ended(), likenessPlot(l)
	samples := make(map[int]string)
	for _, at := range losses.Samples {
		samples[at.Epoch] = p.Path() + "/thumbnails/" + (&url.URL{Path: at.File}).EscapedPath()
	}
	var epochs []int
	tried := make(map[[2]float64]work.TrialPoint)
	for _, t := range l.Trials {
		epochs, c.Weights = append(epochs, t.Epoch), append(c.Weights, t.Weight)
		tried[[2]float64{float64(t.Epoch), t.Weight}] = t
	}
	slices.Sort(epochs)
	slices.Sort(c.Weights)
	c.Weights = slices.Compact(c.Weights)
	for _, e := range slices.Compact(epochs) {
		row := epochRow{Epoch: e, Sample: samples[e]}
		for _, weight := range c.Weights {
			cell := trialCell{Value: fmt.Sprintf("%d/%g", e, weight), Weight: weight, Chosen: l.Chosen != nil && l.Chosen.Epoch == e && l.Chosen.Weight == weight}
			if t, ok := tried[[2]float64{float64(e), weight}]; ok {
				cell.Tried, cell.Like, cell.Obeys = true, fmt.Sprintf("%.0f %%", percentBetter(t.HeldOut)), fmt.Sprintf("%.0f %%", 100*t.Obedience)
			}
			row.Cells = append(row.Cells, cell)
		}
		c.Rows = append(c.Rows, row)
	}
	c.ByHand = c.ByHand && l.Chosen != nil && (p.Epoch == 0 || p.Epoch == l.Chosen.Epoch) && (p.Weight == 0 || p.Weight == l.Chosen.Weight) // before it is drawn with, it is not what was chosen
	if l.Chosen != nil {
		c.Sure = sureness(l.Chosen.Margin, len(c.Rows))
	}
	return c
}

// sureness says how sure a choice is, by how far it is ahead in standard errors.
func sureness(margin float64, epochs int) string {
	switch {
	case epochs < 2:
		return "There was nothing to compare it with."
	case math.Abs(margin) < 1:
		return "Not very sure: the next best is as like, as far as can be told."
	case margin < 0:
		return "Another one was more like the person, as far as can be told."
	case margin < 2:
		return "Fairly sure: the next best comes near."
	}
	return "Sure: it is ahead of the next best by more than chance makes likely."
}

// choose takes another epoch and weight, and has the pictures drawn with them.
func (s *Server) choose(w http.ResponseWriter, r *http.Request, p wizard) error {
	epochText, weightText, _ := strings.Cut(r.PostFormValue("choice"), "/")
	epoch, err1 := strconv.Atoi(epochText)
	weight, err2 := strconv.ParseFloat(weightText, 64)
	if own := strings.TrimSpace(r.PostFormValue("weight")); own != "" {
		weight, err2 = strconv.ParseFloat(strings.Replace(own, ",", ".", 1), 64)
	}
	if r.PostFormValue("do") == "best" {
		epoch, weight, err1, err2 = 0, 0, nil, nil
	}
	if err1 != nil || err2 != nil || epoch < 0 || !(weight >= 0 && weight <= 2) {
		return refuse(fmt.Errorf("choose an epoch, and a weight from 0 to 2"))
	}
	if p.Job == nil || !p.Job.State.Ended() {
		return &api.Problem{Status: http.StatusConflict, Detail: "It is being made. Wait until it is done, or pause it, then choose otherwise."}
	}
	changed, err := s.projects.change(p.ID, func(p *project) error { p.Epoch, p.Weight = epoch, weight; return nil })
	if err != nil {
		return err
	}
	p.project = changed
	if err := s.redo(r.Context(), p); err != nil {
		return err
	}
	return again(w, r, p, "pictures")
}
