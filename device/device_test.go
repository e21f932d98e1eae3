package device_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cuda"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/invalid"
)

func ExampleOpen() {
	dev, err := device.Open("cpu", device.Options{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	fmt.Println(strings.HasPrefix(dev.Name(), "cpu"))
	// Output: true
}

func TestOpen(t *testing.T) {
	for _, name := range []string{"", "auto", "cpu"} {
		dev, err := device.Open(name, device.Options{})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if err := dev.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
	}
	for _, name := range []string{"gpu", "cuda:", "cuda:x", "cuda:-", "cpu:1", "auto:0", "CUDA"} {
		if dev, err := device.Open(name, device.Options{}); dev != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: the error %v does not name the device", name, err)
		}
	}
	_, err := device.Open("cpu", device.Options{Workers: -1, Precision: 7})
	fields := invalid.Fields(err)
	if len(fields) != 2 || fields[0].Field != "Options.Workers" || fields[1].Field != "Options.Precision" {
		t.Errorf("Workers -1, Precision 7: the error %v does not name the options", err)
	}
}

// TestNoCard asks for a card on a computer without a driver: the error says what was looked for and what to do. "auto" says the same,
// to those who ask.
func TestNoCard(t *testing.T) {
	for _, name := range []string{"cuda", "cuda:1"} {
		dev, err := device.Open(name, device.Options{})
		if err == nil {
			dev.Close()
			t.Skip("this computer has a card")
		}
		if text := err.Error(); dev != nil || !errors.Is(err, cuda.ErrNoDevice) || !strings.Contains(text, "cuda") || !strings.Contains(text, "525") {
			t.Errorf("%s: have %v", name, err)
		}
	}
	var log bytes.Buffer
	dev, err := device.Open("auto", device.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if !strings.Contains(log.String(), "level=DEBUG") || !strings.Contains(log.String(), "525") {
		t.Errorf("the log has %s", &log)
	}
}

// wrong is a device whose results are half as large as they should be.
type wrong struct{ compute.Device }

func (w wrong) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	x, err := w.Device.NewTensor(t, shape...)
	return halving{x}, err
}

type halving struct{ compute.Tensor }

func (h halving) Download(dst compute.Buffer) error {
	err := h.Tensor.Download(dst)
	for i := range dst.F32 {
		dst.F32[i] /= 2
	}
	return err
}

func (w wrong) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	exe, err := w.Device.Compile(p, params)
	return unwrapping{exe}, err
}

type unwrapping struct{ compute.Executable }

func (u unwrapping) Run(ctx context.Context, out, in []compute.Tensor) error {
	return u.Executable.Run(ctx, []compute.Tensor{out[0].(halving).Tensor}, []compute.Tensor{in[0].(halving).Tensor})
}

func TestSelfTest(t *testing.T) {
	right := ref.New()
	defer right.Close()
	if err := device.SelfTest(right); err != nil {
		t.Error(err)
	}
	if err := device.SelfTest(wrong{right}); err == nil || !strings.Contains(err.Error(), "off by 0.5 of its size") {
		t.Errorf("a device that is wrong: %v", err)
	}
}
