package jobs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Retention says what of a queue stays for how long. The zero value keeps all.
type Retention struct {
	Age   time.Duration // jobs that ended longer ago are removed, with their files; 0 keeps them
	Bytes int64         // that the files of jobs have together; beyond, jobs are removed, those that ended first at first; 0 is no bound
	// Inputs is what the names of files begin with that are stored for jobs: one that no job needs for a day is removed. "" keeps them.
	Inputs string
	// Needs are the IDs of jobs, and the names of files, that somebody needs whatever their age; nil is none. Jobs that wait or run, what
	// they need, and jobs that ended within the last hour are kept anyway.
	Needs func(context.Context) (ids, names []string)
}

// The times of Retention.
const (
	settled   = time.Hour      // after which nothing of a job is on its way any more
	unclaimed = 24 * time.Hour // after which a file that no job needs was stored for none
	tidying   = time.Hour      // between two looks
)

// Tend removes what is not kept, now and every hour, until ctx is done.
func (q *Queue) Tend(ctx context.Context, r Retention) {
	for {
		if err := q.Tidy(ctx, r); err != nil && ctx.Err() == nil {
			q.options.Logger.Warn("old jobs and files cannot be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tidying):
		}
	}
}

// Tidy removes what is not kept: jobs that ended, files of jobs that are gone, files stored for jobs that never came, and the marks that
// removed ones leave.
func (q *Queue) Tidy(ctx context.Context, r Retention) error {
	files, err := q.files.List(ctx, jetstream.ListObjectsShowDeleted())
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return fmt.Errorf("jobs: listing files: %w", q.told(ctx, err))
	}
	var ids, names []string
	if r.Needs != nil {
		ids, names = r.Needs(ctx)
	}
	now := time.Now()
	stay, surplus := r.jobs(q.Jobs(), files, ids, now)
	var errs []error
	for _, j := range surplus {
		if err := q.Remove(ctx, j.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		q.options.Logger.Info("old job removed", "id", j.ID, "kind", j.Kind, "finished", j.Finished)
	}
	for _, name := range r.names(stay, files, names, now) {
		if now.Sub(q.mirror.touched(name)) > settled {
			errs = append(errs, q.Delete(ctx, name))
		}
	}
	errs = append(errs, q.unmark(ctx, files, now.Add(-settled)))
	q.mirror.settle(now.Add(-settled))
	return errors.Join(errs...)
}

// jobs are those that stay, and those that do not.
func (r Retention) jobs(all []Job, files []*jetstream.ObjectInfo, needed []string, now time.Time) (stay, surplus []Job) {
	size, total := make(map[string]int64), int64(0)
	for _, f := range files {
		if id, ok := jobOf(f.Name); ok && !f.Deleted {
			size[id] += int64(f.Size)
			total += int64(f.Size)
		}
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Job) int { return a.Finished.Compare(b.Finished) })
	for _, j := range all {
		ago := now.Sub(j.Finished)
		old, large := r.Age > 0 && ago > r.Age, r.Bytes > 0 && total > r.Bytes && ago > settled
		if !j.State.Ended() || slices.Contains(needed, j.ID) || !old && !large {
			stay = append(stay, j)
			continue
		}
		total -= size[j.ID]
		surplus = append(surplus, j)
	}
	return stay, surplus
}

// names are the files that nobody needs.
func (r Retention) names(stay []Job, files []*jetstream.ObjectInfo, needed []string, now time.Time) (surplus []string) {
	needs, there := make(map[string]bool), make(map[string]bool)
	for _, name := range needed {
		needs[name] = true
	}
	for _, j := range stay {
		there[j.ID] = true
		for _, name := range j.Inputs {
			needs[name] = true
		}
	}
	for _, f := range files {
		id, isJobs := jobOf(f.Name)
		ago := now.Sub(f.ModTime)
		orphan := isJobs && !there[id] && ago > settled
		idle := !isJobs && r.Inputs != "" && strings.HasPrefix(f.Name, r.Inputs) && !needs[f.Name] && ago > unclaimed
		if !f.Deleted && (orphan || idle) {
			surplus = append(surplus, f.Name)
		}
	}
	return surplus
}

// jobOf is the job that a file is of; ok is false if it is of none.
func jobOf(name string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(name, jobFiles)
	id, _, found := strings.Cut(rest, "/")
	return id, ok && found
}

// unmark removes the marks that removed jobs and their files leave, but for those of late.
func (q *Queue) unmark(ctx context.Context, files []*jetstream.ObjectInfo, before time.Time) error {
	errs := []error{q.records.PurgeDeletes(ctx, jetstream.DeleteMarkersOlderThan(settled))}
	for _, f := range files {
		if _, isJobs := jobOf(f.Name); isJobs && f.Deleted && f.ModTime.Before(before) { // the name of another may be stored anew
			errs = append(errs, q.stream.Purge(ctx, jetstream.WithPurgeSubject("$O."+fileBucket+".M."+base64.URLEncoding.EncodeToString([]byte(f.Name)))))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("jobs: %w", q.told(ctx, err))
	}
	return nil
}

// mend removes the parts of files whose writer was killed before they had a name. Nobody else has the folder.
func (q *Queue) mend(ctx context.Context) error {
	files, err := q.files.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return fmt.Errorf("listing the queue's files: %w", err)
	}
	const chunks = "$O." + fileBucket + ".C."
	whole := make(map[string]bool)
	for _, f := range files {
		whole[chunks+f.NUID] = true
	}
	info, err := q.stream.Info(ctx, jetstream.WithSubjectFilter(chunks+">"))
	if err != nil {
		return fmt.Errorf("listing the queue's files: %w", err)
	}
	for subject := range info.State.Subjects {
		if whole[subject] {
			continue
		}
		if err := q.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("removing half a file: %w", err)
		}
	}
	return nil
}
