// Package loratest has what the tests of lora and of lora/train share: a kit's model with its targets, and modules of random numbers.
package loratest

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// model is the part of a kit that adapters change.
type Model struct {
	Text       *clip.Model
	UNet       *unet.Model
	TextParams *weights.Component
	UNetParams *weights.Component
	Targets    *lora.Targets
}

// OpenModel opens a kit's networks and their parameters.
func OpenModel(t testing.TB, k golden.Kit) Model {
	t.Helper()
	c := k.Open(t)
	var m Model
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m.TextParams, err = c.TextEncoder()
	check()
	m.UNetParams, err = c.UNet()
	check()
	text, err := clip.ParseConfig(m.TextParams.Config())
	check()
	net, err := unet.ParseConfig(m.UNetParams.Config())
	check()
	m.Text, err = clip.New(text, m.TextParams)
	check()
	m.UNet, err = unet.New(net, m.UNetParams)
	check()
	err = m.TextParams.Err()
	check()
	err = m.UNetParams.Err()
	check()
	m.Targets, err = lora.NewTargets(text, net)
	check()
	return m
}

// Run computes the outputs of both networks with adapters merged, as PyTorch would have them unmerged.
func (m Model) Run(t testing.TB, dev compute.Device, in golden.File, o lora.MergeOptions, adapters ...lora.Applied) (text, noise []float32) {
	t.Helper()
	textParams, err := lora.Merge(m.TextParams, weights.KindTextEncoder, o, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	unetParams, err := lora.Merge(m.UNetParams, weights.KindUNet, o, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	ids, sample, timestep := in.Tensor(t, "input_ids"), in.Tensor(t, "sample").ChannelsLast(), in.Tensor(t, "timestep")

	var encoder compute.Builder
	encoder.Output(m.Text.Forward(&encoder, encoder.Input("input_ids", compute.I32, ids.Shape...), 0))
	text = golden.Run(t, dev, textParams, &encoder, ids.Int32())[0]

	var b compute.Builder
	x := b.Input("sample", compute.F32, sample.Shape...)
	time := b.Input("timestep", compute.F32, timestep.Shape...)
	c := b.Input("encoder_hidden_states", compute.F32, ids.Shape[0], ids.Shape[1], m.Text.Config().HiddenSize)
	b.Output(m.UNet.Apply(&b, x, time, c))
	noise = golden.Run(t, dev, unetParams, &b, sample.Float32, timestep.Float32, text)[0]
	return text, noise
}

// GoldenPath finds one of the kit's files: beside its model, or with the embedded model's goldens.
func GoldenPath(t testing.TB, k golden.Kit, name string) string {
	t.Helper()
	dir := filepath.Join(golden.Root(t), "testdata", k.Name)
	for _, listed := range filepath.SplitList(os.Getenv(golden.Variable)) {
		if k.Model == os.DirFS(filepath.Join(listed, "model")) {
			dir = listed
		}
	}
	return filepath.Join(dir, "goldens", name+".safetensors")
}

// Labels lists the kit's adapter files: "kohya" for lora_kohya.safetensors.
func Labels(t testing.TB, k golden.Kit) (all []string) {
	t.Helper()
	goldens := false
	for _, name := range k.Names("lora_") {
		if name == "lora_goldens" {
			goldens = true
		} else {
			all = append(all, strings.TrimPrefix(name, "lora_"))
		}
	}
	switch {
	case len(all) == 0 && !goldens:
		t.Skip("the kit has no adapters")
	case len(all) == 0 || !goldens:
		t.Fatalf("the kit's adapters are %v, with their goldens: %v", all, goldens)
	}
	return all
}

// TinyRandom is the folder of the kit that tests take apart.
func TinyRandom(t testing.TB) string { return filepath.Join(golden.Root(t), "testdata", "tiny-random") }

// TinyTargets are the targets of TinyRandom(t)'s model.
func TinyTargets(t testing.TB) *lora.Targets {
	t.Helper()
	read := func(component string) []byte {
		data, err := os.ReadFile(filepath.Join(TinyRandom(t), "model", component, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	text, err := clip.ParseConfig(read("text_encoder"))
	if err != nil {
		t.Fatal(err)
	}
	net, err := unet.ParseConfig(read("unet"))
	if err != nil {
		t.Fatal(err)
	}
	return NewTargets(t, text, net)
}

// SD15Targets are the layers of Stable Diffusion 1.5.
func SD15Targets(t testing.TB) *lora.Targets {
	t.Helper()
	return NewTargets(t, clip.SD15(), unet.SD15())
}

// NewTargets are the layers of networks of these shapes.
func NewTargets(t testing.TB, text clip.Config, net unet.Config) *lora.Targets {
	t.Helper()
	targets, err := lora.NewTargets(text, net)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// Standard lists the targets of kohya's standard network: the linear layers of the text encoder and the UNet's
// transformers.
func Standard(t *lora.Targets) (list []lora.Target) {
	for _, target := range t.All() {
		if strings.Contains(target.Name, ".attentions.") || strings.Contains(target.Name, "encoder.layers.") {
			list = append(list, target)
		}
	}
	return list
}

// RandomModule is a module of the usual form for a target.
func RandomModule(r *rand.Rand, t lora.Target, rank int) lora.Module {
	down, up := append(compute.Shape{rank}, t.Shape[1:]...), compute.Shape{t.Shape[0], rank}
	if len(t.Shape) == 4 {
		up = append(up, 1, 1)
	}
	return lora.Module{Target: t, Delta: lora.LowRank{Down: RandomFactor(r, down...), Up: RandomFactor(r, up...), Alpha: float64(rank) / 2}}
}

// LowRank is the delta of a module that is of the usual kind.
func LowRank(m lora.Module) lora.LowRank { return m.Delta.(lora.LowRank) }

// WithAlpha is a module of the usual kind with another alpha.
func WithAlpha(m lora.Module, alpha float64) lora.Module {
	l := LowRank(m)
	l.Alpha = alpha
	m.Delta = l
	return m
}

// RandomFactor is a tensor of normal numbers.
func RandomFactor(r *rand.Rand, shape ...int) lora.Factor {
	f := lora.Factor{Shape: shape, Data: make([]float32, compute.Shape(shape).Elements())}
	for i := range f.Data {
		f.Data[i] = float32(r.NormFloat64())
	}
	return f
}

// Rand is a generator that always gives the same numbers.
func Rand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// Tensor is an F32 tensor for a file.
func Tensor(name string, f lora.Factor) weights.Tensor {
	x := weights.Tensor{Name: name, DType: weights.F32, Shape: f.Shape, Data: make([]byte, 0, 4*len(f.Data))}
	for _, v := range f.Data {
		x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(v))
	}
	return x
}

// Write saves tensors and returns the path.
func Write(t testing.TB, tensors []weights.Tensor, metadata map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "adapter.safetensors")
	WriteTo(t, path, tensors, metadata)
	return path
}

// WriteTo saves tensors without waiting for the disk, as weights.Write would.
func WriteTo(t testing.TB, path string, tensors []weights.Tensor, metadata map[string]string) {
	t.Helper()
	var file bytes.Buffer
	if err := weights.Encode(&file, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Largest is the largest absolute value.
func Largest(v []float32) (m float64) {
	for _, x := range v {
		m = max(m, math.Abs(float64(x)))
	}
	return m
}
