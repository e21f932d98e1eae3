package studio

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"image"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// pictureStep is the step Pictures.
type pictureStep struct {
	Best       []finished
	Candidates []sample
	Presets    []portrait.Preset
	Job        jobs.Job
	Working    bool
	LoRA       string // the result; "" if there is none
	Report     bool
	Chosen     *work.ChosenPoint
}

// finished is one of the best.
type finished struct {
	N    int
	Page string // its address
	URL  string // of the picture
}

// onePicture is a finished picture in its frames.
type onePicture struct {
	N, Of          int
	URL, Before    string // addresses of the picture, and of it before its second pass; "" if that is not there
	Width, Height  int
	Frames         []framed
	Prompt         string
	Previous, Next int // 0 is none
}

// Half is the middle of the picture, from the left.
func (p onePicture) Half() int { return p.Width / 2 }

// framed is a picture in a frame.
type framed struct {
	Name, Title, Says string
	Circle            bool
	Box               image.Rectangle // what of the picture it shows
	Ratio             float64         // its height over its width
	Least             int             // width of the smallest box
	Preview           string
}

// frames are those in which portraits are given out.
var frames = map[string]struct {
	portrait.Frame
	Title, Says string
	Circle      bool
}{
	"linkedin": {portrait.LinkedIn, "LinkedIn", "1024 × 1024; LinkedIn shows the circle.", true},
	"cv":       {portrait.CV, "CV", "1024 × 1280, the 4:5 of a curriculum vitae.", false},
}

var frameNames = []string{"linkedin", "cv"}

// bestFile is the result that has one of the best.
func bestFile(n int) string { return fmt.Sprintf("best/%d.png", n) }

// bests counts the best that are there.
func bests(j jobs.Job) (n int) {
	for hasFile(j, bestFile(n+1)) {
		n++
	}
	return n
}

func (s *Server) pictureStep(p wizard) *pictureStep {
	step := &pictureStep{Presets: portrait.Presets}
	if p.Job == nil {
		return step
	}
	step.Job, step.Working = *p.Job, !p.Job.State.Ended()
	for n := 1; n <= bests(*p.Job); n++ {
		step.Best = append(step.Best, finished{n, fmt.Sprintf("%s/pictures/%d", p.Path(), n), fmt.Sprintf("%s/thumbnails/%s?side=720", p.Path(), bestFile(n))})
	}
	if step.Working || len(step.Best) == 0 {
		for _, f := range p.Job.Files {
			if strings.HasPrefix(f.Name, "candidates/") {
				step.Candidates = append(step.Candidates, sample{URL: p.Path() + "/thumbnails/" + f.Name})
			}
		}
	}
	var l work.Likeness
	s.read(*p.Job, likenessFile, &l)
	if step.Chosen = l.Chosen; l.Chosen != nil && hasFile(*p.Job, l.Chosen.LoRA) {
		step.LoRA = l.Chosen.LoRA
	}
	step.Report = hasFile(*p.Job, "report.html")
	return step
}

// drawAgain draws other pictures of the person.
func (s *Server) drawAgain(w http.ResponseWriter, r *http.Request, p wizard) error {
	preset := r.PostFormValue("preset")
	changed, err := s.projects.change(p.ID, func(p *project) error { p.Preset = preset; return nil })
	if err != nil {
		return err
	}
	p.project = changed
	if err := s.redo(r.Context(), p); err != nil {
		return err
	}
	return again(w, r, p, "pictures")
}

// openResult reads a result of a portrait's job; the error is fs.ErrNotExist if it has none of the name.
func (s *Server) openResult(ctx context.Context, p wizard, name string) ([]byte, error) {
	if p.Job == nil || !hasFile(*p.Job, name) {
		return nil, fs.ErrNotExist
	}
	return s.readResult(ctx, p.Job.ID, name)
}

// readResult reads a picture that is a result of a job.
func (s *Server) readResult(ctx context.Context, id, name string) ([]byte, error) {
	r, err := s.options.Queue.Result(ctx, id, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxPhotoBytes))
}

// result serves a file that the job has left. A page among them is given out as a file: it is not one of the studio's.
func (s *Server) result(w http.ResponseWriter, r *http.Request, p wizard) error {
	name := r.PathValue("name")
	if p.Job == nil || !hasFile(*p.Job, name) {
		return fs.ErrNotExist
	}
	file, err := s.options.Queue.Result(r.Context(), p.Job.ID, name)
	if err != nil {
		return err
	}
	defer file.Close()
	sendFile(w, name, file)
	return nil
}

// sendFile answers with a file: pictures are shown, the rest is to be saved.
func sendFile(w http.ResponseWriter, name string, file io.Reader) {
	kind, how := "application/octet-stream", "attachment"
	switch path.Ext(name) {
	case ".png":
		kind, how = "image/png", "inline"
	case ".jpg":
		kind, how = "image/jpeg", "inline"
	case ".json":
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": path.Base(name)}))
	w.Header().Set("Cache-Control", "private, no-cache")
	io.Copy(w, file)
}

// thumbnail serves a picture that the job has left, small.
func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request, p wizard) error {
	name := r.PathValue("name")
	data, err := s.openResult(r.Context(), p, name)
	if err != nil {
		return err
	}
	small, err := s.smallResult(r.Context(), p.Job.ID, data, sideOf(r))
	if err != nil {
		return err
	}
	return sendPicture(w, r, "image/jpeg", small)
}

// smallResult is a picture's file, of a job or of a training's data, as a JPEG of a side, which is kept for those who ask again.
func (s *Server) smallResult(ctx context.Context, of string, data []byte, side int) ([]byte, error) {
	cached := s.thumbs.path(of, data, side)
	if small, err := openfile.ReadFile(cached, maxPhotoBytes); err == nil {
		return small, nil
	}
	img, err := picture.Decode(ctx, data, picture.Limits{})
	if err != nil {
		return nil, refuse(err)
	}
	small, err := smallOf(img, side, image.Rectangle{})
	if err == nil {
		s.keepSmall(cached, small)
	}
	return small, err
}

// finishedPicture is one of the best, with its face and its text.
func (s *Server) finishedPicture(ctx context.Context, p wizard, n int) (img *image.NRGBA, f face.Face, text string, err error) {
	data, err := s.openResult(ctx, p, bestFile(n))
	if err != nil {
		return nil, f, "", err
	}
	if img, err = picture.Decode(ctx, data, picture.Limits{}); err != nil {
		return nil, f, "", err
	}
	detector := looker{s.faces(p.Checkpoint), &s.checker.memory, func() {}}
	faces, err := detector.Find(ctx, img)
	if err != nil {
		return nil, f, "", err
	}
	if len(faces) > 0 {
		f = faces[0]
	}
	meta, err := infotext.Extract(bytes.NewReader(data))
	return img, f, meta.Infotext(), err
}

func (s *Server) showPicture(w http.ResponseWriter, r *http.Request, p wizard) error {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || p.Job == nil {
		return fs.ErrNotExist
	}
	img, f, text, err := s.finishedPicture(r.Context(), p, n)
	if err != nil {
		return err
	}
	one := &onePicture{N: n, Of: bests(*p.Job), URL: fmt.Sprintf("%s/results/%s", p.Path(), bestFile(n)), Width: img.Rect.Dx(), Height: img.Rect.Dy()}
	t := infotext.Parse(text)
	one.Prompt = t.Prompt
	if seed, _ := t.Get("Seed"); hasFile(*p.Job, "candidates/"+seed+".png") {
		one.Before = p.Path() + "/results/candidates/" + seed + ".png"
	}
	for _, name := range frameNames {
		frame := frames[name]
		box, err := boxOf(r.URL.Query(), name, img.Rect.Size(), frame.Frame, f)
		if err != nil {
			return refuse(err)
		}
		one.Frames = append(one.Frames, framed{
			Name: name, Title: frame.Title, Says: frame.Says, Circle: frame.Circle, Box: box, Ratio: float64(frame.Size.Y) / float64(frame.Size.X),
			Least: img.Rect.Dx() / 8, Preview: fmt.Sprintf("%s/pictures/%d/%s.jpg?%s", p.Path(), n, name, boxQuery(name, box)),
		})
	}
	if n > 1 {
		one.Previous = n - 1
	}
	if n < one.Of {
		one.Next = n + 1
	}
	p.One = one
	return s.show(w, r, http.StatusOK, "picture", p)
}

// boxQuery is a box as a query.
func boxQuery(frame string, b image.Rectangle) string {
	return url.Values{frame + "-x": {strconv.Itoa(b.Min.X)}, frame + "-y": {strconv.Itoa(b.Min.Y)}, frame + "-w": {strconv.Itoa(b.Dx())}}.Encode()
}

// boxOf is what of a picture a frame shows: the box in a query, moved into the picture, or where the face has its place.
func boxOf(q url.Values, name string, size image.Point, frame portrait.Frame, f face.Face) (image.Rectangle, error) {
	ratio := float64(frame.Size.Y) / float64(frame.Size.X)
	if !q.Has(name + "-w") {
		if f.Size > 0 {
			return frame.Place(size, f), nil
		}
		w := min(size.X, int(float64(size.Y)/ratio))
		h := int(float64(w) * ratio)
		return image.Rect(0, 0, w, h).Add(image.Pt((size.X-w)/2, (size.Y-h)/2)), nil
	}
	var at [3]int
	for i, key := range []string{"-x", "-y", "-w"} {
		v, err := strconv.ParseFloat(q.Get(name+key), 64)
		if err != nil || !(v >= -1e5 && v <= 1e5) {
			return image.Rectangle{}, fmt.Errorf("the crop's %s is %.20q, want a number of pixels", key[1:], q.Get(name+key))
		}
		at[i] = int(v)
	}
	w := min(max(at[2], size.X/8, 8), size.X, int(float64(size.Y)/ratio))
	h := min(int(float64(w)*ratio+0.5), size.Y)
	x, y := min(max(at[0], 0), size.X-w), min(max(at[1], 0), size.Y-h)
	return image.Rect(x, y, x+w, y+h), nil
}

// cropped serves a finished picture in a frame, as PNG with its text or as JPEG.
func (s *Server) cropped(w http.ResponseWriter, r *http.Request, p wizard) error {
	n, err := strconv.Atoi(r.PathValue("n"))
	ext := path.Ext(r.PathValue("file"))
	name := strings.TrimSuffix(r.PathValue("file"), ext)
	frame, ok := frames[name]
	if err != nil || !ok || ext != ".png" && ext != ".jpg" {
		return fs.ErrNotExist
	}
	img, f, text, err := s.finishedPicture(r.Context(), p, n)
	if err != nil {
		return err
	}
	box, err := boxOf(r.URL.Query(), name, img.Rect.Size(), frame.Frame, f)
	if err != nil {
		return refuse(err)
	}
	img = scaled(img, box, frame.Size)
	var b bytes.Buffer
	kind := "image/png"
	if ext == ".png" {
		err = sd.Picture{Image: img, Infotext: text}.Encode(&b)
	} else {
		var file []byte
		file, err = portrait.JPEG(img, 0)
		b.Write(file)
		kind = "image/jpeg"
	}
	if err != nil {
		return err
	}
	if r.FormValue("save") != "" {
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + ext}))
	}
	return sendPicture(w, r, kind, b.Bytes())
}

// scaled is a box of a picture at a size.
func scaled(img *image.NRGBA, box image.Rectangle, to image.Point) *image.NRGBA {
	of := img.Rect.Size()
	whole := image.Pt((of.X*to.X+box.Dx()/2)/box.Dx(), (of.Y*to.Y+box.Dy()/2)/box.Dy())
	at := image.Pt(min(box.Min.X*to.X/box.Dx(), whole.X-to.X), min(box.Min.Y*to.Y/box.Dy(), whole.Y-to.Y))
	if at.X < 0 || at.Y < 0 {
		at, whole = image.Point{}, to
	}
	return picture.Resample(img, whole, image.Rectangle{Min: at, Max: at.Add(to)}, picture.Lanczos, 3)
}

// zip serves everything that is for people in one file.
func (s *Server) zip(w http.ResponseWriter, r *http.Request, p wizard) error {
	if p.Job == nil || bests(*p.Job) == 0 {
		return &api.Problem{Status: http.StatusNotFound, Detail: "There are no finished pictures yet."}
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": strings.ReplaceAll(p.Name, " ", "_") + "_portraits.zip"}))
	z := zip.NewWriter(w)
	for _, f := range p.Job.Files {
		if strings.Contains(f.Name, "/") && !strings.HasPrefix(f.Name, "best/") || path.Ext(f.Name) == ".json" {
			continue
		}
		if err := s.pack(r.Context(), z, p, f.Name); err != nil {
			s.log.Warn("a file of portraits cannot be packed", "file", f.Name, "error", err)
			return nil // the answer has begun, and ends short
		}
	}
	z.Close()
	return nil
}

// pack adds a result to a zip. Pictures are packed already.
func (s *Server) pack(ctx context.Context, z *zip.Writer, p wizard, name string) error {
	file, err := s.options.Queue.Result(ctx, p.Job.ID, name)
	if err != nil {
		return err
	}
	defer file.Close()
	h := &zip.FileHeader{Name: name, Method: zip.Store, Modified: time.Now()}
	out, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}
