package cpu

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
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
