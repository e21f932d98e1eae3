package sdapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// drawing are the routes that draw.
func (s *Server) drawing() []route {
	return []route{
		post(s, "/sdapi/v1/txt2img", "Draws pictures of a prompt.", true, s.txt2img),
		post(s, "/sdapi/v1/img2img", "Draws over pictures, or over a masked part of them.", true, s.img2img),
		post(s, "/sdapi/v1/extra-single-image", "Enlarges a picture.", true, s.extraSingle),
		post(s, "/sdapi/v1/extra-batch-images", "Enlarges pictures.", true, s.extraBatch),
	}
}

func (s *Server) txt2img(r request[txt2img]) (*generated, error) {
	b := &r.body
	pasted, err := b.paste(r.sent)
	if err != nil {
		return nil, err
	}
	if pasted != nil {
		b.pasteHires(pasted.Hires, r.sent)
	}
	o, err := s.order(&b.generation, nil, library.Txt2Img)
	if err != nil {
		return nil, err
	}
	if pasted != nil && !r.sent["alwayson_scripts"] {
		o.r.Faces = pasted.Faces
	}
	if err := o.enlarge(b); err != nil {
		return nil, err
	}
	if err := s.settle(r.Context(), o, &b.generation); err != nil {
		return nil, err
	}
	return s.draw(r.Context(), o, &b.generation, b)
}

func (s *Server) img2img(r request[img2img]) (*generated, error) {
	b := &r.body
	pasted, err := b.paste(r.sent)
	if err != nil {
		return nil, err
	}
	if len(b.InitImages) == 0 {
		return nil, refuse(http.StatusNotFound, "Init image not found")
	}
	var images [][]byte
	for i, text := range b.InitImages {
		file, _, err := readImage(r.Context(), fmt.Sprintf("init_images[%d]", i), text)
		if err != nil {
			return nil, err
		}
		images = append(images, file)
	}
	var mask []byte
	if given(b.Mask) != "" {
		if mask, _, err = readImage(r.Context(), "mask", *b.Mask); err != nil {
			return nil, err
		}
	}
	o, err := s.order(&b.generation, images, library.Img2Img)
	if err != nil {
		return nil, err
	}
	if pasted != nil && !r.sent["alwayson_scripts"] {
		o.r.Faces = pasted.Faces
	}
	if err := o.begin(b, mask); err != nil {
		return nil, err
	}
	if err := s.settle(r.Context(), o, &b.generation); err != nil {
		return nil, err
	}
	if !b.MaskRound && mask != nil && o.r.Inpaint.Soft == nil {
		o.note("mask_round is left: without Soft inpainting the edge of what is drawn is hard")
	}
	if !b.IncludeInitImages {
		b.InitImages, b.Mask = nil, nil
	}
	return s.draw(r.Context(), o, &b.generation, b)
}

// jobsOf are the requests of the jobs that an order needs: one, or, of several pictures to begin with, one for each picture. These are in
// the queue's store under the names given, first the mask, if there is one.
func (o *order) jobsOf(stored []string) (all []work.Draw) {
	one := work.Draw{Request: o.r, Checkpoint: o.checkpoint, Count: o.batches}
	if o.save {
		one.Save = o.kind
	}
	if o.plot != nil {
		one.Grid = &o.plot.Grid
	}
	if in := o.r.Inpaint; in != nil {
		bare := *in
		bare.Mask, one.Request.Inpaint, one.Mask, stored = nil, &bare, stored[0], stored[1:]
	}
	if one.Request.Image = nil; len(stored) > 0 {
		one.Image = stored[0]
	}
	if len(stored) < 2 {
		return []work.Draw{one}
	}
	for i := range o.batches * len(stored) {
		next := one
		next.Count, next.Request.BatchSize, next.Image = 1, 1, stored[i%len(stored)]
		if o.r.Variation.Strength == 0 {
			next.Request.Seed += int64(i)
		} else {
			next.Request.Variation.Seed += int64(i)
		}
		all = append(all, next)
	}
	return all
}

// drawn is a finished picture.
type drawn struct {
	work.Drawn
	file []byte // PNG
}

// draw carries an order out and answers with what came of it. Who goes away before need not wait: pictures that are saved are drawn to
// their end, as the web UI does, and others, which nobody would ever see, are not.
func (s *Server) draw(ctx context.Context, o *order, g *generation, parameters any) (*generated, error) {
	if o.save {
		ctx = context.WithoutCancel(ctx)
	}
	files := o.images
	if o.r.Inpaint != nil {
		files = append([][]byte{o.r.Inpaint.Mask}, files...)
	}
	stored, err := s.store(ctx, files)
	if !o.save { // what is saved stays in the queue, and can be drawn again
		defer s.unstore(ctx, stored)
	}
	if err != nil {
		return nil, err
	}
	all := o.jobsOf(stored)
	scale := 1
	if o.r.Hires != nil {
		scale = 2 // the web UI counts both passes
	}
	t, err := s.tasks.begin(given(g.ForceTaskID), o.batches*scale, o.r.Steps, len(all))
	if err != nil {
		return nil, err
	}
	defer s.tasks.end(t)
	began, result := time.Now(), work.Info{}
	var pictures []drawn
	for i, one := range all {
		job, err := s.do(ctx, t, i, one, o.r.Prompt)
		if err != nil {
			return nil, err
		}
		info, more, err := s.results(ctx, job)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			result = info
		}
		pictures = append(pictures, more...)
		s.forget(ctx, job, o.save)
		if job.Partial || job.State == jobs.Cancelled {
			break
		}
	}
	return s.generated(o, g, parameters, result, pictures, began)
}

// store puts pictures of a request into the queue's store, under names that no other request has, so that they can go with it.
func (s *Server) store(ctx context.Context, files [][]byte) (names []string, err error) {
	for _, file := range files {
		name, err := work.PutInput(ctx, s.options.Queue, rand.Text(), file)
		if err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

// unstore takes them out again.
func (s *Server) unstore(ctx context.Context, names []string) {
	for _, name := range names {
		if err := s.options.Queue.Delete(context.WithoutCancel(ctx), name); err != nil {
			s.log.Warn("a picture of a request stays in the queue's store", "error", err)
		}
	}
}

// do submits a job and waits for its end.
func (s *Server) do(ctx context.Context, t *task, at int, one work.Request, title string) (jobs.Job, error) {
	if s.tasks.interrupted(t) {
		return jobs.Job{State: jobs.Cancelled}, nil
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes := s.options.Queue.Changes(watching)
	job, err := work.Submit(ctx, s.options.Queue, jobs.Job{Title: titleOf(title)}, one)
	if err != nil {
		stop()
		for range changes { // which takes leave of them
		}
		return job, submitted(err)
	}
	if s.tasks.at(t, at, job.ID) {
		if err := s.tell(ctx, job.ID, jobs.Interrupt); err != nil {
			return job, err
		}
	}
	for j := range changes {
		if j.ID != job.ID || j.State != jobs.Removed && !j.State.Ended() {
			continue
		}
		return j, s.ended(t, j)
	}
	// Who asked is gone.
	late, end := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer end()
	if _, err := s.options.Queue.Ask(late, job.ID, jobs.Cancel); err != nil {
		s.log.Warn("the job of a client that is gone cannot be cancelled", "id", job.ID, "error", err)
	}
	return job, context.Cause(ctx)
}

// titleOf is a prompt as the title of a job.
func titleOf(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return text
}

// submitted is the answer to a request that cannot become a job.
func submitted(err error) error {
	if len(invalid.Fields(err)) > 0 {
		return faulty(faultsOf(err))
	}
	return err
}

// ended is the answer to a job's end, nil if there are results.
func (s *Server) ended(t *task, j jobs.Job) error {
	switch {
	case j.State == jobs.Failed:
		return failed(j)
	case (j.State == jobs.Cancelled || j.State == jobs.Removed) && !s.tasks.interrupted(t):
		return refuse(http.StatusServiceUnavailable, "the job was cancelled by somebody else")
	}
	return nil
}

// failed is the answer to a job that could not be done.
func failed(j jobs.Job) error {
	e := &Error{Status: http.StatusInternalServerError, Kind: "RuntimeError", Detail: j.Error}
	if j.Refused {
		e.Status, e.Kind = http.StatusUnprocessableEntity, "ValueError"
	}
	return e
}

// results reads what came of a job.
func (s *Server) results(ctx context.Context, j jobs.Job) (info work.Info, pictures []drawn, err error) {
	if len(j.Files) == 0 {
		return info, nil, nil
	}
	if info, err = work.ReadInfo(ctx, s.options.Queue, j.ID); err != nil {
		return info, nil, err
	}
	for _, p := range info.Pictures {
		if !slices.ContainsFunc(j.Files, func(f jobs.File) bool { return f.Name == p.File }) {
			continue
		}
		file, err := s.result(ctx, j.ID, p.File)
		if err != nil {
			return info, nil, err
		}
		pictures = append(pictures, drawn{p, file})
	}
	return info, pictures, nil
}

// result reads a result.
func (s *Server) result(ctx context.Context, id, name string) ([]byte, error) {
	r, err := s.options.Queue.Result(ctx, id, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// forget removes a job that was answered, so that requests do not fill the disk; what is to be saved stays for who does that.
func (s *Server) forget(ctx context.Context, j jobs.Job, saved bool) {
	if j.ID == "" || saved {
		return
	}
	if err := s.options.Queue.Remove(context.WithoutCancel(ctx), j.ID); err != nil {
		s.log.Warn("a job that was answered cannot be removed", "id", j.ID, "error", err)
	}
}

// generated is the answer with pictures.
func (s *Server) generated(o *order, g *generation, parameters any, result work.Info, pictures []drawn, began time.Time) (*generated, error) {
	answer := &generated{Images: []string{}, Parameters: parameters}
	var sheets []drawn
	switch {
	case o.plot != nil:
		sheets, pictures = o.split(pictures)
	case o.save && (len(pictures) > 1 || o.grid.single && len(pictures) > 0) && (o.grid.answer || o.grid.save):
		sheet, err := s.sheet(o, pictures)
		if err != nil {
			return nil, err
		}
		if o.grid.answer && sheet != nil {
			sheets = []drawn{{work.Drawn{Infotext: pictures[0].Infotext}, sheet}}
		}
	}
	first := len(sheets)
	var files [][]byte
	var texts []string
	for _, p := range slices.Concat(sheets, pictures) {
		files, texts = append(files, p.file), append(texts, p.Infotext)
	}
	if o.plot != nil && !o.plot.cells && first > 0 {
		files = files[:first]
	}
	if g.SendImages {
		for i, file := range files {
			group := [][]byte{file}
			if i >= first { // a grid has no mask
				more, err := o.besides(file)
				if err != nil {
					return nil, err
				}
				group = append(group, more...)
			}
			for _, one := range group {
				text, err := o.encode(one)
				if err != nil {
					return nil, err
				}
				answer.Images = append(answer.Images, text)
			}
		}
	}
	info, err := json.Marshal(o.info(result, pictures, texts, first, began))
	answer.Info = string(info)
	return answer, err
}

// encode is a picture as it is answered.
func (o *order) encode(file []byte) (string, error) {
	if o.plain {
		img, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			return "", fmt.Errorf("sdapi: a result is no PNG: %w", err)
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return "", err
		}
		file = b.Bytes()
	}
	file, err := formatOf(o.format).convert(file, cmp.Or(o.quality, 80))
	return base64.StdEncoding.EncodeToString(file), err
}

// maxSheet is the most pixels of a grid; of more pictures than have room in it there is none.
const maxSheet = 1 << 28

// sheet lays pictures out in a grid with the text of the first, and saves it if it is to be saved. Of too many pixels there is none.
func (s *Server) sheet(o *order, pictures []drawn) ([]byte, error) {
	columns, lines := canvas.GridSize(len(pictures), o.r.BatchSize, o.grid.rows, o.grid.whole)
	var cell image.Point
	for _, p := range pictures {
		cell = image.Pt(max(cell.X, p.Width), max(cell.Y, p.Height))
	}
	size := image.Pt(columns*cell.X, lines*cell.Y)
	if size.X*size.Y > maxSheet {
		o.note("there is no grid: it would have %d×%d pixels", size.X, size.Y)
		return nil, nil
	}
	sheet := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(sheet, sheet.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	for i, p := range pictures {
		img, err := png.Decode(bytes.NewReader(p.file))
		if err != nil {
			return nil, fmt.Errorf("sdapi: a result is no PNG: %w", err)
		}
		at := image.Pt(i%columns*cell.X, i/columns*cell.Y).Add(cell.Sub(img.Bounds().Size()).Div(2))
		draw.Draw(sheet, img.Bounds().Sub(img.Bounds().Min).Add(at), img, img.Bounds().Min, draw.Src)
	}
	whole := sd.Picture{Image: sheet, Seed: pictures[0].Seed, Infotext: pictures[0].Infotext}
	if o.grid.save {
		kind := map[string]string{library.Txt2Img: library.Txt2ImgGrid, library.Img2Img: library.Img2ImgGrid}[o.kind]
		if _, err := s.options.Library.SavePicture(kind, whole); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	err := whole.Encode(&b)
	return b.Bytes(), err
}

// information is what the member info says, as JSON in a text.
type information struct {
	Prompt           string         `json:"prompt"`
	Prompts          []string       `json:"all_prompts"`
	NegativePrompt   string         `json:"negative_prompt"`
	NegativePrompts  []string       `json:"all_negative_prompts"`
	Seed             int64          `json:"seed"`
	Seeds            []int64        `json:"all_seeds"`
	Subseed          int64          `json:"subseed"`
	Subseeds         []int64        `json:"all_subseeds"`
	SubseedStrength  float64        `json:"subseed_strength"`
	Width            int            `json:"width"`
	Height           int            `json:"height"`
	Sampler          string         `json:"sampler_name"`
	Guidance         float64        `json:"cfg_scale"`
	Steps            int            `json:"steps"`
	BatchSize        int            `json:"batch_size"`
	RestoreFaces     bool           `json:"restore_faces"`
	RestorationModel *string        `json:"face_restoration_model"`
	Model            string         `json:"sd_model_name"`
	ModelHash        string         `json:"sd_model_hash"`
	VAE              *string        `json:"sd_vae_name"`
	VAEHash          *string        `json:"sd_vae_hash"`
	ResizeFromW      int            `json:"seed_resize_from_w"`
	ResizeFromH      int            `json:"seed_resize_from_h"`
	Strength         *float64       `json:"denoising_strength"`
	Extra            map[string]any `json:"extra_generation_params"`
	First            int            `json:"index_of_first_image"`
	Infotexts        []string       `json:"infotexts"`
	Styles           []string       `json:"styles"`
	Timestamp        string         `json:"job_timestamp"`
	ClipSkip         int            `json:"clip_skip"`
	Inpainting       bool           `json:"is_using_inpainting_conditioning"`
	Version          string         `json:"version"`
	Notes            []string       `json:"notes,omitempty"` // what of the request was left; the web UI has no such member
}

// fixedKeys are those of infotexts that info has members for.
var fixedKeys = []string{
	"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from",
	"Denoising strength", "Clip skip", "Version",
}

// info is what is said of the pictures.
func (o *order) info(result work.Info, pictures []drawn, texts []string, first int, began time.Time) information {
	r := result.Request
	if len(pictures) == 0 {
		r = o.r
	}
	i := information{
		Prompt: r.Prompt, NegativePrompt: r.NegativePrompt, Prompts: []string{}, NegativePrompts: []string{}, Seed: o.r.Seed, Seeds: []int64{},
		Subseed: o.r.Variation.Seed, Subseeds: []int64{}, SubseedStrength: r.Variation.Strength, Width: r.Width, Height: r.Height, Sampler: string(r.Sampler),
		Steps: r.Steps, BatchSize: o.r.BatchSize, ResizeFromW: r.ResizeFrom.Width, ResizeFromH: r.ResizeFrom.Height, Strength: r.Strength,
		Guidance: given(r.Guidance), Extra: make(map[string]any), First: first, Infotexts: append([]string{}, texts...), Styles: append([]string{}, o.styles...),
		Timestamp: timestamp(began), ClipSkip: max(r.ClipSkip, 1), Notes: o.notes,
	}
	if r.Hires != nil {
		i.Strength = r.Hires.Strength
	}
	for n, p := range pictures {
		positive, negative := r.Prompt, r.NegativePrompt
		if o.plot != nil {
			t := infotext.Parse(p.Infotext)
			positive, negative = t.Prompt, t.Negative
		}
		i.Prompts, i.NegativePrompts = append(i.Prompts, positive), append(i.NegativePrompts, negative)
		i.Seeds = append(i.Seeds, p.Seed)
		subseed := p.Subseed
		if r.Variation.Strength == 0 {
			subseed = o.r.Variation.Seed + int64(n)
		}
		i.Subseeds = append(i.Subseeds, subseed)
	}
	if len(texts) > 0 {
		i.describe(infotext.Parse(texts[0]))
	}
	return i
}

// describe takes what the text of a picture says.
func (i *information) describe(t infotext.Text) {
	for _, f := range t.Fields {
		value := f.Value
		switch f.Key {
		case "Model":
			i.Model = value
		case "Model hash":
			i.ModelHash = value
		case "VAE":
			i.VAE = &value
		case "VAE hash":
			i.VAEHash = &value
		case "Version":
			i.Version = value
		case "Conditional mask weight":
			i.Inpainting = true
		}
		if !slices.Contains(fixedKeys, f.Key) {
			i.Extra[f.Key] = value
		}
	}
}

// timestamp is a time as the web UI writes it.
func timestamp(t time.Time) string { return t.Format("20060102150405") }

// rawJSON is a value as JSON.
func rawJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}
