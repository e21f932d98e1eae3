package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
)

// feed numbers what happens to jobs, so that who lost the stream goes on where it broke. Of a job only the last change is kept: who
// looks slowly, or never, costs nothing and misses nothing but what is past.
type feed struct {
	epoch string // numbers of another process mean nothing here

	mu      sync.Mutex
	changes []change         // the oldest first
	last    map[string]int64 // numbers of the jobs' last changes; those before them are stale
	number  int64            // the highest
	dropped int64            // up to which changes of removed jobs were forgotten
	wake    chan struct{}    // is closed by the next change
	done    chan struct{}    // is closed at the end
}

// change is that a job is not as it was.
type change struct {
	number int64
	job    string
}

func newFeed() *feed {
	return &feed{epoch: rand.Text()[:8], last: make(map[string]int64), wake: make(chan struct{}), done: make(chan struct{})}
}

// follow takes in changes for as long as there are some.
func (f *feed) follow(changes iter.Seq[jobs.Job]) {
	for j := range changes {
		f.add(j.ID)
	}
}

// end ends all streams.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
}

// add takes in that a job changed.
func (f *feed) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	f.last[id] = f.number
	f.changes = append(f.changes, change{f.number, id})
	if len(f.changes) > 2*len(f.last)+256 || len(f.last) > 2*maxKept {
		f.compact()
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// maxKept is how many jobs changes are kept of.
const maxKept = 10_000

// compact drops stale changes, and those of the jobs that changed longest ago if there are too many. The lock is held.
func (f *feed) compact() {
	kept := f.changes[:0]
	for _, c := range f.changes {
		if f.last[c.job] == c.number {
			kept = append(kept, c)
		}
	}
	for len(kept) > maxKept {
		f.dropped = kept[0].number
		delete(f.last, kept[0].job)
		kept = kept[1:]
	}
	f.changes = kept
}

// since are the jobs that changed after a number, in that order, and the number to go on from. It is not ok if some were forgotten.
// Wake is closed when there is more.
func (f *feed) since(number int64) (ids []string, now int64, ok bool, wake <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := sort.Search(len(f.changes), func(i int) bool { return f.changes[i].number > number })
	for _, c := range f.changes[at:] {
		if f.last[c.job] == c.number {
			ids = append(ids, c.job)
		}
	}
	return ids, f.number, number >= f.dropped, f.wake
}

// of is the number of a job's last change; 0 if none is kept.
func (f *feed) of(id string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[id]
}

// mark is the ID of an event: see Server.Mark.
func (f *feed) mark(number int64) string { return f.epoch + "-" + strconv.FormatInt(number, 10) }

// read is the number of a mark; it is not ok if it is none of this process.
func (f *feed) read(mark string) (number int64, ok bool) {
	epoch, digits, _ := strings.Cut(mark, "-")
	number, err := strconv.ParseInt(digits, 10, 64)
	return number, err == nil && epoch == f.epoch && number >= 0
}

// Mark is where the stream of events is now. Events with "after" in their query begin there, so that a page misses nothing between
// its making and its looking.
func (s *Server) Mark() string {
	_, now, _, _ := s.feed.since(1 << 62)
	return s.feed.mark(now)
}

// The times of streams.
const (
	beat     = 15 * time.Second // between signs of life
	patience = 20 * time.Second // with a browser that does not read
)

// Events streams what happens to jobs as server-sent events: "job", whose data is a [Job] as it is now, "removed" with its ID alone, and
// "reset" for who was away so long that it has to look at everything again. The path value "id", or "job" in the query, leaves out other
// jobs. Who comes with Last-Event-ID, or "after" in the query, gets what changed since; others begin with the jobs that have not ended.
func (s *Server) Events(w http.ResponseWriter, r *http.Request) {
	only := r.PathValue("id")
	if only == "" {
		only = r.FormValue("job")
	}
	if _, ok := s.options.Queue.Job(only); only != "" && !ok {
		s.fail(w, r, &jobs.NotFoundError{ID: only})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := stream{w: w, control: http.NewResponseController(w), patience: s.patience}
	if err := out.send("retry: 1000\n\n"); err != nil {
		return
	}
	s.stream(r.Context(), &out, only, s.from(&out, r, only))
}

// from is where a stream begins; what has to be said before it is.
func (s *Server) from(out *stream, r *http.Request, only string) (number int64) {
	mark := r.Header.Get("Last-Event-ID")
	if mark == "" {
		mark = r.FormValue("after")
	}
	_, now, _, _ := s.feed.since(1 << 62)
	number, ok := s.feed.read(mark)
	if ok {
		if _, _, all, _ := s.feed.since(number); all {
			return min(number, now)
		}
	}
	if mark != "" {
		out.event("reset", s.feed.mark(now), struct{}{})
	}
	for _, j := range s.options.Queue.Jobs() {
		if j.ID == only || only == "" && !j.State.Ended() {
			s.tell(out, j.ID, now)
		}
	}
	return now
}

// stream tells what happens until nobody listens.
func (s *Server) stream(ctx context.Context, out *stream, only string, number int64) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for out.flush() == nil {
		ids, now, _, wake := s.feed.since(number)
		for _, id := range ids {
			if only == "" || id == only {
				s.tell(out, id, now)
			}
		}
		if number = now; out.pending != "" {
			continue
		}
		select {
		case <-wake:
		case <-ticker.C:
			out.pending = ": \n\n"
		case <-ctx.Done():
			return
		case <-s.feed.done:
			return
		}
	}
}

// tell adds to a stream what a job is now.
func (s *Server) tell(out *stream, id string, now int64) {
	if text := s.shown.of(id, s.feed.of(id), s.show); text != nil {
		out.event("job", s.feed.mark(now), json.RawMessage(text))
		return
	}
	out.event("removed", s.feed.mark(now), map[string]string{"id": id})
}

// show is a job as JSON, nil if it is gone; it stays as it is if it ended.
func (s *Server) show(id string) (text []byte, ended bool) {
	j, ok := s.options.Queue.Job(id)
	if !ok {
		return nil, true
	}
	text, err := json.Marshal(s.present(j))
	if err != nil {
		s.options.Logger.Error("a job cannot be told", "id", id, "error", err)
	}
	return text, j.State.Ended()
}

// shown are jobs as JSON, made once for all who listen.
type shown struct {
	mu   sync.Mutex
	jobs map[string]presented
}

// presented is a job as it was at a change.
type presented struct {
	number int64
	text   []byte
}

// of is a job as JSON after a change of a number. Those that ended are not kept: nothing more happens to them.
func (s *shown) of(id string, number int64, show func(id string) (text []byte, ended bool)) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.jobs[id]; ok && have.number == number {
		return have.text
	}
	text, ended := show(id)
	if ended {
		delete(s.jobs, id)
		return text
	}
	if s.jobs == nil {
		s.jobs = make(map[string]presented)
	}
	s.jobs[id] = presented{number, text}
	return text
}

// stream is a browser that listens.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration // with one that does not read
	pending  string
}

// event adds an event to what is sent next.
func (s *stream) event(name, id string, data any) {
	text, ok := data.(json.RawMessage)
	if !ok {
		var err error
		if text, err = json.Marshal(data); err != nil {
			return
		}
	}
	s.pending += fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", id, name, text)
}

// flush sends what is there to send.
func (s *stream) flush() error {
	text := s.pending
	s.pending = ""
	if text == "" {
		return nil
	}
	return s.send(text)
}

// send writes text, as long as somebody reads: who does not for some time is given up.
func (s *stream) send(text string) error {
	s.control.SetWriteDeadline(time.Now().Add(s.patience)) // tests' writers have none, and never block
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
