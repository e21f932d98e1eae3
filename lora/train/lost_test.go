package train_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/train"
)

// vanishing is a device that can be pulled out: from then on whatever is asked of it fails.
type vanishing struct {
	compute.Device
	gone bool
}

var errVanished = errors.New("the card is gone")

func (v *vanishing) err() error {
	if v.gone {
		return errVanished
	}
	return nil
}

func (v *vanishing) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	x, err := v.Device.NewTensor(t, shape...)
	return vanishingTensor{x, v}, err
}

func (v *vanishing) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	exe, err := v.Device.Compile(p, params)
	return vanishingExecutable{exe, v}, err
}

type vanishingTensor struct {
	compute.Tensor
	device *vanishing
}

func (t vanishingTensor) Upload(src compute.Buffer) error {
	if err := t.device.err(); err != nil {
		return err
	}
	return t.Tensor.Upload(src)
}

func (t vanishingTensor) Download(dst compute.Buffer) error {
	if err := t.device.err(); err != nil {
		return err
	}
	return t.Tensor.Download(dst)
}

type vanishingExecutable struct {
	compute.Executable
	device *vanishing
}

func (e vanishingExecutable) Run(ctx context.Context, out, in []compute.Tensor) error {
	if err := e.device.err(); err != nil {
		return err
	}
	own := func(tensors []compute.Tensor) (all []compute.Tensor) {
		for _, t := range tensors {
			all = append(all, t.(vanishingTensor).Tensor)
		}
		return all
	}
	return e.Executable.Run(ctx, own(out), own(in))
}

// TestDeviceLost pulls the device out in the middle of a training: the error names the last state, and the training goes on from it on
// another device to the same file.
func TestDeviceLost(t *testing.T) {
	long(t)
	whole := trainConfig(t, 2)
	mustTrain(t, whole)

	cfg := trainConfig(t, 2)
	device := &vanishing{Device: cfg.Device}
	cfg.Device = device
	cfg.AutosaveEvery = time.Nanosecond // as if ten minutes had gone by after each step
	err := run(t.Context(), cfg, atStep(3, func() { device.gone = true }))
	skipUnsupported(t, err)
	stop, ok := errors.AsType[*train.InterruptedError](err)
	if !ok || !errors.Is(err, errVanished) || stop.Path != "" || !strings.Contains(err.Error(), "lost with the device; to go on, train with the same options and resume "+stop.State) {
		t.Fatalf("the error is %v, want an InterruptedError that names the last state", err)
	}
	cfg = trainConfig(t, 2)
	cfg.Resume = stop.State
	mustTrain(t, cfg)
	sameFile(t, filepath.Join(cfg.OutputDir, "x.safetensors"), filepath.Join(whole.OutputDir, "x.safetensors"))

	cfg = trainConfig(t, 2)
	device = &vanishing{Device: cfg.Device}
	cfg.Device, cfg.AutosaveEvery = device, -1
	err = run(t.Context(), cfg, atStep(3, func() { device.gone = true }))
	if stop, ok := errors.AsType[*train.InterruptedError](err); !ok || stop.State != "" || !strings.Contains(err.Error(), "nothing was saved") {
		t.Errorf("without a state the error is %v", err)
	}
}
