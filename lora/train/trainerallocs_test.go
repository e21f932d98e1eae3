package train_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// idle is a device that computes nothing: what is allocated on it, the trainer allocates.
type idle struct{}

func (idle) Name() string                                     { return "idle" }
func (idle) Memory() int64                                    { return 0 }
func (idle) Close() error                                     { return nil }
func (idle) Load(compute.ParamSource) (compute.Params, error) { return idle{}, nil }
func (idle) Compile(*compute.Program, compute.Params) (compute.Executable, error) {
	return idleProgram{}, nil
}
func (idle) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	return idleTensor{compute.Type{DType: t, Shape: shape}}, nil
}

type idleProgram struct{}

func (idleProgram) Run(context.Context, []compute.Tensor, []compute.Tensor) error { return nil }
func (idleProgram) Memory() compute.MemoryReport                                  { return compute.MemoryReport{} }
func (idleProgram) Close() error                                                  { return nil }

type idleTensor struct{ compute.Type }

func (x idleTensor) Shape() compute.Shape        { return x.Type.Shape }
func (x idleTensor) DType() compute.DType        { return x.Type.DType }
func (idleTensor) Upload(compute.Buffer) error   { return nil }
func (idleTensor) Download(compute.Buffer) error { return nil }
func (idleTensor) Close() error                  { return nil }

// TestTrainerAllocates counts what steps, updates and evaluations allocate once they are compiled: nothing, on an idle
// device and on the CPU.
func TestTrainerAllocates(t *testing.T) {
	long(t)
	modules, err := lora.Network{Dim: 2, ConvDim: 2}.New(loratest.TinyTargets(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	ckpt, err := weights.Open(filepath.Join(loratest.TinyRandom(t), "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	batch := train.Batch{
		Samples: 2, Height: 8, Width: 8, Latents: make([]float32, 512), Noise: make([]float32, 512), Perturbed: make([]float32, 512), Timesteps: []int{5, 6},
		IDs: make([]int32, 2*77), Weights: ones(2), Mask: ones(2 * 64), NetworkDropout: 0.1,
	}
	for _, m := range modules {
		batch.Dropout = append(batch.Dropout, ones(2*m.Rank()))
	}
	rates := train.Rates{TextEncoder: 1e-3, UNet: 1e-3}
	processor, err := cpu.Open(cpu.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer processor.Close()
	everything := train.Options{OptimizerType: "Adafactor", Accumulation: 2, ScaleWeightNorms: 1, Objective: train.Objective{Loss: compute.Huber}}
	for _, c := range []struct {
		name    string
		device  compute.Device
		options train.Options
	}{
		{"AdamW", idle{}, train.Options{LoRAPlusRatio: 2}},
		{"Prodigy", idle{}, train.Options{OptimizerType: "Prodigy"}},
		{"everything", idle{}, everything},
		{"AdamW on the CPU", processor, train.Options{LoRAPlusRatio: 2, Checkpointing: true}},
		{"everything on the CPU", processor, everything},
	} {
		tr, err := train.NewTrainer(c.device, ckpt, modules, c.options)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		ctx := context.Background()
		step := func() {
			if _, err := tr.Step(ctx, batch); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Update(rates); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Evaluate(ctx, batch); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(5, step); n != 0 {
			t.Errorf("%s: a step, an update and an evaluation allocate %v times, want 0", c.name, n)
		}
	}
}
