package weights

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// FindCheckpoint finds the checkpoint called name, for [Open], by the web UI's rules: the path of one, or a file or a folder of
// diffusers below one of dirs or beside another checkpoint, whose path is beside if it is not "". What has the name, with or without
// extension, goes before the shortest path below a folder that has it anywhere. A hash in brackets behind the name, as infotexts have it, is
// left out. An unknown name is a *NoCheckpointError.
func FindCheckpoint(name, beside string, dirs ...string) (path string, err error) {
	name = checksum.ReplaceAllString(name, "")
	if info, err := os.Stat(name); err == nil && (isPipeline(name) || !info.IsDir() && isWeights(name)) {
		return name, nil
	}
	files, err := checkpoints(beside, dirs)
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if base := filepath.Base(file.path); base == name || withoutExtension(base) == name || file.title == name {
			return file.path, nil
		}
	}
	for _, file := range files {
		if strings.Contains(file.title, name) {
			return file.path, nil
		}
	}
	e := &NoCheckpointError{Name: name, Dirs: dirs}
	for _, file := range files {
		e.Names = append(e.Names, file.title)
	}
	slices.Sort(e.Names)
	return "", e
}

// checksum is a hash behind a name.
var checksum = regexp.MustCompile(` *\[[0-9a-f]+\] *$`)

// found is a checkpoint, with its path below the folder that was looked in.
type found struct{ path, title string }

// checkpoints are those below folders, and those beside another one, the shortest titles first.
func checkpoints(beside string, dirs []string) (all []found, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && !isPipeline(path) || !entry.IsDir() && !isWeights(path):
				return nil
			}
			title, err := filepath.Rel(dir, path)
			if all = append(all, found{path, filepath.ToSlash(title)}); entry.IsDir() {
				return fs.SkipDir
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("weights: %w", err)
		}
	}
	if beside != "" {
		entries, _ := os.ReadDir(filepath.Dir(beside)) // the other checkpoint itself says what is wrong
		for _, entry := range entries {
			path := filepath.Join(filepath.Dir(beside), entry.Name())
			if isPipeline(path) || !entry.IsDir() && isWeights(path) && !strings.Contains(entry.Name(), ".vae.") {
				all = append(all, found{path, entry.Name()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(len(a.title), len(b.title)), strings.Compare(a.title, b.title))
	})
	return all, nil
}

// isPipeline tells whether a path is that of a folder of diffusers with a whole model.
func isPipeline(path string) bool {
	_, err := os.Stat(filepath.Join(path, "model_index.json"))
	return err == nil
}

// NoCheckpointError says that there is no checkpoint of a name.
type NoCheckpointError struct {
	Name  string
	Dirs  []string
	Names []string // that there are
}

// Error names what there is, or says where to put files.
func (e *NoCheckpointError) Error() string {
	if len(e.Names) == 0 {
		return fmt.Sprintf("weights: no checkpoint called %.100q in %q; put its file there, or give its path", e.Name, e.Dirs)
	}
	return fmt.Sprintf("weights: no checkpoint called %.100q in %q; there are %.1000q", e.Name, e.Dirs, e.Names)
}
