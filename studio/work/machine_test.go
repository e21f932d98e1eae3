package work_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// counted is a device that counts what of it is in use.
type counted struct {
	compute.Device
	tensors, params, programs atomic.Int64
}

func (d *counted) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	v, err := d.Device.NewTensor(t, shape...)
	if err == nil {
		d.tensors.Add(1)
		v = countedTensor{v, &d.tensors}
	}
	return v, err
}

func (d *counted) Load(s compute.ParamSource) (compute.Params, error) {
	p, err := d.Device.Load(s)
	if err == nil {
		d.params.Add(1)
		p = countedParams{p, &d.params}
	}
	return p, err
}

func (d *counted) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	if c, ok := params.(countedParams); ok {
		params = c.Params
	}
	e, err := d.Device.Compile(p, params)
	if err == nil {
		d.programs.Add(1)
		e = countedProgram{e, &d.programs}
	}
	return e, err
}

func (d *counted) inUse() [3]int64 {
	return [3]int64{d.tensors.Load(), d.params.Load(), d.programs.Load()}
}

type countedTensor struct {
	compute.Tensor
	open *atomic.Int64
}

func (t countedTensor) Close() error { t.open.Add(-1); return t.Tensor.Close() }

type countedParams struct {
	compute.Params
	open *atomic.Int64
}

func (p countedParams) Close() error { p.open.Add(-1); return p.Params.Close() }

type countedProgram struct {
	compute.Executable
	open *atomic.Int64
}

func (e countedProgram) Close() error { e.open.Add(-1); return e.Executable.Close() }

// Run hands the device its own tensors.
func (e countedProgram) Run(ctx context.Context, out, in []compute.Tensor) error {
	return e.Executable.Run(ctx, own(out), own(in))
}

func own(tensors []compute.Tensor) []compute.Tensor {
	all := make([]compute.Tensor, len(tensors))
	for i, t := range tensors {
		if all[i] = t; t != nil {
			if c, ok := t.(countedTensor); ok {
				all[i] = c.Tensor
			}
		}
	}
	return all
}

// TestSwitch changes the checkpoint fifty times, drawing with each, and wants nothing to be left: no tensor, no parameters and no program
// on the device, no goroutine, no open file, and no more memory than after the first few.
func TestSwitch(t *testing.T) {
	switches := 50
	if testing.Short() {
		switches = 4
	}
	s := newStudio(t)
	folder := filepath.Join(s.data, "models", "Stable-diffusion")
	names := []string{"one", "other"}
	for _, name := range names {
		s.check(os.CopyFS(filepath.Join(folder, name), os.DirFS(filepath.Join("..", "..", "testdata", "tiny-variant", "model"))))
	}
	s.check(s.library.Refresh())
	dev, err := cpu.Open(cpu.Options{})
	s.check(err)
	d := &counted{Device: dev}
	s.machine = work.NewMachine(d, s.library, work.Options{})
	stop := s.work("a")
	var memory runtime.MemStats
	var heap uint64
	goroutines := 0
	draw := func(i int) {
		j := s.done(s.submit(work.Draw{Request: small("a man", 1), Checkpoint: names[i%2]}).ID)
		s.check(s.queue.Remove(t.Context(), j.ID))
	}
	for i := range switches {
		draw(i)
		if c, ok := s.machine.Loaded(); !ok || c.Name != names[i%2] {
			t.Fatalf("%s is open, want %s", c.Name, names[i%2])
		}
		if i == min(3, switches/2) {
			runtime.GC()
			runtime.ReadMemStats(&memory)
			heap, goroutines = memory.HeapAlloc, runtime.NumGoroutine()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&memory)
	if now := memory.HeapAlloc; now > heap+8<<20 {
		t.Errorf("after %d switches %d MB are in use, after the first %d", switches, now>>20, heap>>20)
	}
	if now := runtime.NumGoroutine(); now > goroutines+switches/4 { // of the queue, some of which come and go
		t.Errorf("after %d switches there are %d goroutines, after the first %d", switches, now, goroutines)
	}
	s.check(s.machine.Unload(t.Context()))
	if have := d.inUse(); have != [3]int64{} {
		t.Errorf("tensors, parameters and programs are left: %v", have)
	}
	if _, ok := s.machine.Loaded(); ok {
		t.Error("a checkpoint is open")
	}
	stop()
	s.check(errors.Join(os.RemoveAll(folder), dev.Close())) // which Windows refuses where a file is open
}

// TestMachineChecks wants checkpoints to be chosen by the settings, opened again when their file was replaced, and refused by name.
func TestMachineChecks(t *testing.T) {
	s := newStudio(t)
	m := s.another().machine
	s.check(m.Load(t.Context(), ""))
	if c, ok := m.Loaded(); !ok || c.Name != tinyportrait.Name || !strings.HasPrefix(m.Device(), "cpu") {
		t.Errorf("%s is open on %s", c.Name, m.Device())
	}
	s.check(s.library.Settings().Set(map[string]any{"sd_model_checkpoint": "nobody.safetensors"}))
	if err := m.Load(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "nobody.safetensors") {
		t.Errorf("a checkpoint of the settings that is not there: %v", err)
	}
	empty, err := library.Open(library.Options{DataDir: t.TempDir()})
	s.check(err)
	dev, err := cpu.Open(cpu.Options{})
	s.check(err)
	defer dev.Close()
	if err := work.NewMachine(dev, empty, work.Options{}).Load(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "Stable-diffusion") {
		t.Errorf("no checkpoint at all: %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Load(done, ""); err == nil {
		t.Error("a context that is done loads")
	}
}
