// Package jobs is a queue of long work: pictures to draw, LoRAs to train, portraits to make, on one machine or on many.
//
// NATS JetStream keeps the jobs and their files. Open with a folder runs it within the process, on no port; with the address of a
// server, all processes that name it share one queue, and pictures and LoRAs travel through it.
//
//	queue, err := jobs.Open(ctx, jobs.Options{Dir: "data"})
//	go queue.Work(ctx, jobs.Worker{Name: "this machine", Handlers: map[string]jobs.Handler{"draw": draw}})
//	job, err := queue.Submit(ctx, jobs.Job{Kind: "draw", Request: request})
//	for job := range queue.Changes(ctx) { … }
//
// A job is one record, which only changes from the revision that was read: two workers cannot both take it, and one that was
// given up for dead cannot finish what another does by then. A worker that runs a job renews its record; one whose record does not
// change for a while is taken to be gone, and the job is done again. Only records are compared, never the clocks of machines, and
// nobody is taken to be gone because the server was: while it does not answer, workers work on and wait with what they have to say.
package jobs

import (
	"cmp"
	"encoding/json"
	"time"
)

// Job is one piece of work. Kind, Title, Request, Priority and Inputs are for who submits it to choose.
type Job struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`              // what does it: a key of Worker.Handlers
	Title    string          `json:"title,omitzero"`    // for people
	Request  json.RawMessage `json:"request,omitempty"` // what is to be done, as the handler of the kind reads it
	Inputs   []string        `json:"inputs,omitempty"`  // names of files, stored with Queue.Put, that it needs; they go with the last job that does
	Priority int             `json:"priority,omitzero"` // those of higher priority come first
	Position float64         `json:"position"`          // of those of equal priority the lowest comes first; Submit puts it last, Queue.Move changes it
	State    State           `json:"state"`
	Wish     Wish            `json:"wish,omitzero"`     // of people, as long as it runs
	Waits    string          `json:"waits,omitzero"`    // for what, besides its turn, such as "a worker with the checkpoint NAME"
	Attempt  int             `json:"attempt,omitzero"`  // 1 with the first worker
	Vain     int             `json:"vain,omitzero"`     // attempts since something of it was last stored
	Worker   string          `json:"worker,omitzero"`   // that does it, or did last
	Progress Progress        `json:"progress,omitzero"` // as last reported
	Files    []File          `json:"files,omitempty"`   // what came of it so far
	Kept     []string        `json:"kept,omitempty"`    // names of what its next worker goes on from; see Task.Keep
	Partial  bool            `json:"partial,omitzero"`  // it is done as far as it came until somebody interrupted it
	Error    string          `json:"error,omitzero"`    // why it failed
	Refused  bool            `json:"refused,omitzero"`  // it failed by what it asks for, which no other worker would do either
	Created  time.Time       `json:"created"`
	Started  time.Time       `json:"started,omitzero"`
	Finished time.Time       `json:"finished,omitzero"`
}

// State is how far a job is.
type State string

// The states. A job ends Done, Failed or Cancelled.
const (
	Pending   State = "pending"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Removed   State = "removed" // it is gone from the queue: of jobs in Changes alone
)

// Ended reports whether nothing more happens to a job in this state.
func (s State) Ended() bool { return s != Pending && s != Running }

// Wish is what people want of a job that runs.
type Wish string

// The wishes, each stronger than those before it.
const (
	Skip      Wish = "skip"      // leave the picture at hand and go on with the next
	Finish    Wish = "finish"    // end after the picture at hand
	Interrupt Wish = "interrupt" // end at once, and keep what there is
	Cancel    Wish = "cancel"    // end at once, and keep nothing
)

// strength orders wishes.
func (w Wish) strength() int {
	return map[Wish]int{Skip: 1, Finish: 2, Interrupt: 3, Cancel: 4}[w]
}

// Progress is how far a running job is.
type Progress struct {
	Stage string        `json:"stage,omitzero"` // what it is at, for people
	Done  int           `json:"done,omitzero"`  // of Total, in steps of the job's own
	Total int           `json:"total,omitzero"`
	Left  time.Duration `json:"left,omitzero"` // until it is done, as estimated; 0 is unknown
	Note  string        `json:"note,omitzero"` // such as the loss
}

// File is a result.
type File struct {
	Name string `json:"name"` // within the job
	Size int64  `json:"size"` // bytes
}

// first orders jobs by who is to be done first.
func first(a, b Job) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Position, b.Position), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}
