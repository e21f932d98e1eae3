package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Put stores a file in the queue, such as a photo that a job needs, in place of one of that name. Half a file never takes the name.
func (q *Queue) Put(ctx context.Context, name string, r io.Reader) (size int64, err error) {
	q.mirror.touch(name)
	asking, stop := q.connected(ctx)
	defer stop()
	info, err := q.files.Put(asking, jetstream.ObjectMeta{Name: name}, r)
	if err != nil {
		return 0, fmt.Errorf("jobs: storing %s: %w", name, q.told(ctx, err))
	}
	return int64(info.Size), nil
}

// Has reports whether a file is in the queue. One that is stays for an hour at least, so that there is time to submit the job that needs it.
func (q *Queue) Has(ctx context.Context, name string) (bool, error) {
	q.mirror.touch(name)
	asking, stop := q.connected(ctx)
	defer stop()
	_, err := q.files.GetInfo(asking, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("jobs: looking for %s: %w", name, q.told(ctx, err))
	}
	return true, nil
}

// silence is how long the server may say nothing while somebody waits for more of a file.
const silence = 10 * time.Second

// slowly is a context for a file that may be long in coming and going: NATS takes its deadline as that of each read, and gives all reads
// together five seconds where there is none.
type slowly struct{ context.Context }

// Deadline implements context.Context.
func (slowly) Deadline() (time.Time, bool) { return time.Now().Add(silence), true }

// Get opens a file of the queue. One that is not there is fs.ErrNotExist. What was damaged on its way is an error at its end.
func (q *Queue) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	reading, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(silence, cancel)
	file, err := q.files.Get(slowly{reading}, name)
	heard := late.Stop()
	switch {
	case err == nil:
		return &stored{file, q, ctx, cancel}, nil
	case errors.Is(err, jetstream.ErrObjectNotFound):
		err = fs.ErrNotExist
	case !heard && ctx.Err() == nil:
		err = q.told(ctx, nats.ErrTimeout)
	default:
		err = q.told(ctx, err)
	}
	cancel()
	return nil, fmt.Errorf("jobs: reading %s: %w", name, err)
}

// stored is a file that is being read.
type stored struct {
	jetstream.ObjectResult
	queue  *Queue
	ctx    context.Context
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (s *stored) Read(b []byte) (n int, err error) {
	n, err = s.ObjectResult.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("jobs: %w", s.queue.told(s.ctx, err))
	}
	return n, err
}

// Close implements io.Closer.
func (s *stored) Close() error {
	defer s.cancel()
	return s.ObjectResult.Close()
}

// Result opens a file of a job's.
func (q *Queue) Result(ctx context.Context, id, name string) (io.ReadCloser, error) {
	return q.Get(ctx, resultName(id, name))
}

// The names of a job's files among those of the queue: results, and what its next worker goes on from.
const jobFiles = "job/"

func resultName(id, name string) string { return jobFiles + id + "/result/" + name }
func keptName(id, name string) string   { return jobFiles + id + "/kept/" + name }

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

// drop deletes what a job that was removed has needed, but for what others need, or were about to since it was submitted.
func (q *Queue) drop(ctx context.Context, j Job) error {
	needed := q.mirror.needed()
	for _, name := range j.Inputs {
		if needed[name] || q.mirror.touched(name).After(j.Created) {
			continue
		}
		if err := q.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes a file that was stored with Put, if it is there.
func (q *Queue) Delete(ctx context.Context, name string) error {
	asking, stop := q.connected(ctx)
	defer stop()
	if err := q.files.Delete(asking, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("jobs: deleting %s: %w", name, q.told(ctx, err))
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
