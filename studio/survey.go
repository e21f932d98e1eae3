package studio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/lora/dataset"
)

// survey is a look at a data set, which opens every picture and so takes a while.
type survey struct {
	done    chan struct{}
	cancel  context.CancelFunc
	dataset *dataset.Dataset // nil if it cannot be trained on
	err     error
}

// maxSurveys is how many data sets are kept.
const maxSurveys = 8

// survey begins to look at a data set, unless it was looked at already. What is in it may have changed since: the names and sizes of
// its files tell.
func (s *trainings) survey(c dataset.Config) *survey {
	key := surveyKey(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.surveys[key]; v != nil {
		return v
	}
	if s.surveys == nil || len(s.surveys) >= maxSurveys {
		for _, v := range s.surveys {
			v.cancel()
		}
		s.surveys = make(map[string]*survey)
	}
	ctx, cancel := context.WithCancel(s.stop)
	v := &survey{done: make(chan struct{}), cancel: cancel}
	s.surveys[key] = v
	s.wait.Go(func() {
		defer close(v.done)
		defer cancel()
		s.turn.Lock()
		defer s.turn.Unlock()
		if v.err = context.Cause(ctx); v.err == nil {
			v.dataset, v.err = dataset.Open(ctx, c)
		}
	})
	return v
}

// surveyKey tells a data set from others, and from itself with other files.
func surveyKey(c dataset.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		data = fmt.Append(nil, c)
	}
	var b strings.Builder
	for _, set := range c.Sets {
		for _, dir := range []string{set.TrainDataDir, set.RegDataDir} {
			if dir == "" {
				continue
			}
			files, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*", "*")) // what cannot be listed the survey will say
			for _, file := range files {
				if info, err := os.Stat(file); err == nil {
					fmt.Fprintln(&b, file, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
	}
	return digest(append(data, b.String()...))
}

// escapeGlob is a folder in a pattern that means itself.
func escapeGlob(dir string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(dir)
}

// trainReport is what a training will be, as far as it can be told without a model.
type trainReport struct {
	Looking  bool
	Faults   []string
	Steps    dataset.Steps
	Folders  []dataset.FolderReport
	Buckets  []bucketRow
	Images   int // different pictures
	Uses     int // of them in an epoch
	Warnings []string
	Caption  string
	Time     time.Duration // that all of it takes on this machine, as reckoned; 0 is not known
}

// bucketRow is a bucket with its share of the uses.
type bucketRow struct {
	Size    dataset.Size
	Count   int
	Batches int
	Percent int
}

// report looks at the data set that a form names; nil if the form is not fit for it.
func (s *Server) report(t training, fit bool) *trainReport {
	config, _, err := t.config()
	if err != nil || !fit || len(config.Dataset.Sets) == 0 || t.Values["train_data_dir"] == "" && t.Values["dataset_config"] == "" {
		return nil
	}
	v := s.trainings.survey(config.Dataset)
	select {
	case <-v.done:
	default:
		return &trainReport{Looking: true}
	}
	if v.err != nil {
		if errors.Is(v.err, context.Canceled) {
			return &trainReport{Looking: true}
		}
		if e, ok := errors.AsType[*fs.PathError](v.err); ok && errors.Is(e, fs.ErrNotExist) {
			return &trainReport{Faults: []string{"There is no " + e.Path + " (any more)."}}
		}
		return &trainReport{Faults: faultLines(v.err)}
	}
	r := reportOf(v.dataset, filepath.Clean(t.Values["train_data_dir"]))
	r.Time = s.reckoned(t.Values["pretrained_model_name_or_path"], learning(v.dataset.Report()))
	return r
}

// reportOf is the report of a data set below a folder, which its warnings need not name.
func reportOf(d *dataset.Dataset, folder string) *trainReport {
	report := d.Report()
	r := &trainReport{Steps: report.Steps, Folders: report.Folders, Caption: report.FirstCaption, Images: len(d.Pictures()), Uses: report.TrainImages}
	for _, line := range report.Warnings {
		r.Warnings = append(r.Warnings, strings.ReplaceAll(inFlags(line), folder+string(filepath.Separator), ""))
	}
	most := 1
	for _, b := range report.Buckets {
		most = max(most, b.Count)
	}
	for _, b := range report.Buckets {
		r.Buckets = append(r.Buckets, bucketRow{b.Resolution, b.Count, b.Batches, 100 * b.Count / most})
	}
	return r
}

// reportTraining answers with the report of a form as it stands, which is sent while somebody fills it in.
func (s *Server) reportTraining(w http.ResponseWriter, r *http.Request, t training) error {
	if r.Method == http.MethodPost {
		if err := t.take(r); err != nil {
			return err
		}
		if err := s.trainings.save(t); err != nil {
			return err
		}
	}
	p := s.trainPage(t)
	p.Report = s.report(t, len(p.Faults) == 0)
	p.forgive()
	s.fragment(w, r, "train", "report", p)
	return nil
}

// dataPage is what the view of a data set shows.
type dataPage struct {
	training
	Report   *trainReport
	Pictures []dataPicture
	From, To int
	All      int
	More     int // where the next page begins; 0 is none
}

// Path is the form's address.
func (p dataPage) Path() string { return "/train/" + p.ID }

// dataPicture is a picture of a data set.
type dataPicture struct {
	Name, Folder, Caption string
	Size, Bucket          dataset.Size
	Repeats, Index        int
	Reg                   bool
}

// dataPageSize is how many pictures a page of a data set has.
const dataPageSize = 60

func (s *Server) showData(w http.ResponseWriter, r *http.Request, t training) error {
	p := dataPage{training: t, Report: s.report(t, true)}
	if all := s.dataPictures(t); all != nil {
		from, _ := strconv.Atoi(r.FormValue("from"))
		from = min(max(from, 0), len(all))
		to := min(from+dataPageSize, len(all))
		p.From, p.To, p.All = from+1, to, len(all)
		if to < len(all) {
			p.More = to
		}
		for i, picture := range all[from:to] {
			p.Pictures = append(p.Pictures, dataPicture{
				Name: filepath.Base(picture.Path), Folder: filepath.Base(filepath.Dir(picture.Path)), Caption: picture.Text(), Size: picture.Size, Bucket: picture.Bucket,
				Repeats: picture.Repeats, Reg: picture.Reg, Index: from + i,
			})
		}
	}
	s.render(w, r, http.StatusOK, "train_data", view{Title: "Data of " + t.Name(), Room: "/train", Class: "page wide", Script: "train.js", Style: "rooms.css", Content: p})
	return nil
}

// dataPictures are those of a form's data set, if it was looked at.
func (s *Server) dataPictures(t training) []*dataset.Picture {
	config, _, err := t.config()
	if err != nil {
		return nil
	}
	v := s.trainings.survey(config.Dataset)
	select {
	case <-v.done:
	default:
		return nil
	}
	if v.dataset == nil {
		return nil
	}
	all := slices.Clone(v.dataset.Pictures())
	slices.SortStableFunc(all, func(a, b *dataset.Picture) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// dataPhoto serves a picture of a data set, by its place in it, small.
func (s *Server) dataPhoto(w http.ResponseWriter, r *http.Request, t training) error {
	at, err := strconv.Atoi(r.FormValue("n"))
	all := s.dataPictures(t)
	if err != nil || at < 0 || at >= len(all) {
		return fs.ErrNotExist
	}
	data, err := openfile.ReadFile(all[at].Path, maxPhotoBytes)
	if err != nil {
		return err
	}
	small, err := s.smallResult(r.Context(), t.ID, data, sideOf(r))
	if err != nil {
		return err
	}
	return sendPicture(w, r, "image/jpeg", small)
}
