package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Put stores a file in the queue, such as a photo that a job needs, in place of one of that name. Half a file never takes the name.
func (q *Queue) Put(ctx context.Context, name string, r io.Reader) (size int64, err error) {
	info, err := q.files.Put(ctx, jetstream.ObjectMeta{Name: name}, r)
	if err != nil {
		return 0, fmt.Errorf("jobs: storing %s: %w", name, err)
	}
	return int64(info.Size), nil
}

// Get opens a file of the queue. One that is not there is fs.ErrNotExist. What was damaged on its way is an error at its end.
func (q *Queue) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	file, err := q.files.Get(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("jobs: %s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("jobs: reading %s: %w", name, err)
	}
	return file, nil
}

// Result opens a file of a job's.
func (q *Queue) Result(ctx context.Context, id, name string) (io.ReadCloser, error) {
	return q.Get(ctx, resultName(id, name))
}

// The names of a job's files among those of the queue: results, and what its next worker goes on from.
func resultName(id, name string) string { return "job/" + id + "/result/" + name }
func keptName(id, name string) string   { return "job/" + id + "/kept/" + name }

// discard deletes all files of a job.
func (q *Queue) discard(ctx context.Context, j Job) error {
	for _, f := range j.Files {
		if err := q.Delete(ctx, resultName(j.ID, f.Name)); err != nil {
			return err
		}
	}
	for _, name := range j.Kept {
		if err := q.Delete(ctx, keptName(j.ID, name)); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes a file that was stored with Put, if it is there.
func (q *Queue) Delete(ctx context.Context, name string) error {
	if err := q.files.Delete(ctx, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("jobs: deleting %s: %w", name, err)
	}
	return nil
}

// add notes that a file of a name is there.
func (j *Job) add(f File) {
	if at := slices.IndexFunc(j.Files, func(have File) bool { return have.Name == f.Name }); at >= 0 {
		j.Files[at] = f
		return
	}
	j.Files = append(j.Files, f)
}
