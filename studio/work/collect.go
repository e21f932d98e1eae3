package work

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
)

// Collect saves what jobs have made, and asked to be saved, in a library until ctx is done: pictures among the outputs as soon as each is
// finished, LoRAs in their folder at the end of the job. Each result is saved once: the library notes what it saves of a job, before and
// after, so that a program that was killed between goes on right. Of those that share a folder one may do this at a time.
func Collect(ctx context.Context, q *jobs.Queue, l *library.Library, log *slog.Logger) error {
	release, err := l.LockSaved()
	if err != nil {
		return err
	}
	defer release()
	c := &collector{queue: q, library: l, log: log, saved: make(map[result]bool), failed: make(map[string]bool)}
	changes := channel(ctx, q.Changes(ctx)) // from before the jobs are listed, so that none is missed
	c.forget(func(id string) bool { _, there := q.Job(id); return !there })
	for _, j := range q.Jobs() {
		c.collect(ctx, j)
	}
	retry := time.NewTicker(10 * time.Second)
	defer retry.Stop()
	for {
		select {
		case j := <-changes:
			c.collect(ctx, j)
		case <-retry.C: // nothing need change before what failed can be done
			c.again(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// channel sends what is yielded, until ctx is done.
func channel(ctx context.Context, changes iter.Seq[jobs.Job]) <-chan jobs.Job {
	c := make(chan jobs.Job)
	go func() {
		for j := range changes {
			select {
			case c <- j:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

// collector saves results.
type collector struct {
	queue   *jobs.Queue
	library *library.Library
	log     *slog.Logger
	saved   map[result]bool
	failed  map[string]bool // jobs of which something could not be saved
}

// result is one of a job's.
type result struct {
	job, name string
	ended     time.Time // of a LoRA: when the job did, which may have gone on since it was saved
}

// forget drops what is known of jobs that are gone.
func (c *collector) forget(gone func(id string) bool) {
	if err := c.library.ForgetSaved(gone); err != nil {
		c.log.Warn("what was saved of jobs that are gone cannot be forgotten", "error", err)
	}
}

// again tries once more what could not be saved.
func (c *collector) again(ctx context.Context) {
	for id := range c.failed {
		delete(c.failed, id)
		if j, ok := c.queue.Job(id); ok {
			c.collect(ctx, j)
		}
	}
}

// collect saves the results of a job that are not saved yet.
func (c *collector) collect(ctx context.Context, j jobs.Job) {
	if j.State == jobs.Removed {
		c.forget(func(id string) bool { return id == j.ID })
		return
	}
	kinds := c.wanted(j)
	for _, f := range j.Files {
		r, kind := result{job: j.ID, name: f.Name}, kinds(f.Name)
		if kind == adapter {
			r.ended = j.Finished
		}
		if kind == "" || c.saved[r] || ctx.Err() != nil {
			continue
		}
		path, err := c.save(ctx, r, kind)
		switch {
		case errors.Is(err, fs.ErrNotExist): // the job was cancelled, and its results discarded
		case err != nil:
			c.failed[j.ID] = true
			c.log.Warn("a result cannot be saved", "id", j.ID, "result", f.Name, "error", err)
		default:
			c.saved[r] = true
			c.log.Info("result saved", "id", j.ID, "result", f.Name, "path", path)
		}
	}
}

// adapter is the kind of a result that is a LoRA; all others are kinds of outputs.
const adapter = "lora"

// finished are the names of pictures that are finished, incomplete those of others, and sheets those that show several.
var (
	finished   = regexp.MustCompile(`^\d+\.png$`)
	incomplete = regexp.MustCompile(`^\d+-incomplete\.png$`)
	sheets     = regexp.MustCompile(`^grid(-\d+)?\.png$`)
)

// wanted says as what a job's results are to be saved by their names, "" if not at all.
func (c *collector) wanted(j jobs.Job) func(name string) string {
	var r struct { // what the kinds of requests have in common
		Save json.RawMessage `json:"save"`
		Name string          `json:"name"`
	}
	nothing := func(string) string { return "" }
	if json.Unmarshal(j.Request, &r) != nil || len(r.Save) == 0 {
		return nothing
	}
	switch j.Kind {
	case DrawKind:
		var kind string
		partial := c.library.Settings().Bool("save_incomplete_images")
		if json.Unmarshal(r.Save, &kind) != nil {
			return nothing
		}
		return func(name string) string {
			if finished.MatchString(name) || partial && incomplete.MatchString(name) {
				return kind
			}
			if sheets.MatchString(name) && c.library.Settings().Bool("grid_save") {
				return kind + "-grid"
			}
			return ""
		}
	case UpscaleKind:
		return ofNames(string(r.Save) == "true", finished.MatchString, library.Extras)
	case TrainKind:
		return ofNames(string(r.Save) == "true" && j.State == jobs.Done, func(name string) bool { return name == r.Name+".safetensors" }, adapter)
	case PortraitKind:
		if string(r.Save) != "true" || j.State != jobs.Done {
			return nothing
		}
		return func(name string) string {
			switch {
			case name == "linkedin.png", name == "cv.png":
				return library.Portraits
			case strings.HasSuffix(name, ".safetensors"):
				return adapter
			}
			return ""
		}
	}
	return nothing
}

// ofNames gives a kind to names that match, if it is to be given at all.
func ofNames(wanted bool, match func(string) bool, kind string) func(string) string {
	return func(name string) string {
		if wanted && match(name) {
			return kind
		}
		return ""
	}
}

// save saves a result.
func (c *collector) save(ctx context.Context, r result, kind string) (path string, err error) {
	file, err := c.read(ctx, r, kind)
	if err != nil {
		return "", err
	}
	if kind == adapter {
		return c.library.SaveLoRAOnce(r.job, r.name, file)
	}
	p := sd.Picture{}
	if p.Image, err = picture.Decode(ctx, file, picture.Limits{}); err != nil {
		return "", err
	}
	m, err := infotext.Extract(bytes.NewReader(file))
	if err != nil {
		return "", err
	}
	p.Infotext = m.Infotext()
	if seed, ok := infotext.Parse(p.Infotext).Get("Seed"); ok {
		p.Seed, _ = strconv.ParseInt(seed, 10, 64)
	}
	return c.library.SaveOnce(r.job, r.name, kind, p)
}

// read is a result's file.
func (c *collector) read(ctx context.Context, r result, kind string) ([]byte, error) {
	f, err := c.queue.Result(ctx, r.job, r.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	most := int64(maxInput)
	if kind == adapter {
		most = maxModel
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("work: it has more than %d MB", most>>20)
	}
	return data, err
}
