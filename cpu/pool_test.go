package cpu

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEveryTaskOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		p := newPool(workers)
		for _, n := range []int{0, 1, 2, 100} {
			runs := make([]atomic.Int32, n)
			_, err := p.run(t.Context(), newCourse([]phase{{n, func(task, worker int) {
				if worker < 0 || worker >= workers {
					t.Errorf("worker %d of %d", worker, workers)
				}
				runs[task].Add(1)
			}}}))
			if err != nil {
				t.Fatal(err)
			}
			for i := range runs {
				if got := runs[i].Load(); got != 1 {
					t.Errorf("%d workers, %d tasks: task %d ran %d times", workers, n, i, got)
				}
			}
		}
		p.close()
	}
}

// TestPoolKeepsPhasesApart has tasks look whether all of the phases before are done, though some of these take so long that the others sleep, with more workers
// than processors too.
func TestPoolKeepsPhasesApart(t *testing.T) {
	for _, processors := range []int{1, runtime.GOMAXPROCS(0)} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		p := newPool(5)
		var done atomic.Int64
		var phases []phase
		before := int64(0)
		for k := range 60 {
			n, from := k%9, before
			phases = append(phases, phase{n, func(task, _ int) {
				if d := done.Load(); d < from || d >= from+int64(n) {
					t.Errorf("phase %d of %d tasks begins a task after %d, want %d before it", k, n, d, from)
				}
				if (k+task)%5 == 0 {
					time.Sleep(5 * patience)
				}
				done.Add(1)
			}})
			before += int64(n)
		}
		total := before
		c := newCourse(phases)
		for range 5 {
			done.Store(0)
			if _, err := p.run(t.Context(), c); err != nil || done.Load() != total {
				t.Fatalf("%d of %d tasks done, error %v", done.Load(), total, err)
			}
		}
		p.close()
	}
}

// A panic in a kernel must not end the program: it becomes an error with the worker's stack, and the pool goes on.
func TestPoolTurnsPanicsIntoErrors(t *testing.T) {
	p := newPool(3)
	defer p.close()
	after := atomic.Int32{}
	_, err := p.run(t.Context(), newCourse([]phase{{50, func(task, _ int) {
		if task == 17 {
			panic("broken kernel")
		}
	}}, {50, func(int, int) { after.Add(1) }}}))
	var fault *taskPanic
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "broken kernel") || !strings.Contains(err.Error(), "pool_test.go") {
		t.Errorf("the error %v does not tell the panic and where it was", err)
	}
	if after.Load() != 0 {
		t.Errorf("%d tasks of the phase after the panic ran", after.Load())
	}
	ran := atomic.Int32{}
	if _, err := p.run(t.Context(), newCourse([]phase{{50, func(int, int) { ran.Add(1) }}})); err != nil || ran.Load() != 50 {
		t.Errorf("afterwards %d of 50 tasks ran, error %v", ran.Load(), err)
	}
}
