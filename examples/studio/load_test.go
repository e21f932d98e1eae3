package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/work"
)

// BenchmarkLoad polls for progress a thousand times a second while the studio, a process of its own, draws, with 200 clients on the stream of events
// and 50 jobs that wait. It says how long answers took from the moment at which they were to be asked for, how many events came to each client, and
// how much memory the process had before and after.
//
//	go test ./examples/studio -run '^$' -bench Load -benchtime 20000x
func BenchmarkLoad(b *testing.B) {
	const listeners, waiting, perSecond = 200, 50, 1000
	p := start(b, b.TempDir())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}}
	go func() {
		long := `{"prompt": "a woman", "width": 128, "height": 128, "steps": 5000, "n_iter": 100, "save_images": true}`
		answer, err := client.Post(p.base+"/sdapi/v1/txt2img", "application/json", strings.NewReader(long))
		if err == nil { // it never comes to its end
			answer.Body.Close()
		}
	}()
	p.until(func(all []api.Job) bool { return len(all) == 1 && all[0].Progress.Done > 0 })
	for range waiting {
		p.submit(work.Draw{Request: sd.Request{Prompt: "a man", Width: 64, Height: 64, Steps: 20}})
	}
	var events atomic.Int64
	for range listeners {
		answer, err := client.Get(p.base + "/events")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { answer.Body.Close() })
		go func() {
			for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data: ") {
					events.Add(1)
				}
			}
		}()
	}
	polled := []string{"/sdapi/v1/progress", "/api/v1/jobs/" + p.jobs()[0].ID, "/sdapi/v1/progress?skip_current_image=true", "/queue/status"}
	poll := func(n int) {
		answer, err := client.Get(p.base + polled[n%len(polled)])
		if err != nil {
			b.Error(err)
			return
		}
		io.Copy(io.Discard, answer.Body)
		if answer.Body.Close(); answer.StatusCode != http.StatusOK {
			b.Errorf("%s: %d", polled[n%len(polled)], answer.StatusCode)
		}
	}
	for n := range perSecond { // until all is warm
		poll(n)
	}
	before, middle, took := p.memory(), 0.0, make([]time.Duration, b.N)
	events.Store(0)
	var asked sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for n := range b.N {
		due := began.Add(time.Duration(n) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		if n == b.N/2 {
			middle = p.memory()
		}
		asked.Go(func() {
			poll(n)
			took[n] = time.Since(due)
		})
	}
	asked.Wait()
	b.StopTimer()
	slices.Sort(took)
	for _, percent := range []int{50, 99, 100} {
		b.ReportMetric(float64(took[max(len(took)*percent/100-1, 0)].Microseconds())/1000, "ms/p"+strconv.Itoa(percent))
	}
	b.ReportMetric(float64(events.Load())/listeners/time.Since(began).Seconds(), "events/client/s")
	b.ReportMetric(before, "MB-before")
	b.ReportMetric(middle, "MB-middle")
	b.ReportMetric(p.memory(), "MB-after")
}

// memory is what the process has, in MB, where the system says so; 0 elsewhere.
func (p *process) memory() float64 {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.ID()) + "/status") // which only Linux has
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kilobytes, _ := strconv.ParseFloat(fields[1], 64)
			return kilobytes / 1024
		}
	}
	return 0
}
