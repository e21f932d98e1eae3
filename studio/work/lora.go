package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/studio/jobs"
)

// addLoRAs makes LoRAs of the queue's store known to the open checkpoint's prompts, until remove is called.
func (m *Machine) addLoRAs(ctx context.Context, t *jobs.Task, o *opened, names []string) (remove func(), err error) {
	var added []string
	remove = func() {
		for _, name := range added {
			o.pipe.RemoveAdapter(name)
		}
	}
	for _, name := range names {
		a, err := m.fetchLoRA(ctx, t, o, name)
		if err == nil {
			called := strings.TrimSuffix(path.Base(name), path.Ext(name))
			if err = o.pipe.AddAdapter(called, a); err == nil {
				added = append(added, called)
			}
		}
		if err != nil {
			remove()
			return nil, err
		}
	}
	return remove, nil
}

// fetchLoRA reads a LoRA of the queue's store.
func (m *Machine) fetchLoRA(ctx context.Context, t *jobs.Task, o *opened, name string) (_ *lora.Adapter, err error) {
	dir, removeDir, err := m.folder(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removeDir()) }()
	file := filepath.Join(dir, path.Base(name))
	if err := fetch(ctx, t, name, file, maxModel); err != nil {
		return nil, err
	}
	return lora.Open(file, o.targets)
}

// fetch writes a file of the queue's store to the disk.
func fetch(ctx context.Context, t *jobs.Task, name, file string, most int64) error {
	return patiently(ctx, func() error {
		r, err := t.Input(ctx, name)
		if err != nil {
			return err
		}
		defer r.Close()
		return writeFile(file, r, most)
	})
}

// writeFile writes a file of at most so many bytes, in a folder that is made.
func writeFile(path string, r io.Reader, most int64) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("work: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(r, most+1))
	if n > most {
		err = fmt.Errorf("work: %s has more than %d MB", filepath.Base(path), most>>20)
	}
	return errors.Join(err, f.Close())
}
