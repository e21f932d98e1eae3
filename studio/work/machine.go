package work

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/weights"
)

// Detector finds faces for drawing and for portraits: face.Cascades is one.
type Detector interface {
	face.Detector
	sd.FaceDetector
}

// Options say how a machine works. The zero value is good.
type Options struct {
	// Dir is a folder for what jobs have on disk while they run; "" is one for temporary files. What a killed process left there is
	// removed by the next.
	Dir string
	// Faces chooses what finds faces in what a checkpoint draws; nil is face.Cascades, for photos.
	Faces func(library.Checkpoint) Detector
	// Side is that of the pictures that a checkpoint learns, in pixels, as far as it is known before the checkpoint is open; nil, and 0, are 512.
	Side func(library.Checkpoint) int
	// Portrait completes a portrait's configuration for checkpoints that want something else than Stable Diffusion 1.5; nil leaves it.
	Portrait func(library.Checkpoint, *portrait.Config) error
	// Weights say what to take from where besides a checkpoint.
	Weights weights.Options
	Logger  *slog.Logger // nil is silent
}

// Machine is a device that does jobs, one at a time, with one open checkpoint.
type Machine struct {
	device  compute.Device
	library *library.Library
	options Options
	turn    chan struct{} // holds one while the device is in use

	mu   sync.Mutex
	open *opened       // nil if no checkpoint is open; changed by who has the turn
	pace time.Duration // for 10¹⁵ floating-point operations; 0 before somebody asked
}

// opened is a checkpoint that is open.
type opened struct {
	library.Checkpoint
	version string // tells its file from what may take its place
	weights *weights.Checkpoint
	pipe    *sd.Pipeline
	targets *lora.Targets
}

// NewMachine makes a machine of a device, which the caller closes after it. Nothing is opened yet.
func NewMachine(dev compute.Device, lib *library.Library, o Options) *Machine {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Faces == nil {
		o.Faces = func(library.Checkpoint) Detector { return face.Cascades{} }
	}
	return &Machine{device: dev, library: lib, options: o, turn: make(chan struct{}, 1)}
}

// Handlers do the jobs of all kinds.
func (m *Machine) Handlers() map[string]jobs.Handler {
	return map[string]jobs.Handler{DrawKind: m.draw, UpscaleKind: m.upscale, TrainKind: m.train, PortraitKind: m.portrait}
}

// Worker is the machine as one of a queue, by its name: it leaves to others what it lacks something for.
func (m *Machine) Worker(name string) jobs.Worker {
	return jobs.Worker{Name: name + ", " + m.Device(), Handlers: m.Handlers(), Lacks: m.lacks}
}

// lacks says which checkpoint or upscaler a job needs that is not here; "" is none. What is wrong with the job otherwise it says itself.
func (m *Machine) lacks(j jobs.Job) string {
	var r struct { // what the kinds of requests have in common
		Checkpoint string     `json:"checkpoint"`
		Request    sd.Request `json:"request"`
		Upscaler   string     `json:"upscaler_1"`
		Second     string     `json:"upscaler_2"`
	}
	if json.Unmarshal(j.Request, &r) != nil {
		return ""
	}
	checkpoints, upscalers := []string{}, []string{r.Upscaler, r.Second}
	if f := r.Request.Refiner; f != nil {
		checkpoints = append(checkpoints, f.Checkpoint)
	}
	if h := r.Request.Hires; h != nil {
		checkpoints = append(checkpoints, h.Checkpoint)
		if !slices.Contains(sd.BuiltInUpscalers(), h.Upscaler) {
			upscalers = append(upscalers, h.Upscaler)
		}
	}
	// Others than the first may be meant for none, or be a path that the library does not know.
	checkpoints = slices.DeleteFunc(checkpoints, func(name string) bool {
		return name == "" || strings.EqualFold(name, "none") || strings.HasPrefix(name, "Use same") || filepath.IsAbs(name)
	})
	if j.Kind != UpscaleKind {
		checkpoints = append(checkpoints, r.Checkpoint)
	}
	var errs []error
	for _, name := range checkpoints {
		_, err := m.find(name)
		errs = append(errs, err)
	}
	for _, name := range upscalers {
		if named(name) && name != sd.Lanczos && name != sd.Nearest {
			_, err := m.library.Upscaler(name)
			errs = append(errs, err)
		}
	}
	if missing, ok := errors.AsType[*library.NotFoundError](errors.Join(errs...)); ok {
		return fmt.Sprintf("a worker with the %s %.100q", missing.Kind, missing.Name)
	}
	return ""
}

// Faces is what finds faces in photos that a checkpoint is to learn, and in what it draws.
func (m *Machine) Faces(c library.Checkpoint) Detector { return m.options.Faces(c) }

// Side is that of the pictures that a checkpoint learns, in pixels; 0 is not known.
func (m *Machine) Side(c library.Checkpoint) int {
	if m.options.Side == nil {
		return 0
	}
	return m.options.Side(c)
}

// Device is the name of what computes.
func (m *Machine) Device() string { return m.device.Name() }

// Reckon is about how long the machine takes for so many floating-point operations of a training, by what its device can do; 0 if that is not
// known, because the device does not tell, or is in use. Who asks first waits for a fifth of a second.
func (m *Machine) Reckon(operations float64) time.Duration {
	m.mu.Lock()
	pace := m.pace
	m.mu.Unlock()
	if pace == 0 {
		select {
		case m.turn <- struct{}{}:
			pace = train.Reckon(m.device, 1e15)
			<-m.turn
			m.mu.Lock()
			m.pace = pace
			m.mu.Unlock()
		default:
		}
	}
	return time.Duration(operations / 1e15 * float64(pace))
}

// Loaded is the checkpoint that is open; ok is false if none is.
func (m *Machine) Loaded() (c library.Checkpoint, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		return c, false
	}
	return m.open.Checkpoint, true
}

// Load opens a checkpoint by its name, "" being the one of the settings, when the job at hand is done.
func (m *Machine) Load(ctx context.Context, name string) error {
	return m.use(ctx, func() error {
		_, err := m.checkpoint(ctx, name)
		return err
	})
}

// Unload closes the checkpoint, and gives back what it holds on the device, when the job at hand is done.
func (m *Machine) Unload(ctx context.Context) error { return m.use(ctx, m.unload) }

// Close waits for the job at hand and gives everything back.
func (m *Machine) Close() error { return m.Unload(context.Background()) }

// use has the device for itself while it does something.
func (m *Machine) use(ctx context.Context, do func() error) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.turn }()
	return do()
}

// unload closes what is open. The caller has the turn.
func (m *Machine) unload() error {
	m.mu.Lock()
	o := m.open
	m.open = nil
	m.mu.Unlock()
	if o == nil {
		return nil
	}
	return errors.Join(o.pipe.Close(), o.weights.Close())
}

// checkpoint opens a checkpoint in place of the one that is open, unless it is that. The caller has the turn.
func (m *Machine) checkpoint(ctx context.Context, name string) (*opened, error) {
	found, err := m.find(name)
	if err != nil {
		return nil, err
	}
	version := versionOf(found.Path)
	if o := m.open; o != nil && o.Name == found.Name && o.Path == found.Path && o.version == version {
		return o, nil
	}
	if err := m.unload(); err != nil {
		return nil, err
	}
	o := &opened{Checkpoint: found, version: version}
	if o.weights, err = found.Open(m.options.Weights); err != nil {
		return nil, err
	}
	options := m.library.PipelineOptions()
	options.Faces, options.Logger = m.options.Faces(found), m.options.Logger
	if o.targets, err = lora.TargetsOf(o.weights); err == nil {
		o.pipe, err = sd.New(ctx, o.weights, m.device, options)
	}
	if err != nil {
		return nil, errors.Join(err, o.weights.Close())
	}
	m.options.Logger.Info("checkpoint opened", "name", found.Title)
	m.mu.Lock()
	m.open = o
	m.mu.Unlock()
	return o, nil
}

// find is the checkpoint of a name; for "" that of the settings, else the one that is open, else the first.
func (m *Machine) find(name string) (library.Checkpoint, error) {
	if name = cmp.Or(name, m.library.Settings().Text("sd_model_checkpoint")); name != "" {
		return m.library.Checkpoint(name)
	}
	if c, ok := m.Loaded(); ok {
		return c, nil
	}
	all := m.library.Checkpoints()
	if len(all) == 0 {
		return library.Checkpoint{}, fmt.Errorf("work: there is no checkpoint; put one into a folder of %q", m.library.CheckpointDirs())
	}
	return all[0], nil
}

// versionOf tells a file from others that may have its path; of a folder it is that of the folder itself.
func versionOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// folder makes an empty folder for a job.
func (m *Machine) folder(t *jobs.Task) (dir string, remove func() error, err error) {
	if m.options.Dir == "" {
		dir, err = os.MkdirTemp("", "atelier-"+t.Job.Kind+"-*")
	} else {
		dir = filepath.Join(m.options.Dir, t.Job.Kind+"-"+t.Job.ID)
		if err = os.RemoveAll(dir); err == nil {
			err = os.MkdirAll(dir, 0o777)
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("work: a folder for the job: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}
