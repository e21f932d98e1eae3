package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// The variables by which the test binary knows that it is to be a server of the queue, and where.
const (
	serverDir  = "ATELIER_TEST_NATS_DIR"
	serverPort = "ATELIER_TEST_NATS_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverDir); dir != "" {
		serve(dir, os.Getenv(serverPort))
	}
	program.Main(m, main)
}

// serve runs a NATS server until it is killed.
func serve(dir, port string) {
	number, err := strconv.Atoi(port)
	var s *server.Server
	if err == nil {
		s, err = server.NewServer(&server.Options{JetStream: true, StoreDir: dir, Host: "127.0.0.1", Port: number, NoSigs: true, NoLog: true, SyncAlways: true})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Start()
	select {}
}

// process is one of the programs of the test.
type process struct {
	*exec.Cmd
	log string // a file
}

// start starts the test binary as something else.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self, args...), log: filepath.Join(t.TempDir(), "log")}
	p.Env = append(os.Environ(), env...)
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.Stderr, p.Stdout = log, log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut does.
func (p *process) kill() {
	if p.ProcessState == nil {
		p.Process.Kill()
		p.Wait() // says that it was killed
	}
}

// freePort is a port that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// open opens the queue, when its server is there.
func open(t *testing.T, url string, heartbeat time.Duration) *jobs.Queue {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		q, err := jobs.Open(t.Context(), jobs.Options{URL: url, Heartbeat: heartbeat})
		if err == nil {
			return q
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestKilled has three workers draw, of which one after the other is killed, and the server of the queue once too, and wants each result once.
func TestKilled(t *testing.T) {
	drawings, kills := 60, 6
	if testing.Short() {
		drawings, kills = 6, 1
	}
	const heartbeat = 400 * time.Millisecond
	port, dir := freePort(t), t.TempDir()
	url := "nats://127.0.0.1:" + port
	serverEnv := []string{serverDir + "=" + dir, serverPort + "=" + port}
	nats := start(t, serverEnv)
	q := open(t, url, heartbeat)
	t.Cleanup(func() { q.Close() })
	outputs := t.TempDir()
	stop := collect(t, q, outputs)
	ids := make(map[string]int64)
	for seed := range int64(drawings) {
		d := work.Draw{Request: sd.Request{Prompt: "a man", Width: 32, Height: 32, Steps: 2, Seed: seed}, Save: library.Txt2Img}
		j, err := work.Submit(t.Context(), q, jobs.Job{}, d)
		if err != nil {
			t.Fatal(err)
		}
		ids[j.ID] = seed
	}
	workers := make([]*process, 3)
	begin := func(i int) {
		workers[i] = start(t, []string{program.Started}, "-nats", url, "-heartbeat", heartbeat.String(), "-threads", "1", "-device", "cpu", "-work-dir", t.TempDir())
	}
	for i := range workers {
		begin(i)
	}
	for k := range kills { // each when some more is done, in the midst of something
		until(t, q, drawings*(k+1)/(kills+1)/2, workers)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		victim := rand.IntN(len(workers))
		workers[victim].kill()
		begin(victim)
		if k == kills/2 && runtime.GOOS != "windows" { // where the port of a killed program is not free at once
			stop() // whoever collects ends too, and another one goes on
			nats.kill()
			nats = start(t, serverEnv)
			stop = collect(t, q, outputs)
		}
	}
	until(t, q, drawings, workers)
	for id := range ids {
		j, _ := q.Job(id)
		var names []string
		for _, f := range j.Files {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if j.State != jobs.Done || !slices.Equal(names, []string{"0.png", "info.json"}) {
			t.Errorf("job %s is %s (%s) with %q after %d attempts", id, j.State, j.Error, names, j.Attempt)
		}
	}
	var saved []string
	for end := time.Now().Add(30 * time.Second); len(saved) < drawings && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		saved = pictures(t, outputs)
	}
	stop()
	if saved = pictures(t, outputs); len(saved) != drawings {
		t.Fatalf("%d pictures are saved, want %d", len(saved), drawings)
	}
	seeds := make(map[string]bool)
	for _, path := range saved {
		_, seed, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".png"), "-")
		seeds[seed] = true
	}
	if len(seeds) != drawings {
		t.Errorf("the pictures are of %d seeds, want %d", len(seeds), drawings)
	}
}

// until waits until so many jobs are done.
func until(t *testing.T, q *jobs.Queue, n int, workers []*process) {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		done := 0
		for _, j := range q.Jobs() {
			if j.State == jobs.Done {
				done++
			}
			if j.State == jobs.Failed {
				t.Fatalf("job %s failed: %s", j.ID, j.Error)
			}
		}
		if done >= n {
			return
		}
		if time.Now().After(end) {
			for _, w := range workers {
				log, _ := os.ReadFile(w.log)
				t.Logf("a worker says:\n%s", log)
			}
			t.Fatalf("%d jobs are done, want %d", done, n)
		}
	}
}

// collect saves what is drawn, until stop is called.
func collect(t *testing.T, q *jobs.Queue, dir string) (stop func()) {
	t.Helper()
	l, err := library.Open(library.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work.Collect(ctx, q, l, slog.New(slog.DiscardHandler)) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// pictures are the files among the outputs that are written whole.
func pictures(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "outputs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				paths = append(paths, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestStopped stops a worker in the middle of a job as Ctrl-C does, which puts the job back.
func TestStopped(t *testing.T) {
	port := freePort(t)
	url := "nats://127.0.0.1:" + port
	start(t, []string{serverDir + "=" + t.TempDir(), serverPort + "=" + port})
	q := open(t, url, 200*time.Millisecond)
	t.Cleanup(func() { q.Close() })
	j, err := work.Submit(t.Context(), q, jobs.Job{}, work.Draw{Request: sd.Request{Prompt: "a man", Width: 64, Height: 64, Steps: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	p := program.Start(t, "-nats", url, "-heartbeat", "200ms", "-name", "one", "-device", "cpu")
	p.Await("job begun")
	p.Interrupt()
	if status, log := p.End(); status != 0 || !strings.Contains(log, "put back") {
		t.Errorf("it exits with %d:\n%s", status, log)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if j, _ = q.Job(j.ID); j.State == jobs.Pending && strings.HasPrefix(j.Worker, "one, cpu") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the job is %s, of %q", j.State, j.Worker)
		}
	}
}

// TestCommandLines wants what is wrong to be told by its flag, and the help to fit a screen.
func TestCommandLines(t *testing.T) {
	for line, says := range map[string]string{
		"":                                       "-nats is wanted",
		"-nats nats://127.0.0.1:1":               "-nats",
		"-nats x -heartbeat 1ns":                 "-heartbeat",
		"-nats x -ckpt-dir nowhere":              "-ckpt-dir",
		"-nats x -webui-dir .":                   "-webui-dir",
		"-nats x y":                              `"y"`,
		"-nats nats://me:secret@127.0.0.1:1 -h1": "-h1",
	} {
		err := run(t.Context(), strings.Fields(line), io.Discard)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v; want %q in it", line, err, says)
		}
	}
	var help strings.Builder
	run(t.Context(), []string{"-h"}, &help)
	program.Help(t, "worker", help.String())
}
