package studio

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd/filename"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// training is a form that is being filled in, with the trainings that were begun with it.
type training struct {
	ID string `json:"-"`

	Created time.Time
	Values  map[string]string // of sd-scripts' options by their names, as people wrote them
	Prompts string            // for sample pictures, a line each
	Jobs    []string
}

// Name is what the LoRA is called.
func (t training) Name() string { return cmp.Or(t.Values["output_name"], "last") }

// Job is the last training that was begun, "" before the first.
func (t training) Job() string {
	if len(t.Jobs) == 0 {
		return ""
	}
	return t.Jobs[len(t.Jobs)-1]
}

// options are the form as package kohya reads it. Faults are of values that are none.
func (t training) options() (o kohya.Options, err error) {
	o.Defaults = map[string]string{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(t.Values)) {
		if t.Values[name] != "" {
			errs = append(errs, o.Set(name, t.Values[name]))
		}
	}
	return o, errors.Join(errs...)
}

// trainings are all of them, in a folder.
type trainings struct {
	dir  string
	stop context.Context // ends what goes on in the background
	wait sync.WaitGroup

	mu      sync.Mutex
	turn    sync.Mutex // of who looks at a data set
	surveys map[string]*survey
}

func (s *trainings) path(id string) string { return filepath.Join(s.dir, id, "form.json") }

func (s *trainings) save(t training) error {
	data, err := json.MarshalIndent(t, "", "\t")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path(t.ID)), 0o777)
	}
	if err == nil {
		err = atomicfile.WriteFile(s.path(t.ID), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("studio: training %s: %w", t.ID, err)
	}
	return nil
}

// get is a training; the error is fs.ErrNotExist if there is none.
func (s *trainings) get(id string) (t training, err error) {
	if !projectID.MatchString(id) {
		return t, fs.ErrNotExist
	}
	data, err := openfile.ReadFile(s.path(id), 1<<20)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	t.ID = id
	return t, err
}

func (s *trainings) all() []training {
	return newest(s.dir, s.get, func(t training) time.Time { return t.Created })
}

// of is the training that began a job.
func (s *trainings) of(job string) (training, bool) {
	all := s.all()
	at := slices.IndexFunc(all, func(t training) bool { return slices.Contains(t.Jobs, job) })
	if at < 0 {
		return training{}, false
	}
	return all[at], true
}

// recipeNames are the options that everybody sets, in the order in which people think of them.
var recipeNames = []string{"train_data_dir", "max_train_epochs", "train_batch_size", "network_dim", "network_alpha", "unet_lr", "text_encoder_lr", "resolution"}

// headNames are options that stand above the recipe in their own way.
var headNames = []string{"output_name", "pretrained_model_name_or_path"}

// ownFields are options that the form has in its own way, or that the studio answers for.
var ownFields = []string{"sample_prompts", "output_dir", "logging_dir", "log_with", "log_prefix", "log_tracker_name", "resume", "save_model_as", "network_module", "autosave_every_n_minutes"}

// trainPage is what the form's page shows.
type trainPage struct {
	training
	Recipe      []trainField
	Sections    []trainSection
	Checkpoints []library.Checkpoint
	Checkpoint  string
	Job         *jobs.Job
	Report      *trainReport
	Faults      []string // that belong to no field
	Notes       []string
}

// Path is the form's address.
func (p trainPage) Path() string { return "/train/" + p.ID }

// Foreign reports whether the form names a model that is not in the library.
func (p trainPage) Foreign() bool {
	return p.Checkpoint != "" && !slices.ContainsFunc(p.Checkpoints, func(c library.Checkpoint) bool { return c.Title == p.Checkpoint })
}

// trainSection is a part of the form.
type trainSection struct {
	Title  string
	Fields []trainField
	Set    int // how many have a value that sd-scripts would not take by itself
	Fault  bool
}

// trainField is an option with its value.
type trainField struct {
	kohya.Field
	Value, Fault string
	On           bool
}

// Title is what the field is called: as in kohya's GUI, or by its option's name.
func (f trainField) Title() string { return cmp.Or(f.Label, f.Name) }

// Lines is how many lines a text of the field has at first.
func (f trainField) Lines() bool { return strings.Contains(f.Value, "\n") }

// fieldFault finds the option that an error of package kohya is about.
var fieldFault = regexp.MustCompile(`^(?:kohya: )?-?(?:network_args: )?([a-z_0-9]+) (.*)$`)

// page fills in the form.
func (s *Server) trainPage(t training) (p trainPage) {
	p = trainPage{training: t, Checkpoints: s.options.Library.Checkpoints(), Checkpoint: t.Values["pretrained_model_name_or_path"]}
	if j, ok := s.options.Queue.Job(t.Job()); ok {
		p.Job = &j
	}
	faults := p.check()
	byName := make(map[string]trainField)
	for _, section := range kohya.Form() {
		shown := trainSection{Title: section.Title}
		for _, f := range section.Fields {
			field := trainField{Field: f, Value: t.Values[f.Name], Fault: faults[f.Name]}
			field.On = field.Value == "true"
			byName[f.Name] = field
			if slices.Contains(recipeNames, f.Name) || slices.Contains(ownFields, f.Name) || slices.Contains(headNames, f.Name) {
				continue
			}
			if field.Value != "" && field.Value != f.Unset && field.Value != "false" {
				shown.Set++
			}
			shown.Fault = shown.Fault || field.Fault != ""
			shown.Fields = append(shown.Fields, field)
		}
		if len(shown.Fields) > 0 {
			p.Sections = append(p.Sections, shown)
		}
	}
	for _, name := range recipeNames {
		p.Recipe = append(p.Recipe, byName[name])
	}
	return p
}

// check finds out what is wrong with the form, by the options' names; what belongs to none is among Faults.
func (p *trainPage) check() map[string]string {
	faults := make(map[string]string)
	config, notes, err := p.config()
	p.Notes = notes
	for _, line := range faultLines(errors.Join(err, checkConfig(config))) {
		if m := fieldFault.FindStringSubmatch(line); m != nil && (p.Values[m[1]] != "" || slices.Contains(recipeNames, m[1])) {
			faults[m[1]] = m[2]
			continue
		}
		p.Faults = append(p.Faults, strings.TrimPrefix(line, "kohya: "))
	}
	return faults
}

// inFlags is a line with the options' names in place of fields'.
func inFlags(line string) string {
	for field, name := range kohya.Flags(line) {
		line = strings.ReplaceAll(line, field, strings.TrimPrefix(name, "-"))
	}
	return line
}

// forgive takes for no fault that the folder is not named yet: the report says what belongs there.
func (p *trainPage) forgive() {
	for _, fields := range append([]trainSection{{Fields: p.Recipe}}, p.Sections...) {
		for i, f := range fields.Fields {
			if f.Name == "train_data_dir" && f.Value == "" {
				fields.Fields[i].Fault = ""
			}
		}
	}
}

// config is the training that the form asks for, as far as it can be told without a model.
func (t training) config() (train.Config, []string, error) {
	o, err := t.options()
	if err != nil {
		return train.Config{}, nil, err
	}
	return o.Config()
}

// checkConfig reports what the parts of a configuration say of themselves.
func checkConfig(c train.Config) error {
	return errors.Join(c.Noise.Check(), c.Trainer.Check())
}

// faultLines are the lines of an error, with the options' names in place of fields'.
func faultLines(err error) (lines []string) {
	if err == nil {
		return nil
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(inFlags(line)); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// trainRoutes are those of the room Train.
func (s *Server) trainRoutes() {
	s.mux.HandleFunc("GET /train", s.listTrainings)
	s.mux.HandleFunc("POST /train", s.addTraining)
	s.mux.HandleFunc("GET /train/{id}", s.openTraining)
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, training) error{
		"POST ":           s.changeTraining,
		"POST /report":    s.reportTraining,
		"GET /report":     s.reportTraining,
		"GET /data":       s.showData,
		"GET /data/photo": s.dataPhoto,
		"GET /kohya.json": s.giveJSON,
		"GET /kohya.toml": s.giveTOML,
		"POST /remove":    s.removeTraining,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" /train/{id}"+path, func(w http.ResponseWriter, r *http.Request) {
			t, err := s.trainings.get(r.PathValue("id"))
			if err == nil {
				err = handle(w, r, t)
			}
			if err != nil {
				s.fail(w, r, notFound(err))
			}
		})
	}
	s.mux.HandleFunc("GET /runs/{id}", s.showRun)
	s.mux.HandleFunc("GET /runs/{id}/live", s.showRunLive)
	s.mux.HandleFunc("POST /runs/{id}", s.changeRun)
	s.mux.HandleFunc("GET /runs/{id}/results/{name...}", s.runResult)
}

// listedTraining is a training in the list of all.
type listedTraining struct {
	training
	Job *jobs.Job
}

func (s *Server) listTrainings(w http.ResponseWriter, r *http.Request) {
	s.renderTrainings(w, r, http.StatusOK, "")
}

// trainingList is what the room shows first.
type trainingList struct {
	All   []listedTraining
	Fault string
}

func (s *Server) renderTrainings(w http.ResponseWriter, r *http.Request, status int, fault string) {
	list := trainingList{Fault: fault}
	for _, t := range s.trainings.all() {
		one := listedTraining{training: t}
		if j, ok := s.options.Queue.Job(t.Job()); ok {
			one.Job = &j
		}
		list.All = append(list.All, one)
	}
	s.render(w, r, status, "trainings", view{Title: "Train", Room: "/train", Class: "page wide", Script: "train.js", Style: "rooms.css", Content: list})
}

// addTraining begins a form: with what is usual, or with what a file of kohya's says.
func (s *Server) addTraining(w http.ResponseWriter, r *http.Request) {
	t := training{ID: strings.ToLower(rand.Text()[:10]), Created: time.Now(), Values: kohya.Recipe()}
	t.Values["caption_extension"] = ".txt" // as in kohya's form: without it captions end in .caption, as sd-scripts has it
	refused, err := takeFiles(r, func(name string, part io.Reader) error { return t.load(name, part) })
	switch {
	case err != nil:
		s.fail(w, r, err)
		return
	case len(refused) > 0:
		s.renderTrainings(w, r, http.StatusUnprocessableEntity, strings.Join(refused, "; "))
		return
	}
	if err := s.trainings.save(t); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/train/"+t.ID, http.StatusSeeOther)
}

// load takes what a file of kohya's says in place of what the form has.
func (t *training) load(name string, r io.Reader) error {
	var o kohya.Options
	if err := o.Read(r, path.Base(strings.ReplaceAll(name, `\`, "/"))); err != nil {
		return err
	}
	t.Values, t.Prompts = o.Values(), o.Prompts()
	if config, _, err := o.Config(); err == nil && t.Values["max_train_epochs"] == "" && config.Dataset.MaxTrainSteps > 0 {
		t.Values["max_train_steps"] = fmt.Sprint(config.Dataset.MaxTrainSteps)
	}
	if file := t.Values["sample_prompts"]; t.Prompts == "" && file != "" {
		if data, err := openfile.ReadFile(file, 1<<20); err == nil {
			t.Prompts = string(data)
		}
	}
	return nil
}

// openTraining shows a form, or the run of a job.
func (s *Server) openTraining(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if j, ok := s.options.Queue.Job(id); ok && j.Kind == work.TrainKind {
		http.Redirect(w, r, "/runs/"+id, http.StatusSeeOther)
		return
	}
	t, err := s.trainings.get(id)
	if err != nil {
		s.fail(w, r, notFound(err))
		return
	}
	s.renderTraining(w, r, http.StatusOK, t, nil)
}

func (s *Server) renderTraining(w http.ResponseWriter, r *http.Request, status int, t training, faults []string) {
	p := s.trainPage(t)
	if status == http.StatusOK {
		p.forgive()
	}
	p.Faults = append(faults, p.Faults...)
	p.Report = s.report(t, len(p.Faults) == 0)
	s.render(w, r, status, "train", view{Title: "Train " + t.Name(), Room: "/train", Class: "page wide", Script: "train.js", Style: "rooms.css", Content: p})
}

// take reads the form's fields.
func (t *training) take(r *http.Request) error {
	if err := r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return tooLarge(err)
	}
	values := make(map[string]string)
	for _, name := range ownFields {
		values[name] = t.Values[name]
	}
	for _, section := range kohya.Form() {
		for _, f := range section.Fields {
			if slices.Contains(ownFields, f.Name) {
				continue
			}
			if v := strings.TrimSpace(r.PostFormValue(f.Name)); v != "" {
				values[f.Name] = v
			}
		}
	}
	maps.DeleteFunc(values, func(_, v string) bool { return v == "" })
	t.Values, t.Prompts = values, strings.ReplaceAll(r.PostFormValue("prompts"), "\r", "")
	return nil
}

// changeTraining keeps the form, and does what the button says.
func (s *Server) changeTraining(w http.ResponseWriter, r *http.Request, t training) error {
	if err := t.take(r); err != nil {
		return err
	}
	if err := s.trainings.save(t); err != nil {
		return err
	}
	switch r.PostFormValue("do") {
	case "start":
		p := s.trainPage(t)
		if faults := p.AllFaults(); len(faults) > 0 {
			s.renderTraining(w, r, http.StatusUnprocessableEntity, t, nil)
			return nil
		}
		id, err := s.beginTraining(r.Context(), t)
		if err != nil {
			s.renderTraining(w, r, http.StatusUnprocessableEntity, t, faultLines(err))
			return nil
		}
		http.Redirect(w, r, "/runs/"+id, http.StatusSeeOther)
	case "json", "toml":
		http.Redirect(w, r, "/train/"+t.ID+"/kohya."+r.PostFormValue("do"), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/train/"+t.ID, http.StatusSeeOther)
	}
	return nil
}

// AllFaults are those of fields and those of none.
func (p trainPage) AllFaults() (all []string) {
	all = slices.Clone(p.Faults)
	for _, s := range append(p.Sections, trainSection{Fields: p.Recipe}) {
		for _, f := range s.Fields {
			if f.Fault != "" {
				all = append(all, f.Name+" "+f.Fault)
			}
		}
	}
	return all
}

// explicit are the values with everything that would otherwise be as in kohya.Recipe.
func (t training) explicit() map[string]string {
	values := maps.Clone(t.Values)
	unset := make(map[string]kohya.Field)
	for _, section := range kohya.Form() {
		for _, f := range section.Fields {
			unset[f.Name] = f
		}
	}
	for name := range kohya.Recipe() {
		if values[name] != "" {
			continue
		}
		switch f := unset[name]; {
		case f.Control == kohya.Switch:
			values[name] = "false"
		case name == "max_train_epochs":
			values[name] = "0"
		case name == "unet_lr" || name == "text_encoder_lr":
			values["learning_rate"] = cmp.Or(values["learning_rate"], unset["learning_rate"].Unset)
		case f.Unset != "":
			values[name] = f.Unset
		}
	}
	for _, name := range slices.Concat(ownFields, headNames) {
		delete(values, name)
	}
	maps.DeleteFunc(values, func(_, v string) bool { return v == "" })
	return values
}

// beginTraining puts a training into the queue, with its photos, and returns the job's ID.
func (s *Server) beginTraining(ctx context.Context, t training) (string, error) {
	request := work.Train{Checkpoint: t.Values["pretrained_model_name_or_path"], Name: filename.Part(t.Name(), false), Options: t.explicit(), Prompts: t.Prompts, Save: true}
	if _, err := s.checkpoint(request.Checkpoint); err != nil {
		return "", err
	}
	for _, option := range []string{"train_data_dir", "reg_data_dir"} {
		if dir := request.Options[option]; dir != "" {
			files, err := s.packFolder(ctx, dir, option)
			if err != nil {
				return "", err
			}
			if files != nil {
				request.Data, request.Options[option] = append(request.Data, files...), option
			}
		}
	}
	j, err := work.Submit(ctx, s.options.Queue, jobs.Job{Title: t.Name()}, request)
	if err != nil {
		return "", err
	}
	t.Jobs = append(t.Jobs, j.ID)
	return j.ID, s.trainings.save(t)
}

// maxPacked is the most bytes of a data set that travels with a job; a larger one has to be where its worker is.
const maxPacked = 2 << 30

// packFolder stores a folder of a data set for whichever worker, laid out below a name. It is nil if it is too large for that.
func (s *Server) packFolder(ctx context.Context, dir, below string) (files []work.DataFile, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", below, err)
	}
	var total int64
	var paths []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !isData(path) {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
			paths = append(paths, path)
		}
		if total > maxPacked || len(paths) > work.MaxDataFiles/2 {
			return fs.SkipAll
		}
		return err
	})
	if err != nil || total > maxPacked || len(paths) > work.MaxDataFiles/2 {
		return nil, err
	}
	for _, path := range paths {
		data, err := openfile.ReadFile(path, maxPhotoBytes)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		stored, err := work.PutInput(ctx, s.options.Queue, filepath.Base(path), data)
		if err != nil {
			return nil, err
		}
		files = append(files, work.DataFile{Path: below + "/" + filepath.ToSlash(rel), Input: stored})
	}
	return files, nil
}

// isData reports whether a file belongs to a data set: photos and captions.
func isData(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return !strings.HasPrefix(filepath.Base(path), ".") && (slices.Contains(picture.Extensions, ext) || ext == ".txt" || ext == ".caption")
}

func (s *Server) giveJSON(w http.ResponseWriter, r *http.Request, t training) error {
	return give(w, t, ".json", func(o *kohya.Options, b *bytes.Buffer) error { return o.WriteJSON(b, t.Prompts) })
}

func (s *Server) giveTOML(w http.ResponseWriter, r *http.Request, t training) error {
	return give(w, t, ".toml", func(o *kohya.Options, b *bytes.Buffer) error { return o.WriteTOML(b) })
}

// give answers with a file of the options.
func give(w http.ResponseWriter, t training, ext string, write func(*kohya.Options, *bytes.Buffer) error) error {
	o, err := t.options()
	if err != nil {
		return refuse(err)
	}
	var b bytes.Buffer
	if err := write(&o, &b); err != nil {
		return err
	}
	w.Header().Set("Content-Type", map[string]string{".json": "application/json", ".toml": "application/toml"}[ext])
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": filename.Part(t.Name(), false) + ext}))
	w.Write(b.Bytes())
	return nil
}

func (s *Server) removeTraining(w http.ResponseWriter, r *http.Request, t training) error {
	if err := errors.Join(os.RemoveAll(filepath.Dir(s.trainings.path(t.ID))), s.thumbs.forget(t.ID)); err != nil {
		return err
	}
	http.Redirect(w, r, "/train", http.StatusSeeOther)
	return nil
}

// runPage is what a training's page shows while it goes, and afterwards.
type runPage struct {
	*live
	Form      string // address of the form that began it; "" if that is gone
	Epochs    []work.EpochPoint
	Files     []api.File
	Report    string
	Resumable bool
}

// Path is the run's address.
func (p runPage) Path() string { return "/runs/" + p.live.Job.ID }

func (s *Server) runPage(id string) (p runPage, err error) {
	j, ok := s.options.Queue.Job(id)
	if !ok || j.Kind != work.TrainKind {
		return p, fs.ErrNotExist
	}
	p.live = s.live(j, "/runs/"+id+"/results/")
	if t, ok := s.trainings.of(id); ok {
		p.Form = "/train/" + t.ID
	}
	var losses work.Losses
	s.read(j, "losses.json", &losses)
	p.Epochs = losses.Epochs
	for _, f := range j.Files {
		if path.Ext(f.Name) == ".safetensors" {
			p.Files = append(p.Files, api.File{File: f, URL: p.Path() + "/results/" + (&url.URL{Path: f.Name}).EscapedPath()})
		}
	}
	if hasFile(j, "report.txt") {
		if r, err := s.options.Queue.Result(context.Background(), id, "report.txt"); err == nil {
			data, _ := io.ReadAll(io.LimitReader(r, 1<<20)) // half a report is better than none
			r.Close()
			p.Report = string(data)
		}
	}
	p.Resumable = j.State.Ended() && (j.State != jobs.Done || j.Partial)
	return p, nil
}

func (s *Server) showRun(w http.ResponseWriter, r *http.Request) {
	p, err := s.runPage(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, notFound(err))
		return
	}
	s.render(w, r, http.StatusOK, "train_run", view{Title: p.live.Job.Title, Room: "/train", Class: "page wide", Script: "train.js", Style: "rooms.css", Content: p})
}

func (s *Server) showRunLive(w http.ResponseWriter, r *http.Request) {
	p, err := s.runPage(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, notFound(err))
		return
	}
	s.fragment(w, r, "train_run", "live", p)
}

// changeRun pauses, resumes or ends a training.
func (s *Server) changeRun(w http.ResponseWriter, r *http.Request) {
	id, q := r.PathValue("id"), s.options.Queue
	wishes := map[string]jobs.Wish{"pause": jobs.Interrupt, "stop": jobs.Finish, "cancel": jobs.Cancel}
	var err error
	switch do := r.PostFormValue("do"); {
	case do == "resume":
		_, err = q.Again(r.Context(), id, nil)
	case wishes[do] != "":
		_, err = q.Ask(r.Context(), id, wishes[do])
	default:
		err = refuse(fmt.Errorf("what is to be done is %.20q; want pause, stop, cancel or resume", do))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/runs/"+id, http.StatusSeeOther)
}

func (s *Server) runResult(w http.ResponseWriter, r *http.Request) {
	j, ok := s.options.Queue.Job(r.PathValue("id"))
	if !ok || !hasFile(j, r.PathValue("name")) {
		s.fail(w, r, notFound(fs.ErrNotExist))
		return
	}
	file, err := s.options.Queue.Result(r.Context(), j.ID, r.PathValue("name"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer file.Close()
	sendFile(w, r.PathValue("name"), file)
}
