package lora_test

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
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// tinyRandom is the folder of the kit that tests take apart.
var tinyRandom = filepath.Join("..", "testdata", "tiny-random")

// tinyTargets are the targets of tinyRandom's model.
func tinyTargets(t testing.TB) *lora.Targets {
	t.Helper()
	read := func(component string) []byte {
		data, err := os.ReadFile(filepath.Join(tinyRandom, "model", component, "config.json"))
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
	return newTargets(t, text, net)
}

func sd15Targets(t testing.TB) *lora.Targets {
	t.Helper()
	return newTargets(t, clip.SD15(), unet.SD15())
}

func newTargets(t testing.TB, text clip.Config, net unet.Config) *lora.Targets {
	t.Helper()
	targets, err := lora.NewTargets(text, net)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// standard lists the targets of kohya's standard network: the linear layers of the text encoder and the UNet's
// transformers.
func standard(t *lora.Targets) (list []lora.Target) {
	for _, target := range t.All() {
		if strings.Contains(target.Name, ".attentions.") || strings.Contains(target.Name, "encoder.layers.") {
			list = append(list, target)
		}
	}
	return list
}

// randomModule is a module of the usual form for a target.
func randomModule(r *rand.Rand, t lora.Target, rank int) lora.Module {
	down, up := append(compute.Shape{rank}, t.Shape[1:]...), compute.Shape{t.Shape[0], rank}
	if len(t.Shape) == 4 {
		up = append(up, 1, 1)
	}
	return lora.Module{Target: t, Down: randomFactor(r, down...), Up: randomFactor(r, up...), Alpha: float64(rank) / 2}
}

// randomFactor is a tensor of normal numbers.
func randomFactor(r *rand.Rand, shape ...int) lora.Factor {
	f := lora.Factor{Shape: shape, Data: make([]float32, compute.Shape(shape).Elements())}
	for i := range f.Data {
		f.Data[i] = float32(r.NormFloat64())
	}
	return f
}

func testRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// tensor is an F32 tensor for a file.
func tensor(name string, f lora.Factor) weights.Tensor {
	x := weights.Tensor{Name: name, DType: weights.F32, Shape: f.Shape, Data: make([]byte, 0, 4*len(f.Data))}
	for _, v := range f.Data {
		x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(v))
	}
	return x
}

// write saves tensors and returns the path.
func write(t testing.TB, tensors []weights.Tensor, metadata map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "adapter.safetensors")
	writeTo(t, path, tensors, metadata)
	return path
}

// writeTo saves tensors without waiting for the disk, as weights.Write would.
func writeTo(t testing.TB, path string, tensors []weights.Tensor, metadata map[string]string) {
	t.Helper()
	var file bytes.Buffer
	if err := weights.Encode(&file, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}
