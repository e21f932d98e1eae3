package sd

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/vae"
)

// fullCheckpoint names the environment variable with the path of the full-size random checkpoint, of which
// testdata/full holds PyTorch's outputs in float32.
const fullCheckpoint = "ATELIER_FULL_CHECKPOINT"

// TestFullSize runs the three networks at their full size. The checkpoint has two gigabytes, so the test is asked for:
// it was written by sdrand -seed 1, in either layout and any type.
func TestFullSize(t *testing.T) {
	path := os.Getenv(fullCheckpoint)
	if path == "" {
		t.Skipf("needs %s, the path of the full-size random checkpoint", fullCheckpoint)
	}
	want := golden.LoadFile(t, filepath.Join(golden.Root(t), "testdata", "full", "seed1_64x64.safetensors"))
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p, err := Open(t.Context(), path, dev, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text, err1 := p.checkpoint.TextEncoder()
	net, err2 := p.checkpoint.UNet()
	codec, err3 := p.checkpoint.VAE()
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	run := func(source compute.ParamSource, record func(b *compute.Builder), inputs ...any) []float32 {
		var b compute.Builder
		record(&b)
		return golden.Run(t, dev, source, &b, inputs...)[0]
	}
	check := func(name string, got []float32) {
		t.Logf("%s: worst relative error %.2g", name, golden.Check(t, name, got, want.Tensor(t, name)))
	}

	hidden := run(text, func(b *compute.Builder) {
		b.Output(p.networks.Text.Forward(b, b.Input("input_ids", compute.I32, 2, 77), 0))
	}, want.Tensor(t, "input_ids").Int32())
	check("text", hidden)

	check("unet", run(net, func(b *compute.Builder) {
		sample := b.Input("sample", compute.F32, 2, 64, 64, 4)
		timesteps := b.Input("timesteps", compute.F32, 2)
		b.Output(p.networks.UNet.Apply(b, sample, timesteps, b.Input("context", compute.F32, 2, 77, 768)))
	}, want.Tensor(t, "sample").ChannelsLast().Float32, want.Tensor(t, "timestep").Float32, want.Tensor(t, "text").Float32))

	check("decode", run(codec, func(b *compute.Builder) {
		b.Output(p.networks.VAE.Decode(b, b.Input("latent", compute.F32, 1, 32, 24, 4)))
	}, want.Tensor(t, "latent").ChannelsLast().Float32))

	moments := run(codec, func(b *compute.Builder) {
		b.Output(p.networks.VAE.Encode(b, b.Input("image", compute.F32, 1, 256, 192, 3)))
	}, want.Tensor(t, "image").ChannelsLast().Float32)
	mean, std := vae.Moments(moments, 4)
	check("encode.mean", mean)
	logvar := make([]float32, len(std))
	for i, v := range std {
		logvar[i] = float32(2 * math.Log(float64(v)))
	}
	check("encode.logvar", logvar)
}

// BenchmarkAnotherWeight tells what another weight of a LoRA of all 264 modules costs between two pictures: the time to the end of the first step
// less that of the second. It is asked for as TestFullSize is, or else does it with the tiny model.
//
//	ATELIER_FULL_CHECKPOINT=sd15.safetensors go test ./sd -run '^$' -bench AnotherWeight -benchtime 4x
func BenchmarkAnotherWeight(b *testing.B) {
	path := os.Getenv(fullCheckpoint)
	if path == "" {
		path = tinyRandom(b)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	dir := b.TempDir()
	p, err := Open(b.Context(), path, dev, Options{LoRADirs: []string{dir}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	targets, err := lora.TargetsOf(p.checkpoint)
	if err != nil {
		b.Fatal(err)
	}
	modules, err := lora.Network{Dim: 16, Alpha: 16}.New(targets, 1)
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range modules {
		up := m.Delta.(lora.LowRank).Up.Data
		for i := range up {
			up[i] = float32(i%7-3) * 1e-4
		}
	}
	if err := lora.Write(filepath.Join(dir, "person.safetensors"), modules, compute.F16, nil); err != nil {
		b.Fatal(err)
	}
	draw := func(weight int) (change time.Duration) {
		prompt, last := fmt.Sprintf("a man <lora:person:0.%d>", weight), time.Now()
		for _, err := range p.Steps(b.Context(), Request{Prompt: prompt, NegativePrompt: "blurry", Steps: 2, Seed: 1, Width: 256, Height: 256}) {
			if err != nil {
				b.Fatal(err)
			}
			change, last = time.Since(last)-change, time.Now()
		}
		return -change // of the first step's time the second's was taken
	}
	draw(9)
	var all time.Duration
	for n := 0; b.Loop(); n++ {
		all += draw(1 + n%9)
	}
	b.ReportMetric(all.Seconds()/float64(b.N), "s/change")
}
