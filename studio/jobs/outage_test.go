package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/atelier-go/atelier/studio/jobs"
)

// TestOutage takes the server away from two workers, one of which has a job, for much longer than a worker may be silent. The job stays with its
// worker, which writes down its end when the server is there again; what others do and ask for meanwhile is heard of.
func TestOutage(t *testing.T) {
	const heartbeat = 600 * time.Millisecond // so that slow machines are back in time
	for _, c := range []struct {
		name    string
		restart bool
	}{{"network", false}, {"server", true}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := serveIn(t, &server.Options{StoreDir: dir})
			way := newNetwork(t, s.Addr().String())
			queues := make([]*jobs.Queue, 3) // of one who submits and of two workers
			for i := range queues {
				q, err := jobs.Open(t.Context(), jobs.Options{URL: way.url(), Heartbeat: heartbeat})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { close1(t, q) })
				queues[i] = q
			}
			var begun atomic.Int32 // of the long job
			away := make(chan struct{})
			handler := func(ctx context.Context, task *jobs.Task) error {
				if task.Job.Title != "long" {
					return nil
				}
				begun.Add(1)
				<-away
				for err := error(nil); ; time.Sleep(heartbeat) { // as handlers do that want to store something
					if err = task.Save(ctx, "0.png", strings.NewReader("x")); !errors.Is(err, jobs.ErrUnreachable) {
						return err
					}
				}
			}
			work(t, queues[1], "first", handler)
			long := submit(t, queues[0], jobs.Job{Title: "long"})
			until(t, queues[0], long.ID, running)
			work(t, queues[2], "second", handler)
			way.lead("")
			if c.restart {
				s.Shutdown()
				s.WaitForShutdown()
			}
			time.Sleep(7 * heartbeat)
			ctx, stop := context.WithTimeout(t.Context(), heartbeat)
			if _, err := queues[0].Submit(ctx, jobs.Job{Kind: "draw"}); err == nil {
				t.Error("a job is taken by a server that is not there")
			}
			stop()
			close(away)
			if c.restart {
				s = serveIn(t, &server.Options{StoreDir: dir})
			}
			way.lead(s.Addr().String())
			if j := until(t, queues[0], long.ID, ended); j.State != jobs.Done || j.Attempt != 1 || j.Worker != "first" || len(j.Files) != 1 {
				t.Errorf("the job is %+v", j)
			}
			next := submit(t, queues[0], jobs.Job{})
			for _, q := range queues { // all hear of it
				if j := until(t, q, next.ID, func(j jobs.Job) bool { return j.ID != "" && ended(j) }); j.State != jobs.Done {
					t.Errorf("a job after the outage is %+v", j)
				}
			}
			if n := begun.Load(); n != 1 {
				t.Errorf("the job was begun %d times", n)
			}
		})
	}
}

// TestRemovedMeanwhile removes a job while another process is away, which knows it when it is back.
func TestRemovedMeanwhile(t *testing.T) {
	s := serveIn(t, &server.Options{StoreDir: t.TempDir()})
	way := newNetwork(t, s.Addr().String())
	here, err := jobs.Open(t.Context(), jobs.Options{URL: s.ClientURL(), Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	defer close1(t, here)
	there, err := jobs.Open(t.Context(), jobs.Options{URL: way.url(), Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	defer close1(t, there)
	j := submit(t, here, jobs.Job{})
	until(t, there, j.ID, func(j jobs.Job) bool { return j.State == jobs.Pending })
	way.lead("")
	if err := here.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	other := submit(t, here, jobs.Job{})
	way.lead(s.Addr().String())
	until(t, there, other.ID, func(j jobs.Job) bool { return j.State == jobs.Pending })
	until(t, there, j.ID, func(j jobs.Job) bool { return j.State == jobs.Removed || j.ID == "" })
}

// TestFull has a server whose disk is full: what cannot be stored says so, the job fails with it, and all goes on when there is room.
func TestFull(t *testing.T) {
	s := serveIn(t, &server.Options{StoreDir: t.TempDir(), JetStreamMaxStore: 4 << 20})
	q, err := jobs.Open(t.Context(), jobs.Options{URL: s.ClientURL(), Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	defer close1(t, q)
	if _, err := q.Put(t.Context(), "old", bytes.NewReader(make([]byte, 3<<20))); err != nil {
		t.Fatal(err)
	}
	work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
		return task.Save(ctx, "0.png", bytes.NewReader(make([]byte, 2<<20)))
	})
	j := until(t, q, submit(t, q, jobs.Job{}).ID, ended)
	if j.State != jobs.Failed || !strings.Contains(j.Error, "disk is full") || len(j.Files) != 0 {
		t.Fatalf("the job is %+v", j)
	}
	if err := q.Delete(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Retry(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j := until(t, q, j.ID, ended); j.State != jobs.Done || len(j.Files) != 1 {
		t.Errorf("with room again the job is %+v", j)
	}
}

// TestSlowReader reads a file for longer than the server would wait, were all of it to come at once.
func TestSlowReader(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits six seconds; -short leaves it out")
	}
	q := queue(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if _, err := q.Put(t.Context(), "large", bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	r, err := q.Get(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := make([]byte, 1000)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Second)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(first, rest...), want) {
		t.Errorf("%d bytes, %v", len(first)+len(rest), err)
	}
}

// TestLacks has a job that waits for a worker with what it needs: others leave it, and say what it waits for.
func TestLacks(t *testing.T) {
	q := queue(t)
	lacking := func(name string) jobs.Worker {
		return jobs.Worker{
			Name: name, Handlers: map[string]jobs.Handler{"draw": func(context.Context, *jobs.Task) error { return nil }},
			Lacks: func(j jobs.Job) string {
				if j.Title == "rare" && name != "rich" {
					return "a worker with the checkpoint \"rare\""
				}
				return ""
			},
		}
	}
	start := func(name string) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); q.Work(ctx, lacking(name)) }()
		t.Cleanup(func() { cancel(); <-done })
	}
	start("poor")
	start("also poor")
	rare := submit(t, q, jobs.Job{Title: "rare"})
	j := until(t, q, rare.ID, func(j jobs.Job) bool { return j.Waits != "" })
	if j.State != jobs.Pending || j.Attempt != 0 || !strings.Contains(j.Waits, "rare") {
		t.Errorf("the job is %+v", j)
	}
	if j := until(t, q, submit(t, q, jobs.Job{Title: "usual"}).ID, ended); j.State != jobs.Done {
		t.Errorf("what comes after it is %+v", j)
	}
	start("rich")
	if j := until(t, q, rare.ID, ended); j.State != jobs.Done || j.Worker != "rich" || j.Waits != "" {
		t.Errorf("the job is %+v", j)
	}
}

// TestPersistent is a long job whose workers vanish more often than a job may kill them, each after it has stored something.
func TestPersistent(t *testing.T) {
	dir := t.TempDir()
	const lives = 8
	var id string
	for life := range lives + 1 {
		q := open(t, dir)
		stop := work(t, q, "here", func(ctx context.Context, task *jobs.Task) error {
			if err := task.Keep(ctx, "state", strings.NewReader(fmt.Sprint(task.Job.Attempt))); err != nil || task.Job.Attempt > lives {
				return err
			}
			<-ctx.Done() // which comes when the queue is closed already, as if it were killed
			return nil
		})
		if life == 0 {
			id = submit(t, q, jobs.Job{}).ID
		}
		if life == lives {
			if j := until(t, q, id, ended); j.State != jobs.Done || j.Attempt != lives+1 {
				t.Errorf("the job is %+v", j)
			}
			stop()
			close1(t, q)
			return
		}
		until(t, q, id, func(j jobs.Job) bool {
			return j.State == jobs.Running && j.Attempt == life+1 && j.Vain == 0 && slices.Contains(j.Kept, "state")
		})
		close1(t, q)
		stop()
	}
}
