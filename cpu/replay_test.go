package cpu

import (
	"runtime"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
)

// tasks makes a trace of phases of tasks that took so many milliseconds each.
func tasks(phases ...[]int) (trace []Task) {
	for k, all := range phases {
		for _, ms := range all {
			trace = append(trace, Task{Phase: k, Begin: time.Hour, End: time.Hour + time.Duration(ms)*time.Millisecond})
		}
	}
	return trace
}

// lost are milliseconds lost to few tasks, uneven ends and barriers.
func lost(few, uneven, barriers float64) (all [3]time.Duration) {
	for i, ms := range []float64{few, uneven, barriers} {
		all[i] = time.Duration(ms * float64(time.Millisecond))
	}
	return all
}

func TestReplay(t *testing.T) {
	for _, c := range []struct {
		name  string
		trace []Task
		crew  Crew
		want  int // milliseconds
		lost  [3]time.Duration
	}{
		{"nothing", nil, Alike(2, time.Second), 0, lost(0, 0, 0)},
		{"one worker does all", tasks([]int{3, 4}, []int{5}), Alike(1, 0), 12, lost(0, 0, 0)},
		{"a barrier costs", tasks([]int{3, 4}, []int{5}), Alike(1, 10*time.Millisecond), 22, lost(0, 0, 10)},
		{"a phase waits for the slowest of the one before", tasks([]int{6, 2}, []int{4, 4}), Alike(2, 0), 10, lost(0, 2, 0)},
		{"who is free first takes the next", tasks([]int{5, 2, 2, 2}), Alike(2, 0), 6, lost(0, 0.5, 0)},
		{"fewer tasks than workers", tasks([]int{7}, []int{3, 3}), Alike(4, 0), 10, lost(6.75, 0, 0)},
		{"who is half as fast takes half as many", tasks([]int{2, 2, 2, 2, 2, 2}), Crew{Speeds: []float64{1, 0.5}}, 8, lost(0, 0, 0)},
		{"and holds up the others with the last", tasks([]int{4, 4, 4, 3}), Crew{Speeds: []float64{1, 0.5}}, 11, lost(0, 1, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Replay(c.trace, c.crew)
			if got.Total != time.Duration(c.want)*time.Millisecond {
				t.Errorf("%v, want %d ms", got.Total, c.want)
			}
			if lost := [3]time.Duration{got.Few, got.Uneven, got.Barriers}; lost != c.lost {
				t.Errorf("lost %v, want %v", lost, c.lost)
			}
		})
	}
}

func TestBarrier(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	trace := []Task{
		{Phase: 0, Worker: 0, Begin: 0, End: ms(5)}, {Phase: 0, Worker: 1, Begin: ms(1), End: ms(4)},
		{Phase: 1, Worker: 0, Begin: ms(6), End: ms(9)}, {Phase: 1, Worker: 1, Begin: ms(8), End: ms(10)}, {Phase: 1, Worker: 0, Begin: ms(9), End: ms(12)},
		{Phase: 2, Worker: 1, Begin: ms(15), End: ms(16)},
		{Phase: 3, Worker: 1, Begin: ms(30), End: ms(31)},
	}
	if got := Barrier(trace); got != ms(3) { // 1, 3 and 3; the last is not counted
		t.Errorf("%v, want 3 ms", got)
	}
}

// TestTrace traces a network: every task is there, in its phase, after the phases before it, and all are replayed.
func TestTrace(t *testing.T) {
	const workers = 2
	n := newNetwork(t, Options{Workers: workers})
	n.run(t)
	trace, err := Trace(t.Context(), n.exe, n.out, n.in)
	if err != nil {
		t.Fatal(err)
	}
	if want := n.exe.(*executable).course.tasks(); len(trace) != want {
		t.Fatalf("%d tasks, want %d", len(trace), want)
	}
	var over, end, sum time.Duration // ends of the phases before and of all so far, and how long all took
	for i, task := range trace {
		if i > 0 && task.Phase != trace[i-1].Phase {
			over = end
		}
		end, sum = max(end, task.End), sum+task.End-task.Begin
		if task.Begin < over || task.End < task.Begin || task.Worker < 0 || task.Worker >= workers {
			t.Fatalf("task %d, %+v, after phases that ended at %v", i, task, over)
		}
	}
	if one, two := Replay(trace, Alike(1, 0)).Total, Replay(trace, Alike(2, 0)).Total; one != sum || two < sum/2 || two >= sum {
		t.Errorf("replayed in %v by one, in %v by two, of %v", one, two, sum)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if trace, err = Trace(t.Context(), n.exe, n.out, n.in); err != nil {
		t.Fatal(err)
	}
	for i, task := range trace {
		if task.Worker != 0 {
			t.Fatalf("task %d is of worker %d, on one processor", i, task.Worker)
		}
	}
	seconds := 0.0
	n.exe.(compute.Profiler).Profile(func(_ int, s float64) { seconds += s })
	n.run(t)
	if seconds <= 0 {
		t.Error("the profile tells of no time")
	}
}
