package jobs

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// Task is a job in the hands of a handler. Its methods may be called from several goroutines.
type Task struct {
	Job   Job // as it was taken
	queue *Queue

	mu       sync.Mutex
	progress Progress
	wish     Wish
	skipped  bool          // the wish to skip was granted, and no record without it was heard of since
	news     chan struct{} // holds one: there is something for the record
}

// owns reports whether a record says that the task is still its worker's.
func (t *Task) owns(j *Job) bool {
	return j.State == Running && j.Worker == t.Job.Worker && j.Attempt == t.Job.Attempt
}

// Report says how far the job is. It does not wait: what is reported too quickly is left out of the record.
func (t *Task) Report(p Progress) {
	t.mu.Lock()
	t.progress = p
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// Preview shows what the job looks like, as a picture's file of up to 1 MB, to those who look now.
func (t *Task) Preview(picture []byte) {
	if !t.queue.conn.IsConnected() {
		return // nobody looks now, and later it is past
	}
	if err := t.queue.conn.Publish(previewTopic+t.Job.ID, picture); err != nil {
		t.queue.options.Logger.Debug("a preview cannot be shown", "id", t.Job.ID, "error", err)
	}
}

// Wish is what people want of the job now: Skip and Finish are for the handler to grant between pictures, the others end its
// context too.
func (t *Task) Wish() Wish {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wish
}

// Skipped reports whether the picture at hand is to be left, and takes the wish as granted.
func (t *Task) Skipped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wish != Skip {
		return false
	}
	t.wish, t.skipped = "", true
	return true
}

// Save stores a result under a name, which the job's record then has. A later one of the name replaces it.
func (t *Task) Save(ctx context.Context, name string, r io.Reader) error {
	size, err := t.queue.Put(ctx, resultName(t.Job.ID, name), r)
	if err != nil {
		return err
	}
	return t.note(ctx, func(j *Job) {
		j.Vain = 0
		j.add(File{name, size})
	})
}

// Keep stores what the next worker goes on from if this one ends, such as the state of a training.
func (t *Task) Keep(ctx context.Context, name string, r io.Reader) error {
	if _, err := t.queue.Put(ctx, keptName(t.Job.ID, name), r); err != nil {
		return err
	}
	return t.note(ctx, func(j *Job) {
		j.Vain = 0
		if !slices.Contains(j.Kept, name) {
			j.Kept = append(j.Kept, name)
		}
	})
}

// Kept opens what a worker before kept under a name; fs.ErrNotExist if none did.
func (t *Task) Kept(ctx context.Context, name string) (io.ReadCloser, error) {
	return t.queue.Get(ctx, keptName(t.Job.ID, name))
}

// Result opens a result that Save stored, by this worker or one before; fs.ErrNotExist if there is none.
func (t *Task) Result(ctx context.Context, name string) (io.ReadCloser, error) {
	return t.queue.Result(ctx, t.Job.ID, name)
}

// Forget removes what was kept under a name, which the next worker has no use for any more.
func (t *Task) Forget(ctx context.Context, name string) error {
	if err := t.note(ctx, func(j *Job) {
		j.Kept = slices.DeleteFunc(j.Kept, func(have string) bool { return have == name })
	}); err != nil {
		return err
	}
	return t.queue.Delete(ctx, keptName(t.Job.ID, name))
}

// Input opens a file that was stored with Queue.Put.
func (t *Task) Input(ctx context.Context, name string) (io.ReadCloser, error) {
	return t.queue.Get(ctx, name)
}

// note changes the record of a job that is still the worker's.
func (t *Task) note(ctx context.Context, edit func(*Job)) error {
	_, err := t.queue.change(ctx, t.Job.ID, func(j *Job) error {
		if !t.owns(j) {
			return ErrLost
		}
		edit(j)
		return nil
	})
	return err
}

// beat renews the record while the job runs, with what was reported, and brings what people want of it.
func (t *Task) beat(ctx context.Context, end context.CancelCauseFunc) {
	l := t.queue.mirror.look()
	defer t.queue.mirror.leave(l)
	pulse := time.NewTicker(t.queue.options.Heartbeat)
	defer pulse.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
			t.queue.mirror.take(l)
			j, ok := t.queue.Job(t.Job.ID)
			t.hear(&j, ok, end)
			continue
		case <-t.news:
			if time.Since(last) < t.queue.options.Heartbeat/8 {
				continue // the pulse brings it
			}
		case <-pulse.C:
		}
		last = time.Now()
		switch err := t.note(ctx, t.renew); {
		case err == nil:
		case errors.Is(err, ErrLost):
			end(ErrLost)
		case ctx.Err() == nil:
			t.queue.options.Logger.Warn("the job's record cannot be renewed", "id", t.Job.ID, "error", err)
		}
	}
}

// renew writes what was reported, and that a wish was granted. It may be asked again before it is written.
func (t *Task) renew(j *Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j.Progress = t.progress
	if t.skipped && j.Wish == Skip {
		j.Wish = ""
	}
}

// hear takes what the record says into the task.
func (t *Task) hear(j *Job, ok bool, end context.CancelCauseFunc) {
	if !ok || !t.owns(j) {
		end(ErrLost)
		return
	}
	t.mu.Lock()
	if j.Wish != Skip || !t.skipped { // a record of before it was granted may come yet
		t.wish, t.skipped = j.Wish, false
	}
	t.mu.Unlock()
	switch j.Wish {
	case Interrupt:
		end(ErrInterrupted)
	case Cancel:
		end(ErrCancelled)
	}
}
