package driver

import (
	"runtime"
	"sync"
)

// thread is an operating-system thread of its own, on which functions run one after the other.
type thread struct {
	mu     sync.Mutex
	work   chan func() error
	result chan outcome
}

// outcome is how a function ended.
type outcome struct {
	err      error
	panicked any
}

func newThread() *thread {
	t := &thread{work: make(chan func() error), result: make(chan outcome)}
	go t.run()
	return t
}

// run never unlocks its thread, which therefore ends with it: nobody else gets a thread on which a context is current.
func (t *thread) run() {
	runtime.LockOSThread()
	for f := range t.work {
		t.result <- try(f)
	}
}

func try(f func() error) (o outcome) {
	defer func() { o.panicked = recover() }()
	return outcome{err: f()}
}

// do runs f on the thread and waits for it. A panic of f is the caller's.
func (t *thread) do(f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.work <- f
	o := <-t.result
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

func (t *thread) close() { close(t.work) }
