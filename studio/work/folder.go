package work

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/studio/jobs"
)

// keptFolder is a folder that the next worker of a job finds as it was when it was last kept. Files are kept under names that follow from
// what they hold, and a list of them is replaced when all of them are there, so that whoever is killed between leaves the folder as it was.
type keptFolder struct {
	task *jobs.Task
	dir  string
	last time.Time // when it was last kept
	kept map[string]keptFile
}

// keptFile is a file of the folder, by its path below it.
type keptFile struct {
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
	modified time.Time
}

// folderList has the list of files.
const folderList = "folder.json"

// name is the one under which a file's content is kept.
func (f keptFile) name() string { return "file/" + f.SHA256[:32] }

// openKeptFolder makes the folder of a job as a worker before kept it.
func openKeptFolder(ctx context.Context, t *jobs.Task, dir string) (*keptFolder, error) {
	k := &keptFolder{task: t, dir: dir, last: time.Now(), kept: make(map[string]keptFile)}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("work: %w", err)
	}
	err := readKept(ctx, t, folderList, &k.kept)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("work: the list of what was kept: %w", err)
	}
	for path, f := range k.kept {
		if k.kept[path], err = k.fetch(ctx, path, f); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// fetch brings a file back to where it was.
func (k *keptFolder) fetch(ctx context.Context, below string, f keptFile) (keptFile, error) {
	if !filepath.IsLocal(filepath.FromSlash(below)) || len(f.SHA256) != 2*sha256.Size {
		return f, fmt.Errorf("work: the list of what was kept has a file %.100q", below)
	}
	path := filepath.Join(k.dir, filepath.FromSlash(below))
	err := patiently(ctx, func() error {
		r, err := k.task.Kept(ctx, f.name())
		if err != nil {
			return err
		}
		defer r.Close()
		return writeFile(path, r, f.Size)
	})
	if err != nil {
		return f, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return f, fmt.Errorf("work: %w", err)
	}
	f.modified = info.ModTime()
	return f, nil
}

// due reports whether it is so long that the folder was kept that it should be again.
func (k *keptFolder) due() bool { return time.Since(k.last) > time.Minute }

// keep keeps the folder as it is: what is new or has changed since it was last kept.
func (k *keptFolder) keep(ctx context.Context) error {
	now, err := k.look()
	if err != nil {
		return fmt.Errorf("work: keeping what the job has so far: %w", err)
	}
	had, has := contents(k.kept), contents(now)
	for name, path := range has {
		if had[name] == "" {
			if err := k.send(ctx, name, path); err != nil {
				return err
			}
		}
	}
	if err := keepJSON(ctx, k.task, folderList, now); err != nil {
		return err
	}
	for name := range had {
		if has[name] == "" {
			if err := patiently(ctx, func() error { return k.task.Forget(ctx, name) }); err != nil {
				return err
			}
		}
	}
	k.kept, k.last = now, time.Now()
	return nil
}

// contents are the names under which files are kept, each with the path of one.
func contents(files map[string]keptFile) map[string]string {
	names := make(map[string]string)
	for path, f := range files {
		names[f.name()] = path
	}
	return names
}

// send keeps the content of a file.
func (k *keptFolder) send(ctx context.Context, name, below string) error {
	return sendFile(ctx, filepath.Join(k.dir, filepath.FromSlash(below)), func(r io.Reader) error { return k.task.Keep(ctx, name, r) })
}

// look lists the files of the folder, but for those that are being written or stand for somebody who writes.
func (k *keptFolder) look() (map[string]keptFile, error) {
	files := make(map[string]keptFile)
	err := filepath.WalkDir(k.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && path != k.dir
		switch {
		case hidden && e.IsDir():
			return fs.SkipDir
		case hidden || !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".lock"):
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(k.dir, path)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		f := keptFile{Size: info.Size(), modified: info.ModTime()}
		if was := k.kept[below]; was.Size == f.Size && was.modified.Equal(f.modified) {
			f.SHA256 = was.SHA256
		} else if f.SHA256, err = openfile.SHA256(path); err != nil {
			return err
		}
		files[below] = f
		return nil
	})
	return files, err
}
