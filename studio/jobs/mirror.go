package jobs

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// mirror is what this process knows of the records. Reading it costs nothing, however many people look.
type mirror struct {
	mu       sync.Mutex
	jobs     map[string]mirrored
	sorted   []mirrored           // in the order in which they are to be done; nil if something has changed
	gone     map[string]departure // removed jobs, so that older news do not bring them back
	silent   time.Time            // until when the server did not answer: who was not heard of before may be there all the same
	told     time.Time            // the latest of the times that stamp has told
	touches  map[string]time.Time // when somebody last asked for a file, or stored it, by its name
	end      float64              // the highest position there was
	previews map[string][]byte
	lookers  map[*looker]struct{}
}

// mirrored is a job at a revision, and when that was first seen here.
type mirrored struct {
	Job
	revision uint64
	seen     time.Time
}

// departure is the revision at which a job was removed, and when that was heard of.
type departure struct {
	revision uint64
	heard    time.Time
}

// looker is told of jobs that changed; of one that changed twice before it looked, once.
type looker struct {
	changed map[string]bool
	wake    chan struct{} // holds one
}

func (m *mirror) init() {
	m.jobs, m.gone, m.touches = make(map[string]mirrored), make(map[string]departure), make(map[string]time.Time)
	m.previews, m.lookers = make(map[string][]byte), make(map[*looker]struct{})
}

// put takes in a job unless something newer is known of it.
func (m *mirror) put(j Job, revision uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[j.ID].revision >= revision || m.gone[j.ID].revision >= revision {
		return
	}
	m.jobs[j.ID] = mirrored{j, revision, time.Now()}
	m.sorted = nil
	m.end = max(m.end, j.Position)
	if j.State != Running {
		delete(m.previews, j.ID)
	}
	m.tell(j.ID)
}

// remove takes in that a job was removed.
func (m *mirror) remove(id string, revision uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[id].revision >= revision {
		return
	}
	delete(m.jobs, id)
	delete(m.previews, id)
	m.sorted = nil
	m.gone[id] = departure{revision, time.Now()}
	m.tell(id)
}

// forget takes in that a job was removed here, before news of it come: who removed it sees that at once.
func (m *mirror) forget(id string) {
	m.mu.Lock()
	revision := m.jobs[id].revision + 1
	m.mu.Unlock()
	m.remove(id, revision)
}

// show takes in what a running job looks like.
func (m *mirror) show(id string, preview []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[id].State != Running {
		return
	}
	m.previews[id] = preview
	m.tell(id)
}

// tell wakes who looks. The lock is held.
func (m *mirror) tell(id string) {
	for l := range m.lookers {
		l.changed[id] = true
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// look adds a looker.
func (m *mirror) look() *looker {
	l := &looker{changed: make(map[string]bool), wake: make(chan struct{}, 1)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookers[l] = struct{}{}
	return l
}

// leave removes a looker.
func (m *mirror) leave(l *looker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lookers, l)
}

// take is what changed since l looked last.
func (m *mirror) take(l *looker) (changed []Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range l.changed {
		j, ok := m.jobs[id]
		if !ok {
			j.Job = Job{ID: id, State: Removed}
		}
		changed = append(changed, j.Job)
	}
	clear(l.changed)
	slices.SortFunc(changed, first)
	return changed
}

// behind is a position behind all others: the time, in microseconds, or more where the clock stands.
func (m *mirror) behind() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end = max(m.end+1, float64(time.Now().UnixMicro()))
	return m.end
}

// all are the jobs, in the order in which they are to be done. Nobody changes the list.
func (m *mirror) all() []mirrored {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		m.sorted = slices.SortedFunc(maps.Values(m.jobs), func(a, b mirrored) int { return first(a.Job, b.Job) })
	}
	return m.sorted
}

// ids are those of the jobs that are known.
func (m *mirror) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.jobs))
}

// needed are the names of the files that jobs need.
func (m *mirror) needed() map[string]bool {
	names := make(map[string]bool)
	for _, j := range m.all() {
		for _, name := range j.Inputs {
			names[name] = true
		}
	}
	return names
}

// stamp is the time, later than each that was told before.
func (m *mirror) stamp() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now()
}

// now is stamp for who holds mu. The clock of Windows stands for up to 16 ms, in which a file is stored, a job submitted that needs it, and
// the file asked for by the next.
func (m *mirror) now() time.Time {
	now := time.Now().UTC().Round(0)
	if !now.After(m.told) {
		now = m.told.Add(1)
	}
	m.told = now
	return now
}

// touch notes that somebody asks for a file, or stores it, who may be about to submit a job that needs it.
func (m *mirror) touch(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touches[name] = m.now()
}

// touched is when that was last; zero if it was long ago.
func (m *mirror) touched(name string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.touches[name]
}

// lost notes that the server does not answer, or did not until now.
func (m *mirror) lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = time.Now()
}

// quiet is for how long nothing was heard of a job, while there was somebody to hear it from.
func (m *mirror) quiet(j mirrored) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent.After(j.seen) {
		return time.Since(m.silent)
	}
	return time.Since(j.seen)
}

// settle forgets what was long ago: nothing of then is on its way any more.
func (m *mirror) settle(before time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.gone, func(_ string, d departure) bool { return d.heard.Before(before) })
	maps.DeleteFunc(m.touches, func(_ string, at time.Time) bool { return at.Before(before) })
}

// Jobs are all jobs, in the order in which they are to be done, those that ended included.
func (q *Queue) Jobs() (all []Job) {
	for _, j := range q.mirror.all() {
		all = append(all, j.Job)
	}
	return all
}

// Job is a job by its ID; ok is false if there is none.
func (q *Queue) Job(id string) (j Job, ok bool) {
	q.mirror.mu.Lock()
	defer q.mirror.mu.Unlock()
	m, ok := q.mirror.jobs[id]
	return m.Job, ok
}

// Preview is what a running job last showed, as its handler encoded it; nil if nothing.
func (q *Queue) Preview(id string) []byte {
	q.mirror.mu.Lock()
	defer q.mirror.mu.Unlock()
	return q.mirror.previews[id]
}

// Changes yields jobs that changed, or have a new preview, from the call on, until ctx is done. A job that changes quicker than it
// is asked for is yielded as it is then, so that who looks slowly misses nothing but what is past. One that was removed has the
// State Removed and nothing else.
func (q *Queue) Changes(ctx context.Context) iter.Seq[Job] {
	l := q.mirror.look()
	return func(yield func(Job) bool) {
		defer q.mirror.leave(l)
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
			for _, j := range q.mirror.take(l) {
				if !yield(j) {
					return
				}
			}
		}
	}
}
