package library

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/filename"
	"github.com/atelier-go/atelier/sd/infotext"
)

// The kinds of outputs.
const (
	Txt2Img     = "txt2img"
	Img2Img     = "img2img"
	Extras      = "extras"
	Portraits   = "portraits" // finished portraits, which the web UI does not have
	Txt2ImgGrid = "txt2img-grid"
	Img2ImgGrid = "img2img-grid"
)

// outputFolders are where they go, below the folder of outputs.
var outputFolders = map[string]string{
	Txt2Img: "txt2img-images", Img2Img: "img2img-images", Extras: "extras-images", Portraits: "portraits", Txt2ImgGrid: "txt2img-grids", Img2ImgGrid: "img2img-grids",
}

// SavePicture saves a picture among the outputs, in the web UI's folder of its kind and under a name as the settings have it. Whoever else
// saves there at the same time, nobody's picture is overwritten.
func (l *Library) SavePicture(kind string, p sd.Picture) (path string, err error) {
	file, ext, err := l.encode(kind, p)
	if err != nil {
		return "", err
	}
	v := valuesOf(kind, p)
	for {
		if path, err = l.nextPath(kind, ext, v); err != nil {
			return "", err
		}
		switch err := create(path, file); {
		case errors.Is(err, fs.ErrExist): // somebody was quicker
		case err != nil:
			return "", fmt.Errorf("library: saving a picture: %w", err)
		default:
			return path, nil
		}
	}
}

// encode is a picture as the settings have the files of its kind.
func (l *Library) encode(kind string, p sd.Picture) (file []byte, ext string, err error) {
	var b bytes.Buffer
	if !l.settings.Bool("enable_pnginfo") {
		p.Infotext = ""
	}
	format := "samples_format"
	if isGrid(kind) {
		format = "grid_format"
	}
	if ext = l.settings.Text(format); ext == "jpg" || ext == "jpeg" {
		err = p.EncodeJPEG(&b)
	} else {
		ext, err = "png", p.Encode(&b)
	}
	return b.Bytes(), ext, err
}

func isGrid(kind string) bool { return kind == Txt2ImgGrid || kind == Img2ImgGrid }

// create writes a file that was not there; the error is fs.ErrExist if it was. An empty file holds the name until the whole one takes its
// place.
func create(path string, file []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), atomicfile.WriteFile(path, file)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// nextPath is where the next file of a kind goes, in a folder that is made.
func (l *Library) nextPath(kind, ext string, v *filename.Values) (string, error) {
	folder, ok := outputFolders[kind]
	if !ok {
		return "", fmt.Errorf("library: %w", invalid.Field("kind", kind, "one of %s", strings.Join(slices.Sorted(maps.Keys(outputFolders)), ", ")))
	}
	if l.places.outputs == "" {
		return "", errors.New("library: there is no folder for outputs; give Options.DataDir or Options.OutputDir")
	}
	s := l.settings
	naming := filename.Naming{
		Pattern: s.Text("samples_filename_pattern"), FolderPattern: s.Text("directories_filename_pattern"), NoFolders: !s.Bool("save_to_dirs"),
		NoGridFolders: !s.Bool("grid_save_to_dirs"), NoNumber: !s.Bool("save_images_add_number"),
	}
	file := filename.File{Grid: isGrid(kind), Short: isGrid(kind) && v.Base != xyzBase && !s.Bool("grid_extended_filename"), Ext: ext}
	path, err := naming.Path(filepath.Join(l.places.outputs, folder), v, file)
	if err != nil {
		return "", fmt.Errorf("library: %w", err)
	}
	if naming.NoNumber {
		path = free(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", fmt.Errorf("library: saving a picture: %w", err)
	}
	return path, nil
}

// free is a path that nothing has: the given one, or one with a number behind its name.
func free(path string) string {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(path, ext)
	for n := 2; ; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = fmt.Sprintf("%s-%d%s", name, n, ext)
	}
}

// xyzBase is what the names of grids begin with that compare settings; they have a seed behind the number, as all pictures.
const xyzBase = "xyz_grid"

// valuesOf are what a picture's name is made of, as its text says.
func valuesOf(kind string, p sd.Picture) *filename.Values {
	t := infotext.Parse(p.Infotext)
	get := func(key string) string { value, _ := t.Get(key); return value }
	whole := func(key string) int { n, _ := strconv.Atoi(get(key)); return n }
	v := &filename.Values{
		Prompt: t.Prompt, Negative: t.Negative, Steps: whole("Steps"), ClipSkip: max(whole("Clip skip"), 1), Sampler: get("Sampler"), Schedule: get("Schedule type"),
		Model: get("Model"), ModelHash: get("Model hash"), VAE: get("VAE"), Image: p.Image, BatchSize: 1, Batches: 1, Time: time.Now(), Started: time.Now(),
	}
	v.Guidance, _ = strconv.ParseFloat(get("CFG scale"), 64)
	v.Denoising, _ = strconv.ParseFloat(get("Denoising strength"), 64)
	if kind != Extras && get("Seed") != "" { // extras have a number alone
		v.Seed, v.Seeds = &p.Seed, []int64{p.Seed}
	}
	if isGrid(kind) {
		v.Base = "grid"
		if get("Script") == "X/Y/Z plot" {
			v.Base = xyzBase
		}
	}
	return v
}
