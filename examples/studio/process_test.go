package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// process is a studio that runs as a process of its own.
type process struct {
	testing.TB
	*program.Process
	base string // its address
}

// start starts a studio and waits until its page is there.
func start(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := program.Start(t, append([]string{"-data-dir", dir, "-listen", "127.0.0.1:0", "-device", "cpu", "-threads", "1"}, args...)...)
	return &process{t, p, "http://" + strings.TrimSuffix(p.Await("http://"), "/")}
}

// ask sends a request and reads the answer's JSON; a body that is no reader is sent as JSON.
func (p *process) ask(method, at string, body, into any) (status int) {
	p.Helper()
	sent, ok := body.(io.Reader)
	if !ok && body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			p.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(p.Context(), method, p.base+at, sent)
	if err != nil {
		p.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer answer.Body.Close()
	if into != nil {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			p.Fatalf("%s %s: %d, %v", method, at, answer.StatusCode, err)
		}
	}
	return answer.StatusCode
}

// submit adds a job.
func (p *process) submit(r work.Request) api.Job {
	p.Helper()
	var j api.Job
	if status := p.ask("POST", "/api/v1/jobs", map[string]any{"kind": r.Kind(), "request": r}, &j); status != http.StatusCreated {
		p.Fatalf("a job to %s: %d", r.Kind(), status)
	}
	return j
}

// jobs are all jobs.
func (p *process) jobs() []api.Job {
	p.Helper()
	var list struct{ Jobs []api.Job }
	p.ask("GET", "/api/v1/jobs?limit=1000", nil, &list)
	return list.Jobs
}

// until waits until the jobs are as wanted.
func (p *process) until(as func([]api.Job) bool) []api.Job {
	p.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		all := p.jobs()
		if as(all) {
			return all
		}
		if time.Now().After(end) {
			p.Fatalf("the jobs stay %+v", all)
		}
	}
}

// result reads a result of a job.
func (p *process) result(j api.Job, name string) []byte {
	p.Helper()
	for _, f := range j.Files {
		if f.Name != name {
			continue
		}
		answer, err := http.Get(p.base + f.URL)
		if err != nil {
			p.Fatal(err)
		}
		defer answer.Body.Close()
		data, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || int64(len(data)) != f.Size {
			p.Errorf("%s of job %s: %d, %d bytes of %d, %v", name, j.ID, answer.StatusCode, len(data), f.Size, err)
		}
		return data
	}
	p.Errorf("job %s has no %s", j.ID, name)
	return nil
}

// photos puts some of the sample photos, with their captions, into the studio.
func (p *process) photos(n int) (files []work.DataFile) {
	p.Helper()
	const folder = "12_personname man"
	all, err := fs.Glob(tinyportrait.Photos(), folder+"/*.jpg")
	if err != nil || len(all) < n {
		p.Fatal(all, err)
	}
	for _, photo := range all[:n] {
		for _, name := range []string{photo, strings.TrimSuffix(photo, ".jpg") + ".txt"} {
			data, err := fs.ReadFile(tinyportrait.Photos(), name)
			if err != nil {
				p.Fatal(err)
			}
			var stored struct{ Name string }
			p.ask("POST", "/api/v1/inputs/"+url.PathEscape(path.Base(name)), bytes.NewReader(data), &stored)
			files = append(files, work.DataFile{Path: "2_personname man/" + path.Base(name), Input: stored.Name})
		}
	}
	return files
}

// stored counts what jobs have stored.
func stored(all []api.Job) (n int) {
	for _, j := range all {
		n += len(j.Files) + len(j.Kept)
	}
	return n
}

func ended(j api.Job) bool { return j.State.Ended() }

// TestKilled kills the studio at random moments, as many as ATELIER_MOMENTS says or two, and begins it again: what waits is drawn, results that
// were finished are there, a training goes on from its last state, and each picture is among the outputs once.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains and draws in one process after another; -short leaves it out")
	}
	moments := 2
	if n, err := strconv.Atoi(os.Getenv("ATELIER_MOMENTS")); err == nil {
		moments = n
	}
	const drawings = 6
	dir := t.TempDir()
	p := start(t, dir)
	training := p.submit(work.Train{
		Name: "me", Data: p.photos(4), Save: true,
		Options: map[string]string{
			"network_dim": "2", "network_alpha": "2", "train_batch_size": "2", "max_train_epochs": strconv.Itoa(2 + moments), "save_every_n_epochs": "1", "save_state": "true",
			"resolution": "64", "min_bucket_reso": "64", "seed": "1", "enable_bucket": "false",
		},
	})
	for seed := range int64(drawings) {
		p.submit(work.Draw{Request: sd.Request{Prompt: "a man", Width: 64, Height: 64, Steps: 4, Seed: seed}, Count: 2, Save: library.Txt2Img})
	}
	begun, resumed := 0, false // the training was killed after it had kept a state
	for range moments {
		more := 1 + rand.IntN(6) // files that are stored before, so that not each moment is in the first job
		before := p.until(func(all []api.Job) bool {
			return stored(all) >= begun+more || !slices.ContainsFunc(all, func(j api.Job) bool { return !ended(j) })
		})
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		p.Kill()
		p = start(t, dir)
		now := p.jobs()
		begun = stored(now)
		resumed = resumed || slices.ContainsFunc(now, func(j api.Job) bool {
			return j.ID == training.ID && !ended(j) && slices.Contains(j.Kept, "folder.json")
		})
		for _, j := range before {
			at := slices.IndexFunc(now, func(have api.Job) bool { return have.ID == j.ID })
			if at < 0 || ended(j) && now[at].State != j.State {
				t.Fatalf("job %s was %s and is gone, or not any more: %+v", j.ID, j.State, now)
			}
			for _, f := range j.Files {
				p.result(now[at], f.Name)
			}
		}
	}
	all := p.until(func(all []api.Job) bool { return !slices.ContainsFunc(all, func(j api.Job) bool { return !ended(j) }) })
	for _, j := range all {
		if j.State != jobs.Done {
			t.Errorf("job %s is %s: %s", j.ID, j.State, j.Error)
		}
		if j.ID == training.ID {
			p.trained(j, 4*(2+moments), resumed)
		} else if len(j.Files) != 3 {
			t.Errorf("a drawing has %+v", j.Files)
		}
	}
	saved := func() (pictures, loras []string) {
		pictures, _ = filepath.Glob(filepath.Join(dir, "outputs", "txt2img-images", "*", "*.png"))
		loras, _ = filepath.Glob(filepath.Join(dir, "models", "Lora", "*"))
		return pictures, loras
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		pictures, loras := saved()
		if len(pictures) == 2*drawings && len(loras) == 1 {
			break
		}
		if time.Now().After(end) {
			p.Interrupt()
			_, log := p.End()
			t.Fatalf("saved are %q and %q:\n%s", pictures, loras, log)
		}
	}
	p.Interrupt()
	if status, log := p.End(); status != 0 {
		t.Errorf("it exits with %d:\n%s", status, log)
	}
	if pictures, loras := saved(); len(pictures) != 2*drawings || len(loras) != 1 {
		t.Errorf("saved are %q and %q", pictures, loras)
	}
}

// trained checks that a training came to its end step by step, from a state of before if it was to.
func (p *process) trained(j api.Job, steps int, resumed bool) {
	p.Helper()
	var losses work.Losses
	if err := json.Unmarshal(p.result(j, "losses.json"), &losses); err != nil {
		p.Fatal(err)
	}
	for i, at := range losses.Steps {
		if at.Step != i+1 {
			p.Fatalf("step %d is told as %d", i+1, at.Step)
		}
	}
	report := string(p.result(j, "report.txt"))
	if len(losses.Steps) != steps || resumed && !strings.Contains(report, "resumed: ") {
		p.Errorf("%d steps, want %d, to be resumed %t:\n%s", len(losses.Steps), steps, resumed, report)
	}
	p.result(j, "me.safetensors")
}

// TestInterrupted ends the studio in the middle of a job with one Ctrl-C, and with two: it ends, and the job is there to be gone on with.
func TestInterrupted(t *testing.T) {
	for _, times := range []int{1, 2} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			dir := t.TempDir()
			p := start(t, dir)
			p.submit(work.Draw{Request: sd.Request{Prompt: "a man", Width: 64, Height: 64, Steps: 5000}})
			p.until(func(all []api.Job) bool { return all[0].Progress.Done > 0 })
			began := time.Now()
			for range times {
				p.Interrupt()
				time.Sleep(time.Duration(times-1) * 20 * time.Millisecond) // two that come at once may count as one
			}
			status, log := p.End()
			t.Logf("it ended after %v", time.Since(began))
			if status != 0 && (times == 1 || status != 130) {
				t.Errorf("it exits with %d:\n%s", status, log)
			}
			q, err := jobs.Open(t.Context(), jobs.Options{Dir: filepath.Join(dir, "queue")})
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if all := q.Jobs(); len(all) != 1 || all[0].State != jobs.Pending {
				t.Errorf("the job is %+v", all)
			}
		})
	}
}

// TestServerStop has a program begin the studio anew and end it, where that is allowed.
func TestServerStop(t *testing.T) {
	p := start(t, t.TempDir(), "-api-server-stop")
	var flags map[string]any
	if p.ask("GET", "/sdapi/v1/cmd-flags", nil, &flags); flags["api_server_stop"] != true || flags["ckpt_dir"] == nil || flags["xformers"] != false {
		t.Errorf("the flags are %v", flags)
	}
	for n, command := range []string{"server-restart", "server-kill"} {
		if status := p.ask("POST", "/sdapi/v1/"+command, nil, nil); status != http.StatusOK {
			t.Fatalf("%s: %d", command, status)
		}
		http.DefaultClient.CloseIdleConnections()
		if n == 0 {
			p.base = "http://" + strings.TrimSuffix(p.AwaitNth("http://", 2), "/")
		}
	}
	if status, log := p.End(); status != 0 {
		t.Errorf("it exits with %d:\n%s", status, log)
	}
}
