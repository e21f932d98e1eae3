package jobs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// NotFoundError says that there is no job of an ID: it was removed, or never was.
type NotFoundError struct{ ID string }

// Error names the job.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("jobs: there is no job %q: it was removed, or never was", e.ID)
}

// StateError says that what was asked for cannot be done with a job as it is.
type StateError struct {
	ID    string
	State State
	Want  string // what it should be
}

// Error names the job, its state and the one that is wanted.
func (e *StateError) Error() string {
	return fmt.Sprintf("jobs: job %s is %s, want one that is %s", e.ID, e.State, e.Want)
}

// Submit adds a job at the end of those of its priority, and returns it with its ID.
func (q *Queue) Submit(ctx context.Context, j Job) (Job, error) {
	if j.Kind == "" {
		return j, errors.New("jobs: a job needs a Kind")
	}
	if j.ID == "" {
		j.ID = rand.Text()
	}
	j.State, j.Created = Pending, q.mirror.stamp()
	j.Position = q.mirror.behind()
	record, err := json.Marshal(j)
	if err != nil {
		return j, fmt.Errorf("jobs: %w", err)
	}
	asking, stop := q.connected(ctx)
	defer stop()
	revision, err := q.records.Create(asking, j.ID, record)
	if err != nil {
		return j, fmt.Errorf("jobs: adding job %s: %w", j.ID, q.told(ctx, err))
	}
	q.mirror.put(j, revision)
	q.options.Logger.Info("job added", "id", j.ID, "kind", j.Kind)
	return j, nil
}

// Ask tells a job's worker what people want of it. A job that waits is cancelled by Interrupt and Cancel, and has no use for
// others; one that ended is a *StateError. A wish stays until a stronger one replaces it.
func (q *Queue) Ask(ctx context.Context, id string, w Wish) (Job, error) {
	if w.strength() == 0 {
		return Job{}, fmt.Errorf("jobs: %q is no wish; there are skip, finish, interrupt and cancel", w)
	}
	return q.change(ctx, id, func(j *Job) error {
		switch {
		case j.State == Pending && w.strength() >= Interrupt.strength():
			j.State, j.Finished = Cancelled, time.Now().UTC()
		case j.State != Running:
			return &StateError{id, j.State, "running"}
		case w.strength() > j.Wish.strength():
			j.Wish = w
		}
		return nil
	})
}

// Move puts a job that waits in front of another of its queue; before is "" for the end.
func (q *Queue) Move(ctx context.Context, id, before string) (Job, error) {
	position, priority, err := q.gap(id, before)
	if err != nil {
		return Job{}, err
	}
	return q.change(ctx, id, func(j *Job) error {
		if j.State != Pending {
			return &StateError{id, j.State, "pending"}
		}
		j.Position = position
		if before != "" {
			j.Priority = priority
		}
		return nil
	})
}

// gap is a position in front of a job, and its priority.
func (q *Queue) gap(id, before string) (position float64, priority int, err error) {
	var last *Job
	for _, j := range q.Jobs() {
		switch {
		case j.ID == id || j.State != Pending:
			continue
		case j.ID == before && (last == nil || last.Priority != j.Priority):
			return j.Position - 1e6, j.Priority, nil
		case j.ID == before:
			return (last.Position + j.Position) / 2, j.Priority, nil
		}
		last = &j
	}
	if before != "" {
		return 0, 0, &NotFoundError{before}
	}
	return q.mirror.behind(), 0, nil
}

// Retry makes a job that failed, or was cancelled, wait again.
func (q *Queue) Retry(ctx context.Context, id string) (Job, error) {
	return q.change(ctx, id, func(j *Job) error {
		if j.State != Failed && j.State != Cancelled {
			return &StateError{id, j.State, "failed or cancelled"}
		}
		j.State, j.Attempt, j.Vain, j.Waits, j.Error, j.Refused, j.Finished = Pending, 0, 0, "", "", false, time.Time{}
		return nil
	})
}

// Again makes a job that ended wait again, with another request if it is not nil. What it left, and what its workers kept, stays, so that
// it goes on from there: one that was interrupted to its end, one that is done with what else is wanted of it.
func (q *Queue) Again(ctx context.Context, id string, request json.RawMessage) (Job, error) {
	return q.change(ctx, id, func(j *Job) error {
		if !j.State.Ended() {
			return &StateError{id, j.State, "done, failed or cancelled"}
		}
		if request != nil {
			j.Request = request
		}
		j.State, j.Attempt, j.Vain, j.Waits, j.Partial, j.Error, j.Progress, j.Finished = Pending, 0, 0, "", false, "", Progress{}, time.Time{}
		return nil
	})
}

// Remove forgets a job and its files, and those of its Inputs that no other job needs. One that runs is a *StateError: cancel it first.
func (q *Queue) Remove(ctx context.Context, id string) error {
	j, err := q.change(ctx, id, func(j *Job) error {
		if j.State == Running {
			return &StateError{id, j.State, "not running"}
		}
		if j.State == Pending {
			j.State = Cancelled // so that no worker takes it while its files go
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := q.discard(ctx, j); err != nil {
		return err
	}
	asking, stop := q.connected(ctx)
	defer stop()
	if err := q.records.Delete(asking, id); err != nil {
		return fmt.Errorf("jobs: removing job %s: %w", id, q.told(ctx, err))
	}
	q.mirror.forget(id)
	return q.drop(ctx, j)
}

// change makes a new revision of a job's record, of the last one, however often others change it meanwhile. An error of edit leaves
// it as it is; so does an edit that changes nothing.
func (q *Queue) change(ctx context.Context, id string, edit func(*Job) error) (Job, error) {
	asking, stop := q.connected(ctx)
	defer stop()
	for {
		entry, err := q.records.Get(asking, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			return Job{}, &NotFoundError{id}
		}
		if err != nil {
			return Job{}, fmt.Errorf("jobs: reading job %s: %w", id, q.told(ctx, err))
		}
		var j Job
		if err := json.Unmarshal(entry.Value(), &j); err != nil {
			return j, fmt.Errorf("jobs: the record of job %s: %w", id, err)
		}
		if err := edit(&j); err != nil {
			return j, err
		}
		ok, err := q.replace(ctx, j, entry.Revision())
		if ok || err != nil {
			return j, err
		}
	}
}

// replace writes a job's record in place of a revision of it, and reports whether that was the last one.
func (q *Queue) replace(ctx context.Context, j Job, revision uint64) (bool, error) {
	record, err := json.Marshal(j)
	if err != nil {
		return false, fmt.Errorf("jobs: %w", err)
	}
	asking, stop := q.connected(ctx)
	defer stop()
	now, err := q.records.Update(asking, j.ID, record, revision)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("jobs: writing job %s: %w", j.ID, q.told(ctx, err))
	}
	q.mirror.put(j, now)
	return true, nil
}
