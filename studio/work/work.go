// Package work does the jobs of the studio's queue: it draws, enlarges, trains, and makes portraits, on one device with the checkpoints of
// one library.
//
//	machine := work.NewMachine(dev, lib, work.Options{})
//	defer machine.Close()
//	err := queue.Work(ctx, jobs.Worker{Name: "atlas, cpu", Handlers: machine.Handlers()})
//
// What a job asks for is a [Draw], [Upscale], [Train] or [Portrait] as JSON. Files that it needs are in the queue's store, as [PutInput]
// puts them there, so that every worker has them. Submit does both for a request that carries pictures. The program that owns the outputs
// runs [Collect], which saves there what has been drawn.
package work

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/filename"
	"github.com/atelier-go/atelier/studio/jobs"
)

// The kinds of jobs.
const (
	DrawKind     = "draw"
	UpscaleKind  = "upscale"
	TrainKind    = "train"
	PortraitKind = "portrait"
)

// Request is what a job asks for: a Draw, Upscale, Train or Portrait.
type Request interface {
	// Kind is the kind of job that does it.
	Kind() string
	// Check reports everything that is wrong with it and can be seen without a device or a file, as [invalid.FieldError]s.
	Check() error
	// inputs are the names of the files that it needs, in the queue's store.
	inputs() []string
}

// Submit adds a job to a queue that does a request; of the job, Kind, Request and Inputs are filled in. What the request carries of pictures
// goes into the queue's store.
func Submit(ctx context.Context, q *jobs.Queue, j jobs.Job, r Request) (jobs.Job, error) {
	if err := r.Check(); err != nil {
		return j, err
	}
	if d, ok := r.(Draw); ok {
		var err error
		if r, err = d.stored(ctx, q); err != nil {
			return j, err
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return j, fmt.Errorf("work: %w", err)
	}
	if len(data) > maxRequest {
		return j, fmt.Errorf("work: %w", invalid.Field("Job.Request", len(data), "up to %d bytes of JSON; put files into the queue's store", maxRequest))
	}
	j.Kind, j.Request, j.Inputs = r.Kind(), data, r.inputs()
	return q.Submit(ctx, j)
}

// maxRequest is the most bytes of a request: a record of the queue is one message, of a megabyte as NATS has it.
const maxRequest = 1 << 19

// Inputs is what the names of files begin with that jobs need, in the queue's store: see jobs.Retention.
const Inputs = "inputs/"

// PutInput stores a file that a job needs, once for equal ones, and returns its name in the queue's store, inputs/SHA256/NAME.
func PutInput(ctx context.Context, q *jobs.Queue, name string, data []byte) (string, error) {
	name = filename.Part(path.Base(strings.ReplaceAll(name, `\`, "/")), false)
	if name == "" || name == "." {
		name = "file"
	}
	sum := sha256.Sum256(data)
	stored := Inputs + hex.EncodeToString(sum[:]) + "/" + name
	if there, err := q.Has(ctx, stored); there || err != nil {
		return stored, err
	}
	_, err := q.Put(ctx, stored, bytes.NewReader(data))
	return stored, err
}

// isInput reports whether a name is one that PutInput gives, so that a job cannot ask for anything else in the store.
func isInput(name string) bool {
	digest, base, ok := strings.Cut(strings.TrimPrefix(name, Inputs), "/")
	_, err := hex.DecodeString(digest)
	return ok && strings.HasPrefix(name, Inputs) && err == nil && len(digest) == 2*sha256.Size && base == filename.Part(base, false) && base != ""
}

// maxInput is the most bytes of a picture, and maxModel of a LoRA, that a job takes from the store.
const (
	maxInput = 64 << 20
	maxModel = 4 << 30
)

// checkInputs reports names that are none of inputs.
func checkInputs(field string, names ...string) error {
	var errs []error
	for i, name := range names {
		if !isInput(name) {
			errs = append(errs, invalid.Field(fmt.Sprintf("%s[%d]", field, i), name, "the name of a file in the queue's store, inputs/SHA256/NAME"))
		}
	}
	return invalid.Join(errs...)
}

// input reads a file that a job needs.
func input(ctx context.Context, t *jobs.Task, name string) (data []byte, err error) {
	data, err = readAll(ctx, maxInput+1, func() (io.ReadCloser, error) { return t.Input(ctx, name) })
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("work: %s has more than %d MB", path.Base(name), maxInput>>20)
	}
	return data, err
}

// patiently does something with the queue's store, again and again if it fails: for a while, and for as long as ctx lasts where the server does
// not answer, which should cost no job. What is not there stays so.
func patiently(ctx context.Context, do func() error) error {
	for tries, pause := 1, 100*time.Millisecond; ; tries, pause = tries+1, min(2*pause, longestPause) {
		err := do()
		final := err == nil || errors.Is(err, jobs.ErrLost) || errors.Is(err, fs.ErrNotExist)
		if final || tries == maxTries && !errors.Is(err, jobs.ErrUnreachable) || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, jobs.ErrUnreachable) {
			tries = 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

const (
	longestPause = 2 * time.Second // between two tries
	maxTries     = 11              // where the server answers
)

// late is a context for what is stored when the job has been told to end: nothing is lost because of when that comes, but a server that does
// not answer keeps nobody from ending for longer than grace.
func late(ctx context.Context) context.Context {
	storing, end := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { end(context.Cause(ctx)) }) })
	return storing
}

// grace is how long a job that is told to end may take to store what it has.
const grace = 5 * time.Minute

// save stores a result.
func save(ctx context.Context, t *jobs.Task, name string, data []byte) error {
	return patiently(ctx, func() error { return t.Save(ctx, name, bytes.NewReader(data)) })
}

// saveFile stores a file as a result.
func saveFile(ctx context.Context, t *jobs.Task, name, path string) error {
	return sendFile(ctx, path, func(r io.Reader) error { return t.Save(ctx, name, r) })
}

// sendFile stores a file.
func sendFile(ctx context.Context, path string, send func(io.Reader) error) error {
	return patiently(ctx, func() error {
		f, err := openfile.Open(path)
		if err != nil {
			return fmt.Errorf("work: %w", err)
		}
		defer f.Close()
		return send(f)
	})
}

// readRequest reads what a job asks for.
func readRequest[R Request](t *jobs.Task) (r R, err error) {
	if err := json.Unmarshal(t.Job.Request, &r); err != nil {
		return r, fmt.Errorf("work: what the job asks for cannot be read: %w", err)
	}
	return r, r.Check()
}

// saveJSON stores a value as a result.
func saveJSON(ctx context.Context, t *jobs.Task, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("work: %w", err)
	}
	return save(ctx, t, name, data)
}

// keepJSON keeps a value for the next worker.
func keepJSON(ctx context.Context, t *jobs.Task, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("work: %w", err)
	}
	return patiently(ctx, func() error { return t.Keep(ctx, name, bytes.NewReader(data)) })
}

// readResult reads a result that saveJSON stored, and readKept what keepJSON kept.
func readResult(ctx context.Context, t *jobs.Task, name string, into any) error {
	return readJSON(ctx, into, func() (io.ReadCloser, error) { return t.Result(ctx, name) })
}

func readKept(ctx context.Context, t *jobs.Task, name string, into any) error {
	return readJSON(ctx, into, func() (io.ReadCloser, error) { return t.Kept(ctx, name) })
}

func readJSON(ctx context.Context, into any, open func() (io.ReadCloser, error)) error {
	data, err := readAll(ctx, maxInput, open)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// readAll reads a file of the queue, up to so many bytes, whatever its server does meanwhile.
func readAll(ctx context.Context, most int64, open func() (io.ReadCloser, error)) (data []byte, err error) {
	err = patiently(ctx, func() error {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		data, err = io.ReadAll(io.LimitReader(r, most))
		return err
	})
	return data, err
}

// savePicture stores a picture as a result.
func savePicture(ctx context.Context, t *jobs.Task, name string, p sd.Picture) error {
	var file bytes.Buffer
	if err := p.Encode(&file); err != nil {
		return err
	}
	return save(ctx, t, name, file.Bytes())
}

// pace estimates how long a job still takes, by what it has done since it began here.
type pace struct {
	began time.Time
	first int // steps that were done when it began
}

// newPace begins after so many steps.
func newPace(first int) pace { return pace{time.Now(), first} }

// left is the time for the steps that are not done; 0 is unknown.
func (p pace) left(done, total int) time.Duration {
	if done <= p.first || total <= done {
		return 0
	}
	return time.Since(p.began) / time.Duration(done-p.first) * time.Duration(total-done)
}
