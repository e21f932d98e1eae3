package sdapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

func (s *Server) extraSingle(r request[extrasSingle]) (*enlargedOne, error) {
	if r.body.Image == "" {
		return nil, faulty([]Fault{fault("image", "value_error.missing", "field required: a picture in base64")})
	}
	files, err := s.enlarge(r.Context(), r.body.extras, []namedImage{{Data: r.body.Image, Name: "image"}}, "image")
	if err != nil {
		return nil, err
	}
	answer := new(enlargedOne)
	if len(files) > 0 && r.body.ShowResults {
		answer.Image, err = s.answered(files[0])
	}
	return answer, err
}

func (s *Server) extraBatch(r request[extrasBatch]) (*enlargedMany, error) {
	answer := &enlargedMany{Images: []string{}}
	if len(r.body.Images) == 0 {
		return answer, nil
	}
	files, err := s.enlarge(r.Context(), r.body.extras, r.body.Images, "imageList")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := s.answered(file)
		if err != nil {
			return nil, err
		}
		answer.Images = append(answer.Images, text)
	}
	return answer, nil
}

// answered is a picture in the format of the settings.
func (s *Server) answered(file []byte) (string, error) {
	settings := s.options.Library.Settings()
	o := &order{format: settings.Text("samples_format"), quality: int(settings.Number("jpeg_quality")), plain: !settings.Bool("enable_pnginfo")}
	return o.encode(file)
}

// enlarge is a job that enlarges pictures, from its beginning to its end. field is where the pictures came in.
func (s *Server) enlarge(ctx context.Context, e extras, pictures []namedImage, field string) (files [][]byte, err error) {
	u, err := s.upscale(e)
	if err != nil {
		return nil, err
	}
	pixels, single := 0, field == "image"
	var sent [][]byte
	for i, p := range pictures {
		at := field
		if !single {
			at = fmt.Sprintf("imageList[%d].data", i)
		}
		file, img, err := readImage(ctx, at, p.Data)
		if err != nil {
			return nil, err
		}
		if pixels += enlarged(e, img.Rect.Dx(), img.Rect.Dy()); pixels > maxPixels {
			return nil, faulty([]Fault{fault(field, "value_error", "the pictures become too large for one request, which may have %d million pixels", maxPixels>>20)})
		}
		sent = append(sent, file)
	}
	u.Pictures, err = s.store(ctx, sent)
	defer s.unstore(ctx, u.Pictures)
	if err != nil {
		return nil, err
	}
	t, err := s.tasks.begin("", 1, len(pictures), 1)
	if err != nil {
		return nil, err
	}
	defer s.tasks.end(t)
	job, err := s.do(ctx, t, 0, u, "Extras")
	if err != nil {
		return nil, err
	}
	defer s.forget(ctx, job, false)
	for i := range u.Pictures {
		name := fmt.Sprintf("%d.png", i)
		if !slices.ContainsFunc(job.Files, func(f jobs.File) bool { return f.Name == name }) {
			break
		}
		file, err := s.result(ctx, job.ID, name)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// enlarged is how many pixels a picture comes to.
func enlarged(e extras, width, height int) int {
	w, h := float64(width)*e.Factor, float64(height)*e.Factor
	if e.ResizeMode == 1 {
		by := max(float64(e.Width)/float64(width), float64(e.Height)/float64(height))
		w, h = float64(width)*by, float64(height)*by
	}
	return int(min(w*h, 1<<40))
}

// upscale is what a job is asked for, but for the pictures.
func (s *Server) upscale(e extras) (u work.Upscale, err error) {
	var faults []Fault
	refuse := func(field, msg string, args ...any) {
		faults = append(faults, fault(field, "value_error", msg, args...))
	}
	if e.GFPGANVisibility > 0 {
		refuse("gfpgan_visibility", "there is no GFPGAN here")
	}
	if e.CodeFormerVisibility > 0 {
		refuse("codeformer_visibility", "there is no CodeFormer here")
	}
	switch {
	case e.ResizeMode == 1 && (e.Width < 1 || e.Height < 1 || e.Width > 16384 || e.Height > 16384):
		refuse("upscaling_resize_w", "sides are 1 to 16384 pixels")
	case e.ResizeMode == 0 && (e.Factor <= 0 || e.Factor > 8):
		refuse("upscaling_resize", "a factor above 0, up to 8")
	}
	if err := faulty(faults); err != nil {
		return u, err
	}
	for _, name := range []*string{&e.Upscaler1, &e.Upscaler2} {
		if *name = strings.TrimSpace(*name); *name == "" {
			*name = sd.NoUpscaler
		}
		if !slices.Contains(builtIn(false), *name) {
			if err := among("upscaler", *name, s.options.Library.Upscalers(), builtIn(false)...); err != nil {
				return u, err
			}
		}
	}
	u = work.Upscale{Upscaler: e.Upscaler1, Second: e.Upscaler2, Visibility: e.Visibility2, Scale: e.Factor}
	u.Tile, u.Overlap = s.tiles()
	if e.ResizeMode == 1 {
		u.Scale, u.Width, u.Height, u.Crop = 0, e.Width, e.Height, e.Crop
	}
	return u, nil
}

// tiles are the side of the tiles in which pictures are enlarged, and what two of them share, as the settings have them: zeros where these are as
// they always are, and where there should be no tiles, which would take more memory than there is.
func (s *Server) tiles() (side, overlap int) {
	settings := s.options.Library.Settings()
	if slices.Equal([]any{settings.Get("ESRGAN_tile"), settings.Get("ESRGAN_tile_overlap")}, []any{192, 8}) || settings.Number("ESRGAN_tile") <= 0 {
		return 0, 0
	}
	side = int(min(max(settings.Number("ESRGAN_tile"), work.MinTile), work.MaxTile))
	return side, int(min(max(settings.Number("ESRGAN_tile_overlap"), 1), float64(side/2-1)))
}

// unable is the answer to what is not done here.
func unable(what, instead string) func(*http.Request) (any, error) {
	return func(*http.Request) (any, error) {
		return nil, &Error{Status: http.StatusNotImplemented, Kind: "NotImplementedError", Detail: what + " is not done here: " + instead}
	}
}
