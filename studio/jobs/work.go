package jobs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/atelier-go/atelier/invalid"
)

// Worker is what does jobs, one at a time.
type Worker struct {
	Name     string             // for people: the machine and its device
	Handlers map[string]Handler // by Job.Kind; jobs of other kinds are left to others
	// Lacks says what a job needs that is not here, such as "a worker with the checkpoint NAME", "" being nothing. Such a job is left to
	// others, and people see what it waits for. Nil lacks nothing.
	Lacks func(Job) string
}

// Handler does a job. ctx is done when it is interrupted, cancelled, lost or to be put back, and the handler returns soon then. It
// may be the second to begin the job: see Task.Kept.
type Handler func(ctx context.Context, t *Task) error

// Causes of the end of a handler's context.
var (
	ErrInterrupted = errors.New("interrupted: what there is is kept")
	ErrCancelled   = errors.New("cancelled")
	ErrLost        = errors.New("the job was given to another worker, because this one was not heard of")
)

const (
	patience    = 5 // heartbeats without a sign, after which a worker is taken to be gone
	maxAttempts = 5 // workers that may vanish over a job, one after the other with nothing stored, before it is taken to be what kills them
)

// Work does jobs until ctx is done; the one at hand is put back then, for any worker to go on with. The error is of the queue's
// server. Several may work on one queue, in one process or in many.
func (q *Queue) Work(ctx context.Context, w Worker) error {
	l := q.mirror.look()
	defer q.mirror.leave(l)
	for ctx.Err() == nil {
		j, ok, err := q.claim(ctx, w)
		if err != nil {
			q.options.Logger.Warn("no job can be taken", "worker", w.Name, "error", err)
		}
		if ok {
			q.do(ctx, w, j)
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
			q.mirror.take(l)
		case <-time.After(q.options.Heartbeat):
		}
	}
	return context.Cause(ctx)
}

// claim takes the first job that waits, or whose worker is gone. ok is false if there is none.
func (q *Queue) claim(ctx context.Context, w Worker) (j Job, ok bool, err error) {
	for _, m := range q.mirror.all() {
		if w.Handlers[m.Kind] == nil || !q.free(m) {
			continue
		}
		if left, err := q.leave(ctx, w, m); left || err != nil {
			if err != nil {
				return j, false, err
			}
			continue
		}
		if j := m.Job; j.take(w.Name) {
			ok, err = q.replace(ctx, j, m.revision)
			if ok || err != nil {
				return j, ok, err
			}
		} else if _, err := q.replace(ctx, j, m.revision); err != nil {
			return j, false, err
		}
	}
	return j, false, nil
}

// leave leaves a job to others, if the worker lacks something for it, and says so in its record.
func (q *Queue) leave(ctx context.Context, w Worker, m mirrored) (left bool, err error) {
	if w.Lacks == nil {
		return false, nil
	}
	j, lacks := m.Job, w.Lacks(m.Job)
	if lacks == "" || j.State == Pending && j.Waits != "" { // what another lacks is as good
		return lacks != "", nil
	}
	j.release()
	j.Waits = lacks
	_, err = q.replace(ctx, j, m.revision)
	return true, err
}

// free reports whether a job can be taken.
func (q *Queue) free(m mirrored) bool {
	return m.State == Pending || m.State == Running && q.conn.IsConnected() && q.mirror.quiet(m) > patience*q.options.Heartbeat
}

// take makes the job a worker's. It reports false, and the job has failed, if too many have vanished over it.
func (j *Job) take(worker string) bool {
	if j.Vain >= maxAttempts {
		j.State, j.Finished = Failed, time.Now().UTC()
		j.Error = fmt.Sprintf("given up: %d workers ended in the middle of it, the last on %s; is there enough memory?", j.Vain, j.Worker)
		return false
	}
	j.State, j.Wish, j.Waits, j.Worker, j.Progress = Running, "", "", worker, Progress{}
	j.Attempt, j.Vain = j.Attempt+1, j.Vain+1
	if j.Started.IsZero() {
		j.Started = time.Now().UTC()
	}
	return true
}

// release makes a running job wait again.
func (j *Job) release() error {
	j.State, j.Wish, j.Progress = Pending, "", Progress{}
	return nil
}

// do runs a job's handler to its end, and writes down how that was.
func (q *Queue) do(ctx context.Context, w Worker, j Job) {
	log := q.options.Logger.With("id", j.ID, "kind", j.Kind, "worker", w.Name)
	log.Info("job begun", "attempt", j.Attempt)
	running, end := context.WithCancelCause(ctx)
	t := &Task{Job: j, queue: q, news: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.beat(running, end)
	}()
	err := safely(running, w.Handlers[j.Kind], t)
	cause := context.Cause(running)
	end(nil)
	<-done
	if ended, e := q.conclude(ctx, t, err, cause); e != nil {
		log.Warn("the end of the job cannot be written", "error", e)
	} else {
		log.Info("job ended", "state", ended.State, "error", ended.Error)
	}
}

// lastWord is how long a worker that is told to end tries to write down what became of its job.
const lastWord = 10 * time.Second

// conclude writes down how a job ended, as soon as the server answers; what is to be written is written even if the worker is told to end.
func (q *Queue) conclude(ctx context.Context, t *Task, err, cause error) (Job, error) {
	for {
		leaving := ctx.Err() != nil
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
		ended, e := q.finish(last, t, err, cause, leaving)
		if e != nil && last.Err() != nil {
			e = q.told(context.WithoutCancel(ctx), e)
		}
		stop()
		if leaving || !errors.Is(e, ErrUnreachable) {
			return ended, e
		}
		select {
		case <-ctx.Done():
		case <-time.After(q.options.Heartbeat):
		}
	}
}

// safely runs a handler and makes an error of a panic.
func safely(ctx context.Context, h Handler, t *Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.queue.options.Logger.Error("a handler panicked", "id", t.Job.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("this is a fault of the program: %v", p)
		}
	}()
	return h(ctx, t)
}

// finish writes down how a job ended. Of a job that another worker has by now nothing is written.
func (q *Queue) finish(ctx context.Context, t *Task, err, cause error, leaving bool) (Job, error) {
	cancelled := errors.Is(cause, ErrCancelled)
	if j, ok := q.Job(t.Job.ID); ok && cancelled && t.owns(&j) {
		if err := q.discard(ctx, j); err != nil {
			return j, err
		}
	}
	return q.change(ctx, t.Job.ID, func(j *Job) error {
		if !t.owns(j) {
			return ErrLost
		}
		j.Wish, j.Finished = "", time.Now().UTC()
		switch {
		case cancelled:
			j.State, j.Files, j.Kept = Cancelled, nil, nil
		case errors.Is(cause, ErrLost) && err != nil: // it was thought to be lost, and is not
			j.Finished = time.Time{}
			return j.release()
		case errors.Is(cause, ErrInterrupted), err == nil:
			j.State, j.Partial = Done, t.Wish().strength() >= Finish.strength()
		case leaving:
			j.Finished, j.Attempt, j.Vain = time.Time{}, j.Attempt-1, max(j.Vain-1, 0) // nobody died of it
			return j.release()
		default:
			j.State, j.Error, j.Refused = Failed, err.Error(), len(invalid.Fields(err)) > 0
		}
		return nil
	})
}
