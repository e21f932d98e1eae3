package studio

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// Needs are the jobs and the files of the queue that people need whatever their age, for jobs.Retention: what portraits are shown from, and what
// the form of the room Draw has.
func (s *Server) Needs(ctx context.Context) (ids, names []string) {
	for _, p := range s.projects.all() {
		if p.Job() != "" {
			ids = append(ids, p.Job())
		}
	}
	for _, v := range s.kept(ctx) {
		if strings.HasPrefix(v, work.Inputs) {
			names = append(names, v)
		}
	}
	return ids, names
}

// thumbs are small pictures that were made for pages, in a folder for each job or training that they are of. They go with it.
type thumbs struct{ dir string }

func (t thumbs) folder(of string) string { return filepath.Join(t.dir, digest([]byte(of))[:32]) }

// path is where a picture of a side is kept.
func (t thumbs) path(of string, picture []byte, side int) string {
	return filepath.Join(t.folder(of), digest(picture)[:32]+fmt.Sprintf("-%d.jpg", side))
}

// forget removes those of a job or training.
func (t thumbs) forget(of string) error { return os.RemoveAll(t.folder(of)) }

// forgetThumbs removes those of jobs and trainings that are gone, now and when a job goes, until ctx is done.
func (s *Server) forgetThumbs(ctx context.Context) {
	changes := s.options.Queue.Changes(ctx)
	there := make(map[string]bool)
	for _, j := range s.options.Queue.Jobs() {
		there[s.thumbs.folder(j.ID)] = true
	}
	for _, t := range s.trainings.all() {
		there[s.thumbs.folder(t.ID)] = true
	}
	entries, _ := os.ReadDir(s.thumbs.dir) // there are none before the first
	for _, e := range entries {
		if path := filepath.Join(s.thumbs.dir, e.Name()); !there[path] {
			s.removed(os.RemoveAll(path))
		}
	}
	for j := range changes {
		if j.State == jobs.Removed {
			s.removed(s.thumbs.forget(j.ID))
		}
	}
}

// removed tells that small pictures could not be removed.
func (s *Server) removed(err error) {
	if err != nil {
		s.log.Warn("small pictures cannot be removed", "error", err)
	}
}
