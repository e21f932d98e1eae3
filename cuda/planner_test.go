package cuda

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/weights"
)

// TestBudgets plans pictures and training steps of Stable Diffusion 1.5 at full size, and holds the plans to what a card must have free.
func TestBudgets(t *testing.T) {
	const gb = 1e9
	if testing.Short() {
		t.Skip("-short: plans of full size take five seconds")
	}
	ckpt := sparse(t)
	dev := opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{})(t)
	pipeline, err := sd.New(t.Context(), ckpt, dev, sd.Options{})
	check(t, err)
	defer pipeline.Close()
	most := map[Need]float64{ // GB
		{Side: 512, Batch: 1}: 2.9, {Side: 1024, Batch: 1}: 4.0, {Side: 512, Batch: 2, Training: true, Checkpointing: true}: 4.2,
	}
	for _, need := range Needs() {
		var bytes int64
		if need.Training {
			bytes = stepMemory(t, dev, ckpt, need)
		} else {
			m, err := pipeline.Memory(sd.Request{Prompt: "x", Width: need.Side, Height: need.Side, BatchSize: need.Batch})
			check(t, err)
			bytes = m.Total()
		}
		if e := math.Abs(float64(need.Bytes)/float64(bytes) - 1); e > 0.02 {
			t.Errorf("%v takes %d bytes by the plan, and Needs says %d", need, bytes, need.Bytes)
		}
		need.Bytes = 0
		if limit, ok := most[need]; ok && float64(bytes) > limit*gb {
			t.Errorf("%v takes %.2f GB, want at most %.1f", need, float64(bytes)/gb, limit)
		}
		delete(most, need)
	}
	if len(most) > 0 {
		t.Errorf("not in Needs, but with a budget: %v", most)
	}
}

// stepMemory is what a training step takes.
func stepMemory(t *testing.T, dev compute.Device, ckpt *weights.Checkpoint, need Need) int64 {
	t.Helper()
	samples, side := need.Batch, need.Side/8
	targets, err := lora.TargetsOf(ckpt)
	check(t, err)
	modules, err := lora.Network{Dim: 32}.New(targets, 0)
	check(t, err)
	p := &planner{Estimator: dev.(compute.Estimator)}
	trainer, err := train.NewTrainer(p, ckpt, modules, train.Options{Checkpointing: need.Checkpointing})
	check(t, err)
	defer trainer.Close()
	n := samples * side * side * 4
	batch := train.Batch{Samples: samples, Height: side, Width: side, Latents: make([]float32, n), Noise: make([]float32, n), Timesteps: make([]int, samples), IDs: make([]int32, 77*samples)}
	if _, err := trainer.Step(t.Context(), batch); !errors.Is(err, errPlanned) {
		t.Fatal(err)
	}
	return p.report.Total() + p.tensors
}

var errPlanned = errors.New("planned, not compiled")

// planner is a device that adds up what it is asked for.
type planner struct {
	compute.Estimator
	source  compute.ParamSource
	report  compute.MemoryReport
	tensors int64
}

func (p *planner) Name() string { return "planner" }
func (p *planner) Close() error { return nil }

func (p *planner) Load(source compute.ParamSource) (compute.Params, error) {
	p.source = source
	return planned{}, nil
}

func (p *planner) Compile(program *compute.Program, _ compute.Params) (compute.Executable, error) {
	var err error
	if p.report, err = p.Estimate(p.source, program); err == nil {
		err = errPlanned
	}
	return nil, err
}

func (p *planner) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	typ := compute.Type{DType: t, Shape: shape}
	p.tensors += int64(typ.Bytes())
	return planned{typ}, nil
}

// planned is a tensor, or parameters, without memory.
type planned struct{ compute.Type }

func (p planned) Shape() compute.Shape          { return p.Type.Shape }
func (p planned) DType() compute.DType          { return p.Type.DType }
func (p planned) Upload(compute.Buffer) error   { return nil }
func (p planned) Download(compute.Buffer) error { return nil }
func (p planned) Memory() int64                 { return 0 }
func (p planned) Close() error                  { return nil }

// sparse is a checkpoint of Stable Diffusion 1.5 with nothing but a header: a file with a hole where its numbers would be.
func sparse(t *testing.T) *weights.Checkpoint {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a file with a hole takes its whole size here")
	}
	f, err := os.Open(filepath.Join(golden.Root(t), "weights", "testdata", "sd15-tensors.tsv.gz"))
	check(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	header, offset := make(map[string]any), 0
	for lines := bufio.NewScanner(z); lines.Scan(); {
		row := strings.Split(lines.Text(), "\t")
		var shape []int
		size := 2
		for n := range strings.SplitSeq(row[4], ",") {
			extent, err := strconv.Atoi(n)
			if err != nil {
				break // the line of titles
			}
			shape, size = append(shape, extent), size*extent
		}
		if shape == nil {
			continue
		}
		header[row[3]] = map[string]any{"dtype": "F16", "shape": shape, "data_offsets": []int{offset, offset + size}}
		offset += size
	}
	text, err := json.Marshal(header)
	check(t, err)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	check(t, os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), 0o666))
	check(t, os.Truncate(path, int64(8+len(text)+offset)))
	ckpt, err := weights.Open(path, weights.Options{})
	check(t, err)
	t.Cleanup(func() { ckpt.Close() })
	return ckpt
}
