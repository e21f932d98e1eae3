package cpu

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// phase is a number of independent tasks.
type phase struct {
	tasks int
	do    func(task, worker int)
}

// course is the work of a run: the tasks of all its phases in one long row, which is taken from the front.
type course struct {
	phases []phase
	first  []int           // the number of each phase's first task, and of all tasks
	done   []atomic.Uint32 // the run in which a task was finished last
	run    uint32
	begun  time.Time
	trace  []Task // of the run, where somebody wants to know
}

func newCourse(phases []phase) *course {
	c := &course{phases: phases, first: make([]int, len(phases)+1)}
	for i, p := range phases {
		c.first[i+1] = c.first[i] + p.tasks
	}
	c.done = make([]atomic.Uint32, c.tasks())
	return c
}

// tasks is the number of all tasks.
func (c *course) tasks() int { return c.first[len(c.phases)] }

// pool is a fixed crew of workers, the calling goroutine being worker 0, for one run at a time.
//
// Each worker takes the next task of the course, waits until the phases before it are finished, and does it. Nobody hands out work, so that
// who is held up by another program holds up the others by no more than the one task that he is at. Who waits spins for a while, since the
// others are mostly about to finish, and then sleeps: a worker that spins where other programs want the processor spends the share of it
// that he needs for the next task.
type pool struct {
	workers int

	next   atomic.Int64  // next task to take
	mark   atomic.Int64  // all tasks before it are finished
	wanted atomic.Int64  // the least mark that somebody sleeps for
	alarm  atomic.Uint32 // changes when sleepers are woken
	seen   []uint32      // by each worker, of alarm
	fault  atomic.Pointer[fault]

	lock   sync.Mutex // guards what follows
	ctx    context.Context
	course *course    // of the run that is going on, nil between runs
	called *sync.Cond // a run begins, or the pool is closed
	left   *sync.Cond // the last helper has left the run
	runs   int
	most   int // workers that take part in a run
	inside int // helpers in the run
	closed bool
	gone   sync.WaitGroup
}

// fault is what ended a run early, in one of its phases.
type fault struct {
	phase int
	err   error
}

// taskPanic is a panic inside a task, with the stack of the worker it happened on.
type taskPanic struct {
	value any
	stack []byte
}

func (p *taskPanic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func newPool(workers int) *pool {
	p := &pool{workers: workers, most: workers, seen: make([]uint32, workers)}
	p.called, p.left = sync.NewCond(&p.lock), sync.NewCond(&p.lock)
	for w := 1; w < workers; w++ {
		p.gone.Go(func() { p.help(w) })
	}
	return p
}

// run does all tasks of a course, each once, in its order and on all workers, and returns when they are finished. A panic in a task is
// returned as an error, with the phase it happened in, and so is the cause when ctx is done, with -1; what had not begun is left out.
func (p *pool) run(ctx context.Context, c *course) (phase int, err error) {
	c.run++
	c.begun = time.Now()
	p.next.Store(0)
	p.mark.Store(0)
	p.wanted.Store(math.MaxInt64)
	p.fault.Store(nil)
	p.lock.Lock()
	p.ctx, p.course = ctx, c
	p.runs++
	p.lock.Unlock()
	p.called.Broadcast()

	p.work(ctx, c, 0)

	p.lock.Lock()
	p.ctx, p.course = nil, nil
	for p.inside > 0 {
		p.left.Wait()
	}
	p.lock.Unlock()
	if f := p.fault.Load(); f != nil {
		return f.phase, f.err
	}
	return 0, nil
}

// help is the life of worker w.
func (p *pool) help(w int) {
	p.lock.Lock()
	defer p.lock.Unlock()
	for seen := 0; ; {
		for p.runs == seen && !p.closed {
			p.called.Wait()
		}
		if p.closed {
			return
		}
		seen = p.runs
		ctx, c := p.ctx, p.course
		if c == nil || w >= p.most { // it is over already, or for others
			continue
		}
		p.inside++
		p.lock.Unlock()
		p.work(ctx, c, w)
		p.lock.Lock()
		if p.inside--; p.inside == 0 {
			p.left.Signal()
		}
	}
}

// work takes tasks until none is left.
func (p *pool) work(ctx context.Context, c *course, worker int) {
	for k := 0; ; {
		t := int(p.next.Add(1) - 1)
		if t >= c.tasks() {
			return
		}
		for t >= c.first[k+1] {
			k++
		}
		p.wait(worker, int64(c.first[k]))
		if t == c.first[k] {
			if err := stopped(ctx); err != nil {
				p.fail(-1, err)
			}
		}
		if p.fault.Load() != nil {
			return
		}
		if c.trace != nil {
			c.trace[t] = Task{Phase: k, Worker: worker, Begin: time.Since(c.begun)}
		}
		p.attempt(c, k, t-c.first[k], worker)
		if c.trace != nil {
			c.trace[t].End = time.Since(c.begun)
		}
		p.finish(c, t)
	}
}

// attempt does one task.
func (p *pool) attempt(c *course, phase, task, worker int) {
	defer func() {
		if r := recover(); r != nil {
			p.fail(phase, &taskPanic{r, debug.Stack()})
		}
	}()
	c.phases[phase].do(task, worker)
}

// finish notes that a task is done, moves the mark as far as it can go, and wakes who slept for that.
func (p *pool) finish(c *course, task int) {
	c.done[task].Store(c.run)
	m := p.mark.Load()
	for int(m) < len(c.done) && c.done[m].Load() == c.run {
		p.mark.CompareAndSwap(m, m+1)
		m = p.mark.Load()
	}
	if m >= p.wanted.Load() {
		p.wake()
	}
}

// fail ends the run; nobody waits for tasks that nobody will do.
func (p *pool) fail(phase int, err error) {
	if p.fault.CompareAndSwap(nil, &fault{phase, err}) {
		p.mark.Store(math.MaxInt64)
		p.wake()
	}
}

// wake wakes all who sleep; who wants to, sleeps again.
func (p *pool) wake() {
	p.wanted.Store(math.MaxInt64)
	p.alarm.Add(1)
	ring(&p.alarm)
}

// patience is for how long a worker spins before it sleeps.
const patience = 300 * time.Microsecond

// wait returns when all tasks before the given one are finished.
func (p *pool) wait(worker int, before int64) {
	if p.mark.Load() >= before {
		return
	}
	for begin := time.Now(); time.Since(begin) < patience; {
		for range 64 {
			if p.mark.Load() >= before {
				return
			}
		}
		runtime.Gosched() // there may be fewer processors than workers, and this one be what the last of them waits for
	}
	for {
		p.seen[worker] = p.alarm.Load()
		for w := p.wanted.Load(); w > before && !p.wanted.CompareAndSwap(w, before); w = p.wanted.Load() {
		}
		if p.mark.Load() >= before { // who moved it before it was wanted has woken nobody
			return
		}
		sleep(&p.alarm, &p.seen[worker])
	}
}

// limit lets no more than n workers take part in the runs to come.
func (p *pool) limit(n int) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.most = n
}

// close ends the helpers.
func (p *pool) close() {
	p.lock.Lock()
	p.closed = true
	p.lock.Unlock()
	p.called.Broadcast()
	p.gone.Wait()
}
