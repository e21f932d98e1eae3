package library

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is a file of a model.
type File struct {
	Name    string // that people call it by: the file's, without extension
	Path    string
	Place   string // its path below the folder that was searched, with slashes
	Preview string // path of a picture beside it that shows what it does; "" if there is none
}

// maxFiles bounds how many files are taken of one sort, so that a folder given by mistake, such as a whole disk, ends.
const maxFiles = 20000

// scan lists the files below folders of which take says that they are of a sort, by their places. Links are followed, but to no folder
// twice. It also reports what could not be looked at.
func scan(dirs []string, take func(path, name string, folder bool) bool) (files []File, errs []error) {
	seen := make(map[string]bool)
	var look func(dir, place string)
	look = func(dir, place string) {
		where, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[where] {
			return
		}
		seen[where] = true
		entries, err := os.ReadDir(dir)
		if err != nil {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || len(files) >= maxFiles {
				continue
			}
			path, below := filepath.Join(dir, e.Name()), place+e.Name()
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a link to nowhere
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if taken := take(path, e.Name(), info.IsDir()); taken {
				files = append(files, File{Name: nameOf(below, info.IsDir()), Path: path, Place: below, Preview: previewOf(path)})
			} else if info.IsDir() {
				look(path, below+"/")
			}
		}
	}
	for _, dir := range dirs {
		look(dir, "")
	}
	if len(files) >= maxFiles {
		errs = append(errs, fmt.Errorf("in %q are more than %d files; what is beyond is left out", dirs, maxFiles))
	}
	slices.SortStableFunc(files, func(a, b File) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Place), strings.ToLower(b.Place)), strings.Compare(a.Path, b.Path))
	})
	return files, errs
}

// nameOf is a file's name without extension, or a folder's.
func nameOf(place string, folder bool) string {
	if base := path.Base(place); folder {
		return base
	}
	return strings.TrimSuffix(path.Base(place), path.Ext(place))
}

// previewOf is the picture beside a file, as the web UI looks for it.
func previewOf(path string) string {
	stem := strings.TrimSuffix(path, filepath.Ext(path))
	for _, ending := range []string{".png", ".jpg", ".jpeg", ".webp", ".gif"} {
		for _, between := range []string{".preview", ""} {
			if info, err := os.Stat(stem + between + ending); err == nil && info.Mode().IsRegular() {
				return stem + between + ending
			}
		}
	}
	return ""
}

// hasExtension reports whether a name ends in one of some, whatever their case.
func hasExtension(name string, of ...string) bool {
	return slices.Contains(of, strings.ToLower(path.Ext(name)))
}

func isCheckpoint(path, name string, folder bool) bool {
	if folder {
		info, err := os.Stat(filepath.Join(path, "model_index.json"))
		return err == nil && info.Mode().IsRegular()
	}
	return hasExtension(name, ".safetensors", ".ckpt") && !strings.Contains(name, ".vae.")
}

func isLoRA(_, name string, folder bool) bool {
	return !folder && hasExtension(name, ".safetensors", ".ckpt", ".pt")
}

func isWeights(_, name string, folder bool) bool {
	return !folder && hasExtension(name, ".safetensors", ".ckpt", ".pt", ".pth", ".bin")
}

func isEmbedding(_, name string, folder bool) bool {
	return !folder && hasExtension(name, ".safetensors", ".pt", ".bin")
}

func isUpscaler(_, name string, folder bool) bool {
	return !folder && hasExtension(name, ".safetensors", ".pth", ".pt")
}
