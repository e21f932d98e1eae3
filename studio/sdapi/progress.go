package sdapi

import (
	"context"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
)

// tasks are the requests that are waited for, and the names of those that were.
type tasks struct {
	mu    sync.Mutex
	now   []*task
	begun int      // since ever
	ended []string // names
}

// task is a request that draws or enlarges. What changes of it is guarded by tasks.
type task struct {
	number  int    // tells it from others
	name    string // that its client gave it
	batches int    // as the web UI counts them
	steps   int    // of a batch
	parts   int    // jobs
	began   time.Time

	part    int    // the job at hand, from 0
	job     string // its ID; "" before there is one
	stopped bool   // it was interrupted
	skipped bool
}

func (all *tasks) init() { all.now = nil }

// begin takes a request in, unless too many wait.
func (all *tasks) begin(name string, batches, steps, parts int) (*task, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.now) >= maxRequests {
		return nil, tooMany()
	}
	all.begun++
	t := &task{number: all.begun, name: name, batches: batches, steps: steps, parts: parts, began: time.Now()}
	all.now = append(all.now, t)
	return t, nil
}

// end forgets a request, but for its name.
func (all *tasks) end(t *task) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.now = slices.DeleteFunc(all.now, func(one *task) bool { return one == t })
	if t.name != "" {
		all.ended = append(all.ended, t.name)
		all.ended = all.ended[max(0, len(all.ended)-maxInterests):]
	}
}

// at notes the job that does a part of a request, and reports whether that was interrupted before anybody could tell the job.
func (all *tasks) at(t *task, part int, job string) (stopped bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	t.part, t.job = part, job
	return t.stopped
}

// interrupted reports whether a request was interrupted.
func (all *tasks) interrupted(t *task) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return t.stopped
}

// list are the requests, in the order in which they came.
func (all *tasks) list() (list []task) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, t := range all.now {
		list = append(list, *t)
	}
	return list
}

// wish notes what was wished of a request, and returns the job that is to be told; "" if there is none yet.
func (all *tasks) wish(number int, w jobs.Wish) (job string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, t := range all.now {
		if t.number == number {
			t.stopped, t.skipped = t.stopped || w == jobs.Interrupt, t.skipped || w == jobs.Skip
			job = t.job
		}
	}
	return job
}

// hand is the request at hand with its job: one that is worked on, else the first that waits. ok is false if there is none.
func (s *Server) hand() (t task, j jobs.Job, ok bool) {
	for _, one := range s.tasks.list() {
		job, there := s.options.Queue.Job(one.job)
		if there && job.State == jobs.Running {
			return one, job, true
		}
		if !ok {
			t, j, ok = one, job, true
		}
	}
	return t, j, ok
}

// control are the routes that tell of requests and end them.
func (s *Server) control() []route {
	return []route{
		get(s, "/sdapi/v1/progress", "How far the request at hand is: of this API's, the one that is worked on, else the first that waits.", s.progress, "skip_current_image"),
		command(s, "/sdapi/v1/interrupt", "Ends the request at hand; it answers with what there is.", s.interrupt),
		command(s, "/sdapi/v1/skip", "Leaves the pictures at hand and goes on with the next.", s.skip),
		command(s, "/sdapi/v1/unload-checkpoint", "Frees what the checkpoint takes, until something is drawn.", s.unload),
		command(s, "/sdapi/v1/reload-checkpoint", "Nothing: the checkpoint is opened when something is drawn.", func(*http.Request) (empty, error) { return empty{}, nil }),
		s.end("/sdapi/v1/server-kill", "Ends the program, where it allows that.", false),
		s.end("/sdapi/v1/server-stop", "Ends the program, where it allows that.", false),
		s.end("/sdapi/v1/server-restart", "Begins the program anew, where it allows that.", true),
	}
}

// empty is {}.
type empty struct{}

// progressState is how far requests are.
type progressState struct {
	Skipped   bool   `json:"skipped"`
	Stopped   bool   `json:"interrupted"`
	Stopping  bool   `json:"stopping_generation"`
	Job       string `json:"job"`
	Jobs      int    `json:"job_count" doc:"batches, twice those with enable_hr"`
	Timestamp string `json:"job_timestamp"`
	Number    int    `json:"job_no"`
	Step      int    `json:"sampling_step"`
	Steps     int    `json:"sampling_steps"`
}

// progressReply is the answer to how far it is.
type progressReply struct {
	Progress float64       `json:"progress" doc:"0 to 1"`
	Left     float64       `json:"eta_relative" doc:"seconds until it is done, as estimated; 0 is unknown"`
	State    progressState `json:"state"`
	Image    *string       `json:"current_image" doc:"a preview, a file in base64"`
	Text     *string       `json:"textinfo"`
}

func (s *Server) progress(r *http.Request) (progressReply, error) {
	t, j, ok := s.hand()
	if !ok {
		return progressReply{State: progressState{Timestamp: "0"}}, nil
	}
	reply := progressReply{State: t.state(j), Left: j.Progress.Left.Seconds()}
	if done := t.done(j); j.State == jobs.Running {
		reply.Progress = min(0.01+done, 1)
	}
	if stage := j.Progress.Stage; stage != "" {
		reply.Text = &stage
	} else if j.State != jobs.Running {
		reply.Text = new("waiting")
		if j.Waits != "" {
			reply.Text = new("waiting for " + j.Waits)
		}
	}
	if skip, _ := toBool(r.FormValue("skip_current_image")); !skip && s.previews() {
		if picture := s.options.Queue.Preview(j.ID); picture != nil {
			reply.Image = new(base64.StdEncoding.EncodeToString(picture))
		}
	}
	return reply, nil
}

// previews reports whether pictures are shown while they are drawn.
func (s *Server) previews() bool { return s.options.Library.Settings().Bool("live_previews_enable") }

// done is which part of the request is done, 0 to 1.
func (t *task) done(j jobs.Job) float64 {
	part := 0.0
	if j.Progress.Total > 0 {
		part = float64(j.Progress.Done) / float64(j.Progress.Total)
	}
	return (float64(t.part) + part) / float64(max(t.parts, 1))
}

// state is how far the request is, as the web UI counts: batches, and steps of the one at hand.
func (t *task) state(j jobs.Job) progressState {
	at := t.done(j) * float64(t.batches)
	number := min(int(at), max(t.batches-1, 0))
	state := progressState{
		Skipped: t.skipped, Stopped: t.stopped, Stopping: j.Wish == jobs.Finish, Jobs: t.batches, Timestamp: timestamp(t.began), Number: number,
		Step: min(int((at-float64(number))*float64(t.steps)+0.5), t.steps), Steps: t.steps,
	}
	if j.State == jobs.Running {
		state.Job = "Batch " + strconv.Itoa(number+1) + " out of " + strconv.Itoa(t.batches)
	}
	return state
}

// ask tells the request at hand what is wished of it.
func (s *Server) ask(r *http.Request, w jobs.Wish) error {
	t, _, ok := s.hand()
	if !ok {
		return nil
	}
	job := s.tasks.wish(t.number, w)
	if job == "" {
		return nil
	}
	return s.tell(r.Context(), job, w)
}

// tell tells a job what is wished of it, if it has not ended.
func (s *Server) tell(ctx context.Context, job string, w jobs.Wish) error {
	_, err := s.options.Queue.Ask(ctx, job, w)
	if _, ended := errors.AsType[*jobs.StateError](err); ended {
		return nil
	}
	if _, gone := errors.AsType[*jobs.NotFoundError](err); gone {
		return nil
	}
	return err
}

func (s *Server) interrupt(r *http.Request) (empty, error) { return empty{}, s.ask(r, jobs.Interrupt) }

func (s *Server) skip(r *http.Request) (any, error) { return nil, s.ask(r, jobs.Skip) }

func (s *Server) unload(r *http.Request) (empty, error) {
	if s.options.Unload == nil {
		return empty{}, nil
	}
	return empty{}, s.options.Unload(r.Context())
}

// end is a route that ends the program, when it has answered.
func (s *Server) end(path, summary string, restart bool) route {
	return route{method: http.MethodPost, path: path, summary: summary, reply: reflect.TypeFor[any](), handle: func(w http.ResponseWriter, r *http.Request) {
		if s.options.Stop == nil {
			s.answer(w, r, nil, refuse(http.StatusNotFound, "Not Found: this program does not let requests end it"))
			return
		}
		s.answer(w, r, nil, nil)
		if err := http.NewResponseController(w).Flush(); err != nil {
			s.log.Debug("who asked for the end is told late", "error", err)
		}
		s.options.Stop(restart)
	}}
}

// taskQuery is what POST /internal/progress takes.
type taskQuery struct {
	Task    string `json:"id_task" default:"" doc:"as force_task_id of a request, or the ID of a job"`
	Preview int64  `json:"id_live_preview" default:"-1" doc:"of the last preview that was seen"`
	Live    bool   `json:"live_preview" default:"true" doc:"whether a preview is wanted"`
}

// taskReply tells of a task.
type taskReply struct {
	Active    bool     `json:"active"`
	Queued    bool     `json:"queued"`
	Completed bool     `json:"completed"`
	Progress  *float64 `json:"progress"`
	Left      *float64 `json:"eta" doc:"seconds"`
	Preview   *string  `json:"live_preview" doc:"data:image/…;base64,…"`
	PreviewID *int64   `json:"id_live_preview"`
	Text      *string  `json:"textinfo"`
}

func (s *Server) taskProgress(r request[taskQuery]) (taskReply, error) {
	t, j, reply := s.task(r.body.Task)
	if t == nil {
		return reply, nil
	}
	reply.PreviewID = &r.body.Preview
	if reply.Queued = j.State != jobs.Running; reply.Queued {
		reply.Text = new("Waiting...")
		return reply, nil
	}
	reply.Active, reply.Progress, reply.Text = true, new(min(0.01+t.done(j), 1)), &j.Progress.Stage
	if j.Progress.Left > 0 {
		reply.Left = new(j.Progress.Left.Seconds())
	}
	picture := s.options.Queue.Preview(j.ID)
	if id := int64(crc32.ChecksumIEEE(picture)); picture != nil && r.body.Live && s.previews() && id != r.body.Preview {
		reply.PreviewID, reply.Preview = &id, new("data:"+http.DetectContentType(picture)+";base64,"+base64.StdEncoding.EncodeToString(picture))
	}
	return reply, nil
}

// task finds a request by its name, or a job by its ID. Of what is over, the reply says so.
func (s *Server) task(name string) (t *task, j jobs.Job, reply taskReply) {
	for _, one := range s.tasks.list() {
		if one.name == name && name != "" {
			j, _ = s.options.Queue.Job(one.job)
			return &one, j, reply
		}
	}
	j, ok := s.options.Queue.Job(name)
	if ok && !j.State.Ended() {
		return &task{batches: 1, parts: 1}, j, reply
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	reply.Completed = ok || slices.Contains(s.tasks.ended, name)
	return nil, j, reply
}

// pending are the names of requests that wait.
type pending struct {
	Size  int      `json:"size"`
	Tasks []string `json:"tasks"`
}

func (s *Server) pending(*http.Request) (pending, error) {
	p := pending{Tasks: []string{}}
	for _, t := range s.tasks.list() {
		if j, ok := s.options.Queue.Job(t.job); !ok || j.State == jobs.Pending {
			p.Size++
			if t.name != "" {
				p.Tasks = append(p.Tasks, t.name)
			}
		}
	}
	return p, nil
}

// queueStatus is what clients ask for to see whether there is a server.
type queueStatus struct {
	Message string  `json:"msg"`
	Rank    int     `json:"rank"`
	Size    int     `json:"queue_size"`
	Left    float64 `json:"queue_eta"`
}

func (s *Server) queueStatus(*http.Request) (queueStatus, error) {
	status := queueStatus{Message: "estimation"}
	for _, j := range s.options.Queue.Jobs() {
		if !j.State.Ended() {
			status.Size++
			status.Left += j.Progress.Left.Seconds()
		}
	}
	return status, nil
}
