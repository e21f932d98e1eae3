package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// pool is a fixed crew of workers, the calling goroutine being worker 0. One do at a time.
//
// Ops take from microseconds to a second, and a program has hundreds of them, so between two ops of a run the
// workers spin instead of sleeping; after the run they park.
type pool struct {
	workers int

	// The task at hand, written by the caller before it advances turn.
	task  func(task, worker int)
	tasks int64
	next  atomic.Int64 // next task to take
	busy  atomic.Int64 // helpers that have not finished this turn
	turn  atomic.Int64 // advanced for each do; helpers follow it
	fault atomic.Pointer[taskPanic]

	parked sync.Mutex // guards awake and closed
	wake   *sync.Cond
	awake  bool
	closed bool
	done   sync.WaitGroup
}

// taskPanic is a panic inside a task, with the stack of the worker it happened on.
type taskPanic struct {
	value any
	stack []byte
}

func (p *taskPanic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func newPool(workers int) *pool {
	p := &pool{workers: workers}
	p.wake = sync.NewCond(&p.parked)
	for w := 1; w < workers; w++ {
		p.done.Add(1)
		go p.help(w)
	}
	return p
}

// begin wakes the helpers; until the matching end they spin for work.
func (p *pool) begin() { p.setAwake(true) }

// end lets the helpers park.
func (p *pool) end() { p.setAwake(false) }

func (p *pool) setAwake(awake bool) {
	p.parked.Lock()
	p.awake = awake
	p.parked.Unlock()
	if awake {
		p.wake.Broadcast()
	}
}

// do runs task(0…n-1), each once, on all workers, and returns when all are finished. It must be called between
// begin and end. A panic in a task is returned as an error after the others are done.
func (p *pool) do(n int, task func(task, worker int)) error {
	p.task, p.tasks = task, int64(n)
	p.next.Store(0)
	if p.workers > 1 && n > 1 {
		p.busy.Store(int64(p.workers - 1))
		p.turn.Add(1)
		p.work(0)
		for spins := 0; p.busy.Load() != 0; spins++ {
			relax(spins)
		}
	} else {
		p.work(0)
	}
	if fault := p.fault.Swap(nil); fault != nil {
		return fault
	}
	return nil
}

// work takes tasks until none is left.
func (p *pool) work(worker int) {
	defer func() {
		if r := recover(); r != nil {
			p.fault.CompareAndSwap(nil, &taskPanic{r, debug.Stack()})
			p.next.Store(p.tasks)
		}
	}()
	for {
		t := p.next.Add(1) - 1
		if t >= p.tasks {
			return
		}
		p.task(int(t), worker)
	}
}

// help is the life of worker w.
func (p *pool) help(w int) {
	defer p.done.Done()
	var seen int64
	for {
		for spins := 0; p.turn.Load() == seen; spins++ {
			relax(spins)
			if spins%256 == 255 && !p.stayAwake() {
				return
			}
		}
		seen = p.turn.Load()
		p.work(w)
		p.busy.Add(-1)
	}
}

// stayAwake parks the calling helper while no run is going on; it reports false once the pool is closed.
func (p *pool) stayAwake() bool {
	p.parked.Lock()
	defer p.parked.Unlock()
	for !p.awake && !p.closed {
		p.wake.Wait()
	}
	return !p.closed
}

// relax is one turn of a waiting loop: mostly nothing, now and then a chance for other goroutines, without which more workers
// than processors would wait for each other. Who waits for long gives other threads a chance, for where several programs share
// the processors one of them may be the worker that is waited for.
func relax(spins int) {
	const long = 1 << 12 // some ten microseconds
	if spins%64 == 63 {
		runtime.Gosched()
	}
	if spins >= long && spins%256 == 255 {
		yield()
	}
}

// close ends the helpers.
func (p *pool) close() {
	p.parked.Lock()
	p.closed = true
	p.parked.Unlock()
	p.wake.Broadcast()
	p.done.Wait()
}
