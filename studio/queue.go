package studio

import (
	"net/http"
	"slices"

	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
)

// queueRoutes are those of the room Queue.
func (s *Server) queueRoutes() {
	s.mux.HandleFunc("GET /queue", func(w http.ResponseWriter, r *http.Request) {
		s.render(w, r, http.StatusOK, "queue", view{Title: "Queue", Room: "/queue", Script: "queue.js", Content: s.queued()})
	})
	s.mux.HandleFunc("GET /queue/list", func(w http.ResponseWriter, r *http.Request) { s.fragment(w, r, "queue", "list", s.queued()) })
	s.mux.HandleFunc("POST /queue/jobs/{id}", s.changeJob)
}

// queued are jobs by what happens to them.
type queued struct {
	Running, Waiting, Ended []queuedJob
	Workers                 []worker
}

// queuedJob is a job in its place.
type queuedJob struct {
	api.Job
	Before string // the job in front of which it moves by one place up; "" if there is none
	After  string // likewise down
	Last   bool   // nothing waits behind it
	Kind   string // in words
	Link   string // the page that shows it
}

// worker is who does jobs.
type worker struct {
	Name string
	Job  *queuedJob
}

// maxEnded is how many jobs that ended are shown.
const maxEnded = 50

// queued are the jobs of the queue, those that ended from the last on.
func (s *Server) queued() (q queued) {
	all := s.options.Queue.Jobs()
	slices.SortStableFunc(all, func(a, b jobs.Job) int { return b.Finished.Compare(a.Finished) })
	for _, j := range all {
		one := queuedJob{Job: s.api.Present(j), Kind: kinds[j.Kind], Link: linkOf(j)}
		switch {
		case j.State == jobs.Running:
			q.Running = append(q.Running, one)
		case j.State.Ended() && len(q.Ended) < maxEnded:
			q.Ended = append(q.Ended, one)
		case j.State == jobs.Pending:
			q.Waiting = append(q.Waiting, one)
		}
	}
	for i := range q.Waiting {
		if i > 0 {
			q.Waiting[i].Before = q.Waiting[i-1].ID
		}
		if i+2 < len(q.Waiting) {
			q.Waiting[i].After = q.Waiting[i+2].ID
		}
		q.Waiting[i].Last = i == len(q.Waiting)-1
	}
	for i := range q.Running {
		q.Workers = append(q.Workers, worker{q.Running[i].Worker, &q.Running[i]})
	}
	return q
}

// kinds are the kinds of jobs, in words.
var kinds = map[string]string{"draw": "Pictures", "upscale": "Enlarging", "train": "Training", "portrait": "Portrait"}

// linkOf is the page that shows a job.
func linkOf(j jobs.Job) string {
	switch j.Kind {
	case "portrait", "train":
		return "/" + j.Kind + "/" + j.ID
	case "upscale":
		return "/enlarge?job=" + j.ID
	}
	return "/draw?job=" + j.ID
}

// changeJob does to a job what a button says, and shows the queue again.
func (s *Server) changeJob(w http.ResponseWriter, r *http.Request) {
	id, before := r.PathValue("id"), r.PostFormValue("before")
	var err error
	switch action := r.PostFormValue("do"); action {
	case "move":
		_, err = s.options.Queue.Move(r.Context(), id, before)
	case "retry":
		_, err = s.options.Queue.Retry(r.Context(), id)
	case "remove":
		err = s.options.Queue.Remove(r.Context(), id)
	default:
		_, err = s.api.Apply(r, id, api.Patch{Wish: jobs.Wish(action)})
	}
	switch {
	case err != nil:
		s.fail(w, r, err)
	case r.Header.Get("HX-Request") != "":
		s.fragment(w, r, "queue", "list", s.queued())
	default:
		http.Redirect(w, r, "/queue", http.StatusSeeOther)
	}
}
