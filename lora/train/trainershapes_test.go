package train_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// lending is an idle device that counts what it has handed out and not got back.
type lending struct {
	idle
	params, programs, tensors, most int
}

// counted is something that is counted until it is closed.
type counted struct{ n *int }

func (c counted) Close() error {
	*c.n--
	return nil
}

func count(n *int) counted {
	*n++
	return counted{n}
}

type (
	countedParams struct {
		idle
		counted
	}
	countedProgram struct {
		idleProgram
		counted
	}
	countedTensor struct {
		idleTensor
		counted
	}
)

func (p countedParams) Close() error  { return p.counted.Close() }
func (p countedProgram) Close() error { return p.counted.Close() }
func (x countedTensor) Close() error  { return x.counted.Close() }

func (d *lending) Load(compute.ParamSource) (compute.Params, error) {
	return countedParams{counted: count(&d.params)}, nil
}

func (d *lending) Compile(*compute.Program, compute.Params) (compute.Executable, error) {
	defer func() { d.most = max(d.most, d.programs) }()
	return countedProgram{counted: count(&d.programs)}, nil
}

func (d *lending) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	return countedTensor{idleTensor{compute.Type{DType: t, Shape: shape}}, count(&d.tensors)}, nil
}

// TestTrainerManyShapes evaluates batches of more shapes than stay compiled, and looks for what is left behind.
func TestTrainerManyShapes(t *testing.T) {
	modules, err := lora.Network{Dim: 2}.New(loratest.TinyTargets(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	ckpt, err := weights.Open(filepath.Join(loratest.TinyRandom(t), "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	batch := func(width int) train.Batch {
		return train.Batch{
			Samples: 1, Height: 1, Width: width, Latents: ones(4 * width), Noise: make([]float32, 4*width), Timesteps: []int{500}, IDs: make([]int32, 77),
		}
	}
	processor, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer processor.Close()
	counter := &lending{}
	for _, dev := range []compute.Device{counter, processor} {
		tr, err := train.NewTrainer(dev, ckpt, modules, train.Options{})
		if err != nil {
			t.Fatal(err)
		}
		evaluate := func(width int) float64 {
			loss, err := tr.Evaluate(context.Background(), batch(width))
			if err != nil {
				t.Fatal(err)
			}
			return loss
		}
		first := evaluate(1)
		for width := range 18 {
			evaluate(1 + width)
		}
		if again := evaluate(1); again != first {
			t.Errorf("on %s the loss is %v, it was %v", dev.Name(), again, first)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	if counter.most != 16 || counter.params != 0 || counter.programs != 0 || counter.tensors != 0 {
		t.Errorf("%d programs at most, want 16; left are %d sets of parameters, %d programs and %d tensors",
			counter.most, counter.params, counter.programs, counter.tensors)
	}
}
