package train_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// fullCheckpoint names the environment variable with a checkpoint of full size.
const fullCheckpoint = "ATELIER_FULL_CHECKPOINT"

// BenchmarkTrainer times steps of LoRA training at full size: rank 16, UNet and text encoder, one picture of 512×512, an
// update after each. Peak memory is that of the whole process, so each case wants one of its own:
//
//	ATELIER_FULL_CHECKPOINT=sd15.safetensors go test ./lora -run '^$' -bench 'Trainer/fp32/checkpointing=false' -benchtime 3x
func BenchmarkTrainer(b *testing.B) {
	path := os.Getenv(fullCheckpoint)
	if path == "" {
		b.Skipf("%s names no checkpoint", fullCheckpoint)
	}
	for _, precision := range []compute.Precision{compute.PrecisionFP32, compute.PrecisionBF16} {
		for _, checkpointing := range []bool{false, true} {
			b.Run(precision.String()+"/checkpointing="+strconv.FormatBool(checkpointing), func(b *testing.B) {
				benchmarkTrainer(b, path, precision, train.Options{MaxGradNorm: 1, Checkpointing: checkpointing})
			})
		}
	}
}

func benchmarkTrainer(b *testing.B, path string, precision compute.Precision, o train.Options) {
	device, err := cpu.Open(cpu.Options{Precision: precision})
	if err != nil {
		b.Fatal(err)
	}
	defer device.Close()
	ckpt, err := weights.Open(path, weights.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer ckpt.Close()
	modules, err := lora.Network{Dim: 16, Alpha: 16}.New(loratest.SD15Targets(b), 1)
	if err != nil {
		b.Fatal(err)
	}
	watched := &watchedDevice{Device: device}
	trainer, err := train.NewTrainer(watched, ckpt, modules, o)
	if err != nil {
		b.Fatal(err)
	}
	defer trainer.Close()

	const side = 64
	r := rand.New(rand.NewPCG(1, 2))
	normal := func() []float32 {
		x := make([]float32, side*side*4)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	batch := train.Batch{
		Samples: 1, Height: side, Width: side, Latents: normal(), Noise: normal(), Timesteps: []int{500}, IDs: make([]int32, clip.SD15().MaxPositionEmbeddings),
	}
	step := func() {
		if _, err := trainer.Step(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		if _, err := trainer.Update(train.Rates{TextEncoder: 5e-5, UNet: 1e-4}); err != nil {
			b.Fatal(err)
		}
	}
	step() // compiles, and touches memory
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/step")
	b.ReportMetric(float64(watched.params.Memory())/1e6, "weights-MB")
	b.ReportMetric(float64(watched.arena)/1e6, "arena-MB")
	b.ReportMetric(float64(watched.worker)/1e6, "scratch-MB")
	b.ReportMetric(peakMemory()/1e6, "peak-MB")
}

// watchedDevice remembers what a trainer asks of a device.
type watchedDevice struct {
	compute.Device
	params        compute.Params
	arena, worker int64
}

func (d *watchedDevice) Load(src compute.ParamSource) (p compute.Params, err error) {
	d.params, err = d.Device.Load(src)
	return d.params, err
}

func (d *watchedDevice) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	exe, err := d.Device.Compile(p, params)
	if err == nil {
		d.arena, d.worker = max(d.arena, exe.Memory().Arena), max(d.worker, exe.Memory().Worker)
	}
	return exe, err
}

// peakMemory is the most that this process has had resident, in bytes; 0 where the system does not tell.
func peakMemory() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	number, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	kilobytes, _ := strconv.ParseFloat(string(number), 64)
	return kilobytes * 1024
}
