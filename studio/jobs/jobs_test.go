package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/studio/jobs"
)

const heartbeat = 40 * time.Millisecond

// open opens a queue in a folder.
func open(t *testing.T, dir string) *jobs.Queue {
	t.Helper()
	q, err := jobs.Open(t.Context(), jobs.Options{Dir: dir, Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// queue is an open queue that the test closes.
func queue(t *testing.T) *jobs.Queue {
	q := open(t, t.TempDir())
	t.Cleanup(func() { close1(t, q) })
	return q
}

func close1(t *testing.T, q *jobs.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// work has a worker work until the test, or stop, ends it.
func work(t *testing.T, q *jobs.Queue, name string, h jobs.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Work(ctx, jobs.Worker{Name: name, Handlers: map[string]jobs.Handler{"draw": h}})
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func submit(t *testing.T, q *jobs.Queue, j jobs.Job) jobs.Job {
	t.Helper()
	if j.Kind == "" {
		j.Kind = "draw"
	}
	j, err := q.Submit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// until waits for a job to be as wanted.
func until(t *testing.T, q *jobs.Queue, id string, as func(jobs.Job) bool) jobs.Job {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	changes := q.Changes(ctx)
	if j, _ := q.Job(id); as(j) {
		return j
	}
	for j := range changes {
		if j.ID == id && as(j) {
			return j
		}
	}
	j, _ := q.Job(id)
	t.Fatalf("job %s stays %s with wish %q: %+v", id, j.State, j.Wish, j)
	return j
}

func ended(j jobs.Job) bool   { return j.State.Ended() }
func running(j jobs.Job) bool { return j.State == jobs.Running }

// waits is a handler that runs until its context is done.
func waits(ctx context.Context, _ *jobs.Task) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestJob(t *testing.T) {
	q := queue(t)
	photo := "a photo"
	if _, err := q.Put(t.Context(), "photo/1", strings.NewReader(photo)); err != nil {
		t.Fatal(err)
	}
	work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
		in, err := task.Input(ctx, "photo/1")
		if err != nil {
			return err
		}
		defer in.Close()
		task.Report(jobs.Progress{Stage: "drawing", Done: 1, Total: 2, Left: time.Minute})
		return task.Save(ctx, "1.png", io.MultiReader(in, bytes.NewReader(task.Job.Request)))
	})
	j := until(t, q, submit(t, q, jobs.Job{Request: []byte(`{"prompt":"a lighthouse"}`)}).ID, ended)
	if j.State != jobs.Done || j.Partial || j.Attempt != 1 || j.Worker != "here" || j.Finished.IsZero() || !slices.Equal(j.Files, []jobs.File{{Name: "1.png", Size: 32}}) {
		t.Errorf("the job is %+v", j)
	}
	out, err := q.Result(t.Context(), j.ID, "1.png")
	if err != nil {
		t.Fatal(err)
	}
	if have, err := io.ReadAll(out); err != nil || string(have) != photo+`{"prompt":"a lighthouse"}` {
		t.Errorf("the result is %q, %v", have, err)
	}
	if err := q.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Result(t.Context(), j.ID, "1.png"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the result of a job that was removed: %v", err)
	}
	until(t, q, j.ID, func(j jobs.Job) bool { return j.State == jobs.Removed || j.ID == "" })
}

func TestFailures(t *testing.T) {
	q := queue(t)
	work(t, q, "here", func(_ context.Context, task *jobs.Task) error {
		if task.Job.Title == "panic" {
			panic("oh")
		}
		return errors.New("no disk left")
	})
	for title, want := range map[string]string{"error": "no disk left", "panic": "this is a fault of the program: oh"} {
		if j := until(t, q, submit(t, q, jobs.Job{Title: title}).ID, ended); j.State != jobs.Failed || j.Error != want {
			t.Errorf("%s: the job is %s with %q", title, j.State, j.Error)
		}
	}
}

// TestOrder runs jobs by priority, then as they were moved.
func TestOrder(t *testing.T) {
	q := queue(t)
	var ids []string
	for _, j := range []jobs.Job{{Title: "a"}, {Title: "b"}, {Title: "c"}, {Title: "urgent", Priority: 1}, {Title: "d"}} {
		ids = append(ids, submit(t, q, j).ID)
	}
	for _, move := range [][2]string{{ids[4], ids[1]}, {ids[0], ""}} { // d before b, a to the end
		if _, err := q.Move(t.Context(), move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	work(t, q, "here", func(_ context.Context, task *jobs.Task) error { order = append(order, task.Job.Title); return nil })
	until(t, q, ids[0], ended)
	if have := strings.Join(order, " "); have != "urgent d b c a" {
		t.Errorf("they ran as %s", have)
	}
}

func TestWishes(t *testing.T) {
	for _, c := range []struct {
		wish    jobs.Wish
		state   jobs.State
		partial bool
	}{{jobs.Interrupt, jobs.Done, true}, {jobs.Cancel, jobs.Cancelled, false}, {jobs.Finish, jobs.Done, true}} {
		t.Run(string(c.wish), func(t *testing.T) {
			q := queue(t)
			work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
				for i := 0; task.Wish() != jobs.Finish; i++ {
					if err := task.Save(context.WithoutCancel(ctx), fmt.Sprint(i), strings.NewReader("x")); err != nil {
						return err
					}
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(time.Millisecond):
					}
				}
				return nil
			})
			j := until(t, q, submit(t, q, jobs.Job{}).ID, func(j jobs.Job) bool { return len(j.Files) > 0 })
			if _, err := q.Ask(t.Context(), j.ID, c.wish); err != nil {
				t.Fatal(err)
			}
			j = until(t, q, j.ID, ended)
			if j.State != c.state || j.Partial != c.partial || j.Error != "" {
				t.Errorf("the job is %s, partial %t, %q", j.State, j.Partial, j.Error)
			}
			if out, err := q.Result(t.Context(), j.ID, "0"); (err == nil) != c.partial {
				t.Errorf("its first result: %v, %v", out, err)
			}
			var wrong *jobs.StateError
			if _, err := q.Ask(t.Context(), j.ID, jobs.Cancel); !errors.As(err, &wrong) || wrong.State != c.state {
				t.Errorf("asking again: %v", err)
			}
		})
	}
	t.Run("skip", func(t *testing.T) {
		q := queue(t)
		work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
			for skips := 0; skips < 2; time.Sleep(time.Millisecond) {
				if task.Skipped() {
					skips++
					task.Report(jobs.Progress{Done: skips})
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return nil
		})
		j := until(t, q, submit(t, q, jobs.Job{}).ID, running)
		q.Ask(t.Context(), j.ID, jobs.Skip)
		until(t, q, j.ID, func(j jobs.Job) bool { return j.Progress.Done == 1 && j.Wish == "" })
		q.Ask(t.Context(), j.ID, jobs.Skip)
		if j := until(t, q, j.ID, ended); j.State != jobs.Done || j.Partial {
			t.Errorf("the job is %+v", j)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		q := queue(t)
		j := submit(t, q, jobs.Job{})
		if _, err := q.Ask(t.Context(), j.ID, jobs.Skip); err == nil {
			t.Error("a job that waits was skipped")
		}
		if j, err := q.Ask(t.Context(), j.ID, jobs.Cancel); err != nil || j.State != jobs.Cancelled {
			t.Errorf("cancelled while it waits: %+v, %v", j, err)
		}
		if j, err := q.Retry(t.Context(), j.ID); err != nil || j.State != jobs.Pending {
			t.Errorf("once more: %+v, %v", j, err)
		}
		var missing *jobs.NotFoundError
		if _, err := q.Ask(t.Context(), "no such job", jobs.Cancel); !errors.As(err, &missing) {
			t.Errorf("a job that is not there: %v", err)
		}
	})
}

// TestWorkerEnds ends workers in the middle of a job: one that says so, and one that is heard of no more, which comes back.
func TestWorkerEnds(t *testing.T) {
	q := queue(t)
	stop := work(t, q, "first", func(ctx context.Context, task *jobs.Task) error {
		if err := task.Keep(ctx, "state", strings.NewReader("step 5")); err != nil {
			return err
		}
		return waits(ctx, task)
	})
	j := until(t, q, submit(t, q, jobs.Job{}).ID, func(j jobs.Job) bool { return len(j.Kept) == 1 })
	stop()
	if j, _ := q.Job(j.ID); j.State != jobs.Pending || j.Attempt != 0 {
		t.Fatalf("a worker was told to end, and its job is %+v", j)
	}
	work(t, q, "second", func(ctx context.Context, task *jobs.Task) error {
		state, err := task.Kept(ctx, "state")
		if err != nil {
			return err
		}
		defer state.Close()
		return task.Save(ctx, "lora", state)
	})
	if j := until(t, q, j.ID, ended); j.State != jobs.Done || j.Worker != "second" || j.Attempt != 1 {
		t.Errorf("the job is %+v", j)
	}
}

// TestAgain: a job that is done is done again with another request, from what was kept of the first time.
func TestAgain(t *testing.T) {
	q := queue(t)
	work(t, q, "a", func(ctx context.Context, task *jobs.Task) error {
		before := "nothing"
		if r, err := task.Kept(ctx, "state"); err == nil {
			data, err := io.ReadAll(r)
			r.Close()
			if before = string(data); err != nil {
				return err
			}
		}
		if err := task.Keep(ctx, "state", strings.NewReader(string(task.Job.Request))); err != nil {
			return err
		}
		return task.Save(ctx, "before", strings.NewReader(before))
	})
	done := func(j jobs.Job) bool { return j.State == jobs.Done }
	j := until(t, q, submit(t, q, jobs.Job{Request: json.RawMessage(`1`)}).ID, done)
	if _, err := q.Again(t.Context(), j.ID, json.RawMessage(`2`)); err != nil {
		t.Fatal(err)
	}
	j = until(t, q, j.ID, func(j jobs.Job) bool { return done(j) && string(j.Request) == "2" })
	r, err := q.Result(t.Context(), j.ID, "before")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if before, err := io.ReadAll(r); err != nil || string(before) != "1" {
		t.Errorf("the second time it goes on from %q, %v", before, err)
	}
}

// TestRestart opens the folder again after its process was gone: what ran waits, what was done is there.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	killing, end := context.WithCancel(context.Background())
	stop := work(t, q, "gone", func(ctx context.Context, task *jobs.Task) error {
		if task.Job.Title == "done" {
			return task.Save(ctx, "picture", strings.NewReader("x"))
		}
		<-killing.Done() // deaf to all else, as one that is killed
		return nil
	})
	defer stop()
	defer end()
	finished := submit(t, q, jobs.Job{Title: "done"})
	until(t, q, finished.ID, ended)
	killed, waiting := submit(t, q, jobs.Job{Title: "killed"}), submit(t, q, jobs.Job{Title: "waiting"})
	until(t, q, killed.ID, running)

	var held *filelock.HeldError
	if _, err := jobs.Open(t.Context(), jobs.Options{Dir: dir}); !errors.As(err, &held) {
		t.Errorf("a second process opened the folder: %v", err)
	}
	close1(t, q)
	q = open(t, dir)
	defer close1(t, q)
	for id, want := range map[string]jobs.State{finished.ID: jobs.Done, killed.ID: jobs.Pending, waiting.ID: jobs.Pending} {
		if j, ok := q.Job(id); !ok || j.State != want {
			t.Errorf("after the restart job %s is %+v, want %s", j.Title, j, want)
		}
	}
	if _, err := q.Result(t.Context(), finished.ID, "picture"); err != nil {
		t.Error(err)
	}
}

// TestManyWorkers has workers, each with a connection of its own to one server, vanish at random: every job has its result, made
// by the worker that its record names.
func TestManyWorkers(t *testing.T) {
	url := serve(t)
	const count, workers, heartbeat = 60, 3, 200 * time.Millisecond // so that none that is slow is taken to be gone
	front, err := jobs.Open(t.Context(), jobs.Options{URL: url, Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	defer close1(t, front)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for life := 0; ctx.Err() == nil; life++ {
				live(ctx, t, jobs.Options{URL: url, Heartbeat: heartbeat}, fmt.Sprintf("%d.%d", n, life))
			}
		})
	}
	var ids []string
	for range count {
		ids = append(ids, submit(t, front, jobs.Job{}).ID)
	}
	for _, id := range ids {
		j := until(t, front, id, ended)
		out, err := front.Result(t.Context(), id, "who")
		if err != nil {
			t.Fatal(j, err)
		}
		who, err := io.ReadAll(out)
		if j.State != jobs.Done || err != nil || string(who) != fmt.Sprint(j.Worker, j.Attempt) || len(j.Files) != 1 {
			t.Errorf("job %+v was done by %q, %v", j, who, err)
		}
	}
	stop()
	all.Wait()
}

// live is a worker's life: after some jobs it vanishes in the middle of one.
func live(ctx context.Context, t *testing.T, o jobs.Options, name string) {
	q, err := jobs.Open(ctx, o)
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := 1 + rand.IntN(12)
	err = q.Work(ctx, jobs.Worker{Name: name, Handlers: map[string]jobs.Handler{"draw": func(ctx context.Context, task *jobs.Task) error {
		if left--; left <= 0 && task.Job.Vain <= 3 { // of a job over which more vanish the queue despairs
			q.Close() // as a process that is killed: nothing more is said
			cancel()
			return errors.New("gone")
		}
		return task.Save(ctx, "who", strings.NewReader(fmt.Sprint(name, task.Job.Attempt)))
	}}})
	if left > 0 && ctx.Err() == nil {
		t.Error(err)
	}
	q.Close()
}

// TestKillers gives up a job over which worker after worker vanishes.
func TestKillers(t *testing.T) {
	url := serve(t)
	front, err := jobs.Open(t.Context(), jobs.Options{URL: url, Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	defer close1(t, front)
	id := submit(t, front, jobs.Job{}).ID
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		if j, _ := front.Job(id); j.State.Ended() {
			break
		}
		q, err := jobs.Open(ctx, jobs.Options{URL: url, Heartbeat: heartbeat})
		if err != nil {
			t.Fatal(err)
		}
		one, cancel := context.WithTimeout(ctx, 10*heartbeat)
		q.Work(one, jobs.Worker{Name: "doomed", Handlers: map[string]jobs.Handler{"draw": func(context.Context, *jobs.Task) error {
			q.Close()
			cancel()
			return nil
		}}})
		cancel()
		q.Close()
	}
	if j, _ := front.Job(id); j.State != jobs.Failed || !strings.Contains(j.Error, "5 workers ended in the middle of it") {
		t.Errorf("the job is %+v", j)
	}
}

// TestSlowLooker has somebody look at changes who does not come to it: he gets each job once, as it is then.
func TestSlowLooker(t *testing.T) {
	q := queue(t)
	changes := q.Changes(t.Context())
	work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
		for i := range 50 {
			task.Report(jobs.Progress{Done: i})
			task.Preview([]byte{byte(i)})
		}
		return nil
	})
	id := submit(t, q, jobs.Job{}).ID
	until(t, q, id, ended)
	for j := range changes {
		if j.ID != id || j.State != jobs.Done {
			t.Errorf("seen first: %+v", j)
		}
		break
	}
	if p := q.Preview(id); p != nil {
		t.Errorf("a job that is done shows %v", p)
	}
}

func TestPreview(t *testing.T) {
	q := queue(t)
	work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
		task.Preview([]byte("half a face"))
		return waits(ctx, task)
	})
	id := submit(t, q, jobs.Job{}).ID
	until(t, q, id, func(jobs.Job) bool { return string(q.Preview(id)) == "half a face" })
}

func TestOptions(t *testing.T) {
	for _, o := range []jobs.Options{{}, {Dir: "x", URL: "nats://127.0.0.1"}, {URL: "nats://user:secret@127.0.0.1:1"}} {
		q, err := jobs.Open(t.Context(), o)
		if err == nil {
			q.Close()
			t.Errorf("%+v was opened", o)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	q := queue(t)
	if _, err := q.Submit(t.Context(), jobs.Job{}); err == nil {
		t.Error("a job without a kind was taken")
	}
}
